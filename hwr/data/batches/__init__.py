"""Batches of samples."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

POOL = (
    8  # batches are cut from pools of this many, sorted by size: little padding, still a new mix each epoch
)


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
