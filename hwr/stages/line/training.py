"""The training of stage `line`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import editdistance
import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr import pictures
from hwr.data import inspection
from hwr.data.augment import LineAugmentation
from hwr.data.batches import Drawing, Draws
from hwr.data.batches.lines import Image, LineBatch, LineSet, line_training_batches
from hwr.data.cache import CutImages, line_images
from hwr.data.records import Line, Page
from hwr.decoding import Decoder, Reading, build_decoder
from hwr.errors import InputError
from hwr.images.page_files import Loading
from hwr.losses import CtcLoss
from hwr.runtime import uses_tiles
from hwr.scoring import edits
from hwr.stages.build import with_images
from hwr.stages.kind import Built, Kind, ModelRecipe, Picture, Recipe
from hwr.stages.line import MODEL, LineReader, LineSettings, line_network, line_steps
from hwr.text import Alphabet, nfc
from hwr.training.loop import Phase

SAMPLES = 24  # augmented line images in a run's picture
METRICS = ("valid/cer", "valid/wer")  # what `validate` returns, errors all

Augment = Callable[..., Image]  # image, *, seed, epoch, index, view


@dataclass(frozen=True)
class LineTask:
    """What is trained: alphabet, lines to train and validate on, losses and augmentations by phase name.

    `drawing` says by set how often its lines are drawn.
    """

    alphabet: Alphabet
    train: LineSet
    valid: LineSet
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Augment]
    drawing: Mapping[str, Drawing] = field(default_factory=dict)


class LineStage:
    """Train and validate a line network; `phase.name` picks loss and augmentation.

    `fast` shares the network's parameters, and learns in bfloat16 from the images that it computes right.
    """

    metrics: Sequence[str] = METRICS

    def __init__(
        self, reader: LineReader, task: LineTask, decoder: Decoder, *, batch_size: int, seed: int,
        fast: Any = None,
    ) -> None:  # fmt: skip
        self.network, self.reader, self.task, self.decoder = reader.network, reader, task, decoder
        self.fast = fast
        self.batch_size, self.seed = batch_size, seed
        self.draws = Draws(task.train.datasets, task.train.texts, task.drawing, seed=seed)

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.draws) // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[LineBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        augment, views = self.task.augmentations[phase.name], range(self.task.losses[phase.name].views)
        return line_training_batches(
            self.task.train.taken(self.draws.of_epoch(epoch)),
            batch_size=self.batch_size,
            seed=(self.seed, epoch),
            change=lambda image, index: np.stack(
                [augment(image, seed=self.seed, epoch=epoch, index=index, view=view) for view in views]
            ),
            encode=self.task.alphabet.encode,
            multiple=self.network.width_multiple,
            start=start,
        )

    def loss(self, phase: Phase, batch: LineBatch) -> Any:
        """Return the CTC loss of every line, (N,)."""
        height, width = batch.images.shape[2:]
        fast = self.fast is not None and self.fast.right_in_bfloat16(height, width, tiled=uses_tiles())
        network = self.fast if fast else self.network
        images = mx.nd.array(batch.images.reshape(-1, 1, height, width))
        logits, shortcut = network(images)  # (T, N * views, C) each
        return self.task.losses[phase.name](logits, shortcut, mx.nd.array(batch.labels))

    def validate(self) -> dict[str, float]:
        """Return character and word error rate on the validation lines, and the first by set."""
        lines = self.task.valid
        true, read = lines.texts, [reading.text for reading in self.read(lines.images)]
        words = ([text.split() for text in texts] for texts in (true, read))
        pairs: dict[str, list[tuple[str, str]]] = {}
        for name, *pair in zip(lines.datasets, true, read, strict=bool(lines.datasets)):
            pairs.setdefault(name, []).append((pair[0], pair[1]))
        by_set = {
            f"valid/cer/{name}": error_rate(*zip(*own, strict=True)) for name, own in pairs.items() if name
        }
        return {"valid/cer": error_rate(true, read), "valid/wer": error_rate(*words), **by_set}

    def read(self, images: Sequence[Image]) -> list[Reading]:
        """Return the text of every line image."""
        return self.decoder.read(self.reader.probs(images))


def build_line(recipe: Recipe[LineSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Cut the lines out of the pages, and build the stage that is trained on them."""
    task, unusable = _task(recipe, pages, progress=progress)
    network = line_network(recipe.model, task.alphabet, recipe.context)
    reader = LineReader(network, batch_size=recipe.batch_size, context=recipe.context)
    decoder = build_decoder(recipe.decoder, task.alphabet)
    bfloat16 = recipe.model.precision == "bfloat16"
    fast = recipe.model.in_bfloat16(network, classes=len(task.alphabet)) if bfloat16 else None
    stage = LineStage(reader, task, decoder, batch_size=recipe.batch_size, seed=recipe.seed, fast=fast)
    first = recipe.plan.phases[0].name
    return Built(
        stage=stage,
        alphabet=task.alphabet,
        size=f"{len(task.train.ids)} training and {len(task.valid.ids)} validation lines{stage.draws.note}",
        augmented=lambda seed: _augmented(task, first, seed),
        predicted=lambda count: _readings(stage, count),
        unusable=unusable,
    )


def line_limits(model: ModelRecipe[LineSettings], loading: Loading) -> inspection.Limits:
    """Return the limits that pages are inspected with before their lines are read by a model."""
    return inspection.Limits(crop=model.settings.crop, steps=line_steps(model), loading=loading)


KIND = Kind(
    model=MODEL,
    losses=(CtcLoss,),
    augmentation=LineAugmentation,
    metrics=METRICS,
    heads=("output", "shortcut"),
    decodes=True,
    learns_text=True,
    limits=lambda recipe: line_limits(recipe.model, recipe.loading),
    build=build_line,
)


def lines_of(pages: Sequence[Page], split: str) -> list[Line]:
    """Return the lines of a split; raise InputError where it has none."""
    lines = [line for page in pages if page.split == split for line in page.lines]
    if not lines:
        raise InputError(f"the split {split} has no lines; hwr inspect tells what is there")
    return lines


def line_set(pages: Sequence[Page], images: CutImages, split: str) -> LineSet:
    """Return the lines of a split with their images."""
    places = {name: place for place, name in enumerate(images.ids)}
    lines, datasets = lines_of(pages, split), {line.id: page.dataset for page in pages for line in page.lines}
    kept = [images.images[places[line.id]] for line in lines]
    ids = [line.id for line in lines]
    return LineSet(ids, kept, [line.text for line in lines], [datasets[name] for name in ids])


def check_characters(lines: Sequence[Line], alphabet: Alphabet, unknown: str) -> None:
    """Raise InputError for a line with characters outside the alphabet where `unknown` is error."""
    for line in lines if unknown == "error" else ():
        if missing := alphabet.unknown(line.text):
            raise InputError(
                f"line {line.id}: {missing!r} is not in the alphabet; train with it or set unknown=keep"
            )


def reading_item(image: NDArray[np.uint8], name: str, reference: str, hypothesis: str) -> pictures.LineCard:
    """Return a line for `pictures.readings`."""
    errors = edits.character_edits(reference, hypothesis).errors
    return pictures.LineCard(image, name, reference, {"read": pictures.ReadText(hypothesis, errors)})


def error_rate(true: Sequence[Sequence[str]], read: Sequence[Sequence[str]]) -> float:
    """Return the Levenshtein distances of pairs over the length of all that is true."""
    errors = sum(editdistance.eval(*pair) for pair in zip(true, read, strict=True))
    return float(errors / max(1, sum(map(len, true))))


def _task(
    recipe: Recipe[LineSettings], pages: Sequence[Page], *, progress: bool
) -> tuple[LineTask, dict[str, str]]:
    """Return what is trained, and why lines by id have no image."""
    for split in ("train", "valid"):
        lines_of(pages, split)  # refuses a split without any
    cache, crop = recipe.data.cache, recipe.settings.crop
    images = line_images(pages, crop, folder=cache, loading=recipe.loading, progress=progress)
    pages = with_images(pages, images.problems)
    written = (line.text for line in lines_of(pages, "train"))
    alphabet = Alphabet.of([*written, nfc(recipe.settings.characters)])
    check_characters(lines_of(pages, "valid"), alphabet, recipe.unknown)
    train, valid = (line_set(pages, images, split) for split in ("train", "valid"))
    task = LineTask(alphabet, train, valid, recipe.losses, recipe.augmentations, recipe.data.drawing)
    return task, dict(images.problems)


def _augmented(task: LineTask, phase: str, seed: int) -> Picture:
    """Draw augmented training lines with their texts."""
    lines, augment = task.train, task.augmentations[phase]
    count = len(lines.ids)
    chosen = np.random.default_rng(seed).choice(count, min(SAMPLES, count), replace=False)
    images = [augment(lines.images[i], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return pictures.sheet(images, [lines.texts[i] for i in chosen], columns=3)


def _readings(stage: LineStage, count: int) -> Picture:
    """Draw validation lines with what was written and what was read."""
    lines = stage.task.valid
    chosen = np.linspace(0, len(lines.ids) - 1, min(count, len(lines.ids))).astype(int)
    images = [lines.images[i] for i in chosen]
    return pictures.readings({"validation lines": [
        reading_item(image, lines.ids[i], lines.texts[i], read.text)
        for i, image, read in zip(chosen, images, stage.read(images), strict=True)
    ]})  # fmt: skip
