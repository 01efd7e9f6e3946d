"""Anchors of a box detector: boxes of fixed sizes at every cell of its maps, and how well they cover data."""

from collections.abc import Sequence

import numpy as np

from hwr.images.boxes import FloatArray, iou

Sizes = Sequence[Sequence[float]]  # (width, height) each, fractions of the image


def grid(shapes: Sequence[tuple[int, int]], sizes: Sequence[Sizes]) -> FloatArray:
    """Return the anchors (A, 4) of maps with `shapes` (rows, columns) and the sizes of each of them.

    They are ordered by map, row, column and size, as the detector's heads predict them.
    """
    found = []
    for (rows, columns), own in zip(shapes, sizes, strict=True):
        ys, xs = np.meshgrid(
            (np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij"
        )
        centres = np.stack([xs, ys], axis=2)[:, :, None, :]  # (rows, columns, 1, 2)
        half = np.asarray(own, dtype=np.float64)[None, None] / 2  # (1, 1, S, 2)
        found.append(np.concatenate([centres - half, centres + half], axis=3).reshape(-1, 4))
    return np.concatenate(found)


def best(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Return the highest IoU that each box (N, 4) has with an anchor (A, 4): (N,)."""
    rows = [iou(boxes[start : start + 64], anchors).max(axis=1) for start in range(0, len(boxes), 64)]
    return np.concatenate(rows) if rows else np.zeros(0)
