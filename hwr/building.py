"""From plain configuration values to the objects of a training: pages, line images, network, stage, phases.

Here alone the parts of the library meet; each of them gets plain values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr import data, optimizers, pictures, weights
from hwr.binding import bind, make, target
from hwr.config import ROOT, TrainConfig
from hwr.data import inspection, selection
from hwr.data.augment import Augmentation
from hwr.data.cache import LineImages, line_images
from hwr.data.fingerprint import fingerprint
from hwr.data.inspection_report import Report
from hwr.data.records import Line, Page
from hwr.data.samples import LineSet, rounded
from hwr.errors import InputError
from hwr.images import LineCrop
from hwr.networks.crnn import STRIDE
from hwr.plan import Phase, Plan
from hwr.scoring import edit_distance
from hwr.stages.line import METRICS, LineReader, LineStage, LineTask, initialise
from hwr.text import Alphabet
from hwr.tracking import Store, download

SAMPLES = 24  # augmented line images in a run's picture
IN_MEMORY = 2 << 30  # bytes of line images a split may take; more stay on the disk, memory-mapped


@dataclass(frozen=True)
class Training:
    """A built training: what the trainer needs, and what is logged about it."""

    stage: LineStage
    plan: Plan
    alphabet: Alphabet
    report: Report
    fingerprint: str
    took: str

    def augmented(self, seed: int) -> NDArray[np.uint8]:
        """Draw augmented training lines with their texts."""
        lines, augment = self.stage.task.train, self.stage.task.augmentations[self.plan.phases[0].name]
        count = len(lines.ids)
        chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
        images = [augment(lines.images[i], seed, 0, int(i)) for i in chosen]
        return pictures.sheet(images, [lines.texts[i] for i in chosen], columns=3)

    def readings(self, count: int) -> NDArray[np.uint8]:
        """Draw validation lines with what was written and what was read."""
        lines = self.stage.task.valid
        chosen = np.linspace(0, len(lines.ids) - 1, min(count, len(lines.ids))).astype(int)
        images = [lines.images[i] for i in chosen]
        return pictures.readings({"validation lines": [
            reading_item(image, lines.ids[i], lines.texts[i], read.text)
            for i, image, read in zip(chosen, images, self.stage.read(images), strict=True)
        ]})  # fmt: skip


def reading_item(image: NDArray[np.uint8], name: str, reference: str, hypothesis: str) -> pictures.Reading:
    """Return a line for `pictures.readings`."""
    errors = edit_distance.characters(reference, hypothesis).errors
    return pictures.Reading(image, name, reference, hypothesis, errors)


def load_pages(settings: Mapping[str, Any], cache: Path) -> list[Page]:
    """Read the data node; sources that draw their pages keep them under `cache`."""
    check_data(settings)
    kept = {"folder": str(cache)} if settings.get("folder", "") is None else {}
    return data.load(**{**settings, **kept})


def check_data(settings: Mapping[str, Any]) -> None:
    """Raise InputError for a key of the data node that its source does not take, or one it lacks."""
    own = {name: value for name, value in settings.items() if name not in ("source", "exclude")}
    bind(data.reader(str(settings.get("source"))), own, "data")
    bind(selection.exclude, settings.get("exclude") or {}, "data.exclude", ["pages"])


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    if config.stage.kind != "line":
        raise InputError(f"stage.kind={config.stage.kind}: unknown; use line")
    if config.monitor not in METRICS:
        raise InputError(f"monitor={config.monitor}: no such metric; use one of {', '.join(METRICS)}")
    device(config.device)
    check_data(config.data)
    inspection.check_policy(config.inspect.policy)
    make(LineCrop, config.stage.crop, "stage.crop")
    bind(target(config.network, "network"), config.network, "network", ["classes"])
    bind(target(config.decoder, "decoder"), config.decoder, "decoder", ["alphabet"])
    plan_of(config).optimizer(config.lr)
    _phase_parts(config)


def line_training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build a training of stage `line`."""
    folder = Path(config.folder)
    start = find_weights(config.init, store, folder) if config.init else None
    pages = load_pages(config.data, folder / "cache")
    report = inspected(pages, config)
    pages = inspection.apply(pages, report, config.inspect.policy)
    task = _line_task(pages, config, progress=progress)
    context, alphabet = device(config.device), task.alphabet
    network = line_network(config, alphabet, context)
    took = start and weights.transfer(network, start, alphabet, heads=("output", "shortcut"))
    decoder = make(target(config.decoder, "decoder"), config.decoder, "decoder", alphabet=alphabet)
    reader = LineReader(network, batch_size=config.batch_size, context=context)
    stage = LineStage(reader, task, decoder, batch_size=config.batch_size, seed=config.seed)
    return Training(stage, plan_of(config), alphabet, report, fingerprint(pages), str(took or ""))


def line_network(config: TrainConfig, alphabet: Alphabet, context: Any) -> Any:
    """Return the initialised network of stage `line`."""
    network = make(target(config.network, "network"), config.network, "network", classes=len(alphabet))
    initialise(network, height=config.stage.crop["height"], seed=config.seed, context=context)
    return network


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
        clip=config.clip,
        average=config.average,
    )


def lines_of(pages: Sequence[Page], split: str) -> list[Line]:
    """Return the lines of a split; raise InputError where it has none."""
    lines = [line for page in pages if page.split == split for line in page.lines]
    if not lines:
        raise InputError(f"the split {split} has no lines; see data.splits, data.shares and data.exclude")
    return lines


def inspected(pages: Sequence[Page], config: TrainConfig, *, full: bool = False) -> Report:
    """Look through pages as a training of stage `line` would see them."""
    crop = make(LineCrop, config.stage.crop, "stage.crop")
    return inspection.inspect(
        pages, inspection.Limits(crop=crop, steps=steps_of, max_pixels=config.max_pixels), full=full
    )


def line_set(pages: Sequence[Page], images: LineImages, split: str) -> LineSet:
    """Return the lines of a split with their images."""
    places = {name: place for place, name in enumerate(images.ids)}
    lines = lines_of(pages, split)
    found = in_memory([images.images[places[line.id]] for line in lines])
    return LineSet([line.id for line in lines], found, [line.text for line in lines])


def check_characters(lines: Sequence[Line], alphabet: Alphabet, unknown: str) -> None:
    """Raise InputError for a line with characters outside the alphabet where `unknown` is error."""
    for line in lines:
        missing = alphabet.unknown(line.text)
        if missing and unknown == "error":
            raise InputError(
                f"line {line.id}: {missing!r} is not in the alphabet; train with it or set unknown=keep"
            )


def in_memory(images: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Copy memory-mapped images of less than IN_MEMORY bytes in all, so that no epoch waits for the disk."""
    fits = sum(image.size for image in images) < IN_MEMORY
    return [np.array(image) for image in images] if fits else images


def refuse_problems(images: LineImages) -> None:
    """Raise InputError for the first line that has no image."""
    if images.problems:
        name, reason = images.problems[0]
        more = f" (and {len(images.problems) - 1} more)" if len(images.problems) > 1 else ""
        raise InputError(f"line {name}: {reason}{more}")


def find_weights(name: str, store: Store, folder: Path) -> weights.Weights:
    """Load weights from a folder, a published name (line/copiste), runs:/ID or models:/NAME@ALIAS."""
    if name.startswith(("runs:/", "models:/")):
        uri = name if name.startswith("models:/") or name.count("/") > 1 else name + "/weights/best"
        return weights.load(download(uri, store, folder / "cache" / "weights"))
    published = ROOT / "experiments" / name / "weights"
    return weights.load(published if published.is_dir() and not Path(name).is_dir() else Path(name))


def device(name: str) -> Any:
    """Return the MXNet context for `cpu` or `gpu:N`; raise InputError where it is not there."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "gpu") or not (number or "0").isdigit():
        raise InputError(f"device={name}: use cpu, gpu or gpu:N")
    if kind == "gpu" and mx.context.num_gpus() <= int(number or 0):
        raise InputError(f"device={name}: this MXNet sees {mx.context.num_gpus()} GPUs; use device=cpu")
    return mx.cpu() if kind == "cpu" else mx.gpu(int(number or 0))


def steps_of(width: int) -> int:
    """Return the time steps T of a line image `width` px wide."""
    return rounded(width) // STRIDE


def _phase(
    *, name: str, lr: float, epochs: int, lr_scale: float, schedule: str, warmup: float,
    augmentation: dict[str, Any] | None = None, loss: dict[str, Any] | None = None,
) -> Phase:  # fmt: skip
    if epochs < 1 or not lr_scale > 0:
        raise InputError(f"phases.{name}: epochs={epochs}, lr_scale={lr_scale}; both must be above 0")
    peak, settings = lr * lr_scale, {"augmentation": augmentation or {}, "loss": loss or {}}
    optimizers.schedule(schedule, lr=peak, steps=epochs, warmup=warmup)  # refuses what it does not know
    return Phase(name, epochs, peak, schedule, warmup, settings)


def _line_task(pages: Sequence[Page], config: TrainConfig, *, progress: bool) -> LineTask:
    alphabet = Alphabet.of(line.text for line in lines_of(pages, "train"))
    check_characters(lines_of(pages, "valid"), alphabet, config.unknown)
    crop, cache = make(LineCrop, config.stage.crop, "stage.crop"), Path(config.folder) / "cache"
    images = line_images(pages, crop, folder=cache, max_pixels=config.max_pixels, progress=progress)
    refuse_problems(images)
    train, valid = (line_set(pages, images, split) for split in ("train", "valid"))
    return LineTask(alphabet, train, valid, *_phase_parts(config))


def _phase_parts(config: TrainConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    losses, augmentations = {}, {}
    for phase in plan_of(config).phases:
        node, where = _overlaid("loss", config.loss, phase)
        losses[phase.name] = make(target(node, where), node, where)
        settings, where = _overlaid("augmentation", config.augmentation, phase)
        augmentations[phase.name] = _positional(make(Augmentation, settings, where))
    return losses, augmentations


def _overlaid(part: str, common: Mapping[str, Any], phase: Phase) -> tuple[dict[str, Any], str]:
    """Return the settings of a part in `phase`, and the node to name in messages."""
    own = phase.settings[part]
    return {**common, **own}, f"phases.{phase.name}.{part}" if own else part


def _positional(augmentation: Augmentation) -> Any:
    return lambda image, seed, epoch, index: augmentation(image, seed=seed, epoch=epoch, index=index)
