"""Greedy decoding: the most probable class of each step, repeats collapsed, blanks dropped."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwr.decoding import Probs, Reading, checked_probs, mean_confidence
from hwr.language import TextRecord
from hwr.text import Alphabet


@dataclass(frozen=True)
class GreedyDecoder:
    """Read probs (T, C) over the classes of `alphabet` along the single most probable path."""

    alphabet: Alphabet
    records: ClassVar[tuple[TextRecord, ...]] = ()  # it reads with no model

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the reading of every line."""
        return [self(probs) for probs in lines]

    def __call__(self, probs: Probs) -> Reading:
        """Return the text of probs (T, C), no white space at its ends; confidences are best probabilities."""
        best = checked_probs(probs, self.alphabet).argmax(axis=1)  # (T,)
        starts = np.flatnonzero(np.diff(best, prepend=-1))
        written = best[starts] != self.alphabet.blank
        peaks = np.maximum.reduceat(probs.max(axis=1), starts)[written]
        text = self.alphabet.decode([int(c) for c in best[starts[written]]])
        spans = np.stack([starts, np.append(starts[1:], len(best))], axis=1)[written] / len(best)
        first = len(text) - len(text.lstrip())
        inner = slice(first, first + len(text.strip()))
        return Reading(
            text.strip(),
            mean_confidence(peaks),
            tuple((float(start), float(end)) for start, end in spans[inner]),
            tuple(peaks[inner].tolist()),
        )
