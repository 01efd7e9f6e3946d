"""Batches of samples, and which samples an epoch draws."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import Count, Positive

POOL = 8  # batches are cut from pools of so many, sorted by size: little padding, a new mix each epoch


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """How often an epoch draws the training samples of a set.

    It draws a `share` of them, 2 being each twice, and at most `same_text` of those with one text.
    """

    share: Positive = 1.0
    same_text: Count | None = None


class Draws:
    """Which of the training samples each epoch draws: as many in every epoch, and all of a set in turn.

    `datasets` names the set of every sample, empty where there is but one; `drawing` is by set, and a set
    without any is drawn once.
    """

    def __init__(
        self, datasets: Sequence[str], texts: Sequence[str], drawing: Mapping[str, Drawing], *, seed: int
    ) -> None:
        self.samples, self._turns = len(texts), list[tuple[NDArray[np.int64], int]]()
        places: dict[str, list[int]] = {}
        for index, name in enumerate(datasets or [""] * len(texts)):
            places.setdefault(name, []).append(index)
        for name, own in places.items():
            for alike, count in _turns(own, texts, drawing.get(name, Drawing())):
                order = np.random.default_rng([seed, len(self._turns), 1]).permutation(alike)
                self._turns.append((order, count))

    def __len__(self) -> int:
        """Return how many samples an epoch draws."""
        return sum(count for _, count in self._turns)

    @property
    def note(self) -> str:
        """How many samples an epoch draws, to follow their number; nothing where it is all of them once."""
        return "" if len(self) == self.samples else f"; an epoch draws {len(self)}"

    def of_epoch(self, epoch: int) -> NDArray[np.int64]:
        """Return the indices of what an epoch draws, in ascending order; what it draws again is repeated."""
        drawn = [order[np.arange(epoch * n, (epoch + 1) * n) % len(order)] for order, n in self._turns]
        return np.sort(np.concatenate(drawn))


def _turns(places: Sequence[int], texts: Sequence[str], how: Drawing) -> Iterator[tuple[Sequence[int], int]]:
    """Yield samples of a set that are drawn in turn, and how many of them an epoch draws."""
    alike: dict[str, list[int]] = {}
    for place in places:
        alike.setdefault(texts[place], []).append(place)
    most, others = how.same_text or math.inf, list[int]()
    for own in alike.values():
        if len(own) * math.ceil(how.share) > most:
            yield own, int(min(most, max(1, round(how.share * len(own)))))
        else:
            others += own
    if others:
        yield others, max(1, round(how.share * len(others)))


def shuffled_pools(
    count: int, batch_size: int, *, seed: Sequence[int], start: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the samples of each pool, and in which order its batches come; both are drawn from `seed`.

    Batches before `start` are left out, and pools that hold nothing else.
    """
    generator = np.random.default_rng(list(seed))
    order = generator.permutation(count)
    for first in range(0, count, POOL * batch_size):
        pool = order[first : first + POOL * batch_size]
        turns = generator.permutation(-(-len(pool) // batch_size))[max(0, start - first // batch_size) :]
        if len(turns):
            yield pool, turns


def round_up(number: int, step: int) -> int:
    """Return the next multiple of `step` from `number` on."""
    return -(-number // step) * step


def pad_rows(
    rows: Sequence[Sequence[float] | NDArray[np.float64]], *size: int, step: int = 1
) -> NDArray[np.float32]:
    """Return rows of values, each of a `size`, as (N, L, *size) float32, padded with -1.

    L is that of the longest row rounded up to a multiple of `step`, and 1 or more: MXNet wants a column even
    where no row has a value.
    """
    length = round_up(max(map(len, rows), default=0) or 1, step)
    padded = np.full((len(rows), length, *size), -1, np.float32)
    for row, values in zip(padded, rows, strict=True):
        row[: len(values)] = values
    return padded
