"""What a decoder returns, and what it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.text import Alphabet

Probs = NDArray[np.float32]


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
    spans: tuple[tuple[float, float], ...] = ()
    confidences: tuple[float, ...] = ()
    alternatives: tuple[Alternative, ...] = ()


class Decoder(Protocol):
    """Class probabilities to text; decoders that correct a text take another decoder as `base`."""

    def read(self, lines: Sequence[Probs]) -> list[Reading]:
        """Return the reading of every line's probs (T, C), each the same alone and among others."""


def mean_confidence(confidences: Sequence[float] | NDArray[np.float32]) -> float:
    """Return the geometric mean of characters' confidences; 0 for no character."""
    if not len(confidences):
        return 0.0
    return float(np.exp(np.log(np.maximum(confidences, 1e-30)).mean()))


def checked(probs: Probs, alphabet: Alphabet) -> Probs:
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
