"""Shared parts of evaluations: targets, tasks, the output folder, and the run that records metrics."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from hwr import runtime, tracking
from hwr.config.compose import Composed
from hwr.config.roots import EvaluateConfig, LinesConfig
from hwr.data.records import Dataset, LeftOut, Replacements
from hwr.data.report import nothing_left, told, told_replaced, told_unread
from hwr.errors import InputError
from hwr.files import write_json
from hwr.scoring.edits import Counts
from hwr.stages.build import find_weights
from hwr.stages.engine import Engine
from hwr.stages.kind import DataSource
from hwr.stages.recipe import data_source, device_context
from hwr.tables import text_table
from hwr.tracking import Run, Store
from hwr.tracking.notes import about_evaluation, write_note
from hwr.weights import Weights

# Keys of conf/evaluate.yaml and conf/decoders.yaml that the numbers depend on, besides weights and scorer.
SETTINGS = ("data", "decoder", "decoders", "batch_size", "engine", "precision", "unknown", "widen", "seams",
            "working_pixels", "pdf_dpi", "max_pixels")  # fmt: skip
COUNTS = Counts._fields
EDITS = tuple(f"{unit}.{name}" for unit in ("characters", "words") for name in COUNTS)

Config = TypeVar("Config", bound=LinesConfig, covariant=True)
Result = Mapping[str, Any]  # what result.json holds


@dataclass(frozen=True)
class Task(Generic[Config]):
    """Pages of a split about to be read: the settings, and the tracking store that runs are recorded in."""

    config: Config
    store: Store

    @property
    def data(self) -> DataSource:
        """The data set."""
        return data_source(self.config.data, self.config.folder)

    def weights(self, stage: str, name: str | None = None) -> Weights:
        """Load weights of a stage: `name`, or those that the configuration names."""
        named = self.config.weights
        name = name or (named.get(stage) if isinstance(named, dict) else getattr(named, stage))
        if not name:
            raise InputError(f"weights.{stage} is not set; give weights.{stage}=… on the command line")
        return find_weights(name, stage, self.config)

    def dataset(self, *, whole: bool) -> Dataset:
        """Return what the split holds, `whole` with the lines that data.exclude leaves out of reading.

        No policy of a training is applied: what is hard to read is scored as well.
        """
        own = self.data.read(whole=whole).of_split(self.config.split)
        if not own.pages:
            split, keys = self.config.split, self.data.split_keys(self.config.split)
            raise InputError(nothing_left(split, own.left_out, own.findings, keys, unit="pages"))
        return own

    def log_data(self, run: Run, fingerprint: str, count: int) -> None:
        """Log the split, of so many lines or pages, as a data set that a run reads."""
        data, split = self.data, self.config.split
        run.inputs(data.name, fingerprint, context=split, root=data.root, profile={"num_rows": count})


def check_reading(config: LinesConfig) -> None:
    """Raise InputError for a data set, a device or an engine that there is not; nothing is read."""
    data_source(config.data, config.folder)
    device_context(config.device)
    Engine.of(config)


def open_task(config: Config) -> Task[Config]:  # type: ignore[misc]  # covariant, and yet an argument
    """Return the task that is configured; call before anything is computed."""
    runtime.keep_few_shapes()
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    return Task(config, store)


@dataclass(frozen=True)
class Scored:
    """What is scored: the data's fingerprint, what rules leave out, and why lines or pages could not be read.

    What is `unread`, by id, counts as missed. `replacements` were made in true texts.
    """

    fingerprint: str
    left_out: Sequence[LeftOut]
    unread: Mapping[str, str]
    replacements: Replacements = field(default_factory=dict)

    def told(self, unit: str) -> list[str]:
        """Return what to print of it, `unread` being of a unit (line, page)."""
        rules = [*told(rule.counts() for rule in self.left_out), *told_replaced(self.replacements)]
        return [*rules, *told_unread(self.unread, unit)]


@dataclass(frozen=True)
class Outcome:
    """What an evaluation yields: the content of scores.json, the rows printed, the error for sweepers."""

    summary: dict[str, Any]
    table: str
    error: float


@dataclass(frozen=True)
class Evaluation:
    """An evaluation under way: its task, the weights, the run that records it, the folder of its files."""

    task: Task[EvaluateConfig]
    loaded: Sequence[Weights]
    run: Run
    output: Path

    @property
    def config(self) -> EvaluateConfig:
        """The settings of the task."""
        return self.task.config

    def about(self, scored: Scored) -> dict[str, Any]:
        """Return what is said of scores of data."""
        return about(self.config, self.config.target, self.loaded, scored, self.run)

    def log(self, values: Mapping[str, float]) -> None:
        """Log metrics under names that no curve of a training bears."""
        split = self.config.split
        place = "test" if split == "test" else f"evaluation/{split}"
        self.run.metrics({f"{place}/{name}": value for name, value in values.items()}, 0)

    def outcome(self, values: Result, scored: Scored, count: int, *, error: float) -> Outcome:
        """Write and log the scores of so many pages, which no text was read on."""
        summary = {**values, "pages": count, **self.about(scored)}
        write_json(self.output / "scores.json", summary)
        self.log(rates(values))
        rows = [(name, f"{value:.4f}") for name, value in rates(values).items()]
        title = f"{self.config.split}: {count} pages, target {self.config.target}"
        return Outcome(summary, f"{title}\n{text_table(('score', 'value'), rows)}", error)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is published of a target: figures, by their names in scores.json (characters.deletions)."""

    figures: Sequence[str]  # must come out again
    each: tuple[str, Sequence[str]] = ("", ())  # a part of scores.json, and figures of each of its entries
    kept: Sequence[str] = ()  # figures of a test that the record of a training keeps
    head: Sequence[str]  # of the columns in the table of published results
    rows: Callable[[str, Result], list[list[str]]]  # of that table, for a result and a link to its card


@dataclass(frozen=True, kw_only=True)
class Target:
    """What evaluate.py can score.

    Args:
        name: as `target` gives it.
        check: raises InputError for settings that it does not take; nothing is read.
        load: loads the weights that are evaluated; raises InputError for what is missing.
        score: scores them on the pages of the task: writes scores, tables and pictures, logs metrics.
        record: what is published of it; None: nothing.
    """

    name: str
    check: Callable[[EvaluateConfig], None] = lambda config: None
    load: Callable[[Task[EvaluateConfig]], list[Weights]]
    score: Callable[[Evaluation], Outcome]
    record: Record | None = None


def rates(values: Result) -> dict[str, float]:
    """Return what is a rate, no count and nothing nested."""
    return {name: value for name, value in values.items() if isinstance(value, float)}


@contextlib.contextmanager
def new_run(name: str, loaded: Sequence[Weights], store: Store, composed: Composed) -> Iterator[Run]:
    """Start a run that names the weights and what they read, a child of the run that made them all.

    Its parameters are the settings.
    """
    makers = [str(own.about.get("run", "")) for own in loaded]
    tags = {
        "weights": " ".join(str(own.folder) for own in loaded),
        "weights_sha256": " ".join(own.sha256 for own in loaded),
        tracking.WEIGHTS_RUN: " ".join(makers).strip(),
        "overrides": " ".join(composed.overrides),
    }
    if len(set(makers)) == 1 and tracking.is_stored(store, makers[0]):
        tags[tracking.PARENT] = makers[0]
    with tracking.start_run(store, name, tags=tags) as fresh:
        fresh.parameters(composed.values)
        write_note(fresh, about_evaluation(fresh, composed, name))
        yield fresh


def told_of(summary: Result) -> list[str]:
    """Return what scores.json says of what is left out and unread, as lines to print."""
    unit = "line" if "lines" in summary else "page"
    rules = [*told(summary.get("left_out", ())), *told_replaced(summary.get("replacements", {}))]
    return [*rules, *told_unread(summary.get("unread", {}), unit)]


def lost(summary: Result) -> dict[str, float]:
    """Return as metrics how many lines scores.json says are left out, and how many lines or pages unread."""
    lines = sum(sum(own["lines"].values()) for own in summary["left_out"])
    return {"left_out_lines": lines, "unread": len(summary["unread"])}


def evaluation_name(task: Task[EvaluateConfig], loaded: Sequence[Weights]) -> str:
    """Return the name of an evaluation's run: target, data, split, and the decoder where text is read."""
    config, reads = task.config, any(own.alphabet is not None for own in loaded)
    decoder = [_decoder_name(config.decoder)] if reads else []
    return " ".join(["evaluate", config.target, task.data.name, config.split, *decoder])


def _decoder_name(decoder: Mapping[str, Any]) -> str:
    """Return the short name of a decoder, as conf/decoder/ has it, with the one it corrects: lexicon+beam."""
    own = re.sub(r"_?decoder$", "", str(decoder.get("_target_", "")).rpartition(".")[2], flags=re.IGNORECASE)
    base = decoder.get("base")
    return "+".join([own.lower(), *([_decoder_name(base)] if isinstance(base, Mapping) else [])])


def about(
    config: LinesConfig, target: str, loaded: Sequence[Weights], scored: Scored, run: Run
) -> dict[str, Any]:
    """Return what is said of scores: which data and weights gave them, how, and in which run they are."""
    folders, digests = [str(own.folder) for own in loaded], [own.sha256 for own in loaded]
    return {
        "target": target,
        "split": config.split,
        "data_fingerprint": scored.fingerprint,
        "left_out": [rule.counts() for rule in scored.left_out],
        "replacements": scored.replacements,
        "unread": dict(scored.unread),
        "weights": folders[0] if len(loaded) == 1 else folders,
        "weights_sha256": digests[0] if len(loaded) == 1 else digests,
        "run": run.id,
        "settings": {name: getattr(config, name) for name in SETTINGS if hasattr(config, name)},
        "environment": runtime.describe(),
    }
