"""Networks of stage `paragraph`: they map a page image to one box around its handwriting."""

from typing import Any

from mxnet.gluon import nn

from hwr.networks import ConvBlock, ResidualBlock, resnet34_layers
from hwr.ranges import Count, Counts, Share


class Extent(nn.HybridBlock):
    """Find the box around the handwriting on page images (N, 1, H, W), ink 1 on paper 0: boxes (N, 4).

    A map gives the probability of handwriting at each position. The probability of a row is the maximum
    over its positions. The upper edge of the box is the expected share of rows before the first written
    one: with p_j the probability of row j of P, sum over i of prod over j <= i of (1 - p_j), over P. The
    other edges are computed alike. So the network only learns a local property, of which two hundred pages
    hold ten thousand examples; a dense layer over all features would have to learn each position
    separately. conf/network/extent.yaml explains the sizes; a stage is a pooling and a residual block.
    """

    def __init__(self, *, stem: Count, channels: Counts, hidden: Count, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.stem = ConvBlock(stem, 5, (2, 2))
            self.stages = nn.HybridSequential(prefix="stages_")
            self.laterals = nn.HybridSequential(prefix="laterals_")
            width = stem
            for depth in channels:
                stage = nn.HybridSequential()
                stage.add(nn.MaxPool2D(2, ceil_mode=True), ResidualBlock(depth, project=width != depth))
                self.stages.add(stage)
                self.laterals.add(nn.Conv2D(hidden, 1))
                width = depth
            self.head = nn.HybridSequential(prefix="head_")
            self.head.add(ConvBlock(hidden), nn.Conv2D(1, 1))

    def hybrid_forward(self, F: Any, images: Any) -> Any:
        """Return the boxes x1 y1 x2 y2, fractions of the image, (N, 4)."""
        sure = self.head(self._features(F, self.stem(images)))  # (N, 1, H/4, W/4), before the sigmoid
        sure = F.reshape(sure, shape=(0, -3, -2))  # (N, H/4, W/4)
        top, bottom = _ends(F, F.max(sure, axis=2))
        left, right = _ends(F, F.max(sure, axis=1))
        return F.concat(left, top, right, bottom, dim=1)

    def _features(self, F: Any, features: Any) -> Any:
        """Return the sum of all stages at the size of the first: (N, hidden, H/4, W/4)."""
        laterals = []
        for stage, lateral in zip(self.stages, self.laterals, strict=True):
            features = stage(features)
            laterals.append(lateral(features))
        summed = laterals.pop()
        while laterals:
            lateral = laterals.pop()
            larger = F.UpSampling(summed, scale=2, sample_type="nearest")
            summed = lateral + F.slice_like(larger, lateral, axes=(2, 3))  # an odd side was rounded up
        return F.Activation(summed, act_type="relu")


def paragraph_resnet34(*, hidden: Count, dropout: Share) -> Any:
    """Return the original program's network: ResNet-34 to stage two, two dense layers, four sigmoids; (N, 4).

    "Handwritten Text Recognition (OCR) with MXNet Gluon", AWS Labs 2018-2021, with the trunk of He et al.,
    "Deep Residual Learning for Image Recognition" (CVPR 2016) for grey images, built empty: nothing is
    downloaded. H and W are fixed by the first images it sees.
    """
    network = nn.HybridSequential(prefix="paragraph_")
    with network.name_scope():
        network.add(*resnet34_layers(2))  # (N, 128, H/8, W/8)
        for _ in range(2):
            network.add(nn.Dense(hidden, activation="relu"), nn.Dropout(dropout))
        network.add(nn.Dense(4, activation="sigmoid"))
    return network


def _ends(F: Any, sure: Any) -> tuple[Any, Any]:
    """Return the expected first and last written position of logits (N, P), in [0, 1], (N, 1) each."""
    nothing = -F.Activation(sure, act_type="softrelu")  # log of the probability that nothing is written there
    before = F.mean(F.exp(F.cumsum(nothing, axis=1)), axis=1, keepdims=True)
    after = F.mean(F.exp(F.cumsum(F.flip(nothing, axis=1), axis=1)), axis=1, keepdims=True)
    return before, 1 - after
