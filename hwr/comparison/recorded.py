"""Read runs from the tracking store: settings, metrics, environment, evaluations."""

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


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run and its evaluation on a split, under a short `label`.

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
    def short(self) -> str:
        """The beginning of its id."""
        return self.id[:_SHORT]


def find_runs(store: Store, names: Sequence[str]) -> list[Any]:
    """Return the runs that these ids, beginnings of ids or `last` name; InputError unless each names one."""
    known = list(_all_runs(store))
    runs = [_named_run(known, name, store) for name in names]
    ids = [run.info.run_id for run in runs]
    for index, run_id in enumerate(ids):
        if run_id in ids[:index]:
            raise InputError(f"{names[index]} and {names[ids.index(run_id)]} are one run; name two")
    return runs


def fetch_run(store: Store, run: Any, label: str, split: str, folder: Path) -> ComparedRun:
    """Return what the store holds of a run, its files fetched to `folder`.

    Raises InputError where it has no evaluation of `split`, with the command that makes one.
    """
    run_id = run.info.run_id
    held = {Path(file.path).name for file in store.client.list_artifacts(run_id, f"evaluation/{split}")}
    if _SCORES not in held:
        name = f"run {run_id[:_SHORT]} ({run.info.run_name})"
        raise InputError(f"{name} has no evaluation of split {split}; {_remedy(run, split)}")
    files = {
        name: tracking.download(f"runs:/{run_id}/evaluation/{split}/{name}", store, folder)
        for name in (_SCORES, report.LINES, line_archive.NAME)
        if name in held
    }
    lines = report.read_lines(files[report.LINES]) if report.LINES in files else []
    scores = _read(files[_SCORES])
    environment = _json(store, run_id, "environment.json", folder)
    started = datetime.fromtimestamp(run.info.start_time / 1000, timezone.utc)
    return ComparedRun(
        label=label,
        id=run_id,
        name=run.info.run_name,
        started=f"{started:%Y-%m-%d %H:%M} UTC",
        parameters=run.data.params,
        metrics=run.data.metrics,
        tags=run.data.tags,
        environment=tracking.flatten(environment or scores.get("environment", {})),
        data=tracking.flatten(_json(store, run_id, "data/inspection.json", folder).get("splits", {})),
        scores=scores,
        lines={line.id: line for line in lines},
        line_pictures=files.get(line_archive.NAME),
    )


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


def _remedy(run: Any, split: str) -> str:
    """Return the command that evaluates the weights of a run."""
    run_id, target = run.info.run_id, run.data.tags.get("stage")
    if target is None:
        return "it holds no weights to evaluate; name a training"
    source, root = (run.data.params.get(f"data.{key}") for key in ("source", "root"))
    data = [f"data={source or '…'}", *([f"data.root={root}"] if root else [])]
    named = {"denoiser": f"decoder=denoise decoder.weights=outputs/runs/{run_id}/weights/best"}
    weights = named.get(target, f"weights.{target}=runs:/{run_id}")
    return f"make one: python evaluate.py target={target} {weights} split={split} {' '.join(data)}"


def _json(store: Store, run_id: str, name: str, folder: Path) -> dict[str, Any]:
    """Return a JSON file of a run; nothing where it has none, as runs that only evaluate."""
    inside = name.rpartition("/")[0] or None
    held = {file.path for file in store.client.list_artifacts(run_id, inside)}
    return _read(tracking.download(f"runs:/{run_id}/{name}", store, folder)) if name in held else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        value = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        value = None
    if not isinstance(value, dict):
        raise InputError(f"{path.name} of a run is damaged ({path}); evaluate it anew")
    return value
