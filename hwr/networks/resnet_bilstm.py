"""The published line network: ResNet-34's first stage, a bidirectional LSTM stack at each of two scales, CTC.

"Handwritten Text Recognition (OCR) with MXNet Gluon", AWS Labs 2018-2021, with the trunk of He et al., "Deep
Residual Learning for Image Recognition" (CVPR 2016). Kept for comparison; `crnn` is the default.
"""

from typing import Any

from mxnet.gluon import nn, rnn

from hwr.networks import resnet34_layers


class ResnetBilstm(nn.HybridBlock):
    """Read line images (N, 1, H, W), ink 1 on paper 0, W a multiple of 8, to logits (T, N, C) with T = W / 4.

    The published network cut the features of a 60 x 800 px image, 200 columns and 100 columns, both into 160
    steps, so that a step held 1.25 columns of the one and 0.625 of the other. Here a step is one column of
    the fine scale, and two steps share the LSTM outputs of one column of the coarse scale: 200 steps at
    800 px. Any width is allowed, and no column is split.

    H is fixed by the first image that is read. conf/network/resnet_bilstm.yaml explains the sizes.
    """

    stride = 4  # px of image width a time step
    width_multiple = 8  # px: two steps share a column of the coarse scale

    def __init__(
        self, classes: int, *, channels: int, hidden: int, layers: int, dropout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.trunk = _trunk()
            self.downsampling = _downsampling(channels)
            self.fine = rnn.LSTM(hidden, layers, layout="TNC", bidirectional=True, prefix="fine_")
            self.coarse = rnn.LSTM(hidden, layers, layout="TNC", bidirectional=True, prefix="coarse_")
            self.drop = nn.Dropout(dropout)
            self.output = nn.Dense(classes, flatten=False, in_units=4 * hidden, prefix="output_")

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the logits (T, N, C) twice: this network has no separate head for the CTC shortcut."""
        fine = self.trunk(images)  # (N, 64, H/4, T)
        coarse = self.downsampling(fine)  # (N, channels, H/8, T/2)
        fine = self.fine(_columns(F, fine))  # (T, N, 2 * hidden)
        coarse = F.repeat(self.coarse(_columns(F, coarse)), repeats=2, axis=0)  # (T, N, 2 * hidden)
        logits = self.output(self.drop(F.concat(fine, coarse, dim=2)))
        return logits, logits


def _trunk() -> Any:
    """Return ResNet-34 up to its first stage, for grey images: (N, 1, H, W) to (N, 64, H/4, W/4)."""
    trunk = nn.HybridSequential(prefix="trunk_")
    with trunk.name_scope():
        trunk.add(*resnet34_layers(1))
    return trunk


def _downsampling(channels: int) -> Any:
    """Return two convolutions and a pooling: (N, D, h, w) to (N, channels, h/2, w/2)."""
    layers = nn.HybridSequential(prefix="downsampling_")
    with layers.name_scope():
        for _ in range(2):
            layers.add(nn.Conv2D(channels, 3, padding=1), nn.BatchNorm(), nn.Activation("relu"))
        layers.add(nn.MaxPool2D(2))
    return layers


def _columns(F: Any, features: Any) -> Any:
    """Return features (N, D, h, T) as one vector a column: (T, N, D * h)."""
    return F.reshape(F.transpose(features, axes=(3, 0, 1, 2)), shape=(0, 0, -3))
