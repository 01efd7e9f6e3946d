"""The default line network: a step for every four columns, and every part trained."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from hwr.errors import InputError
from hwr.networks import arrays, set_arrays
from hwr.networks.crnn import ROWS, Crnn, _highest
from hwr.runtime import computes_bfloat16

CLASSES = 7
SMALL: dict[str, Any] = {
    "stem": 4, "channels": [6, 8], "blocks": [1, 2], "hidden": 5, "layers": 2, "dropout": 0.0,
}  # fmt: skip


def network(**changes: Any) -> Crnn:
    made = Crnn(CLASSES, **(SMALL | changes))
    mx.random.seed(0)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    return made


def lines(count: int, width: int, *, height: int = 16) -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(width).random((count, 1, height, width)))


@pytest.mark.parametrize("widths", [4, 8, 9, 15, 40])
def test_logits_have_a_step_for_every_stride_of_the_width(widths: int) -> None:
    width = widths * Crnn.width_multiple
    logits, shortcut = network()(lines(3, width))
    assert logits.shape == shortcut.shape == (width // Crnn.stride, 3, CLASSES)


def test_logits_are_the_same_when_hybridized() -> None:
    made, x = network(), lines(2, 64)
    plain = [head.asnumpy() for head in made(x)]
    made.hybridize()
    for head, expected in zip(made(x), plain, strict=True):
        np.testing.assert_allclose(head.asnumpy(), expected, atol=1e-6)


def test_one_network_reads_several_widths_when_hybridized() -> None:
    made = network()
    made.hybridize()
    first = made(lines(2, 64))[0].asnumpy()
    assert made(lines(3, 96))[0].shape == (24, 3, CLASSES)
    np.testing.assert_array_equal(made(lines(2, 64))[0].asnumpy(), first)


def test_lines_of_different_lengths_are_read_together_as_the_network_reads_each_alone() -> None:
    made, widths = network(layers=3), [40, 64, 64, 8, 100]
    alone = [made(lines(1, width))[0].asnumpy()[:, 0] for width in widths]
    columns = [made.columns(lines(1, width)).asnumpy()[:, 0] for width in widths]
    stacked = np.full(
        (25, 5, columns[0].shape[1]), 9.0, np.float32
    )  # what is behind a line's end counts nothing
    for place, own in enumerate(columns):
        stacked[: len(own), place] = own
    steps = mx.nd.array([len(own) for own in columns])
    together = made.read_columns(mx.nd.array(stacked), steps).asnumpy()
    for place, expected in enumerate(alone):
        np.testing.assert_allclose(together[: len(expected), place], expected, atol=1e-5)


def test_shortcut_sees_only_its_surroundings_and_the_output_the_whole_line() -> None:
    made, blank = network(), mx.nd.zeros((1, 1, 16, 160))
    marked = blank.copy()
    marked[:, :, :, 152:] = 1.0
    (output, shortcut), (output_marked, shortcut_marked) = made(blank), made(marked)
    assert np.abs((output - output_marked)[0].asnumpy()).max() > 0
    np.testing.assert_array_equal(shortcut[0].asnumpy(), shortcut_marked[0].asnumpy())


def test_every_parameter_gets_a_gradient() -> None:
    made = network()
    with autograd.record():
        logits, shortcut = made(lines(2, 64))
        total = (logits**2).sum() + (shortcut**2).sum()
    total.backward()
    still = [
        name
        for name, parameter in made.collect_params().items()
        if parameter.grad_req != "null" and not parameter.grad().asnumpy().any()
    ]
    assert still == []


def test_uneven_stages_are_refused() -> None:
    with pytest.raises(InputError, match=r"network\.channels names 2 stages, network\.blocks 1"):
        network(blocks=[1])


def test_columns_hold_the_highest_of_all_rows() -> None:
    features = np.random.default_rng(0).normal(size=(2, 3, ROWS, 5)).astype(np.float32)
    np.testing.assert_array_equal(_highest(mx.nd, mx.nd.array(features)).asnumpy(), features.max(axis=2))


def test_lines_of_too_many_rows_are_refused() -> None:
    with pytest.raises(InputError, match=r"leave 17 feature rows, more than 16; lower stage\.crop\.height"):
        network()(lines(1, 32, height=17 * 8))


@pytest.mark.parametrize(
    "wider",
    [
        {"hidden": 8},
        {"channels": [9, 12]},
        {"stem": 7},
        {"stem": 6, "channels": [8, 11], "hidden": 9},
    ],
)
def test_a_wider_network_computes_what_the_narrower_one_did_and_learns(wider: dict[str, Any]) -> None:
    narrow, wide, x = network(), network(**wider), lines(2, 64)
    expected = [head.asnumpy() for head in narrow(x)]
    wide(x)
    set_arrays(wide, wide.widened(arrays(narrow)))
    for head, before in zip(wide(x), expected, strict=True):
        np.testing.assert_allclose(head.asnumpy(), before, atol=1e-5)
    with autograd.record():
        output, shortcut = wide(x)
        loss = (output**2).mean() + (shortcut**2).mean()
    loss.backward()
    for name, parameter in wide._collect_params_with_prefix().items():
        if name.startswith("output.weight"):
            assert (np.abs(parameter.grad().asnumpy()).max(axis=0) > 0).all()  # new units are listened to


def test_parameters_that_no_wider_network_can_take_come_back_as_they_are() -> None:
    narrow, wide = network(hidden=8), network(hidden=5)
    for made in (narrow, wide):
        made(lines(1, 64))
    stored = arrays(narrow)
    given = wide.widened({**stored, "other.weight": np.zeros((2, 2))})
    assert given.keys() == {*stored, "other.weight"}
    for name, value in stored.items():
        np.testing.assert_array_equal(given[name], value)


@pytest.mark.parametrize(
    ("height", "narrowest", "widest"), [(64, 64, 1408), (48, 96, 896), (32, 100, 1408), (128, 32, 1408)]
)
def test_images_that_onednn_learns_wrong_from_with_amx_are_told(
    height: int, narrowest: int, widest: int
) -> None:
    made = network(channels=[8, 8, 8], blocks=[1, 1, 1])
    found = [width for width in range(4, 2400, 4) if made.right_in_bfloat16(height, width, tiled=True)]
    assert [*range(narrowest, widest + 4, 4)] == [width for width in found if width >= narrowest]
    assert min(found) > narrowest - 32  # widths are multiples of 32
    assert made.right_in_bfloat16(height, 4000, tiled=False)


@pytest.mark.skipif(not computes_bfloat16(), reason="this processor does not compute in bfloat16")
@pytest.mark.parametrize("hybrid", [False, True])
def test_bfloat16_gives_the_logits_and_gradients_of_float32_nearly(hybrid: bool) -> None:
    found = []
    for narrow in (False, True):
        made, x = network(channels=[16, 32]), lines(4, 96)
        if narrow:
            made.compute_in_bfloat16()
        if hybrid:
            made.hybridize()
        with autograd.record():
            output, shortcut = made(x)
            loss = (output**2).mean() + (shortcut**2).mean()
        loss.backward()
        gradients = {
            name: own.grad().asnumpy()
            for name, own in made._collect_params_with_prefix().items()
            if own.grad_req != "null"
        }
        assert all(value.dtype == np.float32 for value in gradients.values())
        found.append({"output": output.asnumpy(), "shortcut": shortcut.asnumpy(), **gradients})
    exact, near = found
    for name, value in exact.items():
        cosine = (near[name] * value).sum() / np.linalg.norm(near[name]) / np.linalg.norm(value)
        assert cosine > (0.9999 if name in ("output", "shortcut") else 0.95), name
    assert any((near[name] != exact[name]).any() for name in exact)
