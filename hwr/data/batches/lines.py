"""Batches of line images of similar width: shuffled and augmented for training, in order for reading."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POOL = (
    8  # batches are cut from pools of this many, sorted by width: little padding, still a new mix each epoch
)
WIDTH_STEP = 32  # px: widths are rounded up to a multiple of it, as MXNet keeps something for every shape

Image = NDArray[np.uint8]
Encode = Callable[[str], Sequence[int]]


@dataclass(frozen=True)
class LineSet:
    """Lines of one split: ids, line images (height, w) of one height and own widths, and texts."""

    ids: Sequence[str]
    images: Sequence[Image]
    texts: Sequence[str]


@dataclass(frozen=True)
class LineBatch:
    """Lines of one width: images (N, 1, H, W), ink 1 on paper 0; labels (N, L) padded with -1; float32."""

    ids: Sequence[str]
    images: NDArray[np.float32]
    labels: NDArray[np.float32]


def line_training_batches(
    lines: LineSet,
    *,
    batch_size: int,
    seed: Sequence[int],
    change: Callable[[Image, int], Image],
    encode: Encode,
    multiple: int,
    start: int = 0,
) -> Iterator[LineBatch]:
    """Yield every line once, in an order drawn from `seed`; `change` gets the image and its index.

    Widths are multiples of `multiple` px, the network's `width_multiple`.
    Batches before `start` are left out; most of their lines are not augmented.
    """
    generator = np.random.default_rng(list(seed))
    order = generator.permutation(len(lines.ids))
    for first in range(0, len(order), POOL * batch_size):
        pool = order[first : first + POOL * batch_size]
        turns = generator.permutation(-(-len(pool) // batch_size))[max(0, start - first // batch_size) :]
        if not len(turns):
            continue
        images = [change(lines.images[index], int(index)) for index in pool]
        ranked = np.argsort([image.shape[1] for image in images], kind="stable")
        cuts = [ranked[at : at + batch_size] for at in range(0, len(ranked), batch_size)]
        for cut in turns:
            places = cuts[cut]
            labels = [encode(lines.texts[pool[place]]) for place in places]
            width = padded_width(max(images[place].shape[1] for place in places), multiple)
            yield LineBatch(
                [lines.ids[pool[place]] for place in places],
                stack([images[place] for place in places], width),
                pad_labels(labels),
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
            yield chosen, stack([images[index] for index in chosen], width)


def padded_width(width: int, multiple: int) -> int:
    """Return what `width` px are padded to: the next multiple of both WIDTH_STEP and `multiple` px."""
    step = math.lcm(WIDTH_STEP, multiple)
    return -(-width // step) * step


def stack(images: Sequence[Image], width: int) -> NDArray[np.float32]:
    """Return images of one height as (N, 1, H, width) float32, ink 1 on paper 0, paper added on the right."""
    height = images[0].shape[0]
    stacked = np.zeros((len(images), 1, height, width), np.float32)
    for row, image in zip(stacked, images, strict=True):
        row[0, :, : image.shape[1]] = (255 - image) * np.float32(1 / 255)
    return stacked


def pad_labels(labels: Sequence[Sequence[int]]) -> NDArray[np.float32]:
    """Return label sequences as (N, L) float32, padded with -1."""
    padded = np.full((len(labels), max((len(label) for label in labels), default=1) or 1), -1, np.float32)
    for row, label in zip(padded, labels, strict=True):
        row[: len(label)] = label
    return padded
