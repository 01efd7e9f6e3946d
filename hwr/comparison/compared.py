"""What is compared: evaluated runs, read from the tracking store, and texts that other systems read.

Of a run these are settings, metrics, environment and evaluation; texts of another system come as a table of
ids and texts, or as a folder of ALTO or PAGE.
"""

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from hwr import pictures, tracking
from hwr.config.bind import current_targets
from hwr.config.compose import data_words, stored
from hwr.config.roots import CompareConfig, TrackingConfig, TrainConfig
from hwr.data.records import Dataset
from hwr.data.sources.alto import alto_page
from hwr.data.sources.pagexml import read_pagexml
from hwr.data.sources.xml import read_pages
from hwr.errors import InputError
from hwr.files import make_folder, parse_json, path_exists, read_text
from hwr.scoring import report
from hwr.scoring.report import RATES, LineScore, Texts, score_texts
from hwr.tables import ABSENT
from hwr.tracking import Store

LAST = "last"
COMPARED = "compared"  # tag of a comparison, with the ids of the runs it compares
_SHORT = 8  # characters of an id that tell runs apart
_SCORES = "scores.json"
_CONFIG = "config.yaml"  # of a training
# What evaluations that are compared have in common: keys of their scores, and what these are.
SAME = {
    "target": "targets",
    "data_fingerprint": "data",
    "convention": "scoring conventions",
    "pairing": "pairings of lines",
    "unit": "units",
}
_READERS: tuple[Callable[..., Dataset], ...] = (
    partial(read_pages, name="alto", page=alto_page),
    read_pagexml,
)
_COLUMNS = ("text", "hypothesis")  # of a table with a header, the first that it has
_KEPT = ("target", "split", "data_fingerprint", "pairing")  # of the run on whose lines they are scored


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
    known = list(tracking.each_run(store))
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
        for name in (report.LINES, pictures.LINE_ARCHIVE)
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
        line_pictures=files.get(pictures.LINE_ARCHIVE),
    )


def names_hypotheses(name: str) -> bool:
    """Tell whether a word names a file or folder, not a run."""
    is_run = re.fullmatch(r"last|[0-9a-f]{1,32}", name)
    return "/" in name or bool(Path(name).suffix) or (not is_run and path_exists(name))


def score_hypotheses(
    path: Path, label: str, base: ComparedRun, config: CompareConfig, folder: Path
) -> ComparedRun:
    """Score the texts in a file or folder on the lines that `base` read, with files in `folder`.

    Lines that it lacks count as empty. Raises InputError for what cannot be read, and where no id is one of
    a line.
    """
    if not base.lines:
        raise InputError(f"{path}: texts, and run {base.short} found boxes; compare runs that read text")
    texts = _of_folder(path) if path.is_dir() else _of_table(path)
    if not texts:
        raise InputError(f"{path}: holds no text of a line; write a line for each: id, tab, text")
    true = {name: line for name, line in base.lines.items() if line.reference}
    missing, unknown = (
        [name for name in one if name not in two] for one, two in ((true, texts), (texts, true))
    )
    if len(missing) == len(true):
        ids = f"its ids are like {unknown[0]!r}, those of run {base.short} like {missing[0]!r}"
        raise InputError(f"{path}: none of the lines that are scored; {ids}; give the same ids")
    made = Texts(
        {name: line.reference for name, line in true.items()},
        {name: texts.get(name, "") for name in true},
        {name: line.writer for name, line in true.items()},
        _groups(base),
    )
    about = {key: base.scores[key] for key in _KEPT if key in base.scores}
    about |= {"weights_sha256": [], "hypotheses": str(path), "missing": missing, "unknown": unknown}
    output = folder / f"hypotheses {label}"
    make_folder(output)
    scores = score_texts(made, config.scorer, config.resampling, output=output, about=about)
    where = "test" if config.split == "test" else f"evaluation/{config.split}"
    groups = scores.summary["groups"].items()
    by_group = {f"{where}/{rate}/{name}": own[rate] for rate in RATES for name, own in groups}
    return ComparedRun(
        label=label, id=str(path), name=path.name, started=ABSENT, parameters={}, tags={}, environment={},
        metrics={f"{where}/cer": scores.cer, f"{where}/wer": scores.wer, **by_group}, data={},
        scores=scores.summary,
        lines={line.id: line for line in report.read_lines(output / report.LINES)}, line_pictures=None,
    )  # fmt: skip


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
        raise InputError(
            f"{name} has no evaluation of split {split}; {_remedy(store, training, split, folder)}"
        )
    return found


def _alike(evaluations: Sequence[Sequence[EvaluatedRun]]) -> list[EvaluatedRun]:
    """Return one evaluation of each run: all of the same data and decoder, or data, or the latest."""
    for same in (lambda scores: (_data(scores), _decoder(scores)), _data):
        for first in evaluations[0]:
            fits = [[own for own in each if same(own.scores) == same(first.scores)] for each in evaluations]
            if all(fits):
                return [first, *(each[0] for each in fits[1:])]
    return [each[0] for each in evaluations]


def _data(scores: Mapping[str, Any]) -> list[Any]:
    return [scores.get(key) for key in SAME]


def _decoder(scores: Mapping[str, Any]) -> Any:
    return current_targets(scores.get("settings", {}).get("decoder"))


def _named_run(known: Sequence[Any], name: str, store: Store) -> Any:
    matching = [run for run in known if run.info.run_id.startswith(name)]
    if name == LAST:
        matching = [run for run in known if COMPARED not in run.data.tags][:1]
    if not matching:
        if other := tracking.experiment_of(store, name):
            remedy = f"add tracking.experiment={shlex.quote(other)}"
            raise InputError(f"{name}: a run of experiment {other}; {remedy}")
        remedy = "give an id or its beginning, or where it is: folder=… tracking.uri=… tracking.experiment=…"
        raise InputError(f"{name}: no such run in {store.uri}; {remedy}")
    if len(matching) > 1:
        shown = ", ".join(run.info.run_id[: len(name) + 4] for run in matching[:4])
        raise InputError(f"{name}: {len(matching)} runs begin so ({shown} …); give more of the id")
    return matching[0]


def _remedy(store: Store, run: Any, split: str, folder: Path) -> str:
    """Return the command that evaluates the weights of a run."""
    run_id, target = run.info.run_id, run.data.tags.get("stage")
    if target is None:
        return "it holds no weights to evaluate; name a training"
    place = [f"folder={store.folder}"] if store.folder != Path("outputs") else []
    place += [f"tracking.uri={store.uri}"] if store.uri.startswith("http") else []
    experiment = tracking.experiment_of(store, run_id)
    usual = os.environ.get("MLFLOW_EXPERIMENT_NAME", TrackingConfig.experiment)
    place += [f"tracking.experiment={experiment}"] if experiment not in ("", usual) else []
    words = [f"split={split}", *_data_words(store, run, folder), *place]
    named = {"denoiser": f"decoder=denoise decoder.weights={store.folder}/runs/{run_id}/weights/best"}
    weights = named.get(target, f"weights.{target}=runs:/{run_id}")
    return f"make one: hwr evaluate target={target} {weights} {shlex.join(words)}"


def _data_words(store: Store, run: Any, folder: Path) -> list[str]:
    """Return overrides for the data that a run was trained on."""
    if _CONFIG in _listed(store, run, ""):
        file = _fetched(store, run, _CONFIG, folder)
        try:
            return data_words(stored(read_text(file), (), TrainConfig).root.data)
        except InputError:  # of a version with other keys
            pass
    source, root = (run.data.params.get(f"data.{key}") for key in ("source", "root"))
    return [f"data={source}", f"data.root={root}"] if root and source != "sets" else ["data=…"]


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


def _groups(base: ComparedRun) -> dict[str, str]:
    """Return the set of each line where the run read several, whose names begin the ids of their lines."""
    sets, found = base.scores.get("groups", {}), {name: name.partition("/")[0] for name in base.lines}
    return found if len(sets) > 1 and {*found.values()} <= {*sets} else {}


def _of_table(path: Path) -> dict[str, str]:
    rows = [line.split("\t") for line in read_text(path).splitlines()]
    key = 0
    if rows and "id" in rows[0] and (named := [own for own in _COLUMNS if own in rows[0]]):
        key, column = rows[0].index("id"), rows[0].index(named[0])
        if "reference" in rows[0]:  # lines.tsv of this project, which escapes tabs
            return {line["id"]: line["hypothesis"] for line in report.read_tsv(path)}
        wide, first = len(rows[0]), 1
    else:
        column, wide, first = 1, 2, 0
    texts: dict[str, str] = {}
    for number, row in enumerate(rows[first:], first + 1):
        if row == [""]:
            continue
        if len(row) != wide:
            raise InputError(f"{path}, line {number}: {len(row)} cells, not {wide}; write id, tab, text")
        _add(texts, row[key], row[column], f"{path}, line {number}")
    return texts


def _of_folder(path: Path) -> dict[str, str]:
    dataset = _pages(path)
    damaged = dataset.findings["damaged_file"]
    for note in damaged.values():
        raise InputError(f"{note}; {len(damaged)} such files in {path}")
    texts: dict[str, str] = {}
    for line in (line for page in dataset.pages for line in page.lines):
        _add(texts, line.id, line.text, str(path))
    return texts


def _pages(path: Path) -> Dataset:
    """Return the pages of a folder of ALTO, or of PAGE."""
    errors = []
    for read in _READERS:
        try:
            return read(path, splits="none", shares=(0.0, 0.0, 1.0), seed=0)
        except InputError as error:
            errors.append(error)
    raise InputError(f"{path}: no hypotheses in ALTO or PAGE ({errors[0]})")


def _add(texts: dict[str, str], name: str, text: str, where: str) -> None:
    if name in texts:
        raise InputError(f"{where}: line {name} occurs twice; keep one text of it")
    texts[name] = text
