"""Networks in MXNet Gluon: the blocks that they share, and their parameters.

A line network maps images (N, 1, H, W) to logits (T, N, C). Its class states `stride`, the width of a time
step in px, and `width_multiple`: if W is a multiple of it, T = W / stride.
"""

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.contrib.amp.amp import bfloat16
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet34_v1
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

# MXNet 1.9, src/ndarray/ndarray.cc: a list of arrays, then their names; all numbers little-endian.
_LIST, _DENSE = 0x112, (0xF993FAC9, 0xF993FACA)
GZIP = b"\x1f\x8b"  # how a compressed file begins
_LARGEST = 1 << 30  # bytes that a compressed file may hold
_TYPES = dict(enumerate(("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8")))


class Convolution(nn.Conv2D):
    """A convolution without bias, (N, C, H, W) to (N, channels, H/s, W/s'), which pads half its kernel.

    With `bfloat16` it computes in that type, as oneDNN does where images and weights have it; the weights
    themselves stay float32, and so do their gradients.
    """

    bfloat16 = False

    def __init__(self, channels: int, kernel: int, strides: tuple[int, int] = (1, 1), **kwargs: Any) -> None:
        super().__init__(channels, kernel, strides, padding=kernel // 2, use_bias=False, **kwargs)

    def hybrid_forward(self, F: Any, x: Any, weight: Any) -> Any:
        """Return the convolution of images (N, C, H, W), bfloat16 where this computes so."""
        own = F.amp_cast(weight, dtype=bfloat16) if self.bfloat16 else weight
        return super().hybrid_forward(F, x, own)


class ConvBlock(nn.HybridSequential):
    """Convolution, batch normalisation, ReLU: (N, C, H, W) to (N, channels, H/s, W/s')."""

    def __init__(
        self, channels: int, kernel: int = 3, strides: tuple[int, int] = (1, 1), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.add(Convolution(channels, kernel, strides), nn.BatchNorm(), nn.Activation("relu"))


class ResidualBlock(nn.HybridBlock):
    """Two 3 x 3 convolutions beside a shortcut: (N, C, H, W) to (N, channels, H, W).

    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, figure 5 left.
    """

    def __init__(self, channels: int, project: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(ConvBlock(channels), Convolution(channels, 3))
            self.body.add(nn.BatchNorm())
            self.shortcut = Convolution(channels, 1) if project else None

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


def read_params(path: Path) -> Arrays:
    """Return the arrays of a file that Gluon's `save_parameters` wrote, by name; they are not copied.

    The file may be compressed with gzip. MXNet's own reader trusts the sizes in a file, and hangs or dies of
    a damaged one. Raises ValueError for a file that is damaged or of another kind.
    """
    data = path.read_bytes()
    try:
        if data.startswith(GZIP):
            data = _unpacked(data)
        magic, _, count = struct.unpack_from("<QQQ", data)
        values, names, at = list[NDArray[Any]](), list[str](), 24
        while magic == _LIST and len(values) < count:
            value, at = _read_array(data, at)
            values.append(value)
        (named,), at = struct.unpack_from("<Q", data, at), at + 8
        while len(names) < named:
            (length,) = struct.unpack_from("<Q", data, at)
            names.append(data[at + 8 : at + 8 + length].decode())
            at += 8 + length
        if at != len(data) or len(set(names)) != len(values):
            raise ValueError("not a list of named arrays")
    except (struct.error, zlib.error, LookupError, OverflowError) as error:
        raise ValueError(str(error)) from None
    return dict(zip(names, values, strict=True))


def _unpacked(data: bytes) -> bytes:
    """Return what gzip compressed; raise ValueError where that is damaged or too large."""
    unpacking = zlib.decompressobj(wbits=31)  # with gzip's header
    found = unpacking.decompress(data, _LARGEST)
    if not unpacking.eof or unpacking.unused_data:
        raise ValueError("not compressed parameters")
    return found


def _read_array(data: bytes, at: int) -> tuple[NDArray[Any], int]:
    """Return the array at a place of the file, and where it ends."""
    magic, storage, dimensions = struct.unpack_from("<IiI", data, at)
    if magic not in _DENSE or storage != 0 or not 0 < dimensions < 9:
        raise ValueError("an array that is not dense")
    shape = struct.unpack_from(f"<{dimensions}q", data, at + 12)
    at += 12 + 8 * dimensions
    kind, size = np.dtype(_TYPES[struct.unpack_from("<iii", data, at)[2]]), math.prod(shape)
    at += 12
    if min(shape) < 0 or size * kind.itemsize > len(data) - at:
        raise ValueError("an array larger than the file")
    return np.frombuffer(data, kind, size, at).reshape(shape), at + size * kind.itemsize


def network_parameters(network: Any) -> dict[str, Any]:
    """Return the network's parameters by their path in it (`trunk.0.0.weight`), not MXNet's names."""
    return dict(network._collect_params_with_prefix())


def arrays(network: Any) -> Arrays:
    """Return a copy of the network's parameters as NumPy arrays."""
    own = network_parameters(network).items()
    return {name: parameter.list_data()[0].asnumpy() for name, parameter in own}  # devices have the same


def set_arrays(network: Any, values: Arrays) -> None:
    """Set every parameter of the network that `values` names."""
    for name, parameter in network_parameters(network).items():
        if name in values:
            parameter.set_data(mx.nd.array(values[name], dtype=parameter.dtype))
