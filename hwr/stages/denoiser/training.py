"""The training of stage `denoiser`: texts of a data set, with errors drawn from a recogniser's confusions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from hwr import pictures
from hwr.data.batches import Drawing, Draws
from hwr.data.batches.texts import (
    Passage,
    Sampling,
    TextBatch,
    draw_samples,
    passages,
    running_text,
    text_training_batches,
)
from hwr.data.records import LeftOut, Page
from hwr.files import read_text
from hwr.language import shared_texts
from hwr.language.confusions import Confusions, Noise, Recogniser
from hwr.losses import TextLoss
from hwr.scoring import edits
from hwr.stages import boxes
from hwr.stages.denoiser import MODEL, DenoiserSettings, TextDenoiser, text_denoiser
from hwr.stages.kind import Built, Kind, Picture, Recipe
from hwr.stages.line.training import check_characters, error_rate, lines_of
from hwr.text import Alphabet, nfc
from hwr.training.loop import Phase

EXTRA = "stage.texts"  # the set of lines that no data set holds
SAMPLES = 24  # misread texts in a run's picture
NEVER = 2**31 - 1  # the epoch in which validation texts are misread
METRICS = ("valid/cer", "valid/noised_cer")  # what `validate` returns: of the texts rewritten, and as noised


@dataclass(frozen=True)
class TextTask:
    """What is trained: running text and how samples are taken of it, losses and recognisers by phase name.

    `valid` holds (id, text) to validate on, `noised` the same texts misread. `datasets` names the sets of
    training lines by id, where they are of any, and `drawing` says by set how often its lines are drawn.
    """

    train: Sequence[Passage]
    valid: Sequence[tuple[str, str]]
    noised: Sequence[str]
    sampling: Sampling
    losses: Mapping[str, Any]
    recognisers: Mapping[str, Recogniser]
    datasets: Mapping[str, str] = field(default_factory=dict)
    drawing: Mapping[str, Drawing] = field(default_factory=dict)


class DenoiserStage:
    """Train and validate a network that rewrites texts; `phase.name` picks loss and recogniser."""

    metrics: Sequence[str] = METRICS

    def __init__(self, denoiser: TextDenoiser, task: TextTask, *, batch_size: int, seed: int) -> None:
        self.network, self.denoiser, self.task = denoiser.network, denoiser, task
        self.batch_size, self.seed = batch_size, seed

    @cached_property
    def draws(self) -> Draws:
        """Which samples, the lines so many times, every epoch draws."""
        task = self.task
        lines = [line for own in task.train for line in zip(own.ids, own.lines, strict=True)]
        ids, texts = zip(*lines * task.sampling.repeats, strict=True)
        datasets = [task.datasets.get(name, EXTRA) for name in ids]
        return Draws(datasets, texts, task.drawing, seed=self.seed)

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.draws) // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[TextBatch]:
        """Yield the training batches of `epoch`, misread anew, from batch `start` on."""
        recogniser, longest = self.task.recognisers[phase.name], self.denoiser.longest
        pairs = draw_samples(self.task.train, self.task.sampling, seed=(self.seed, epoch))
        return text_training_batches(
            [pairs[index] for index in self.draws.of_epoch(epoch)],
            self.denoiser.alphabet,
            batch_size=self.batch_size,
            seed=(self.seed, epoch),
            change=lambda text, index: recogniser(text, seed=self.seed, epoch=epoch, index=index)[:longest],
            start=start,
        )

    def loss(self, phase: Phase, batch: TextBatch) -> Any:
        """Return the loss of every text, (N,)."""
        noisy, before, labels = map(mx.nd.array, (batch.noisy, batch.before, batch.labels))
        return self.task.losses[phase.name](self.network(noisy, before), labels)

    def validate(self) -> dict[str, float]:
        """Return the character error rate of the validation texts, rewritten and as noised."""
        true, noised = [text for _, text in self.task.valid], self.task.noised
        rewritten = self.denoiser.greedy(noised)
        return {"valid/cer": error_rate(true, rewritten), "valid/noised_cer": error_rate(true, noised)}


def build_denoiser(recipe: Recipe[DenoiserSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Take running text from the pages, and build the stage that is trained on it."""
    alphabet, task, left_out = _task(recipe, pages)
    denoiser = text_denoiser(recipe.model, alphabet, batch_size=recipe.batch_size, context=recipe.context)
    stage = DenoiserStage(denoiser, task, batch_size=recipe.batch_size, seed=recipe.seed)
    lines = sum(len(passage.lines) for passage in task.train)
    return Built(
        stage=stage,
        alphabet=alphabet,
        size=f"{lines} training and {len(task.valid)} validation lines{stage.draws.note}",
        augmented=lambda seed: _misread(task, recipe.plan.phases[0].name, seed),
        predicted=lambda count: _rewritten(stage, count),
        left_out=left_out,
    )


KIND = Kind(
    model=MODEL,
    losses=(TextLoss,),
    augmentation=Noise,
    metrics=METRICS,
    heads=("embedding", "output"),
    learns_text=True,
    limits=boxes.limits,
    build=build_denoiser,
)


def extra_texts(files: Sequence[str], pages: Sequence[Page]) -> tuple[list[Passage], list[LeftOut]]:
    """Return the running text of UTF-8 files, without lines that the valid or test split holds, and those.

    Empty lines part passages. Raises InputError for a file that cannot be read.
    """
    held = [line.text for page in pages if page.split in ("valid", "test") for line in page.lines]
    found, left_out = [], []
    for file in files:
        texts = [nfc(text) for text in read_text(Path(file), key="stage.texts").splitlines()]
        known = shared_texts(texts, held)
        own = ["" if text in known else text for text in texts]
        ids = [f"{file}:{number}" for number in range(1, len(own) + 1)]
        found += running_text(ids, own)
        lost = [("texts", name) for name, text in zip(ids, texts, strict=True) if text in known]
        left_out.append(LeftOut.of(f"stage.texts={file}, as in valid or test", lines=lost))
    return found, left_out


def _task(
    recipe: Recipe[DenoiserSettings], pages: Sequence[Page]
) -> tuple[Alphabet, TextTask, list[LeftOut]]:
    settings, known = recipe.settings, Confusions.load(recipe.settings.confusions)
    more, left_out = extra_texts(settings.texts, pages)
    train = [*passages(pages, "train"), *more]
    lines_of(pages, "train")  # refuses a split without any
    read = [read for _, read in known.counts if read is not None]
    alphabet = Alphabet.of([*(line for passage in train for line in passage.lines), *read])
    valid = lines_of(pages, "valid")
    check_characters(valid, alphabet, recipe.unknown)
    recognisers = {phase: Recogniser(known, noise) for phase, noise in recipe.augmentations.items()}
    misread = next(iter(recognisers.values()))
    noised = [misread(line.text, seed=recipe.seed, epoch=NEVER, index=n) for n, line in enumerate(valid)]
    # A recogniser of this alphabet reads no other characters.
    noised = ["".join(c for c in text if c in alphabet.symbols)[: settings.longest] for text in noised]
    texts = [(line.id, line.text) for line in valid]
    datasets = {line.id: page.dataset for page in pages for line in page.lines}
    drawing = recipe.data.drawing
    task = TextTask(train, texts, noised, settings, recipe.losses, recognisers, datasets, drawing)
    return alphabet, task, left_out


def _misread(task: TextTask, phase: str, seed: int) -> Picture:
    """Draw training texts with what the recogniser makes of them."""
    pairs = draw_samples(task.train, task.sampling, seed=(seed, 0))
    chosen = np.random.default_rng(seed).choice(len(pairs), min(SAMPLES, len(pairs)), replace=False)
    read = [task.recognisers[phase](pairs[i][1], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return pictures.readings({"training texts": [
        _item(pairs[i], {"misread": text}) for i, text in zip(chosen, read, strict=True)
    ]})  # fmt: skip


def _rewritten(stage: DenoiserStage, count: int) -> Picture:
    """Draw validation texts as misread and as rewritten."""
    task = stage.task
    chosen = np.linspace(0, len(task.valid) - 1, min(count, len(task.valid))).astype(int)
    noised = [task.noised[i] for i in chosen]
    return pictures.readings({"validation texts": [
        _item(task.valid[i], {"misread": before, "rewritten": after})
        for i, before, after in zip(chosen, noised, stage.denoiser.greedy(noised), strict=True)
    ]})  # fmt: skip


def _item(pair: tuple[str, str], read: dict[str, str]) -> pictures.LineCard:
    """Return an (id, text) and what was read, without an image, for `pictures.readings`."""
    name, text = pair
    shown = {by: pictures.ReadText(own, edits.character_edits(text, own).errors) for by, own in read.items()}
    return pictures.LineCard(np.full((1, 1), 255, np.uint8), name, text, shown)
