"""Exported networks compute what MXNet's do: every network, at other batch sizes and widths than traced."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from hwr.errors import InputError
from hwr.networks import arrays, set_arrays
from hwr.networks.crnn import Crnn, ResnetBilstm
from hwr.networks.onnx_graph import onnx_model
from hwr.networks.original import OriginalArea, OriginalLine, OriginalWords
from hwr.networks.paragraph import Extent, paragraph_resnet34
from hwr.networks.ssd import compact, ssd_resnet34

onnxruntime = pytest.importorskip("onnxruntime")

AXES = {1: ["NA"], 2: ["NAB", "NAB"]}
TWO = [[0.2, 0.1], [0.3, 0.05]]
NETWORKS: dict[str, tuple[Any, list[tuple[int, ...]]]] = {
    "crnn": (
        lambda: Crnn(7, stem=4, channels=[6, 8, 8], blocks=[1, 2, 0], hidden=5, layers=2, dropout=0.2),
        [(1, 1, 32, 64), (3, 1, 32, 96)],
    ),
    "resnet_bilstm": (
        lambda: ResnetBilstm(7, channels=4, hidden=6, layers=2, dropout=0.2),
        [(1, 1, 32, 64), (2, 1, 32, 96)],
    ),
    "extent": (lambda: Extent(stem=4, channels=[6, 8], hidden=4), [(1, 1, 48, 40), (2, 1, 54, 42)]),
    "paragraph_resnet34": (
        lambda: paragraph_resnet34(hidden=6, dropout=0.5),
        [(1, 1, 64, 48), (2, 1, 64, 48)],
    ),
    "original_area": (lambda: OriginalArea(hidden=6, dropout=0.5), [(1, 1, 64, 48), (2, 1, 64, 48)]),
    "original_line": (
        lambda: OriginalLine(
            7, height=32, channels=4, hidden=6, layers=2, dropout=0.2, mean=0.9, deviation=0.2
        ),
        [(1, 1, 32, 80), (2, 1, 32, 160)],
    ),
    "original_words": (
        lambda: OriginalWords(downsampled=4, kinds=3, sizes=[[0.1, 0.2]] * 6, ratios=[[3, 5]] * 6),
        [(2, 1, 128, 128)],
    ),
    "ssd_line": (
        lambda: compact(
            stem=4, channels=[4, 6], strides=[[2, 2], [1, 2]], blocks=[1, 1], reach=2, anchors=[TWO, TWO]
        ),
        [(1, 1, 64, 64), (2, 1, 64, 64)],
    ),
    "ssd_resnet34": (lambda: ssd_resnet34(downsampled=4, anchors=[TWO] * 6), [(2, 1, 128, 128)]),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_exported_network_computes_what_mxnet_does(name: str) -> None:
    maker, shapes = NETWORKS[name]
    network = started(maker(), shapes[0])
    session, draw = onnxruntime.InferenceSession(exported(network)), np.random.default_rng(1)
    for shape in shapes:
        images = draw.random(shape, dtype=np.float32)
        expected = [own.asnumpy() for own in outputs(network(mx.nd.array(images)))]
        assert np.ptp(expected[0]) > 1e-3  # not all the same
        for own, other in zip(session.run(None, {"images": images}), expected, strict=True):
            np.testing.assert_allclose(own, other, rtol=1e-4, atol=1e-5 * np.abs(other).max())


def test_operator_without_counterpart_is_refused_by_name() -> None:
    network = nn.HybridSequential()
    network.add(nn.Conv2D(2, 3), nn.InstanceNorm())
    with pytest.raises(InputError, match="InstanceNorm cannot be exported"):
        exported(started(network, (1, 1, 8, 8)))


def started(network: Any, shape: tuple[int, ...]) -> Any:
    """Return the network with other biases and normalisations than it begins with."""
    mx.random.seed(0)
    network.initialize(mx.init.Xavier(magnitude=2.24))
    network(mx.nd.zeros(shape))
    draw = np.random.default_rng(0)
    drawn = {name: value for name, value in arrays(network).items() if value.ndim == 1}
    set_arrays(network, {n: draw.uniform(0.5, 1.5, v.shape).astype(np.float32) for n, v in drawn.items()})
    network.hybridize()
    return network


def exported(network: Any) -> bytes:
    """Return a network as a file; the names of axes are not checked."""
    found = outputs(network(mx.sym.var("images")))
    parameters = {own.name: own.data().asnumpy() for own in network.collect_params().values()}
    names = {f"output{number}": AXES[len(found)][number] for number in range(len(found))}
    model = onnx_model(
        found, parameters, {"images": ("N", 1, "H", "W")}, names, constants={}, metadata={"stage": "any"}
    )
    return bytes(model.SerializeToString())


def outputs(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (list, tuple)) else [found]
