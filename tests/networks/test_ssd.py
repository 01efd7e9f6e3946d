"""The detectors: a score and offsets for every anchor, in the order of the grid, and all parts trained."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from mxnet.gluon import nn
from mxnet.gluon.model_zoo.vision import resnet34_v1
from omegaconf import OmegaConf

from hwr.errors import InputError
from hwr.networks.ssd import Ssd, _Along, anchor_grid, compact, ssd_resnet34
from tests.networks.cost import cost

RESNET34 = Path(__file__).resolve().parents[2] / "conf" / "network" / "ssd_resnet34.yaml"
SMALL: dict[str, Any] = {
    "stem": 4, "channels": [6, 8, 8], "strides": [[2, 2], [1, 2], [2, 2]], "blocks": [1, 2, 1], "reach": 1,
    "anchors": [[(0.5, 0.1), (0.25, 0.1), (0.1, 0.1)], [(0.9, 0.2)]],
}  # fmt: skip
SIX = [[(0.1 * scale, 0.1), (0.2 * scale, 0.1)] for scale in range(1, 7)]


def started(made: Any) -> Any:
    mx.random.seed(0)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    return made


def small(**changes: Any) -> Ssd:
    return started(compact(**(SMALL | changes)))


def resnet34() -> Ssd:
    return started(ssd_resnet34(downsampled=8, anchors=SIX))


def areas(count: int, height: int = 32, width: int = 64) -> mx.nd.NDArray:
    return mx.nd.array(np.random.default_rng(height).random((count, 1, height, width)))


def values(pair: tuple[Any, Any]) -> list[Any]:
    return [part.asnumpy() for part in pair]


def test_compact_detector_shrinks_its_maps_as_told() -> None:
    # 32 x 64 halved by the stem; then by 2 x 2, and across, before the first map; by 2 x 2 before the second
    assert small().shapes(areas(1)) == [(8, 8), (4, 4)]


def test_original_detector_has_three_smaller_maps_and_two_of_one_cell() -> None:
    # an eighth of 96 px
    assert resnet34().shapes(areas(1, 96, 96)) == [(12, 12), (6, 6), (3, 3), (1, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize(("network", "size"), [(small, (32, 64)), (small, (48, 96)), (resnet34, (64, 96))])
def test_outputs_have_two_scores_and_four_offsets_an_anchor(network: Any, size: tuple[int, int]) -> None:
    made, x = network(), areas(3, *size)
    scores, offsets = made(x)
    count = len(anchor_grid(made.shapes(x), made.anchors))
    assert scores.shape == (3, 2, count)
    assert offsets.shape == (3, 4 * count)


@pytest.mark.parametrize("network", [small, resnet34])
def test_outputs_are_the_same_when_hybridized(network: Any) -> None:
    made, x = network(), areas(2, 64, 64)
    plain, shapes = values(made(x)), made.shapes(x)
    made.hybridize()
    for found, expected in zip(values(made(x)), plain, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    assert made.shapes(x) == shapes


@pytest.mark.parametrize("network", [small, resnet34])
def test_outputs_are_the_same_alone_and_in_a_batch(network: Any) -> None:
    made, x = network(), areas(3, 64, 64)
    for alone, together in zip(values(made(x[1:2])), values(made(x)), strict=True):
        np.testing.assert_allclose(alone, together[1:2], atol=1e-5)


def test_outputs_are_in_the_order_of_the_grid() -> None:
    sizes = [[(0.2, 0.2), (0.4, 0.1)], [(0.8, 0.3)]]
    made = _pooling(sizes)
    grid = anchor_grid(made.shapes(mx.nd.zeros((1, 1, 4, 8))), sizes)
    for y, x in np.ndindex(4, 8):
        marked = np.zeros((1, 1, 4, 8))
        marked[0, 0, y, x] = 1
        scores, offsets = values(made(mx.nd.array(marked)))
        seen = np.flatnonzero(scores[0, 1])  # the anchors of the cells with the marked pixel
        places = [((x // step + 0.5) * step / 8, (y // step + 0.5) * step / 4) for step in (2, 2, 4)]
        expected = [
            (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            for (cx, cy), (width, height) in zip(places, [*sizes[0], *sizes[1]], strict=True)
        ]
        np.testing.assert_allclose(grid[seen], expected)
        assert scores[0, :, seen].tolist() == [[1, 2], [3, 4], [1, 2]]
        assert offsets.reshape(-1, 4)[seen].tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [1, 2, 3, 4]]


@pytest.mark.parametrize("network", [small, resnet34])
def test_every_parameter_gets_a_gradient(network: Any) -> None:
    made, x = network(), areas(2, 64, 64)
    made(x)
    with autograd.record():
        scores, offsets = made(x)
        total = (scores**2).sum() + (offsets**2).sum()
    total.backward()
    still = [
        name
        for name, parameter in made.collect_params().items()
        if parameter.grad_req != "null" and not parameter.grad().asnumpy().any()
    ]
    # a shift that the next normalisation takes away again moves nothing
    assert [name for name in still if not name.endswith("_bias")] == []


def test_convolution_along_the_lines_sees_its_reach_and_no_other_row() -> None:
    along = started(_Along(6, 2))
    blank = mx.nd.zeros((1, 6, 5, 11))
    marked = blank.copy()
    marked[:, :, 2, 5] = 1.0
    changed = np.abs((along(marked) - along(blank)).asnumpy()).max(axis=(0, 1)) > 0  # (rows, columns)
    rows, columns = np.nonzero(changed)
    assert set(rows.tolist()) == {2}
    assert columns.tolist() == [3, 4, 5, 6, 7]


def test_compact_detector_has_no_convolutions_along_the_lines_when_their_reach_is_zero() -> None:
    along, plain = (len(list(small(reach=reach).collect_params())) for reach in (1, 0))
    assert along - plain == 2 * 2 * 5  # two in each scale: a kernel, and four values of its normalisation


@pytest.mark.parametrize(
    "changes",
    [
        {"channels": [6, 8]},
        {"strides": [[2, 2]]},
        {"blocks": [1, 2, 1, 1]},
        {"anchors": [[(0.1, 0.1)]] * 4},
        {"anchors": []},
    ],
)
def test_compact_detector_refuses_lists_that_do_not_go_together(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"network\.channels, \.strides and \.blocks differ in length"):
        small(**changes)


def test_original_detector_refuses_anchors_for_another_number_of_maps() -> None:
    with pytest.raises(InputError, match=r"network\.anchors has 5 scales, the network 6"):
        ssd_resnet34(downsampled=8, anchors=SIX[:5])


def test_original_anchors_are_those_of_multi_box_prior() -> None:
    original = [
        ([0.1, 0.2], [1, 3, 5]),
        ([0.2, 0.3], [1, 3, 5]),
        ([0.2, 0.4], [1, 6, 8]),
        ([0.3, 0.4], [1, 4, 7]),
        ([0.3, 0.5], [1, 6, 8]),
        ([0.4, 0.6], [1, 5, 7]),
    ]
    for own, (sizes, ratios) in zip(OmegaConf.load(RESNET34).anchors, original, strict=True):
        prior = mx.nd.contrib.MultiBoxPrior(mx.nd.zeros((1, 1, 3, 3)), sizes=sizes, ratios=ratios)
        np.testing.assert_allclose(anchor_grid([(3, 3)], [own]), prior[0].asnumpy(), atol=5.1e-4)


def test_original_detector_has_the_parameters_of_its_parts() -> None:
    trunk = 64 * 49 + 2 * 64 + 6 * (64 * 64 * 9 + 2 * 64)
    trunk += 9 * 128 * (64 + 7 * 128) + 8 * 2 * 128 + 64 * 128 + 2 * 128
    halved = 9 * 32 * (128 + 5 * 32) + 6 * 2 * 32  # three times two convolutions
    heads = 2 * (4 + 2) * (9 * (128 + 5 * 32) + 6)  # two sizes a map
    network = ssd_resnet34(downsampled=32, anchors=SIX)
    assert cost(network, (1, 1, 350, 350)).parameters == trunk + halved + heads


def test_original_detector_is_built_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("weights are fetched")

    monkeypatch.setattr("mxnet.gluon.model_zoo.model_store.get_model_file", fetch)
    with pytest.raises(AssertionError, match="weights are fetched"):
        resnet34_v1(pretrained=True)
    made = ssd_resnet34(downsampled=8, anchors=SIX)
    assert all(parameter._data is None for parameter in made.collect_params().values())


def _pooling(sizes: list[list[tuple[float, float]]]) -> Ssd:
    """Return a detector of poolings alone: what it predicts of a cell is its value times 1, 2, … in turn."""
    made = Ssd([nn.MaxPool2D(2) for _ in sizes], sizes)
    made.initialize(mx.init.Zero())
    made(mx.nd.zeros((1, 1, 4, 8)))
    for head in (*made.classes, *made.offsets):
        kernel = np.zeros(head.weight.shape)  # (values, 1, 3, 3)
        kernel[:, 0, 1, 1] = np.arange(len(kernel)) + 1
        head.weight.set_data(mx.nd.array(kernel))
    return made
