"""Shared parts of evaluations: targets, tasks, the output folder, and the run that records metrics."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hwr import runtime, tracking
from hwr.config.compose import Composed
from hwr.config.roots import EvaluateConfig, LinesConfig
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.stages.build import find_weights
from hwr.stages.kind import DataSource
from hwr.stages.recipe import data_source
from hwr.tracking import Run, Store
from hwr.weights import Weights

# Keys of conf/evaluate.yaml and conf/decoders.yaml that the numbers depend on, besides weights and scorer.
SETTINGS = ("data", "decoder", "decoders", "batch_size", "unknown", "seams", "working_pixels", "pdf_dpi",
            "max_pixels")  # fmt: skip

Config = TypeVar("Config", bound=LinesConfig, covariant=True)


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

    def _named(self, stage: str) -> str:
        named = self.config.weights
        name = named.get(stage) if isinstance(named, dict) else getattr(named, stage)
        if not name:
            raise InputError(f"weights.{stage} is not set; give weights.{stage}=… on the command line")
        return str(name)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation yields: the content of scores.json, the rows printed, the error for sweepers."""

    summary: dict[str, Any]
    table: str
    error: float


@dataclass(frozen=True, kw_only=True)
class Target:
    """What evaluate.py can score.

    Args:
        name: as `target` gives it.
        check: raises InputError for settings that it does not take; nothing is read.
        load: loads the weights that are evaluated; raises InputError for what is missing.
        score: scores them on the pages of the task: writes scores, tables and pictures to a folder, logs
            metrics to a run.
    """

    name: str
    check: Callable[[EvaluateConfig], None]
    load: Callable[[Task[EvaluateConfig]], list[Weights]]
    score: Callable[[Task[EvaluateConfig], Sequence[Weights], Run, Path], Outcome]


@contextlib.contextmanager
def run_of(found: Sequence[Weights], store: Store, composed: Composed) -> Iterator[Run]:
    """Give the run that made the weights, or a new one that names them; several weights get a new one."""
    makers = [str(own.about.get("run", "")) for own in found]
    known = tracking.attach(store, makers[0]) if len(found) == 1 and makers[0] else None
    if known is not None:
        yield known
        return
    with new_run(f"evaluate {composed.root.target}", found, store, composed) as fresh:
        yield fresh


@contextlib.contextmanager
def new_run(name: str, found: Sequence[Weights], store: Store, composed: Composed) -> Iterator[Run]:
    """Start a run that names the weights, with the settings as its parameters."""
    tags = {
        "weights": " ".join(str(own.folder) for own in found),
        "weights_sha256": " ".join(own.sha256 for own in found),
        "weights_run": " ".join(str(own.about.get("run", "")) for own in found).strip(),
        "overrides": " ".join(composed.overrides),
    }
    with tracking.start_run(store, name, tags=tags) as fresh:
        fresh.parameters(composed.values)
        yield fresh


def metrics(split: str, values: dict[str, float]) -> dict[str, float]:
    """Return metrics under names that no curve of a training bears."""
    place = "test" if split == "test" else f"evaluation/{split}"
    return {f"{place}/{name}": value for name, value in values.items()}


def about(
    config: LinesConfig, target: str, found: Sequence[Weights], fingerprint: str, run: Run
) -> dict[str, Any]:
    """Return what is said of scores: which data and weights gave them, how, and in which run they are."""
    digests = [own.sha256 for own in found]
    names = [str(own.folder) for own in found]
    return {
        "target": target,
        "split": config.split,
        "data_fingerprint": fingerprint,
        "weights": names[0] if len(names) == 1 else names,
        "weights_sha256": digests[0] if len(digests) == 1 else digests,
        "run": run.id,
        "settings": {name: getattr(config, name) for name in SETTINGS if hasattr(config, name)},
        "environment": runtime.describe(),
    }
