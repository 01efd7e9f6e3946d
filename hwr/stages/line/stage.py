"""Training and validation of a line network: CTC loss, character error rate."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import editdistance
import mxnet as mx

from hwr.data.batches.lines import Image, LineBatch, LineSet, line_training_batches
from hwr.decoding.reading import Decoder, Reading
from hwr.stages.line.model import LineReader
from hwr.text import Alphabet
from hwr.training.plan import Phase

METRICS = ("valid/cer", "valid/wer")  # what `validate` returns, errors all

Augment = Callable[..., Image]  # image, *, seed, epoch, index


@dataclass(frozen=True)
class LineTask:
    """What is trained: alphabet, lines to train and validate on, losses and augmentations by phase name."""

    alphabet: Alphabet
    train: LineSet
    valid: LineSet
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Augment]


class LineStage:
    """Train and validate a line network; `phase.name` picks loss and augmentation."""

    metrics: Sequence[str] = METRICS

    def __init__(
        self, reader: LineReader, task: LineTask, decoder: Decoder, *, batch_size: int, seed: int
    ) -> None:
        self.network, self.reader, self.task, self.decoder = reader.network, reader, task, decoder
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.task.train.ids) // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[LineBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        augmentation = self.task.augmentations[phase.name]

        def change(image: Image, index: int) -> Image:
            return augmentation(image, seed=self.seed, epoch=epoch, index=index)

        return line_training_batches(
            self.task.train,
            batch_size=self.batch_size,
            seed=(self.seed, epoch),
            change=change,
            encode=self.task.alphabet.encode,
            multiple=self.network.width_multiple,
            start=start,
        )

    def loss(self, phase: Phase, batch: LineBatch) -> Any:
        """Return the CTC loss of every line, (N,)."""
        context = self.reader.context
        logits, shortcut = self.network(mx.nd.array(batch.images, ctx=context))  # (T, N, C) each
        return self.task.losses[phase.name](logits, shortcut, mx.nd.array(batch.labels, ctx=context))

    def validate(self) -> dict[str, float]:
        """Return character and word error rate on the validation lines."""
        readings = self.read(self.task.valid.images)
        pairs = [(text, reading.text) for text, reading in zip(self.task.valid.texts, readings, strict=True)]
        return {
            "valid/cer": _rate(pairs),
            "valid/wer": _rate([(text.split(), read.split()) for text, read in pairs]),
        }

    def read(self, images: Sequence[Image]) -> list[Reading]:
        """Return the text of every line image."""
        return self.decoder.read(self.reader.probs(images))


def _rate(pairs: Sequence[tuple[Sequence[str], Sequence[str]]]) -> float:
    errors = sum(editdistance.eval(reference, read) for reference, read in pairs)
    return float(errors / max(1, sum(len(reference) for reference, _ in pairs)))
