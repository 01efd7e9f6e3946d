"""Networks of stage `line`: a residual CNN, bidirectional LSTMs over its columns, CTC.

The default has a compact CNN and takes the maximum over the height. The recipe follows Retsinas et al., "Best
Practices for a Handwritten Text Recognition System" (DAS 2022): keep the aspect ratio, take the maximum over
the height so that one feature column is one time step, and train with a second CTC head directly on the
columns (the shortcut), which is not used for reading.

The original program's network, kept for comparison, has ResNet-34's first stage and an LSTM stack at each
of two scales: "Handwritten Text Recognition (OCR) with MXNet Gluon", AWS Labs 2018-2021, with the trunk of
He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016).
"""

from collections.abc import Sequence
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.contrib.amp.amp import bfloat16
from mxnet.gluon import nn, rnn
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.networks import Arrays, ConvBlock, Convolution, ResidualBlock, arrays, resnet34_layers
from hwr.ranges import Amount, Count, Counts, Share

GATES = 4  # of an LSTM; its parameters hold them one after the other
FIRST = 2  # blocks of the trunk before the residual stages: the stem and its pooling
TILE = 32  # channels: where all are multiples of it, a network learns fast in bfloat16 with AMX, else slowly
TILED_COLUMNS = 224  # most that oneDNN 2.4 learns right from with AMX
TILED_COLUMNS_POWER_OF_TWO = 352  # the same where the rows of the first stage are a power of two
TILED_PLACES = 49  # fewest rows times columns that it projects right with AMX, not writing beyond its memory
ROWS = 16  # most feature rows: line images of 256 px with the three stages of conf/network


class Crnn(nn.HybridBlock):
    """Read line images (N, 1, H, W), ink 1 on paper 0, W a multiple of 4, to logits (T, N, C) with T = W / 4.

    conf/network/crnn.yaml explains the sizes. A pooling precedes each stage: the first halves both axes, the
    later ones only the height. Raises InputError if `channels` and `blocks` differ in length, or if an image
    leaves more than ROWS rows.
    """

    bfloat16 = False  # what the residual stages compute in; all else is float32
    stride = 4  # px of image width a time step
    width_multiple = 4  # px: image widths are multiples of it, so that T = W / stride

    def __init__(
        self, classes: int, *, stem: Count, channels: Counts, blocks: Sequence[Amount],
        hidden: Count, layers: Count, dropout: Share, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if len(channels) != len(blocks):
            counts = f"network.channels names {len(channels)} stages, network.blocks {len(blocks)}"
            raise InputError(f"{counts}; give as many")
        self.stages = len(channels)
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

    def compute_in_bfloat16(self) -> None:
        """Compute the residual stages in bfloat16 from now on; parameters, and all else, stay float32."""
        self.bfloat16 = True
        for block in self.trunk[FIRST:]:
            block.apply(_in_bfloat16)

    @staticmethod
    def gains_from_tiles(channels: Sequence[int]) -> bool:
        """Tell whether a network with these channels learns faster in bfloat16 with AMX."""
        return all(count % TILE == 0 for count in channels)

    def right_in_bfloat16(self, height: int, width: int, *, tiled: bool) -> bool:
        """Tell whether oneDNN 2.4 computes a step right in bfloat16 for images of this size (decision 22).

        `tiled` says that it computes in AMX's tiles; without them, every size is right.
        """
        rows, columns = (height + 1) // 4, width // self.stride
        last = rows >> (self.stages - 1)
        most = TILED_COLUMNS if rows & (rows - 1) else TILED_COLUMNS_POWER_OF_TWO
        return not tiled or (last * columns >= TILED_PLACES and columns <= most)

    def widened(self, stored: Arrays) -> Arrays:
        """Return parameters for this network that compute what `stored`, of a narrower one, does.

        Units that are new keep the weights they were drawn with, and nothing old listens to them yet
        (after Chen et al., "Net2Net", ICLR 2016). Parameters that are no narrower come back as they are.
        """
        drawn = arrays(self)
        return {
            name: _widened(name, old, drawn[name]) if name in drawn else old for name, old in stored.items()
        }

    def hybrid_forward(self, F: Any, images: Any) -> tuple[Any, Any]:
        """Return the logits and the shortcut's logits, both (T, N, C)."""
        columns = self.columns(images, F)  # (T, N, D)
        hidden = self.lstm(self.drop(columns))  # (T, N, 2 * hidden)
        return self.output(self.drop(hidden)), self.shortcut(columns)

    def columns(self, images: Any, F: Any = mx.nd) -> Any:
        """Return the columns (T, N, D) that the LSTMs read, of images (N, 1, H, W)."""
        return F.transpose(_highest(F, self._features(F, images)), axes=(2, 0, 1))

    def read_columns(self, columns: Any, steps: Any, F: Any = mx.nd) -> Any:
        """Return the logits (T, N, C) of columns (T, N, D) of which line n has the first `steps[n]`.

        Each is read as if it were alone; what stands behind its end means nothing. One line at a time would
        take an LSTM four times as long.
        """
        hidden = columns
        for block in self.lstm:
            if isinstance(block, rnn.LSTM):
                there, back = (_one_way(F, block, side, hidden, steps) for side in "lr")
                hidden = F.concat(there, back, dim=2)
        return self.output(hidden)

    def _features(self, F: Any, images: Any) -> Any:
        """Return the features (N, D, h, T) of images (N, 1, H, W), both float32.

        In bfloat16 an image of one channel costs oneDNN more than it saves, so the stem does without.
        """
        for place, block in enumerate(self.trunk):
            if self.bfloat16 and place == FIRST:
                images = F.amp_cast(images, dtype=bfloat16)
            images = block(images)
        return F.amp_cast(images, dtype="float32") if self.bfloat16 else images


class ResnetBilstm(nn.HybridBlock):
    """Read line images (N, 1, H, W), ink 1 on paper 0, W a multiple of 8, to logits (T, N, C) with T = W / 4.

    The original program cut the features of a 60 x 800 px image, 200 columns and 100 columns, both into 160
    steps, so that a step held 1.25 columns of the one and 0.625 of the other. Here a step is one column of
    the fine scale, and two steps share the LSTM outputs of one column of the coarse scale: 200 steps at
    800 px. Any width is allowed, and no column is split.

    H is fixed by the first image that is read. conf/network/resnet_bilstm.yaml explains the sizes.
    """

    stride = 4  # px of image width a time step
    width_multiple = 8  # px: two steps share a column of the coarse scale

    def __init__(
        self, classes: int, *, channels: Count, hidden: Count, layers: Count, dropout: Share, **kwargs: Any
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


def _in_bfloat16(block: Any) -> None:
    if isinstance(block, Convolution):
        block.bfloat16 = True


def _widened(name: str, old: NDArray[Any], drawn: NDArray[Any]) -> NDArray[Any]:
    """Return `old` in the shape of `drawn`, but with as many rows as it has where they are classes."""
    recurrent = name.startswith("lstm.")
    shape = (len(old) if name.startswith(("output.", "shortcut.")) else len(drawn), *drawn.shape[1:])
    narrower = old.ndim == drawn.ndim and old.shape[2:] == shape[2:] and old.shape != shape
    if not narrower or any(np.greater(old.shape, shape)):
        return old
    rows = _places(len(old), shape[0], GATES if recurrent else 1)
    wide = np.zeros(shape, old.dtype) if shape[0] == len(old) else drawn.astype(old.dtype)
    if old.ndim == 1:
        wide[rows] = old
        return wide
    both = name == "output.weight" or (recurrent and "i2h" in name and not name.startswith("lstm.0."))
    wide[rows] = 0
    wide[np.ix_(rows, _places(old.shape[1], shape[1], 2 if both else 1))] = old
    return wide


def _places(old: int, new: int, parts: int) -> NDArray[np.int64]:
    """Return where `old` units lie among `new` ones, in as many equal parts; the first of each part."""
    return np.arange(new).reshape(parts, -1)[:, : old // parts].ravel()


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


def _one_way(F: Any, block: Any, side: str, hidden: Any, steps: Any) -> Any:
    """Return what one side of an LSTM, `l` or `r`, makes of (T, N, D): (T, N, hidden)."""
    kinds = ("i2h_weight", "h2h_weight", "i2h_bias", "h2h_bias")
    own, units = [getattr(block, f"{side}0_{kind}") for kind in kinds], block.state_info()[0]["shape"][2]
    if F is mx.sym:
        values, zeros = [one.var() for one in own], F.zeros((1, 0, units))  # of any number of lines
    else:
        values = [one.data(hidden.context) for one in own]
        zeros = F.zeros((1, hidden.shape[1], units), ctx=hidden.context)
    turn = {"sequence_length": steps, "use_sequence_length": True}
    given = hidden if side == "l" else F.SequenceReverse(hidden, **turn)
    flat = F._internal._rnn_param_concat(*(value.reshape(-1) for value in values), dim=0)
    found = F.RNN(given, flat, zeros, zeros, num_layers=1, mode="lstm", state_size=units)
    return found if side == "l" else F.SequenceReverse(found, **turn)


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
