"""Read runs from the tracking store: settings, metrics, environment, evaluations."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from hwr import tracking
from hwr.errors import InputError
from hwr.files import parse_json
from hwr.pictures import line_archive
from hwr.scoring import report
from hwr.scoring.report import LineScore
from hwr.tracking import Store

LAST = "last"
COMPARED = "compared"  # tag of a comparison, with the ids of the runs it compares
_SHORT = 8  # characters of an id that tell runs apart
_SCORES = "scores.json"
# What evaluations that are compared have in common: keys of their scores, and what these are.
SAME = {
    "target": "targets",
    "data_fingerprint": "data",
    "convention": "scoring conventions",
    "pairing": "pairings of lines",
    "unit": "units",
}


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run and its evaluation on a split, or hypotheses of another system, under a short `label`.

    `environment` and `data` are flat; `scores` is its scores.json, `lines` are those of lines.tsv by id (none
    where boxes were evaluated), `line_pictures` is the archive of their pictures, where it is kept.
    """

    label: str
    id: str
    name: str
    started: str
    parameters: Mapping[str, str]
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    environment: Mapping[str, str]
    data: Mapping[str, str]
    scores: Mapping[str, Any]
    lines: Mapping[str, LineScore]
    line_pictures: Path | None

    @property
    def is_foreign(self) -> bool:
        """Whether another system made it; its id is then a path, and nothing is known of how."""
        return "hypotheses" in self.scores

    @property
    def short(self) -> str:
        """The beginning of its id, or the name of a file."""
        return self.name if self.is_foreign else self.id[:_SHORT]


@dataclass(frozen=True)
class EvaluatedRun:
    """A run that was named, the training behind it (or itself), and the run that holds its evaluation."""

    named: Any
    training: Any
    evaluation: Any
    scores: Mapping[str, Any]


def find_runs(store: Store, names: Sequence[str], split: str, folder: Path) -> list[EvaluatedRun]:
    """Return the runs that ids, their beginnings, or `last` name, each with an evaluation of `split`.

    A training has those of its weights, the latest of all runs that were evaluated alike. Files are fetched
    to `folder`. Raises InputError for a name of none or of several, a run named twice, and one that was not
    evaluated, with the command that does it.
    """
    known = list(_all_runs(store))
    runs = [_named_run(known, name, store) for name in names]
    ids = [run.info.run_id for run in runs]
    for index, run_id in enumerate(ids):
        if run_id in ids[:index]:
            raise InputError(f"{names[index]} and {names[ids.index(run_id)]} are one run; name two")
    return _alike([_evaluated(store, known, run, split, folder) for run in runs])


def fetch_run(store: Store, run: EvaluatedRun, label: str, split: str, folder: Path) -> ComparedRun:
    """Return what the store holds of a run and its evaluation, the files fetched to `folder`."""
    named, training = run.named, run.training
    artifacts = f"evaluation/{split}"
    held = _listed(store, run.evaluation, artifacts)
    files = {
        name: _fetched(store, run.evaluation, f"{artifacts}/{name}", folder)
        for name in (report.LINES, line_archive.NAME)
        if name in held
    }
    lines = report.read_lines(files[report.LINES]) if report.LINES in files else []
    environment = _json(store, training, "environment.json", folder)
    started = datetime.fromtimestamp(named.info.start_time / 1000, timezone.utc)
    return ComparedRun(
        label=label,
        id=named.info.run_id,
        name=named.info.run_name,
        started=f"{started:%Y-%m-%d %H:%M} UTC",
        parameters=training.data.params,
        metrics={**training.data.metrics, **run.evaluation.data.metrics},
        tags=training.data.tags,
        environment=tracking.flatten(environment or run.scores.get("environment", {})),
        data=tracking.flatten(_json(store, training, "data/inspection.json", folder).get("splits", {})),
        scores=run.scores,
        lines={line.id: line for line in lines},
        line_pictures=files.get(line_archive.NAME),
    )


def _evaluated(store: Store, known: Sequence[Any], run: Any, split: str, folder: Path) -> list[EvaluatedRun]:
    """Return a run with each of its evaluations, the latest first.

    Those are itself, the runs that evaluated its weights, and, of older versions, part of the training's run.
    """
    run_id, place = run.info.run_id, f"evaluation/{split}"
    holders = [one for one in known if one is run or one.data.tags.get(tracking.WEIGHTS_RUN) == run_id]
    made_by = {run_id, run.data.tags.get(tracking.WEIGHTS_RUN)} - {run_id}
    training = next((one for one in known if one.info.run_id in made_by), run)
    found = [
        EvaluatedRun(run, training, one, _read(_fetched(store, one, f"{place}/{_SCORES}", folder)))
        for one in holders
        if _SCORES in _listed(store, one, place)
    ]
    if not found:
        name = f"run {run_id[:_SHORT]} ({run.info.run_name})"
        raise InputError(f"{name} has no evaluation of split {split}; {_remedy(store, training, split)}")
    return found


def _alike(evaluations: Sequence[Sequence[EvaluatedRun]]) -> list[EvaluatedRun]:
    """Return one evaluation of each run: all of the same data and decoder, or data, or the latest."""
    for same in (lambda scores: (_data(scores), scores.get("settings", {}).get("decoder")), _data):
        for first in evaluations[0]:
            fits = [[own for own in each if same(own.scores) == same(first.scores)] for each in evaluations]
            if all(fits):
                return [first, *(each[0] for each in fits[1:])]
    return [each[0] for each in evaluations]


def _data(scores: Mapping[str, Any]) -> list[Any]:
    return [scores.get(key) for key in SAME]


def _all_runs(store: Store) -> Iterator[Any]:
    """Yield the runs of the experiment, the latest first."""
    token: str | None = ""
    while token is not None:
        page = store.client.search_runs(
            [store.experiment], order_by=["attributes.start_time DESC"], page_token=token or None
        )
        yield from page
        token = page.token or None


def _named_run(known: Sequence[Any], name: str, store: Store) -> Any:
    matching = [run for run in known if run.info.run_id.startswith(name)]
    if name == LAST:
        matching = [run for run in known if COMPARED not in run.data.tags][:1]
    if not matching:
        remedy = "give an id or its beginning, or name the store with folder=… or tracking.uri=…"
        raise InputError(f"{name}: no such run in {store.uri}; {remedy}")
    if len(matching) > 1:
        shown = ", ".join(run.info.run_id[: len(name) + 4] for run in matching[:4])
        raise InputError(f"{name}: {len(matching)} runs begin so ({shown} …); give more of the id")
    return matching[0]


def _remedy(store: Store, run: Any, split: str) -> str:
    """Return the command that evaluates the weights of a run."""
    run_id, target = run.info.run_id, run.data.tags.get("stage")
    if target is None:
        return "it holds no weights to evaluate; name a training"
    source, root = (run.data.params.get(f"data.{key}") for key in ("source", "root"))
    data = [f"data={source or '…'}", *([f"data.root={root}"] if root else [])]
    if source == "sets":  # which only its command line names
        data = [own for own in run.data.tags.get("overrides", "").split() if re.match(r"\+?data[=.@]", own)]
    named = {"denoiser": f"decoder=denoise decoder.weights={store.folder}/runs/{run_id}/weights/best"}
    weights = named.get(target, f"weights.{target}=runs:/{run_id}")
    return f"make one: python evaluate.py target={target} {weights} split={split} {' '.join(data)}"


def _json(store: Store, run: Any, name: str, folder: Path) -> dict[str, Any]:
    """Return a JSON file of a run; nothing where it has none, as runs that only evaluate."""
    inside, _, file = name.rpartition("/")
    return _read(_fetched(store, run, name, folder)) if file in _listed(store, run, inside) else {}


def _listed(store: Store, run: Any, inside: str) -> set[str]:
    return {Path(file.path).name for file in store.client.list_artifacts(run.info.run_id, inside or None)}


def _fetched(store: Store, run: Any, name: str, folder: Path) -> Path:
    return tracking.download(f"runs:/{run.info.run_id}/{name}", store, folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} of a run is damaged ({path}); evaluate it anew")
    return value
