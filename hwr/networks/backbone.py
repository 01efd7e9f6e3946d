"""Convolutional blocks that the networks share."""

from typing import Any

from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet34_v1


class ConvBlock(nn.HybridSequential):
    """Convolution, batch normalisation, ReLU: (N, C, H, W) to (N, channels, H/s, W/s')."""

    def __init__(
        self, channels: int, kernel: int = 3, strides: tuple[int, int] = (1, 1), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            convolution = nn.Conv2D(channels, kernel, strides, padding=kernel // 2, use_bias=False)
            self.add(convolution, nn.BatchNorm(), nn.Activation("relu"))


class ResidualBlock(nn.HybridBlock):
    """Two 3 x 3 convolutions beside a shortcut: (N, C, H, W) to (N, channels, H, W).

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5 left.
    """

    def __init__(self, channels: int, project: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(ConvBlock(channels), nn.Conv2D(channels, 3, padding=1, use_bias=False))
            self.body.add(nn.BatchNorm())
            self.shortcut = nn.Conv2D(channels, 1, use_bias=False) if project else None

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return relu(body(x) + shortcut(x))."""
        shortcut = x if self.shortcut is None else self.shortcut(x)
        return F.Activation(self.body(x) + shortcut, act_type="relu")  # oneDNN's; F.relu is not


def resnet34_layers(stages: int) -> list[Any]:
    """Return ResNet-34's layers for grey images, untrained, to stage 1 (H/4 x W/4) or 2 (H/8 x W/8)."""
    return [
        nn.Conv2D(64, 7, 2, 3, in_channels=1, use_bias=False),
        *resnet34_v1(pretrained=False).features[1 : 4 + stages],  # normalisation, ReLU, pooling, stages
    ]
