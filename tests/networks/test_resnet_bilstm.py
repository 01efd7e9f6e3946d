"""The line network after the original program: whole columns, two scales, grey images, nothing downloaded."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from hwr.networks.crnn import ResnetBilstm
from tests.networks.cost import cost

SMALL: dict[str, Any] = {"channels": 8, "hidden": 6, "layers": 1, "dropout": 0.0}
CLASSES = 7


@pytest.fixture
def network() -> ResnetBilstm:
    made = ResnetBilstm(CLASSES, **SMALL)
    mx.random.seed(0)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    return made


def lines(count: int, width: int, *, height: int = 28) -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(width).random((count, 1, height, width)))


def test_full_size_has_the_parameters_of_its_parts() -> None:
    network = ResnetBilstm(81, channels=64, hidden=512, layers=2, dropout=0.5)
    stage = 6 * (64 * 64 * 9 + 2 * 64)  # three blocks of two convolutions, each with its normalisation
    trunk = 64 * 49 + 2 * 64 + stage
    downsampling = 2 * (64 * 64 * 9 + 64 + 2 * 64)
    first = {name: 2 * 4 * 512 * (size + 512 + 2) for name, size in (("fine", 64 * 15), ("coarse", 64 * 7))}
    second = 2 * 4 * 512 * (1024 + 512 + 2)
    total = trunk + downsampling + sum(first.values()) + 2 * second + 81 * (4 * 512 + 1)
    assert cost(network, (1, 1, 60, 800)).parameters == total == 23_042_449


@pytest.mark.parametrize("widths", [4, 5, 8, 9, 12])
def test_logits_have_a_step_for_every_stride_of_the_width(network: ResnetBilstm, widths: int) -> None:
    width = widths * network.width_multiple
    logits, again = network(lines(2, width))
    assert logits.shape == (width // network.stride, 2, CLASSES)
    np.testing.assert_array_equal(logits.asnumpy(), again.asnumpy())


def test_logits_are_the_same_when_hybridized(network: ResnetBilstm) -> None:
    x = lines(2, 64)
    plain = network(x)[0].asnumpy()
    network.hybridize()
    for head in network(x):
        np.testing.assert_allclose(head.asnumpy(), plain, atol=1e-6)


def test_coarse_outputs_serve_the_two_columns_they_cover(network: ResnetBilstm) -> None:
    network(lines(1, 64))
    for parameter in network.fine.collect_params().values():
        parameter.set_data(mx.nd.zeros(parameter.shape))
    steps = network(lines(1, 64))[0].asnumpy()  # (16, 1, C) of the coarse scale alone
    np.testing.assert_array_equal(steps[0::2], steps[1::2])
    assert np.abs(np.diff(steps[0::2], axis=0)).min() > 0


def test_every_parameter_gets_a_gradient_when_hybridized(network: ResnetBilstm) -> None:
    network(lines(1, 64))
    network.hybridize()
    with autograd.record():
        total = (network(lines(2, 64))[0] ** 2).sum()
    total.backward()
    still = [
        name
        for name, parameter in network.collect_params().items()
        if parameter.grad_req != "null" and not parameter.grad().asnumpy().any()
    ]
    # a shift that the next normalisation takes away again moves nothing
    assert [name for name in still if not name.endswith("_bias")] == []


def test_building_downloads_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MXNET_HOME", str(tmp_path))
    ResnetBilstm(CLASSES, **SMALL).initialize()
    assert list(tmp_path.iterdir()) == []
