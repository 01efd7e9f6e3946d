"""Greedy decoding: the best class of every time step, repeats collapsed, blanks dropped (best path)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.text import Alphabet


@dataclass(frozen=True)
class Reading:
    """A text, and as confidence the geometric mean of its characters' best probabilities, in [0, 1]."""

    text: str
    confidence: float


@dataclass(frozen=True)
class GreedyDecoder:
    """Read probs (T, C) over the classes of `alphabet` along the single most probable path."""

    alphabet: Alphabet

    def __call__(self, probs: NDArray[np.float32]) -> Reading:
        """Return the text of probs (T, C), white space at its ends removed."""
        best = probs.argmax(axis=1)  # (T,)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        written = starts[best[starts] != self.alphabet.blank]
        peaks = np.maximum.reduceat(probs.max(axis=1), starts)[best[starts] != self.alphabet.blank]
        confidence = float(np.exp(np.log(np.maximum(peaks, 1e-30)).mean())) if len(peaks) else 0.0
        return Reading(self.alphabet.decode([int(c) for c in best[written]]).strip(), confidence)
