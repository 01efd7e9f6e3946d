"""CTC against paths summed by hand, where classes 0 and 1 are characters and 2 is blank; losses of boxes."""

import itertools
import math

import mxnet as mx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mxnet import autograd
from numpy.typing import NDArray

from hwr.images import boxes
from hwr.images.boxes import Box
from hwr.losses import VARIANCES, CtcLoss, IouLoss, MseLoss, MultiBoxLoss, TextLoss, box_targets
from hwr.networks.ssd import anchor_grid

QUICK = settings(max_examples=50, deadline=None)
PLACES = st.integers(0, 64).map(lambda place: place / 64)  # exact in float32
POINTS = st.tuples(PLACES, PLACES)
BOXES = st.tuples(POINTS, POINTS).map(boxes.around)
PAIRS = st.lists(st.tuples(BOXES, BOXES), min_size=1, max_size=5)

Logits = NDArray[np.float64]
EVEN = np.zeros((3, 1, 3))  # every class 1/3 at each of three steps: every path 1/27


def value(
    logits: Logits, labels: list[list[int]], *, shortcut: Logits | None = None, weight: float = 0.0
) -> list[float]:
    heads = [mx.nd.array(head) for head in (logits, logits if shortcut is None else shortcut)]
    found: list[float] = CtcLoss(shortcut_weight=weight)(*heads, mx.nd.array(labels)).asnumpy().tolist()
    return found


def gradient(logits: Logits, labels: list[list[int]]) -> NDArray[np.float32]:
    x = mx.nd.array(logits)
    x.attach_grad()
    with autograd.record():
        loss = CtcLoss(shortcut_weight=0.5)(x, x, mx.nd.array(labels))
    loss.backward()
    found: NDArray[np.float32] = x.grad.asnumpy()
    return found


def drawn(*shape: int) -> Logits:
    return np.random.default_rng(0).normal(size=shape)


def summed(logits: Logits, label: tuple[int, ...]) -> float:
    """Add the probabilities of all paths (T,) that read `label`, and return the negative logarithm."""
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)  # (T, C)
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        read = tuple(c for c, _ in itertools.groupby(path) if c != logits.shape[1] - 1)
        if read == label:
            total += math.prod(probs[step, c] for step, c in enumerate(path))
    return -math.log(total)


@pytest.mark.parametrize(
    ("label", "paths"),
    [
        ([0], 6),  # aaa aa_ _aa a__ _a_ __a
        ([0, 1], 5),  # aab abb ab_ a_b _ab
        ([0, 0], 1),  # a_a: a blank parts the two
        ([0, 1, 0], 1),  # aba
        ([-1], 1),  # ___: an empty text
    ],
)
def test_loss_counts_the_paths_that_read_the_label_when_all_are_alike(label: list[int], paths: int) -> None:
    assert value(EVEN, [label]) == pytest.approx([math.log(27 / paths)], abs=1e-5)


@pytest.mark.parametrize("label", [(0,), (1,), (0, 1), (1, 1), (1, 0, 1)])
def test_loss_is_the_sum_over_paths_when_probabilities_differ(label: tuple[int, ...]) -> None:
    logits = drawn(3, 1, 3)
    assert value(logits, [list(label)]) == pytest.approx([summed(logits[:, 0], label)], abs=1e-5)


def test_loss_of_a_line_is_its_own_when_padded_in_a_batch() -> None:
    logits = drawn(3, 2, 3)
    both = value(logits, [[0, -1, -1], [0, 1, 0]])
    alone = value(logits[:, :1], [[0]]) + value(logits[:, 1:], [[0, 1, 0]])
    assert both == pytest.approx(alone, abs=1e-6)


def test_shortcut_adds_its_weight_of_its_own_loss() -> None:
    logits, shortcut = drawn(2, 3, 1, 3)
    expected = summed(logits[:, 0], (0, 1)) + 0.1 * summed(shortcut[:, 0], (0, 1))
    assert value(logits, [[0, 1]], shortcut=shortcut, weight=0.1) == pytest.approx([expected], abs=1e-5)


def test_shortcut_counts_nothing_when_its_weight_is_zero() -> None:
    logits, broken = drawn(3, 1, 3), np.full((3, 1, 3), np.nan)
    assert value(logits, [[0]], shortcut=broken) == value(logits, [[0]])


def views(logits: Logits, consistency: float) -> tuple[list[float], NDArray[np.float32]]:
    """Return the losses (N,) of pairs of views (T, 2 N, C) of lines without text, and their gradient."""
    x = mx.nd.array(logits)
    x.attach_grad()
    with autograd.record():
        made = CtcLoss(shortcut_weight=0.0, consistency=consistency)
        loss = made(x, x, mx.nd.array([[-1]] * (logits.shape[1] // 2)))
    loss.backward()
    return loss.asnumpy().tolist(), x.grad.asnumpy()


def test_consistency_adds_half_of_both_divergences_of_two_views() -> None:
    logits = drawn(3, 4, 3)
    probs = np.exp(logits) / np.exp(logits).sum(axis=2, keepdims=True)
    first, second = probs[:, 0::2], probs[:, 1::2]  # (T, N, C)
    both = ((first - second) * np.log(first / second)).sum(axis=(0, 2))  # KL(a || b) + KL(b || a)
    (alike, plain), (apart, moved) = views(logits, 1e-12), views(logits, 0.5)
    blanks = -np.log(probs[..., -1]).sum(axis=0).reshape(2, 2).mean(axis=1)
    assert alike == pytest.approx(blanks, abs=1e-5)
    assert apart == pytest.approx(blanks + 0.5 * both / 2, abs=1e-5)
    other = np.stack([second, first], axis=2).reshape(probs.shape)
    np.testing.assert_allclose(moved - plain, 0.5 * (probs - other) / 2, atol=1e-5)


def test_consistency_adds_nothing_when_both_views_are_read_alike() -> None:
    logits = np.repeat(drawn(3, 2, 3), 2, axis=1)
    assert views(logits, 7.0)[0] == pytest.approx(views(logits, 1e-12)[0], abs=1e-5)


def test_line_that_cannot_fit_costs_nothing_when_two_views_are_compared() -> None:
    logits = mx.nd.array(drawn(3, 4, 3))
    loss = CtcLoss(shortcut_weight=0.1, consistency=0.2)
    fits, alone = [[0, 1, -1, -1]], mx.nd.array(logits.asnumpy()[:, 2:])
    found = loss(logits, logits, mx.nd.array([[0, 1, 0, 1], *fits])).asnumpy()
    assert found[0] == 0
    assert found[1] == pytest.approx(loss(alone, alone, mx.nd.array(fits)).asscalar(), abs=1e-5)


def test_gradient_is_that_of_finite_differences() -> None:
    logits, labels, step = drawn(4, 2, 3), [[0, 0], [1, -1]], 1e-3
    expected = np.zeros_like(logits)
    for place in np.ndindex(*logits.shape):
        up, down = logits.copy(), logits.copy()
        up[place] += step
        down[place] -= step
        label = tuple(c for c in labels[place[1]] if c >= 0)
        ends = [summed(moved[:, place[1]], label) for moved in (up, down)]
        expected[place] = 1.5 * (ends[0] - ends[1]) / (2 * step)  # both heads are the same logits: 1 + 0.5
    np.testing.assert_allclose(gradient(logits, labels), expected, atol=1e-5)


@pytest.mark.parametrize("label", [[0, 1, 0, 1], [0, 0, 1, -1]])  # four steps needed: a blank parts the two
def test_line_that_cannot_fit_costs_nothing_and_teaches_nothing(label: list[int]) -> None:
    logits = drawn(3, 2, 3)
    gradient(drawn(3, 2, 3) * 1e3, [[0, 1], [1, 0]])  # leaves numbers in the memory that MXNet uses again
    found = gradient(logits, [label, [0, 1, -1, -1]])
    np.testing.assert_array_equal(found[:, 0], np.zeros((3, 3)))
    np.testing.assert_allclose(found[:, 1], gradient(logits[:, 1:], [[0, 1]])[:, 0], atol=1e-6)
    assert value(logits, [label, [0, 1, -1, -1]])[0] == 0.0


def test_batch_that_cannot_fit_at_all_costs_nothing_and_teaches_nothing() -> None:
    labels = [[0, 1, 0, 1, 0], [1, 1, 1, 1, 1]]
    assert value(drawn(3, 2, 3), labels) == [0.0, 0.0]
    np.testing.assert_array_equal(gradient(drawn(3, 2, 3), labels), np.zeros((3, 2, 3)))


# MseLoss


def test_mse_is_the_mean_over_the_edges_of_each_box() -> None:
    predicted, true = [[0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], [[0.1, 0, 1, 0.8], [0.5, 0.5, 0.5, 0.5]]
    found = MseLoss()(mx.nd.array(predicted), mx.nd.array(true)).asnumpy()
    assert found == pytest.approx([(0.01 + 0.04) / 4, 0.0])


def test_mse_is_the_same_when_hybridized() -> None:
    loss = MseLoss()
    loss.hybridize()
    assert loss(mx.nd.zeros((2, 4)), mx.nd.ones((2, 4))).asnumpy().tolist() == [1, 1]


# IouLoss

DISJOINT = [  # predicted, true
    ((0.0, 0.0, 0.2, 0.2), (0.5, 0.5, 1.0, 1.0)),
    ((0.0, 0.0, 0.5, 1.0), (0.5, 0.0, 1.0, 1.0)),  # they touch
    ((0.0, 0.0, 1.0, 0.4), (0.0, 0.5, 1.0, 1.0)),  # one above the other
    ((0.9, 0.9, 0.1, 0.1), (0.0, 0.0, 1.0, 1.0)),  # inside out
    ((0.9, 0.1, 0.1, 0.9), (0.0, 0.0, 1.0, 1.0)),  # inside out across alone
    ((0.1, 0.9, 0.9, 0.1), (0.0, 0.0, 1.0, 1.0)),  # and down alone
    ((0.5, 0.5, 0.5, 0.5), (0.0, 0.0, 1.0, 1.0)),  # without an area
    ((0.2, 0.5, 0.8, 0.5), (0.0, 0.0, 1.0, 1.0)),  # without a height
    ((0.0, 0.0, 1.0, 1.0), (0.5, 0.5, 0.5, 0.5)),
    ((0.5, 0.5, 0.5, 0.5), (0.5, 0.5, 0.5, 0.5)),
]
MEETING = [
    ((0.1, 0.1, 0.5, 0.6), (0.3, 0.2, 0.9, 0.8)),
    ((0.3, 0.2, 0.9, 0.8), (0.1, 0.1, 0.5, 0.6)),
    ((0.2, 0.3, 0.5, 0.6), (0.1, 0.1, 0.9, 0.8)),  # inside
    ((0.1, 0.1, 0.9, 0.8), (0.2, 0.3, 0.5, 0.6)),  # around
    ((0.1, 0.4, 0.9, 0.5), (0.4, 0.1, 0.5, 0.9)),  # crosswise
]


def iou_loss(predicted: list[Box], true: list[Box], epsilon: float = 1e-9) -> tuple[list[float], Logits]:
    """Return the losses (N,), and their gradients with respect to the predicted boxes (N, 4)."""
    x = mx.nd.array(predicted)
    x.attach_grad()
    with autograd.record():
        loss = IouLoss(epsilon=epsilon)(x, mx.nd.array(true))
    loss.backward()
    return loss.asnumpy().tolist(), x.grad.asnumpy()


@QUICK
@given(PAIRS)
def test_iou_loss_is_one_minus_the_iou(pairs: list[tuple[Box, Box]]) -> None:
    predicted, true = ([pair[side] for pair in pairs] for side in (0, 1))
    expected = 1 - np.diag(boxes.iou(np.array(predicted), np.array(true)))
    assert iou_loss(predicted, true)[0] == pytest.approx(expected, abs=1e-5)


@QUICK
@given(PAIRS)
def test_iou_loss_never_gives_a_gradient_that_is_no_number(pairs: list[tuple[Box, Box]]) -> None:
    predicted, true = ([pair[side] for pair in pairs] for side in (0, 1))
    assert np.isfinite(iou_loss(predicted, true)[1]).all()


@pytest.mark.parametrize(("predicted", "true"), DISJOINT)
def test_iou_loss_is_one_and_teaches_nothing_when_boxes_share_nothing(predicted: Box, true: Box) -> None:
    values, gradients = iou_loss([predicted, MEETING[0][0]], [true, MEETING[0][1]])
    assert values[0] == 1.0
    assert gradients[0].tolist() == [0.0] * 4
    assert gradients[1].all()  # what shares something beside it learns


@pytest.mark.parametrize(("predicted", "true"), MEETING)
def test_iou_loss_has_the_gradient_of_finite_differences_when_boxes_meet(predicted: Box, true: Box) -> None:
    steps = 1e-6 * np.eye(4)
    ends = [boxes.iou(np.array(predicted) + side * steps, np.array([true]))[:, 0] for side in (1, -1)]
    _, gradients = iou_loss([predicted], [true])
    np.testing.assert_allclose(gradients[0], (ends[1] - ends[0]) / 2e-6, atol=1e-4)


def test_iou_loss_is_zero_when_boxes_are_the_same() -> None:
    assert iou_loss([(0.1, 0.2, 0.7, 0.9)], [(0.1, 0.2, 0.7, 0.9)])[0] == pytest.approx([0.0], abs=1e-6)


def test_iou_loss_is_the_same_when_hybridized() -> None:
    predicted, true = ([pair[side] for pair in MEETING + DISJOINT] for side in (0, 1))
    loss = IouLoss(epsilon=1e-9)
    loss.hybridize()
    found = loss(mx.nd.array(predicted), mx.nd.array(true)).asnumpy()
    np.testing.assert_allclose(found, iou_loss(predicted, true)[0], atol=1e-6)


# MultiBoxLoss: an image undecided everywhere costs log 2 for each anchor that counts

LOG2 = math.log(2)
LEFT, RIGHT, LOW_LEFT, LOW_RIGHT = ANCHORS = [
    (0.1, 0.1, 0.3, 0.3), (0.6, 0.1, 0.8, 0.3), (0.1, 0.6, 0.3, 0.8), (0.6, 0.6, 0.8, 0.8),
]  # fmt: skip
NONE = (-1.0, -1.0, -1.0, -1.0)
UNDECIDED, STILL = np.zeros((1, 2, 4)), np.zeros((1, 16))


def multibox(
    found: list[list[Box]], *, scores: Logits = UNDECIDED, offsets: Logits = STILL, negatives: float = 3.0,
    box_weight: float = 1.0,
) -> list[float]:  # fmt: skip
    count = len(found)
    loss = MultiBoxLoss(overlap=0.5, negatives=negatives, box_weight=box_weight)
    predicted = [mx.nd.array(part.repeat(count // len(part), axis=0)) for part in (scores, offsets)]
    values: list[float] = loss(mx.nd.array([ANCHORS]), *predicted, mx.nd.array(found)).asnumpy().tolist()
    return values


def scored(*towards_box: float) -> Logits:
    """Return scores (1, 2, 4): 0 for the ground, and these for a box."""
    return np.array([[[0.0] * 4, towards_box]])


def moved(anchor: int, *values: float) -> Logits:
    """Return offsets (1, 16), all 0 but those of an anchor."""
    offsets = np.zeros((1, 4, 4))
    offsets[0, anchor] = values
    return offsets.reshape(1, 16)


def test_multibox_costs_log_2_for_each_of_a_positive_and_its_negatives_when_undecided() -> None:
    assert multibox([[LEFT]]) == pytest.approx([4 * LOG2])
    assert multibox([[LEFT]], negatives=1.0) == pytest.approx([2 * LOG2])


def test_multibox_costs_nothing_when_all_is_right() -> None:
    assert multibox([[LEFT]], scores=scored(20, -20, -20, -20)) == pytest.approx([0], abs=1e-6)


def test_multibox_costs_the_scores_when_all_is_wrong() -> None:
    assert multibox([[LEFT]], scores=scored(-20, 20, 20, 20)) == pytest.approx([80], abs=1e-4)


def test_multibox_mines_the_hardest_anchors() -> None:
    found = multibox([[LEFT]], scores=scored(0, -9, 2, 1), negatives=1.0)
    assert found == pytest.approx([LOG2 + math.log(1 + math.exp(2))], abs=1e-5)


def test_multibox_is_a_mean_over_the_positives() -> None:
    assert multibox([[LEFT, LOW_RIGHT]]) == pytest.approx([4 * LOG2 / 2])  # and two negatives, all there are


def test_multibox_gives_a_box_its_best_anchor_when_none_overlaps_enough() -> None:
    big = (0.1, 0.1, 0.5, 0.5)  # four times the area of the anchor in it: IoU 0.25
    assert multibox([[big]], box_weight=0.0) == pytest.approx([4 * LOG2])


def test_multibox_gives_a_box_all_anchors_that_overlap_enough() -> None:
    anchors = [(0.1, 0.1, 0.3, 0.3), (0.1, 0.1, 0.3, 0.26), (0.1, 0.1, 0.3, 0.18), (0.6, 0.6, 0.8, 0.8)]
    loss = MultiBoxLoss(overlap=0.5, negatives=0.5, box_weight=0.0)  # IoU 1, 0.8, 0.4, 0
    still = mx.nd.zeros((1, 2, 4)), mx.nd.zeros((1, 16))
    found = loss(mx.nd.array([anchors]), *still, mx.nd.array([[LEFT]])).asnumpy()
    assert found == pytest.approx([3 * LOG2 / 2])  # two positives, one negative


@pytest.mark.parametrize(("offset", "cost"), [(0.5, 0.125), (-0.5, 0.125), (2.0, 1.5), (-3.0, 2.5)])
def test_multibox_costs_smooth_l1_of_the_offsets_times_their_weight(offset: float, cost: float) -> None:
    found = multibox([[LEFT]], offsets=moved(0, 0, offset, 0, 0), box_weight=2.0)
    assert found == pytest.approx([4 * LOG2 + 2 * cost], abs=1e-5)


def test_multibox_wants_the_offsets_of_a_box_from_its_anchor() -> None:
    # The anchor is 0.2 wide and high. Its middle goes by 1 * 0.1 * 0.2 right and -2 * 0.1 * 0.2 down, its
    # width grows by exp(0.2 * 1), its height by exp(0.2 * -0.5).
    wide, high = 0.2 * math.exp(0.2), 0.2 * math.exp(-0.1)
    box = (0.22 - wide / 2, 0.16 - high / 2, 0.22 + wide / 2, 0.16 + high / 2)
    found = multibox([[box]], offsets=moved(0, 1.0, -2.0, 1.0, -0.5))
    assert found == pytest.approx([4 * LOG2], abs=1e-5)


def test_multibox_chooses_its_targets_as_mxnet_does() -> None:
    draw = np.random.default_rng(0)
    sizes = [(0.12, 0.04), (0.4, 0.04), (0.85, 0.04), (0.12, 0.075), (0.4, 0.075), (0.85, 0.075)]
    anchors = anchor_grid([(20, 8)], [sizes]).astype(np.float32)
    centres, sides = draw.random((2, 30, 2)), draw.uniform((0.13, 0.041), (0.9, 0.09), (2, 30, 2))
    found = np.concatenate([centres - sides / 2, centres + sides / 2], axis=2).clip(0, 1).astype(np.float32)
    found[1, 3:] = -1
    scores = draw.normal(size=(2, 2, len(anchors))).astype(np.float32)
    labels = np.concatenate([np.where(found[..., :1] < 0, -1, 0), found], axis=2)
    given = map(mx.nd.array, (anchors[None], labels, scores))
    theirs = mx.nd.contrib.MultiBoxTarget(
        *given, overlap_threshold=0.5, ignore_label=-1, negative_mining_ratio=3.0, negative_mining_thresh=0.5,
        variances=VARIANCES,
    )  # fmt: skip
    targets, _, classes = (part.asnumpy().reshape(2, len(anchors), -1) for part in theirs)
    for image in range(2):
        boxes = found[image][found[image, :, 0] >= 0].astype(np.float64)
        own = box_targets(anchors.astype(np.float64), boxes, scores[image, 1] - scores[image, 0], 0.5, 3.0)
        np.testing.assert_array_equal(own[0], classes[image, :, 0])
        np.testing.assert_allclose(own[1][own[0] > 0], targets[image][own[0] > 0], atol=1e-4)
        assert (own[0] > 0).sum() >= len(boxes)


def test_two_boxes_with_one_best_anchor_get_an_anchor_each() -> None:
    near, nearest = (0.1, 0.1, 0.32, 0.3), (0.1, 0.1, 0.3, 0.3)  # both best at the first anchor
    spare = (0.1, 0.1, 0.4, 0.3)
    anchors, both = np.array([LEFT, spare, LOW_RIGHT]), np.array([near, nearest])
    classes, offsets = box_targets(anchors, both, np.zeros(3, np.float32), 0.95, 1.0)
    assert classes.tolist() == [1, 1, 0]
    assert offsets[0] == pytest.approx(np.zeros(4), abs=1e-6)  # the nearest box itself
    assert offsets[1, 2] == pytest.approx(math.log(0.22 / 0.3) / 0.2)  # the other one's width


def test_multibox_leaves_offsets_alone_where_there_is_no_box() -> None:
    assert multibox([[LEFT]], offsets=moved(3, 9, 9, 9, 9)) == pytest.approx([4 * LOG2])


def test_multibox_ignores_padding() -> None:
    one, two, none = [LEFT, NONE, NONE], [RIGHT, LOW_LEFT, NONE], [NONE, NONE, NONE]
    alone = multibox([[LEFT]]) + multibox([[RIGHT, LOW_LEFT]]) + multibox([[NONE]])
    assert multibox([one, two, none]) == pytest.approx(alone)


def test_multibox_costs_and_teaches_nothing_when_an_image_has_no_box() -> None:
    scores, offsets = mx.nd.array(scored(1, 2, 3, 4)), mx.nd.ones((1, 16))
    for part in (scores, offsets):
        part.attach_grad()
    with autograd.record():
        loss = MultiBoxLoss(overlap=0.5, negatives=3.0, box_weight=1.0)(
            mx.nd.array([ANCHORS]), scores, offsets, mx.nd.array([[NONE]])
        )
    loss.backward()
    assert loss.asnumpy().tolist() == [0.0]
    assert not scores.grad.asnumpy().any()
    assert not offsets.grad.asnumpy().any()


def test_multibox_pulls_scores_and_offsets_towards_the_box() -> None:
    scores, offsets = mx.nd.array(UNDECIDED), mx.nd.array(moved(0, 0.5, -3, 0, 0))
    for part in (scores, offsets):
        part.attach_grad()
    with autograd.record():
        loss = MultiBoxLoss(overlap=0.5, negatives=3.0, box_weight=1.0)(
            mx.nd.array([ANCHORS]), scores, offsets, mx.nd.array([[LEFT]])
        )
    loss.backward()
    # probability less target: 0.5 - 1 where it is right, 0.5 - 0 where it is wrong
    assert scores.grad.asnumpy().tolist() == [[[0.5, -0.5, -0.5, -0.5], [-0.5, 0.5, 0.5, 0.5]]]
    # smooth L1: the offset itself up to 1, then its sign
    assert offsets.grad.asnumpy() == pytest.approx(moved(0, 0.5, -1, 0, 0))


def test_text_loss_is_the_mean_over_the_characters_of_each_text() -> None:
    probs = np.array([[[0.5, 0.5], [0.25, 0.75]], [[0.125, 0.875], [0.0625, 0.9375]]])
    found = TextLoss()(mx.nd.array(np.log(probs)), mx.nd.array([[0, 0], [0, -1]])).asnumpy()
    np.testing.assert_allclose(found, [1.5 * math.log(2), 3 * math.log(2)], rtol=1e-5)


def test_text_loss_teaches_nothing_behind_the_end_of_a_text() -> None:
    scores = mx.nd.array(drawn(2, 3, 4))
    scores.attach_grad()
    with autograd.record():
        loss = TextLoss()(mx.nd.log_softmax(scores, axis=2), mx.nd.array([[1, 2, -1], [3, 3, 3]]))
    loss.backward()
    taught = np.abs(scores.grad.asnumpy()).sum(axis=2) > 0
    assert taught.tolist() == [[True, True, False], [True, True, True]]
