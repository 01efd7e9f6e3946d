"""Shared parts of evaluations: targets, tasks, the output folder, and the run that records metrics."""

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hwr import runtime, tracking
from hwr.config.compose import Composed
from hwr.config.roots import EvaluateConfig, LinesConfig
from hwr.data import inspection
from hwr.data.records import Page, fingerprint
from hwr.errors import InputError
from hwr.files import write_json
from hwr.scoring.edits import Counts
from hwr.stages.build import config_of, find_weights
from hwr.stages.kind import DataSource
from hwr.stages.recipe import data_source
from hwr.tables import text_table
from hwr.tracking import Run, Store
from hwr.weights import Weights

# Keys of conf/evaluate.yaml and conf/decoders.yaml that the numbers depend on, besides weights and scorer.
SETTINGS = ("data", "decoder", "decoders", "batch_size", "unknown", "seams", "working_pixels", "pdf_dpi",
            "max_pixels")  # fmt: skip
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
        return find_weights(name or self._named(stage), stage, self.config)

    def pages(self, *, whole: bool) -> list[Page]:
        """Return the pages of the split, `whole` with the lines that data.exclude leaves out of reading."""
        own = [page for page in self.data.pages(whole=whole) if page.split == self.config.split]
        if not own:
            raise InputError(f"the split {self.config.split} has no pages; see data.splits and data.shares")
        return own

    def usable_pages(self, made: Weights, limits: inspection.Limits, *, whole: bool) -> list[Page]:
        """Return the pages of the split as the policy leaves them by which the weights were trained."""
        pages = self.pages(whole=whole)
        report = inspection.inspect_pages(pages, limits)
        return inspection.apply_policy(pages, report, config_of(made).inspect.policy)

    def _named(self, stage: str) -> str:
        named = self.config.weights
        name = named.get(stage) if isinstance(named, dict) else getattr(named, stage)
        if not name:
            raise InputError(f"weights.{stage} is not set; give weights.{stage}=… on the command line")
        return str(name)


def open_task(config: Config) -> Task[Config]:  # type: ignore[misc]  # covariant, and yet an argument
    """Return the task that is configured."""
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    return Task(config, store)


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

    def about(self, fingerprint: str) -> dict[str, Any]:
        """Return what is said of scores of data."""
        return about(self.config, self.config.target, self.loaded, fingerprint, self.run)

    def log(self, values: Mapping[str, float]) -> None:
        """Log metrics under names that no curve of a training bears."""
        split = self.config.split
        place = "test" if split == "test" else f"evaluation/{split}"
        self.run.metrics({f"{place}/{name}": value for name, value in values.items()}, 0)

    def outcome(self, values: Result, pages: Sequence[Page], count: int, *, error: float) -> Outcome:
        """Write and log the scores of so many of the pages, which no text was read on."""
        summary = {**values, "pages": count, **self.about(fingerprint(pages))}
        write_json(self.output / "scores.json", summary)
        self.log(rates(values))
        rows = [(name, f"{value:.4f}") for name, value in rates(values).items()]
        title = f"{self.config.split}: {count} pages, target {self.config.target}"
        return Outcome(summary, f"{title}\n{text_table(('score', 'value'), rows)}", error)


@dataclass(frozen=True, kw_only=True)
class Record:
    """What is published of a target.

    Args:
        figures: names in scores.json (characters.deletions) of what must come out again.
        each: a part of scores.json, and such names in each of its entries.
        kept: names of what the record of a training keeps of the test scores.
        head: of the columns in the table of published results.
        rows: fills these for a result, given a link to its card.
    """

    figures: Sequence[str]
    each: tuple[str, Sequence[str]] = ("", ())
    kept: Sequence[str] = ()
    head: Sequence[str]
    rows: Callable[[str, Result], list[list[str]]]


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
def new_run(name: str, found: Sequence[Weights], store: Store, composed: Composed) -> Iterator[Run]:
    """Start a run that names the weights and what they read, a child of the run that made them all.

    Its parameters are the settings.
    """
    makers = [str(own.about.get("run", "")) for own in found]
    tags = {
        "weights": " ".join(str(own.folder) for own in found),
        "weights_sha256": " ".join(own.sha256 for own in found),
        tracking.WEIGHTS_RUN: " ".join(makers).strip(),
        "overrides": " ".join(composed.overrides),
    }
    if len(set(makers)) == 1 and tracking.is_stored(store, makers[0]):
        tags[tracking.PARENT] = makers[0]
    with tracking.start_run(store, name, tags=tags) as fresh:
        fresh.parameters(composed.values)
        yield fresh


def evaluation_name(config: EvaluateConfig, found: Sequence[Weights]) -> str:
    """Return the name of an evaluation's run: target, data, split, and the decoder where text is read."""
    folder = Path(str(config.data.get("root") or "")).name
    data = "/".join(filter(None, (str(config.data["source"]), folder)))
    reads = any(own.alphabet is not None for own in found)
    decoder = [_decoder_name(config.decoder)] if reads else []
    return " ".join(["evaluate", config.target, data, config.split, *decoder])


def _decoder_name(decoder: Mapping[str, Any]) -> str:
    """Return the short name of a decoder, as conf/decoder/ has it, with the one it corrects: lexicon+beam."""
    own = re.sub(r"_?decoder$", "", str(decoder.get("_target_", "")).rpartition(".")[2], flags=re.IGNORECASE)
    base = decoder.get("base")
    return "+".join([own.lower(), *([_decoder_name(base)] if isinstance(base, Mapping) else [])])


def about(
    config: LinesConfig, target: str, found: Sequence[Weights], fingerprint: str, run: Run
) -> dict[str, Any]:
    """Return what is said of scores: which data and weights gave them, how, and in which run they are."""
    folders, digests = [str(own.folder) for own in found], [own.sha256 for own in found]
    return {
        "target": target,
        "split": config.split,
        "data_fingerprint": fingerprint,
        "weights": folders[0] if len(found) == 1 else folders,
        "weights_sha256": digests[0] if len(found) == 1 else digests,
        "run": run.id,
        "settings": {name: getattr(config, name) for name in SETTINGS if hasattr(config, name)},
        "environment": runtime.describe(),
    }
