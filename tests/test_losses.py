"""CTC against paths summed by hand; classes 0 and 1 are characters, 2 is blank."""

import itertools
import math

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd
from numpy.typing import NDArray

from hwr.losses import CtcLoss

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
