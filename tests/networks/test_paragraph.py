"""The networks for areas: four edges in [0, 1], found where a profile begins and ends to be sure."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet34_v1

from hwr.networks.paragraph import Extent, _ends, paragraph_resnet34
from tests.networks.cost import cost

SMALL: dict[str, Any] = {"stem": 4, "channels": [6, 8], "hidden": 5}


def started(made: Any) -> Any:
    mx.random.seed(0)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    return made


def extent(**changes: Any) -> Extent:
    return started(Extent(**(SMALL | changes)))


class Fixed(nn.HybridSequential):
    """A head that gives the same map whatever it sees."""

    def __init__(self, sure: Any) -> None:
        super().__init__()
        self._sure = sure

    def hybrid_forward(self, F: Any, features: Any) -> Any:  # noqa: N803
        return self._sure


def resnet34() -> Any:
    return started(paragraph_resnet34(hidden=6, dropout=0.5))


def pages(count: int, height: int = 48, width: int = 32) -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(height).random((count, 1, height, width)))


@pytest.mark.parametrize("network", [extent, resnet34])
@pytest.mark.parametrize("size", [(48, 32), (37, 50)])
def test_output_is_four_fractions_a_page(network: Any, size: tuple[int, int]) -> None:
    boxes = network()(pages(3, *size)).asnumpy()
    assert boxes.shape == (3, 4)
    assert ((boxes > 0) & (boxes < 1)).all()


@pytest.mark.parametrize("network", [extent, resnet34])
def test_boxes_are_the_same_when_hybridized(network: Any) -> None:
    made, x = network(), pages(2)
    plain = made(x).asnumpy()
    made.hybridize()
    np.testing.assert_allclose(made(x).asnumpy(), plain, atol=1e-6)


@pytest.mark.parametrize("network", [extent, resnet34])
def test_box_is_the_same_alone_and_in_a_batch(network: Any) -> None:
    made, x = network(), pages(3)
    np.testing.assert_allclose(made(x[1:2]).asnumpy(), made(x).asnumpy()[1:2], atol=1e-6)


def test_extent_takes_pages_of_several_sizes_when_hybridized() -> None:
    made = extent()
    made.hybridize()
    first = made(pages(2)).asnumpy()
    assert made(pages(1, 64, 80)).shape == (1, 4)
    np.testing.assert_array_equal(made(pages(2)).asnumpy(), first)


def test_extent_is_the_box_around_what_the_map_is_sure_of() -> None:
    made, sure = extent(), mx.nd.full((1, 1, 12, 8), -50.0)
    sure[0, 0, 3:9, 2:4] = 50.0  # rows 3 to 8 of 12, columns 2 and 3 of 8
    made.head = Fixed(sure)
    np.testing.assert_allclose(made(pages(1)).asnumpy(), [[2 / 8, 3 / 12, 4 / 8, 9 / 12]], atol=1e-6)


@pytest.mark.parametrize("network", [extent, resnet34])
def test_every_parameter_gets_a_gradient(network: Any) -> None:
    made, x = network(), pages(4)
    made(x)
    with autograd.record():
        total = (made(x) ** 2).sum()
    total.backward()
    still = [
        name
        for name, parameter in made.collect_params().items()
        if parameter.grad_req != "null" and not parameter.grad().asnumpy().any()
    ]
    assert still == []


@pytest.mark.parametrize(
    ("sure", "begin", "end"),
    [
        ([99, 99, 99, 99], 0.0, 1.0),
        ([-99, 99, 99, -99], 0.25, 0.75),
        ([-99, 99, -99, -99], 0.25, 0.5),
        ([99, -99, -99, 99], 0.0, 1.0),  # what lies between does not matter
        ([-99, -99, -99, -99], 1.0, 0.0),  # nothing written: inside out
        ([0, 99, 99, 0], 0.125, 0.875),  # written with probability one half
        ([0, 0, -99, -99], (0.5 + 3 * 0.25) / 4, 1 - (1 + 1 + 0.5 + 0.25) / 4),
    ],
)
def test_ends_are_the_expected_shares_of_unsure_places(sure: list[float], begin: float, end: float) -> None:
    first, last = _ends(mx.nd, mx.nd.array([sure]))
    assert first.asnumpy() == pytest.approx(np.array([[begin]]), abs=1e-6)
    assert last.asnumpy() == pytest.approx(np.array([[end]]), abs=1e-6)


def test_extent_of_full_size_has_the_parameters_of_its_parts() -> None:
    network = Extent(stem=16, channels=[32, 48, 64], hidden=32)
    stem = 16 * 25 + 2 * 16
    blocks = sum(9 * d * (w + d) + 4 * d + w * d for w, d in ((16, 32), (32, 48), (48, 64)))
    laterals = 32 * (32 + 48 + 64) + 3 * 32
    head = 9 * 32 * 32 + 2 * 32 + 32 + 1
    assert cost(network, (1, 1, 384, 288)).parameters == stem + blocks + laterals + head


def test_resnet34_network_has_the_parameters_of_its_parts() -> None:
    trunk = 64 * 49 + 2 * 64
    first = 6 * (64 * 64 * 9 + 2 * 64)  # three blocks of two convolutions, each with its normalisation
    second = 9 * 128 * (64 + 7 * 128) + 8 * 2 * 128 + 64 * 128 + 2 * 128  # four, and a projection
    dense = (128 * 47 * 34 + 1) * 64 + (64 + 1) * 64 + (64 + 1) * 4  # an eighth of 373 x 266 px
    network = paragraph_resnet34(hidden=64, dropout=0.5)
    assert cost(network, (1, 1, 373, 266)).parameters == trunk + first + second + dense


def test_resnet34_network_is_built_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights are fetched")

    monkeypatch.setattr("mxnet.gluon.model_zoo.model_store.get_model_file", fetch)
    with pytest.raises(AssertionError, match="weights are fetched"):
        resnet34_v1(pretrained=True)
    made = paragraph_resnet34(hidden=6, dropout=0.5)
    assert all(parameter._data is None for parameter in made.collect_params().values())
