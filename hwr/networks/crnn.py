"""The default line network: compact residual CNN, maximum over the height, bidirectional LSTM, CTC heads.

The recipe follows Retsinas et al., "Best Practices for a Handwritten Text Recognition System" (DAS 2022):
keep the aspect ratio, take the maximum over the height so that one feature column is one time step, and train
with a second CTC head directly on the columns (the shortcut), which is not used for reading.
"""

from collections.abc import Sequence
from typing import Any

import mxnet as mx
from mxnet.gluon import nn, rnn

from hwr.errors import InputError
from hwr.networks import ConvBlock, ResidualBlock

ROWS = 16  # most feature rows: line images of 256 px with the three stages of conf/network


class Crnn(nn.HybridBlock):
    """Read line images (N, 1, H, W), ink 1 on paper 0, W a multiple of 4, to logits (T, N, C) with T = W / 4.

    conf/network/crnn.yaml explains the sizes. A pooling precedes each stage: the first halves both axes, the
    later ones only the height. Raises InputError if `channels` and `blocks` differ in length, or if an image
    leaves more than ROWS rows.
    """

    stride = 4  # px of image width a time step
    width_multiple = 4  # px: image widths are multiples of it, so that T = W / stride

    def __init__(
        self, classes: int, *, stem: int, channels: Sequence[int], blocks: Sequence[int], hidden: int,
        layers: int, dropout: float, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if len(channels) != len(blocks):
            counts = f"network.channels names {len(channels)} stages, network.blocks {len(blocks)}"
            raise InputError(f"{counts}; give as many")
        with self.name_scope():
            self.trunk = nn.HybridSequential(prefix="trunk_")
            with self.trunk.name_scope():
                self.trunk.add(ConvBlock(stem, 5, (2, 2)))
                width = stem
                for stage, (depth, count) in enumerate(zip(channels, blocks, strict=True)):
                    self.trunk.add(nn.MaxPool2D((2, 2) if stage == 0 else (2, 1)))
                    for _ in range(count):
                        self.trunk.add(ResidualBlock(depth, project=width != depth))
                        width = depth
            self.drop = nn.Dropout(dropout)
            self.lstm = _lstm(width, hidden, layers, dropout)
            self.output = nn.Dense(classes, flatten=False, in_units=2 * hidden, prefix="output_")
            self.shortcut = nn.Dense(classes, flatten=False, in_units=width, prefix="shortcut_")

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the logits and the shortcut's logits, both (T, N, C)."""
        features = self.trunk(images)  # (N, D, h, T)
        columns = F.transpose(_highest(F, features), axes=(2, 0, 1))  # (T, N, D)
        hidden = self.lstm(self.drop(columns))  # (T, N, 2 * hidden)
        return self.output(self.drop(hidden)), self.shortcut(columns)


def _highest(F: Any, features: Any) -> Any:
    """Return the maximum over the rows of features (N, D, h, T), h up to ROWS: (N, D, T).

    It is one pooling window over all rows, which oneDNN implements: MXNet's `max` takes 6 % of a step.
    """
    if not isinstance(features, mx.sym.Symbol) and features.shape[2] > ROWS:
        raise InputError(
            f"line images leave {features.shape[2]} feature rows, more than {ROWS}; lower stage.crop.height"
        )
    window = {"kernel": (2 * ROWS, 1), "stride": (2 * ROWS, 1), "pad": (ROWS, 0)}
    return F.reshape(F.Pooling(features, pool_type="max", **window), shape=(0, 0, -1))


def _lstm(width: int, hidden: int, layers: int, dropout: float) -> Any:
    """Return stacked bidirectional LSTMs (T, N, width) to (T, N, 2 * hidden), each a block of its own.

    On a CPU, MXNet's fused stack ignores `dropout`, so dropout is a layer between the blocks.
    """
    stack = nn.HybridSequential(prefix="lstm_")
    with stack.name_scope():
        for layer in range(layers):
            if layer:
                stack.add(nn.Dropout(dropout))
            inputs = 2 * hidden if layer else width
            stack.add(rnn.LSTM(hidden, layout="TNC", bidirectional=True, input_size=inputs))
    return stack
