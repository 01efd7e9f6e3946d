"""Decoders turn the class probabilities of a line into text: protocol, readings, building from configuration.

A decoder that corrects another one holds it as `base`.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hwr.config.bind import bind, make, target
from hwr.errors import InputError
from hwr.language import MadeFromText
from hwr.scoring.edits import Pair, align
from hwr.text import Alphabet, common_beginning

Probs = NDArray[np.float32]
Span = tuple[float, float]  # from where to where, fractions of the line's steps
_Run = tuple[int, int, int, int]  # first and behind the last character: of the old text, of the new one


@dataclass(frozen=True)
class Alternative:
    """A text that a line may hold, and the natural logarithm of its score; differences of scores count."""

    text: str
    score: float


@dataclass(frozen=True)
class Reading:
    """A text, and as confidence the geometric mean of its characters' confidences, in [0, 1].

    `spans` tells of every character from where to where it was read, fractions of the line's steps, and
    `confidences` how sure it is, in [0, 1]. `alternatives` are the best texts, `text` the first of them,
    where the decoder weighs several.
    """

    text: str
    confidence: float
    spans: tuple[Span, ...] = ()
    confidences: tuple[float, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


class Decoder(MadeFromText, Protocol):
    """Turns class probabilities into text; a decoder that corrects a text takes another one as `base`.

    Its `records` are those of the models it reads with, and of its base's: none for one without models.
    """

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the reading of every line's probs (T, C).

        Lines whose `pages` are equal stand on one page, and may be read in one language; without `pages` each
        reads the same alone and among others.
        """


def mean_confidence(confidences: Sequence[float] | NDArray[np.float32]) -> float:
    """Return the geometric mean of characters' confidences; 0 for no character."""
    if not len(confidences):
        return 0.0
    return float(np.exp(np.log(np.maximum(confidences, 1e-30)).mean()))


def checked_probs(probs: Probs, alphabet: Alphabet) -> Probs:
    """Return probs (T, C) over the classes of `alphabet`; raise InputError for what is none."""
    if probs.ndim != 2 or probs.shape[1] != len(alphabet):
        raise InputError(
            f"probabilities of shape {probs.shape} are not of this alphabet of {len(alphabet)} classes; "
            "decode with the alphabet of the weights"
        )
    if not np.isfinite(probs).all():
        raise InputError(
            "probabilities are not finite; look at the weights that gave them, or train them anew"
        )
    return probs


def rewrite_reading(reading: Reading, text: str) -> Reading:
    """Return `reading` with `text`, a span and a confidence for each of its characters, and no alternatives.

    Characters that both texts hold, by their alignment, keep span and confidence. Others share the span of
    what they replace, or the gap in which they are new, in equal parts, with the lowest confidence of what
    they replace, or of their neighbours. A reading without spans is taken as evenly written.
    """
    if text == reading.text and len(text) == len(reading.spans) == len(reading.confidences):
        return reading
    old_spans, old_confidences = _known(reading)
    spans: list[Span] = []
    confidences: list[float] = []
    for kept, (first, last, start, end) in _runs(reading.text, text):
        if kept:
            spans += old_spans[first:last]
            confidences += old_confidences[first:last]
        else:
            spans += _shared(_place(old_spans, first, last), end - start)
            near = old_confidences[first:last] or old_confidences[max(0, first - 1) : last + 1]
            confidences += [min(near, default=0.0)] * (end - start)
    return Reading(text, mean_confidence(confidences), tuple(spans), tuple(confidences))


def _known(reading: Reading) -> tuple[Sequence[Span], list[float]]:
    """Return a span and a confidence for each character, also where the reading has none."""
    length = len(reading.text)
    spans = reading.spans if len(reading.spans) == length else _shared((0.0, 1.0), length)
    known = len(reading.confidences) == length
    return spans, list(reading.confidences) if known else [reading.confidence] * length


def _runs(old: str, new: str) -> Iterator[tuple[bool, _Run]]:
    """Yield the runs of the alignment, equal characters or others, and whether they are equal."""
    i = j = 0
    for kept, pairs in groupby(_pairs(old, new), key=lambda pair: pair[0] == pair[1]):
        first, start = i, j
        for before, after in pairs:
            i, j = i + (before is not None), j + (after is not None)
        yield kept, (first, i, start, j)


def _pairs(old: str, new: str) -> list[Pair]:
    """Align two texts; equal beginnings and ends, most of a line, need no search."""
    beginning = common_beginning(old, new)
    old, new, equal = old[beginning:], new[beginning:], old[:beginning]
    end = common_beginning(old[::-1], new[::-1])
    middle = align(old[: len(old) - end], new[: len(new) - end])
    return [*zip(equal, equal, strict=True), *middle, *((c, c) for c in old[len(old) - end :])]


def _place(spans: Sequence[Span], first: int, last: int) -> Span:
    """Return from where to where the characters `first` to `last` were read, or the gap there."""
    if first < last:
        return spans[first][0], spans[last - 1][1]
    before = spans[first - 1][1] if first > 0 else 0.0
    after = spans[first][0] if first < len(spans) else 1.0
    return before, max(before, after)


def _shared(place: Span, number: int) -> list[Span]:
    """Return a place in so many equal parts."""
    start, end = place
    edges = [start + (end - start) * n / number for n in range(number)] + [end]
    return list(pairwise(edges)) if number else []


def check_decoder(node: Mapping[str, Any], where: str = "decoder") -> None:
    """Raise InputError for settings that no decoder takes; nothing is loaded."""
    given = ["alphabet"]
    if "base" in node:
        check_decoder(_base(node, where), f"{where}.base")
        given.append("base")
    own = {name: value for name, value in node.items() if name != "base"}
    bind(target(node, where), own, where, given)


def build_decoder(node: Mapping[str, Any], alphabet: Alphabet, where: str = "decoder") -> Decoder:
    """Return the decoder of a node for the classes of `alphabet`; InputError for files that do not fit."""
    given: dict[str, Any] = {"alphabet": alphabet}
    if "base" in node:
        given["base"] = build_decoder(_base(node, where), alphabet, f"{where}.base")
    own = {name: value for name, value in node.items() if name != "base"}
    made: Decoder = make(target(node, where), own, where, **given)
    return made


def _base(node: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    base = node["base"]
    if not isinstance(base, Mapping):
        raise InputError(f"{where}.base={base}: not a decoder; choose one with decoder@{where}.base=greedy")
    return base
