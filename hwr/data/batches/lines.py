"""Batches of line images of similar width: shuffled and augmented for training, in order for reading."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.data.batches import pad_rows, round_up, shuffled_pools

WIDTH_STEP = 32  # px: widths are rounded up to a multiple of it, as MXNet keeps something for every shape

Image = NDArray[np.uint8]
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class LineSet:
    """Lines of one split: ids, line images (height, w) of one height and own widths, texts.

    `datasets` names the set of every line; it is empty where there is but one.
    """

    ids: Sequence[str]
    images: Sequence[Image]
    texts: Sequence[str]
    datasets: Sequence[str] = ()

    def taken(self, indices: Iterable[int]) -> "LineSet":
        """Return the lines of these indices, in their order."""
        columns = zip(*((self.ids[i], self.images[i], self.texts[i]) for i in indices), strict=True)
        return LineSet(*columns)


@dataclass(frozen=True)
class LineBatch:
    """Lines of one width: images (N, V, H, W), ink 1 on paper 0; labels (N, L) padded with -1; float32.

    A line has V views.
    """

    ids: Sequence[str]
    images: NDArray[np.float32]
    labels: NDArray[np.float32]


def line_training_batches(
    lines: LineSet, *, batch_size: int, seed: Sequence[int], change: Callable[[Image, int], Image],
    encode: Encode, multiple: int, start: int = 0,
) -> Iterator[LineBatch]:  # fmt: skip
    """Yield every line once, in an order drawn from `seed`; `change` gets the image and its index.

    It returns an image (h, w'), or several views of it (V, h, w').
    Widths are multiples of `multiple` px, the network's `width_multiple`.
    Batches before `start` are left out; most of their lines are not augmented.
    """
    for pool, turns in shuffled_pools(len(lines.ids), batch_size, seed=seed, start=start):
        images = [change(lines.images[index], int(index)) for index in pool]
        ranked = np.argsort([image.shape[-1] for image in images], kind="stable")
        cuts = [ranked[at : at + batch_size] for at in range(0, len(ranked), batch_size)]
        for cut in turns:
            places = cuts[cut]
            labels = [encode(lines.texts[pool[place]]) for place in places]
            width = padded_width(max(images[place].shape[-1] for place in places), multiple)
            yield LineBatch(
                [lines.ids[pool[place]] for place in places],
                stack_images([images[place] for place in places], width),
                pad_rows(labels),
            )


def line_reading_batches(
    images: Sequence[Image], batch_size: int, multiple: int
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Yield (indices, images (N, 1, H, W)), each at its own padded width, whatever is read beside it."""
    by_width: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        by_width.setdefault(padded_width(image.shape[1], multiple), []).append(index)
    for width in sorted(by_width):
        indices = by_width[width]
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            yield chosen, stack_images([images[index] for index in chosen], width)


def padded_width(width: int, multiple: int) -> int:
    """Return what `width` px are padded to: the next multiple of both WIDTH_STEP and `multiple` px."""
    return round_up(width, math.lcm(WIDTH_STEP, multiple))


def stack_images(images: Sequence[Image], width: int) -> NDArray[np.float32]:
    """Return images (H, w) as (N, 1, H, width) float32, ink 1 on paper 0, paper added on the right.

    Of views (V, H, w) they are (N, V, H, width).
    """
    *views, height, _ = images[0].shape
    stacked = np.zeros((len(images), *(views or [1]), height, width), np.float32)
    for row, image in zip(stacked, images, strict=True):
        row[..., : image.shape[-1]] = (255 - image) * np.float32(1 / 255)
    return stacked
