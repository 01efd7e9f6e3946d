"""Networks of stage `segmentation`: single-shot detectors of lines or words with wide anchors.

Liu et al., "SSD: Single Shot MultiBox Detector" (ECCV 2016). Lines are many times as wide as high, so the
compact detector shrinks its maps further across than down, and convolves along the lines before it predicts.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mxnet.gluon import nn

from hwr.errors import InputError
from hwr.images.boxes import FloatArray, iou
from hwr.networks import ConvBlock, ResidualBlock, resnet34_layers
from hwr.ranges import Amount, Count, Counts, Sizes, Steps


class Ssd(nn.HybridBlock):
    """Detect boxes in images (N, 1, H, W), ink 1 on paper 0: scores (N, 2, A) and offsets (N, 4 A).

    Class 0 is background, class 1 a box; the offsets are those of MXNet's MultiBox operators. Boxes are
    predicted from the features of each of the `scales`, blocks in sequence. The order of anchors is that of
    `anchor_grid`, with the maps of `shapes` and the given `anchors`.
    """

    def __init__(self, scales: Sequence[Any], anchors: Sequence[Sizes], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if len(anchors) != len(scales):
            counts = f"network.anchors has {len(anchors)} scales, the network {len(scales)}"
            raise InputError(f"{counts}; give as many")
        self.anchors = anchors
        with self.name_scope():
            self.scales = nn.HybridSequential(prefix="scales_")
            self.classes = nn.HybridSequential(prefix="classes_")
            self.offsets = nn.HybridSequential(prefix="offsets_")
            self.scales.add(*scales)
            for sizes in anchors:
                self.classes.add(nn.Conv2D(2 * len(sizes), 3, padding=1))
                self.offsets.add(nn.Conv2D(4 * len(sizes), 3, padding=1))

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the scores (N, 2, A), before softmax, and the offsets (N, 4 A)."""
        scores, offsets, features = [], [], images
        for scale, classes, places in zip(self.scales, self.classes, self.offsets, strict=True):
            features = scale(features)  # (N, D, h, w)
            scores.append(by_anchor(F, classes(features), 2))
            offsets.append(by_anchor(F, places(features), 4))
        return joined(F, scores, offsets)

    def shapes(self, images: Any) -> list[tuple[int, int]]:
        """Return rows and columns of each scale's map for images (N, 1, H, W)."""
        found, features = [], images
        for scale in self.scales:
            features = scale(features)
            found.append((features.shape[2], features.shape[3]))
        return found


def compact(
    *, stem: Count, channels: Counts, strides: Sequence[Steps], blocks: Counts,
    reach: Amount, anchors: Sequence[Sizes],
) -> Ssd:  # fmt: skip
    """Return the default detector; it predicts from its last stages, one for each scale of `anchors`.

    conf/network/ssd_line.yaml explains the sizes; a `reach` of 0 leaves the convolutions along the lines out.
    Raises InputError where the lists differ in length.
    """
    if not len(channels) == len(strides) == len(blocks) >= len(anchors) > 0:
        raise InputError("network.channels, .strides and .blocks differ in length, or are fewer than anchors")
    stages = []
    width = stem
    for depth, stride, count in zip(channels, strides, blocks, strict=True):
        stage = nn.HybridSequential()
        stage.add(nn.MaxPool2D(tuple(stride)))
        for _ in range(count):
            stage.add(ResidualBlock(depth, project=width != depth))
            width = depth
        stages.append(stage)
    first = nn.HybridSequential()
    first.add(ConvBlock(stem, 5, (2, 2)), *stages[: len(stages) - len(anchors) + 1])
    scales = [first, *stages[len(stages) - len(anchors) + 1 :]]
    for scale, depth in zip(scales, channels[-len(anchors) :], strict=True):
        if reach:
            scale.add(_Along(depth, reach), _Along(depth, reach))
    return Ssd(scales, anchors)


def ssd_resnet34(*, downsampled: Count, anchors: Sequence[Sizes]) -> Ssd:
    """Return the detector of the original program: ResNet-34 to its second stage, and five smaller maps.

    "Handwritten Text Recognition (OCR) with MXNet Gluon", AWS Labs 2018-2021; `downsampled` are the channels
    of the next three maps, each half the size of the last; two of a single cell follow. The trunk is built
    empty: nothing is downloaded.
    """
    trunk = nn.HybridSequential()
    trunk.add(*resnet34_layers(2))  # (N, 128, H/8, W/8)
    halved = [_halved(downsampled) for _ in range(3)]
    return Ssd([trunk, *halved, nn.GlobalMaxPool2D(), nn.HybridSequential()], anchors)


def anchor_grid(shapes: Sequence[tuple[int, int]], sizes: Sequence[Sizes]) -> FloatArray:
    """Return the anchors (A, 4) of maps with `shapes` (rows, columns) and the sizes of each of them.

    They are ordered by map, row, column and size, as the detector's heads predict them.
    """
    found = []
    for (rows, columns), own in zip(shapes, sizes, strict=True):
        ys, xs = ((np.arange(count) + 0.5) / count for count in (rows, columns))
        centres = np.stack(np.meshgrid(xs, ys), axis=2)[:, :, None, :]  # (rows, columns, 1, 2)
        half = np.asarray(own, dtype=np.float64)[None, None] / 2  # (1, 1, S, 2)
        found.append(np.concatenate([centres - half, centres + half], axis=3).reshape(-1, 4))
    return np.concatenate(found)


def best_overlaps(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Return the highest IoU that each box (N, 4) has with an anchor (A, 4): (N,)."""
    rows = [iou(boxes[start : start + 64], anchors).max(axis=1) for start in range(0, len(boxes), 64)]
    return np.concatenate(rows) if rows else np.zeros(0)


def by_anchor(F: Any, predicted: Any, values: int) -> Any:
    """Return predictions (N, S * values, h, w) as (N, h * w * S, values)."""
    return F.reshape(F.transpose(predicted, axes=(0, 2, 3, 1)), shape=(0, -1, values))


def joined(F: Any, scores: Sequence[Any], offsets: Sequence[Any]) -> tuple[Any, Any]:
    """Return predictions (N, a, C) and (N, a, 4) of several maps as scores (N, C, A) and offsets (N, 4 A)."""
    all_scores, all_offsets = F.concat(*scores, dim=1), F.concat(*offsets, dim=1)  # (N, A, C), (N, A, 4)
    return F.transpose(all_scores, axes=(0, 2, 1)), F.reshape(all_offsets, shape=(0, -1))


class _Along(nn.HybridBlock):
    """A residual convolution along the rows: (N, D, H, W) to the same shape."""

    def __init__(self, channels: int, reach: int) -> None:
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential()
            along = nn.Conv2D(channels, (1, 2 * reach + 1), padding=(0, reach), use_bias=False)
            self.body.add(along, nn.BatchNorm())

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        return F.Activation(self.body(x) + x, act_type="relu")


def _halved(channels: int) -> Any:
    stage = nn.HybridSequential()
    stage.add(ConvBlock(channels), ConvBlock(channels), nn.MaxPool2D(2))
    return stage
