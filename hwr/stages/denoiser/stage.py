"""Stage `denoiser`: texts as a recogniser reads them to texts as written, scored by character error rate."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import editdistance
import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.data.batches.texts import (
    LENGTH_STEP,
    Passage,
    Sampling,
    TextBatch,
    read,
    rounded,
    samples,
    text_batches,
    written,
)
from hwr.decoding.denoise import Classes, like_length, search_rewritings
from hwr.language.noise import Recogniser
from hwr.networks.transformer import HIDDEN, POINTER_SLOPE, STEEPER, Memory, slopes
from hwr.text import Alphabet

METRICS = ("valid/cer", "valid/noised_cer")  # what `validate` returns: of the texts rewritten, and as noised
GROWTH = 8  # characters by which a validation text may become longer

Floats = NDArray[np.float32]


class TextDenoiser:
    """Rewrites texts of up to `longest` characters with a network, `batch_size` at once."""

    def __init__(
        self, network: Any, alphabet: Alphabet, *, longest: int, batch_size: int, context: Any
    ) -> None:
        self.network, self.alphabet, self.context = network, alphabet, context
        self.longest, self.batch_size = longest, batch_size

    def start(self, texts: Sequence[str], *, width: int) -> "Steps":
        """Return the steps in which `width` texts each are written."""
        return Steps(self.network, mx.nd.array(read(texts, self.alphabet), ctx=self.context), width)

    def log_probs(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """Return log p(other | text) of each pair, natural."""
        found: dict[int, float] = {}
        for places in like_length(texts, self.batch_size):
            noisy = read([texts[place] for place in places], self.alphabet)
            before, labels = written([others[place] for place in places], self.alphabet)
            log_probs = self.network(*(mx.nd.array(values, ctx=self.context) for values in (noisy, before)))
            labels = mx.nd.array(labels, ctx=self.context)
            chosen = mx.nd.pick(log_probs, mx.nd.maximum(labels, 0)) * (labels >= 0)  # (N, T)
            found.update(zip(places, chosen.sum(axis=1).asnumpy().tolist(), strict=True))
        return [found[place] for place in range(len(texts))]

    def greedy(self, texts: Sequence[str]) -> list[str]:
        """Return each text rewritten along the most probable characters."""
        found = search_rewritings(self, texts, width=1, growth=GROWTH)
        return [next(iter(one)) for one in found]


class Steps:
    """Texts being written, B for each of N noisy texts (N, S), with what the decoder remembers of them.

    Nothing is moved where texts go on from others: keys and values of all places stay, B a place, and `_seen`
    tells which of them each text goes back to.
    """

    def __init__(self, network: Any, noisy: Any, width: int) -> None:
        self._network, self._width = network, width
        self._memory: Memory = network.remember(mx.nd, noisy)
        self._padding = np.where(noisy.asnumpy() < 0, HIDDEN, 0.0)  # (N, S)
        heads, _, size = self._memory.keys[0].shape
        self._room = mx.nd.zeros(
            (heads, LENGTH_STEP * width, size), ctx=noisy.context
        )  # for so many places more
        self._past = [[self._room.copy(), self._room.copy()] for _ in self._memory.keys]  # keys, values
        self._recent = np.full((noisy.shape[0], width, network.reach + 1), -1)
        self._seen = np.zeros((noisy.shape[0], width, 0), np.int64)

    def first(self) -> Floats:
        """Return the log-probabilities of the first character, (N, B, C)."""
        return self._written(np.full(self._recent.shape[:2], self._network.classes - 1))

    def next(self, parents: Classes, classes: Classes) -> Floats:
        """Return those of the next one: text b goes on from text `parents[n, b]` with `classes[n, b]`."""
        rows = np.arange(len(parents))[:, None]
        self._recent = self._recent[rows, parents]
        self._seen = np.concatenate([self._seen[rows, parents], parents[:, :, None]], axis=2)
        return self._written(classes)

    def _written(self, classes: Classes) -> Floats:
        self._recent = np.concatenate([self._recent[:, :, 1:], classes[:, :, None]], axis=2)
        network, nd, at = self._network, mx.nd, self._seen.shape[2]
        context = self._memory.pointer.context
        near = network.embed(nd, nd.array(self._recent.reshape(len(classes), -1), ctx=context))
        x = network.writing(nd.reshape(near, (len(classes), self._width, -1)))  # (N, B, width)
        back, across = (nd.array(bias, ctx=context) for bias in (self._back(at), self._across(at)))
        for number, layer in enumerate(network.decoder):
            past = self._past[number]
            for kind, own in enumerate(layer.own.remember(nd, layer.norm(x))):
                if past[kind].shape[1] < back.shape[2]:
                    past[kind] = nd.concat(past[kind], self._room, dim=1)
                past[kind][:, at * self._width : (at + 1) * self._width] = own
            x = layer.look_back(nd, x, *past, back)
            x = layer.look_up(nd, x, self._memory.keys[number], self._memory.values[number], across)
        distances = np.abs(at - np.arange(self._padding.shape[1]))
        pointed = nd.array((self._padding - POINTER_SLOPE * distances)[:, None], ctx=context)
        return np.asarray(network.choose(nd, x, self._memory, pointed).asnumpy())

    def _back(self, at: int) -> Floats:
        """Return the bias (N * heads, B, K * B) of the first K places: each text sees its own."""
        steep = np.array(slopes(self._network.heads))[:, None, None]  # (heads, 1, 1)
        own = np.broadcast_to(np.arange(self._width)[:, None], (*self._seen.shape[:2], 1))
        seen = np.concatenate([self._seen, own], axis=2) + self._width * np.arange(at + 1)  # (N, B, at + 1)
        places = rounded(at + 1)
        hidden = np.full((*seen.shape[:2], places * self._width), HIDDEN, np.float32)
        np.put_along_axis(hidden, seen, 0.0, axis=2)
        distances = np.abs(at - np.arange(places, dtype=np.float32)).repeat(self._width)
        bias = hidden[:, None] - steep * distances  # (N, heads, B, K * B)
        return np.asarray(bias.reshape(-1, *hidden.shape[1:]), np.float32)

    def _across(self, at: int) -> Floats:
        """Return the bias (N * heads, 1, S) of the text as read."""
        steep = STEEPER * np.array(slopes(self._network.heads))[:, None, None]
        distances = np.abs(at - np.arange(self._padding.shape[1]))
        bias = self._padding[:, None, None] - steep * distances  # (N, heads, 1, S)
        return np.asarray(bias.reshape(-1, 1, len(distances)), np.float32)


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

    def batches(self, phase: Any, epoch: int, *, start: int = 0) -> Iterator[TextBatch]:
        """Yield the training batches of `epoch`, misread anew, from batch `start` on."""
        recogniser, longest = self.task.recognisers[phase.name], self.denoiser.longest

        def change(text: str, index: int) -> str:
            return recogniser(text, seed=self.seed, epoch=epoch, index=index)[:longest]

        pairs = samples(self.task.train, self.task.sampling, seed=(self.seed, epoch))
        return text_batches(
            pairs,
            self.denoiser.alphabet,
            batch_size=self.batch_size,
            seed=(self.seed, epoch),
            change=change,
            start=start,
        )

    def loss(self, phase: Any, batch: TextBatch) -> Any:
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
