"""Line images and texts as batches of like width: shuffled and changed for training, in order for reading."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POOL = (
    8  # batches are cut from pools of this many, sorted by width: little padding, still a new mix each epoch
)
WIDTH_STEP = 32  # widths are rounded up to a multiple of this, in pixels

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


def training_batches(
    lines: LineSet,
    *,
    batch_size: int,
    seed: Sequence[int],
    change: Callable[[Image, int], Image],
    encode: Encode,
    start: int = 0,
) -> Iterator[LineBatch]:
    """Yield every line once, in an order drawn from `seed`; `change` gets the image and its index.

    Batches before `start` are left out; those of their pools that hold nothing else are not even changed.
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
            width = max(rounded(images[place].shape[1]) for place in places)
            yield LineBatch(
                [lines.ids[pool[place]] for place in places],
                stack([images[place] for place in places], width),
                pad_labels(labels),
            )


def reading_batches(
    images: Sequence[Image], batch_size: int
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Yield (indices, images (N, 1, H, W)), each at its own rounded width: neighbours change nothing."""
    by_width: dict[int, list[int]] = {}
    for index, image in enumerate(images):
        by_width.setdefault(rounded(image.shape[1]), []).append(index)
    for width in sorted(by_width):
        indices = by_width[width]
        for start in range(0, len(indices), batch_size):
            chosen = indices[start : start + batch_size]
            yield chosen, stack([images[index] for index in chosen], width)


def rounded(width: int) -> int:
    """Return `width` rounded up to a multiple of WIDTH_STEP."""
    return -(-width // WIDTH_STEP) * WIDTH_STEP


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
