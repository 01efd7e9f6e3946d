"""The networks of the original program as they were, with the names of its parameters, to read its files.

"Handwritten Text Recognition (OCR) with MXNet Gluon", AWS Labs 2018-2021. They take images as all networks
here do, ink 1 on paper 0, and give boxes and scores in the order of this project; between these they compute
what the program computed. To train, use the versions in `paragraph`, `ssd` and `crnn`.
"""

from collections.abc import Sequence
from typing import Any

import mxnet as mx
from mxnet.gluon import nn, rnn

from hwr.errors import InputError
from hwr.networks import resnet34_layers
from hwr.networks.ssd import by_anchor, joined
from hwr.ranges import Count, Positive, Share


class OriginalArea(nn.HybridBlock):
    """Find the box around the handwriting on page images (N, 1, H, W): corners (N, 4).

    The program's network `cnn` gives a corner and the sides. H and W are fixed by the first images it sees.
    """

    def __init__(self, *, hidden: Count, dropout: Share, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.cnn, head = nn.HybridSequential(), nn.HybridSequential()
            head.add(nn.HybridSequential())  # the program's Flatten: dense layers flatten themselves
            for _ in range(2):
                head.add(nn.Dense(hidden, activation="relu"), nn.Dropout(dropout))
            head.add(nn.Dense(4, activation="sigmoid"))
            self.cnn.add(*resnet34_layers(2), head)

    def hybrid_forward(self, F: Any, images: Any) -> Any:
        """Return the boxes x1 y1 x2 y2, fractions of the image, (N, 4); their end may lie outside."""
        box = self.cnn(1 - images)  # (N, 4): x y width height
        low, sides = (F.slice_axis(box, axis=1, begin=begin, end=begin + 2) for begin in (0, 2))
        return F.concat(low, low + sides, dim=1)


class OriginalWords(nn.HybridBlock):
    """Detect words in images (N, 1, H, W): scores (N, kinds, A), class 0 background, and offsets (N, 4 A).

    Predictions are those of `ssd.Ssd`, from six maps; each cell has the anchors that MXNet's MultiBoxPrior
    makes of `sizes` and, after ratio 1, `ratios` on a square image.
    """

    def __init__(
        self, *, downsampled: Count, kinds: Count, sizes: Sequence[Sequence[Positive]],
        ratios: Sequence[Sequence[Positive]], **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self._kinds = kinds
        self.anchors = [_anchors(*own) for own in zip(sizes, ratios, strict=True)]
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(*resnet34_layers(2))
            self.downsamples, self.class_preds, self.box_preds = (nn.HybridSequential() for _ in range(3))
            self.downsamples.add(*(_downsampling(downsampled) for _ in range(len(sizes) - 3)))
            for own in self.anchors:
                self.class_preds.add(nn.Conv2D(kinds * len(own), 3, padding=1))
                box = nn.HybridSequential()
                box.add(nn.Conv2D(4 * len(own), 3, padding=1))
                self.box_preds.add(box)

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the scores (N, kinds, A), before softmax, and the offsets (N, 4 A)."""
        scores, offsets = [], []
        for features, classes, places in zip(
            self._maps(F, images), self.class_preds, self.box_preds, strict=True
        ):
            scores.append(by_anchor(F, classes(features), self._kinds))
            offsets.append(by_anchor(F, places(features), 4))
        return joined(F, scores, offsets)

    def shapes(self, images: Any) -> list[tuple[int, int]]:
        """Return rows and columns of each map for images (N, 1, H, W)."""
        return [features.shape[2:] for features in self._maps(mx.nd, images)]

    def _maps(self, F: Any, images: Any) -> list[Any]:
        maps = [self.body(1 - images)]  # (N, 128, H/8, W/8)
        for downsample in self.downsamples:
            maps.append(downsample(maps[-1]))
        cell = F.Pooling(maps[-1], kernel=(1, 1), pool_type="max", global_pool=True)
        return [*maps, cell, cell]


class OriginalLine(nn.HybridBlock):
    """Read line images (N, 1, H, W) to logits (T, N, C), T = W / 5: at 800 px, 160 steps of two scales.

    Column by column, the features are cut into pieces of a step: 1.25 columns of the fine scale, 0.625 of the
    coarse one. The program's lines were all 800 px wide, and others are padded to it.
    """

    stride = 5  # px of image width a time step
    width_multiple = 800  # px

    def __init__(
        self, classes: int, *, height: Count, channels: Count, hidden: Count, layers: Count, dropout: Share,
        mean: float, deviation: Positive, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self._height, self._paper, self._scale = height, 1 - mean, 1 / deviation
        rows = -(-height // 4)
        pieces = 64 * rows * self.stride // 4, channels * (rows // 2) * self.stride // 8
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(*resnet34_layers(1))
            self.encoders = nn.HybridSequential()
            for piece in pieces:
                encoder = nn.HybridSequential()
                encoder.add(_Encoder(piece, hidden, layers), nn.Dropout(dropout))
                self.encoders.add(encoder)
            self.decoder = nn.Dense(classes, flatten=False, in_units=4 * hidden)
            self.downsampler = _downsampling(channels)

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the logits (T, N, C) twice: this network has no separate head for the CTC shortcut.

        Raises InputError for lines of another height.
        """
        if F is mx.nd and images.shape[2] != self._height:
            remedy = f"set stage.crop.height={self._height}, or network.height"
            raise InputError(f"the network reads lines of {self._height} px, not {images.shape[2]}; {remedy}")
        fine = self.body(self._scale * (self._paper + -images))  # (N, 64, H/4, W/4)
        scales = zip(self.encoders, (fine, self.downsampler(fine)), strict=True)
        logits = self.decoder(F.concat(*(encoder(features) for encoder, features in scales), dim=2))
        return logits, logits


class _Encoder(nn.HybridBlock):
    """Features (N, D, h, w) in pieces, as steps of an LSTM: (T, N, 2 * hidden)."""

    def __init__(self, piece: int, hidden: int, layers: int) -> None:
        super().__init__()
        self._piece = piece
        with self.name_scope():
            self.lstm = rnn.LSTM(hidden, layers, bidirectional=True)

    def hybrid_forward(self, F: Any, features: Any) -> Any:
        columns = F.reshape(F.transpose(features, axes=(0, 3, 1, 2)), shape=(0, -1, self._piece))
        return self.lstm(F.transpose(columns, axes=(1, 0, 2)))  # (T, N, piece)


def _downsampling(channels: int) -> Any:
    layers = nn.HybridSequential()
    for _ in range(2):
        layers.add(nn.Conv2D(channels, 3, padding=1), nn.BatchNorm(), nn.Activation("relu"))
    layers.add(nn.MaxPool2D(2))
    return layers


def _anchors(sizes: Sequence[float], ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Return the anchors of a cell as (width, height)."""
    wide = [(sizes[0] * ratio**0.5, sizes[0] / ratio**0.5) for ratio in ratios]
    return [*((size, size) for size in sizes), *wide]
