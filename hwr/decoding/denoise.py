"""Denoising: correct a text with a network that was trained on a recogniser's errors.

It imports no network; the caller passes one.
"""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwr.decoding import Alternative, Decoder, Probs, Reading, rewrite_reading
from hwr.language import TextRecord
from hwr.language.arpa import NgramModel
from hwr.text import Alphabet

Classes = NDArray[np.int64]
Scores = NDArray[np.float64]


class RewritingSteps(Protocol):
    """Decoding state: B candidates for each of N texts as read, one character a step."""

    def first(self) -> NDArray[np.float32]:
        """Return the log-probabilities of the first character, (N, B, C)."""

    def next(self, parents: Classes, classes: Classes) -> NDArray[np.float32]:
        """Return those of the next one: candidate b extends candidate `parents[n, b]` by `classes[n, b]`."""


class RewritingNetwork(Protocol):
    """A network that corrects texts; a text gives the same alone and in a batch."""

    alphabet: Alphabet
    longest: int
    batch_size: int

    def start(self, texts: Sequence[str], *, width: int) -> RewritingSteps:
        """Return the decoding state for `width` candidates each."""

    def log_probs(self, texts: Sequence[str], written: Sequence[str]) -> list[float]:
        """Return log p(written | text) of each pair, natural."""


@dataclass(frozen=True, kw_only=True)
class DenoiseDecoder:
    """Rewrite what `base` reads as the text with the highest score.

    score(y) = log p(y | x) + model_weight * log p(y) + reading_weight * log p(y | probs) + copy_bonus if y is
    x, where x is the text as read and y any text that beam search finds with the network, or x. Empty texts
    are left as they are, and those that the network cannot take: longer than it learnt, or with characters
    outside its alphabet. `alphabet` is that of the probabilities. The search keeps `width` texts at each
    character, none longer than what was read by more than `max_growth`.
    """

    alphabet: Alphabet
    base: Decoder
    network: RewritingNetwork
    model: NgramModel | None
    width: int
    max_growth: int
    model_weight: float
    reading_weight: float
    copy_bonus: float
    records: tuple[TextRecord, ...] = ()

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the reading of every line."""
        return self.rewritten(self.base.read(lines, pages), lines)

    def rewritten(self, readings: Sequence[Reading], lines: Sequence[Probs]) -> list[Reading]:
        """Return readings of lines rewritten."""
        texts = sorted({reading.text for reading in readings if self._takes(reading.text)})
        found = dict(zip(texts, self.ranked(texts), strict=True))
        return [
            _chosen(reading, self._seen(found.get(reading.text, []), probs))
            for reading, probs in zip(readings, lines, strict=True)
        ]

    def ranked(self, texts: Sequence[str]) -> list[list[Alternative]]:
        """Return the candidates of each text, best first; the network must accept all `texts`."""
        found = search_rewritings(self.network, texts, width=self.width, growth=self.max_growth)
        own = self.network.log_probs(texts, texts)
        scored = zip(texts, found, own, strict=True)
        return [self._ranked(text, {**one, text: score}) for text, one, score in scored]

    def _ranked(self, read: str, scores: dict[str, float]) -> list[Alternative]:
        ranked = []
        for text, score in scores.items():
            score += 0.0 if self.model is None else self.model_weight * self.model.score(text)
            ranked.append(Alternative(text, score + (self.copy_bonus if text == read else 0.0)))
        return sorted(ranked, key=lambda item: (-item.score, item.text))

    def _seen(self, ranked: Sequence[Alternative], probs: Probs) -> list[Alternative]:
        """Return texts ranked anew by what the recogniser saw."""
        weigh = self.reading_weight
        if not weigh or len(ranked) < 2:
            return list(ranked)
        seen = log_likelihoods(probs, [item.text for item in ranked], self.alphabet).tolist()
        scored = [Alternative(a.text, a.score + weigh * log) for a, log in zip(ranked, seen, strict=True)]
        return sorted(scored, key=lambda item: (-item.score, item.text))

    def _takes(self, text: str) -> bool:
        return 0 < len(text) <= self.network.longest and not self.network.alphabet.unknown(text)


def search_rewritings(
    network: RewritingNetwork, texts: Sequence[str], *, width: int, growth: int
) -> list[dict[str, float]]:
    """Return candidates for each text by beam search, with log p(written | text).

    No text becomes longer by more than `growth` characters: what is as long as that has to end. White space
    at the ends is left out; of texts that differ in it alone the most probable one counts.
    """
    found: dict[int, dict[str, float]] = {}
    for places in like_length(texts, network.batch_size):
        limits = np.array([len(texts[place]) + growth for place in places])
        steps = network.start([texts[place] for place in places], width=width)
        written, scores = _beam(steps, limits, width=width, end=network.alphabet.blank)
        for place, rows, own in zip(places, written, scores, strict=True):
            found[place] = _texts(rows, own, network.alphabet)
    return [found[place] for place in range(len(texts))]


def like_length(texts: Sequence[str], batch_size: int) -> Iterator[list[int]]:
    """Yield the places of so many texts of like length, the shortest first."""
    ranked = sorted(range(len(texts)), key=lambda place: len(texts[place]))
    for start in range(0, len(ranked), batch_size):
        yield ranked[start : start + batch_size]


def log_likelihoods(probs: Probs, texts: Sequence[str], alphabet: Alphabet) -> NDArray[np.float64]:
    """Return log p(text | probs) of K texts, (K,), by probs (T, C); -inf where no path reads a text.

    Graves et al., ICML 2006, equations 5 to 8: blanks stand between, before and behind a text's characters,
    and a path may pass over one between two different ones. The sums are rescaled at each step.
    """
    paths, skips, ends = _states(texts, alphabet)  # (K, S), (K, S), (K,)
    chances = np.concatenate([probs, np.zeros((len(probs), 1), probs.dtype)], axis=1)[:, paths]  # (T, K, S)
    rows = np.arange(len(texts))
    sums = np.zeros((len(texts), paths.shape[1] + 2))  # two states before the first, which nothing is in
    sums[:, 1] = 1.0  # about to enter the first blank or the first character
    total = np.zeros(len(texts))
    with np.errstate(divide="ignore"):
        for step in chances.astype(np.float64):
            sums[:, 2:] = (sums[:, 2:] + sums[:, 1:-1] + skips * sums[:, :-2]) * step
            sums[:, 1] = 0.0
            scale = sums.max(axis=1)
            total += np.log(scale)
            sums /= np.where(scale > 0, scale, 1.0)[:, None]
        last = sums[rows, ends + 2] + np.where(ends > 0, sums[rows, ends + 1], 0.0)
        return np.asarray(total + np.log(last))


def _beam(steps: RewritingSteps, limits: Classes, *, width: int, end: int) -> tuple[Classes, Scores]:
    """Return the best texts as classes (N, B, T), and their log-probabilities (N, B), -inf for none."""
    rows = np.arange(len(limits))[:, None]
    scores = np.full((len(limits), width), -np.inf)
    scores[:, 0] = 0
    ended = np.zeros(scores.shape, bool)
    written = np.zeros((*scores.shape, 0), np.int64)
    following = steps.first()
    for length in range(int(limits.max()) + 1):
        gains = following.astype(np.float64)  # (N, B, C)
        gains[ended | (length >= limits)[:, None], :end] = -np.inf
        gains[ended, end] = 0
        parents, classes, scores = _best(scores[:, :, None] + gains, width)
        written = np.concatenate([written[rows, parents], classes[:, :, None]], axis=2)
        ended = ended[rows, parents] | (classes == end)
        if (ended | np.isneginf(scores)).all():
            break
        following = steps.next(parents, classes)
    return written, np.where(ended, scores, -np.inf)


def _best(scores: Scores, width: int) -> tuple[Classes, Classes, Scores]:
    """Return texts and classes of the highest of scores (N, B, C), and these, best first, (N, width) each."""
    flat = scores.reshape(len(scores), -1)
    width = min(width, flat.shape[1])
    near = np.sort(np.argpartition(-flat, width - 1, axis=1)[:, :width], axis=1)
    order = np.argsort(-np.take_along_axis(flat, near, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(near, order, axis=1)
    parents, classes = np.divmod(best, scores.shape[2])
    return parents, classes, np.take_along_axis(flat, best, axis=1)


def _texts(rows: Classes, scores: Scores, alphabet: Alphabet) -> dict[str, float]:
    found: dict[str, float] = {}
    for classes, score in zip(rows.tolist(), scores.tolist(), strict=True):
        if np.isfinite(score):
            text = alphabet.decode(classes).strip()
            found[text] = max(score, found.get(text, -np.inf))
    return found


def _chosen(reading: Reading, ranked: Sequence[Alternative]) -> Reading:
    """Return a reading with the first of the texts, and all of them."""
    if not ranked:
        return reading
    return replace(rewrite_reading(reading, ranked[0].text), alternatives=tuple(ranked))


def _states(
    texts: Sequence[str], alphabet: Alphabet
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return the classes of each text's states, padded; where a blank may be passed over; the last state.

    Class C, one more than there are, is that of padding and of characters outside the alphabet.
    """
    ends = np.array([2 * len(text) for text in texts], np.int64)
    paths = np.full((len(texts), ends.max(initial=0) + 1), len(alphabet), np.int64)
    for row, text in zip(paths, texts, strict=True):
        row[: 2 * len(text) + 1 : 2] = alphabet.blank
        known = [len(alphabet) if alphabet.unknown(c) else alphabet.encode(c)[0] for c in text]
        row[1 : 2 * len(text) : 2] = known
    skips = np.zeros(paths.shape, bool)
    skips[:, 1:2] = True
    skips[:, 3::2] = paths[:, 3::2] != paths[:, 1:-2:2]
    return paths, skips, ends
