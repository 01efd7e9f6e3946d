"""Training and validation of a denoiser: cross-entropy on misread texts, character error rate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import editdistance
import mxnet as mx

from hwr.data.batches.texts import Passage, Sampling, TextBatch, draw_samples, text_training_batches
from hwr.language.noise import Recogniser
from hwr.stages.denoiser.model import TextDenoiser
from hwr.training.plan import Phase

METRICS = ("valid/cer", "valid/noised_cer")  # what `validate` returns: of the texts rewritten, and as noised


@dataclass(frozen=True)
class TextTask:
    """What is trained: running text and how samples are taken of it, losses and recognisers by phase name.

    `valid` holds (id, text) to validate on, `noised` the same texts misread.
    """

    train: Sequence[Passage]
    valid: Sequence[tuple[str, str]]
    noised: Sequence[str]
    sampling: Sampling
    losses: Mapping[str, Any]
    recognisers: Mapping[str, Recogniser]


class DenoiserStage:
    """Train and validate a network that rewrites texts; `phase.name` picks loss and recogniser."""

    metrics: Sequence[str] = METRICS

    def __init__(self, denoiser: TextDenoiser, task: TextTask, *, batch_size: int, seed: int) -> None:
        self.network, self.denoiser, self.task = denoiser.network, denoiser, task
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        lines = self.task.sampling.repeats * sum(len(passage.lines) for passage in self.task.train)
        return -(-lines // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[TextBatch]:
        """Yield the training batches of `epoch`, misread anew, from batch `start` on."""
        recogniser, longest = self.task.recognisers[phase.name], self.denoiser.longest

        def change(text: str, index: int) -> str:
            return recogniser(text, seed=self.seed, epoch=epoch, index=index)[:longest]

        pairs = draw_samples(self.task.train, self.task.sampling, seed=(self.seed, epoch))
        return text_training_batches(
            pairs,
            self.denoiser.alphabet,
            batch_size=self.batch_size,
            seed=(self.seed, epoch),
            change=change,
            start=start,
        )

    def loss(self, phase: Phase, batch: TextBatch) -> Any:
        """Return the loss of every text, (N,)."""
        noisy, before, labels = (
            mx.nd.array(values, ctx=self.denoiser.context)
            for values in (batch.noisy, batch.before, batch.labels)
        )
        return self.task.losses[phase.name](self.network(noisy, before), labels)

    def validate(self) -> dict[str, float]:
        """Return the character error rate of the validation texts, rewritten and as noised."""
        true = [text for _, text in self.task.valid]
        rewritten = self.denoiser.greedy(self.task.noised)
        return {"valid/cer": _rate(true, rewritten), "valid/noised_cer": _rate(true, self.task.noised)}


def _rate(true: Sequence[str], read: Sequence[str]) -> float:
    errors = sum(editdistance.eval(one, other) for one, other in zip(true, read, strict=True))
    return float(errors / max(1, sum(map(len, true))))
