"""What the trainings of all stages are built with: data, weights, device, phases."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr import data, weights
from hwr.config.bind import bind, make, target
from hwr.config.compose import TrainConfig
from hwr.data import inspection, selection
from hwr.data.records import Page
from hwr.data.report import Report
from hwr.errors import InputError
from hwr.stages import build
from hwr.text import Alphabet
from hwr.tracking import Store, download
from hwr.training import optimizers
from hwr.training.plan import Phase, Plan
from hwr.weights import Weights

IN_MEMORY = 2 << 30  # bytes of images a split may take; more stay on the disk, memory-mapped

Picture = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Training:
    """A built training: what the trainer needs, and what is logged about it.

    `alphabet` is None for stages without text; `size` says in words what is trained on; `augmented` draws
    augmented training samples from a seed, `predicted` so many validation samples with what was found.
    """

    stage: Any
    plan: Plan
    alphabet: Alphabet | None
    report: Report
    fingerprint: str
    took: str
    size: str
    augmented: Callable[[int], Picture]
    predicted: Callable[[int], Picture]


def load_pages(settings: Mapping[str, Any], cache: Path, *, whole: bool = False) -> list[Page]:
    """Read the data node; sources that draw their pages keep them under `cache`.

    `whole` keeps the lines that data.exclude leaves out of reading: they are handwriting all the same.
    """
    check_data(settings)
    kept: dict[str, Any] = {"folder": str(cache)} if settings.get("folder", "") is None else {}
    kept |= {"exclude": None} if whole else {}
    return data.load(**{**settings, **kept})


def check_data(settings: Mapping[str, Any]) -> None:
    """Raise InputError for a key of the data node that its source does not take, or one it lacks."""
    own = {name: value for name, value in settings.items() if name not in ("source", "exclude")}
    bind(data.reader(str(settings.get("source"))), own, "data")
    bind(selection.exclude, settings.get("exclude") or {}, "data.exclude", ["pages"])


def check_common(config: TrainConfig) -> None:
    """Raise InputError for settings of any training that no part takes."""
    build.device(config.device)
    check_data(config.data)
    inspection.check_policy(config.inspect.policy)
    plan_of(config).optimizer(config.lr)


def plan_of(config: TrainConfig) -> Plan:
    """Return what a training goes through; raise InputError for a phase that cannot be."""
    if not config.phases:
        raise InputError("phases is empty; a training needs at least one")
    nodes = config.phases.items()
    return Plan(
        phases=[make(_phase, node, f"phases.{name}", name=name, lr=config.lr) for name, node in nodes],
        optimizer=lambda lr: make(optimizers.create, config.optimizer, "optimizer", lr=lr),
        monitor=config.monitor,
        seed=config.seed,
        max_epochs=config.max_epochs,
        max_minutes=config.max_minutes,
        patience=config.patience,
        save_every=config.save_every,
        clip=config.clip,
        average=config.average,
    )


def phase_parts(
    config: TrainConfig, augmentation: Callable[..., Any], losses: Collection[Callable[..., Any]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return loss, one of `losses`, and augmentation of every phase; `augmentation` makes the latter."""
    made, augmentations = {}, {}
    for phase in plan_of(config).phases:
        node, where = _overlaid("loss", config.loss, phase)
        maker = target(node, where)
        if maker not in losses:
            raise InputError(
                f"{where}._target_={node['_target_']}: not a loss of stage {config.stage['kind']}"
            )
        made[phase.name] = make(maker, node, where)
        settings, where = _overlaid("augmentation", config.augmentation, phase)
        augmentations[phase.name] = make(augmentation, settings, where)
    return made, augmentations


def find_weights(name: str, store: Store, folder: Path, *, kind: str) -> Weights:
    """Load weights of stage `kind`: a folder, a published name, runs:/ID or models:/NAME@ALIAS."""
    if not name.startswith(("runs:/", "models:/")):
        return build.find(name, kind=kind)
    uri = name if name.startswith("models:/") or name.count("/") > 1 else name + "/weights/best"
    found = weights.load(download(uri, store, folder / "cache" / "weights"))
    return build.of_kind(found, name, kind)


def in_memory(images: Sequence[Picture]) -> list[Picture]:
    """Copy memory-mapped images of less than IN_MEMORY bytes in all, so that no epoch waits for the disk."""
    fits = sum(image.size for image in images) < IN_MEMORY
    return [np.array(image) for image in images] if fits else list(images)


def refuse_problems(problems: Sequence[tuple[str, str]], what: str) -> None:
    """Raise InputError for the first of the (id, reason) that have no image."""
    if problems:
        name, reason = problems[0]
        said = reason if reason.startswith(f"{what} {name}") else f"{what} {name}: {reason}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{said}{more}")


def _phase(
    *, name: str, lr: float, epochs: int, lr_scale: float, schedule: str, warmup: float,
    augmentation: dict[str, Any] | None = None, loss: dict[str, Any] | None = None,
) -> Phase:  # fmt: skip
    if epochs < 1 or not lr_scale > 0:
        raise InputError(f"phases.{name}: epochs={epochs}, lr_scale={lr_scale}; both must be above 0")
    peak, settings = lr * lr_scale, {"augmentation": augmentation or {}, "loss": loss or {}}
    optimizers.schedule(schedule, lr=peak, steps=epochs, warmup=warmup)  # refuses what it does not know
    return Phase(name, epochs, peak, schedule, warmup, settings)


def _overlaid(part: str, common: Mapping[str, Any], phase: Phase) -> tuple[dict[str, Any], str]:
    """Return the settings of a part in `phase`, and the node to name in messages.

    Settings of a phase that name another `_target_` stand alone; others change single keys.
    """
    own = phase.settings[part]
    merged = dict(own) if "_target_" in own else {**common, **own}
    return merged, f"phases.{phase.name}.{part}" if own else part
