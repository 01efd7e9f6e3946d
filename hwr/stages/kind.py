"""From plain configuration values to the objects of a training: pages, images, network, stage, phases.

Here alone the parts of the library meet; each of them gets plain values.
"""

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from hwr.config.compose import TrainConfig
from hwr.data import inspection
from hwr.data.records import Page
from hwr.data.report import Report
from hwr.errors import InputError
from hwr.stages import parts
from hwr.stages.denoiser import training as denoiser
from hwr.stages.line import training as line
from hwr.stages.paragraph import training as paragraph
from hwr.stages.parts import Training
from hwr.stages.segmentation import training as segmentation
from hwr.tracking import Store

STAGES: dict[str, ModuleType] = {
    "paragraph": paragraph,
    "segmentation": segmentation,
    "line": line,
    "denoiser": denoiser,
}
READING = ("line", "denoiser")  # stages that learn texts: lines that data.exclude leaves out are not theirs


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    stage = _stage(config)
    if config.monitor not in stage.METRICS:
        raise InputError(f"monitor={config.monitor}: no such metric; use one of {', '.join(stage.METRICS)}")
    stage.check(config)


def training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build the training of a stage."""
    built: Training = _stage(config).training(config, store, progress=progress)
    return built


def pages_of(config: TrainConfig) -> list[Page]:
    """Read the pages as a training of the stage would: boxes are learnt of all lines, also unread ones."""
    return parts.load_pages(
        config.data, Path(config.folder) / "cache", whole=config.stage["kind"] not in READING
    )


def inspected(pages: Sequence[Page], config: TrainConfig, *, full: bool = False) -> Report:
    """Look through pages as a training of the stage would see them."""
    return inspection.inspect(pages, _stage(config).limits(config), full=full)


def _stage(config: TrainConfig) -> ModuleType:
    kind = config.stage.get("kind")
    if kind not in STAGES:
        raise InputError(f"stage.kind={kind}: unknown; use one of {', '.join(STAGES)}")
    return STAGES[kind]
