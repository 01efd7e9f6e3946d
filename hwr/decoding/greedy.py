"""Greedy decoding: the best class of every time step, repeats collapsed, blanks dropped (best path)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.text import Alphabet


@dataclass(frozen=True)
class Reading:
    """A text, and as confidence the geometric mean of its characters' best probabilities, in [0, 1].

    `spans` tells of every character from where to where it was read, fractions of the line's steps, and
    `confidences` its best probability.
    """

    text: str
    confidence: float
    spans: tuple[tuple[float, float], ...] = ()
    confidences: tuple[float, ...] = ()


@dataclass(frozen=True)
class GreedyDecoder:
    """Read probs (T, C) over the classes of `alphabet` along the single most probable path."""

    alphabet: Alphabet

    def __call__(self, probs: NDArray[np.float32]) -> Reading:
        """Return the text of probs (T, C), white space at its ends removed."""
        best = probs.argmax(axis=1)  # (T,)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        written = best[starts] != self.alphabet.blank
        peaks = np.maximum.reduceat(probs.max(axis=1), starts)[written]
        confidence = float(np.exp(np.log(np.maximum(peaks, 1e-30)).mean())) if len(peaks) else 0.0
        text = self.alphabet.decode([int(c) for c in best[starts[written]]])
        spans = np.stack([starts, np.append(starts[1:], len(best))], axis=1)[written] / len(best)
        first = len(text) - len(text.lstrip())
        inner = slice(first, first + len(text.strip()))
        return Reading(
            text.strip(),
            confidence,
            tuple((float(start), float(end)) for start, end in spans[inner]),
            tuple(peaks[inner].tolist()),
        )
