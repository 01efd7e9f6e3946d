"""What evaluations of all targets share: where outputs go, which run takes the metrics, what is printed."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from hwr import runtime, tracking
from hwr.config.compose import Composed, LinesConfig
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.stages import parts
from hwr.tracking import Run, Store
from hwr.weights import Weights

# Keys of conf/evaluate.yaml and conf/decoders.yaml that the numbers depend on, besides weights and scorer.
SETTINGS = ("data", "decoder", "decoders", "batch_size", "unknown", "seams", "working_pixels", "pdf_dpi",
            "max_pixels")  # fmt: skip

Config = TypeVar("Config", bound=LinesConfig, covariant=True)


@dataclass(frozen=True)
class Task(Generic[Config]):
    """Pages of a split about to be read: settings, and the tracking store the weights may come from."""

    config: Config
    store: Store

    @property
    def cache(self) -> Path:
        """The folder of caches."""
        return Path(self.config.folder) / "cache"

    def weights(self, name: str, *, kind: str) -> Weights:
        """Load the weights of a step."""
        return parts.find_weights(name, self.store, Path(self.config.folder), kind=kind)

    def pages(self, *, whole: bool) -> list[Page]:
        """Return the pages of the split, `whole` with the lines that data.exclude leaves out of reading."""
        pages = parts.load_pages(self.config.data, self.cache, whole=whole)
        own = [page for page in pages if page.split == self.config.split]
        if not own:
            raise InputError(f"the split {self.config.split} has no pages; see data.splits and data.shares")
        return own


@dataclass(frozen=True)
class Outcome:
    """What an evaluation says: scores.json, the rows printed, and the error handed to sweepers."""

    summary: dict[str, Any]
    table: str
    error: float


@contextlib.contextmanager
def fresh_in(output: Path) -> Iterator[Path]:
    """Give an empty folder whose content then takes its place in `output`, beside what else is there."""
    with tempfile.TemporaryDirectory(prefix=".", dir=output) as fresh:
        yield Path(fresh)
        for path in Path(fresh).iterdir():
            if path.is_dir():
                shutil.rmtree(output / path.name, ignore_errors=True)
            path.replace(output / path.name)


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
    with tracking.run(store, name, run_id=None, tags=tags) as fresh:
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
