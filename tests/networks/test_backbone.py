"""The shared convolutional blocks: shapes, and the shortcut."""

import mxnet as mx
import numpy as np
import pytest

from hwr.networks import ConvBlock, ResidualBlock


def images(*shape: int) -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(0).normal(size=shape))


@pytest.mark.parametrize(
    ("kernel", "strides", "shape"),
    [
        (3, (1, 1), (2, 5, 8, 12)),
        (5, (2, 2), (2, 5, 4, 6)),
        (3, (2, 1), (2, 5, 4, 12)),
    ],
)
def test_conv_block_divides_the_axes_by_its_strides(
    kernel: int, strides: tuple[int, int], shape: tuple[int, ...]
) -> None:
    block = ConvBlock(5, kernel, strides)
    block.initialize()
    found = block(images(2, 3, 8, 12))
    assert found.shape == shape
    assert found.min().asscalar() >= 0


def test_residual_block_changes_channels_and_keeps_the_size_when_it_projects() -> None:
    block = ResidualBlock(6, project=True)
    block.initialize()
    assert block(images(2, 3, 8, 12)).shape == (2, 6, 8, 12)


def test_residual_block_gives_relu_of_its_input_when_its_body_is_silent() -> None:
    block = ResidualBlock(3, project=False)
    block.initialize(mx.init.Zero())
    x = images(2, 3, 8, 12)
    np.testing.assert_array_equal(block(x).asnumpy(), np.maximum(x.asnumpy(), 0))


def test_residual_block_has_no_projection_when_none_is_asked_for() -> None:
    plain, projecting = ResidualBlock(3, project=False), ResidualBlock(3, project=True)
    assert len(list(projecting.collect_params())) == len(list(plain.collect_params())) + 1
