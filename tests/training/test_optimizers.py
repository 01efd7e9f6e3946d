import logging

import mxnet as mx
import numpy as np
import pytest
from numpy.typing import NDArray

from hwr.training import optimizers

LR, BETA1, BETA2, DECAY, EPSILON = 0.1, 0.8, 0.9, 0.05, 1e-8
GRADIENTS = [np.array(values) for values in ([1.0, -2.0, 0.5], [0.5, 3.0, 0.0], [-4.0, 0.1, 0.2])]


def trained(name: str, gradients: list[NDArray[np.float64]], *, scale: float = 1.0) -> NDArray[np.float32]:
    """Return the weight [1, 2, 3] after a step with each gradient."""
    optimizer = optimizers.create(name, lr=LR, beta1=BETA1, beta2=BETA2, weight_decay=DECAY)
    optimizer.rescale_grad = scale
    weight = mx.nd.array([1.0, 2.0, 3.0])
    state = optimizer.create_state(0, weight)
    for gradient in gradients:
        optimizer.update(0, weight, mx.nd.array(gradient), state)
    return np.asarray(weight.asnumpy())


def by_hand(gradients: list[NDArray[np.float64]], *, decoupled: bool) -> NDArray[np.float64]:
    weight, mean, var = np.array([1.0, 2.0, 3.0]), np.zeros(3), np.zeros(3)
    for t, own in enumerate(gradients, 1):
        gradient = own if decoupled else own + DECAY * weight
        mean = BETA1 * mean + (1 - BETA1) * gradient
        var = BETA2 * var + (1 - BETA2) * gradient**2
        step = np.sqrt(1 - BETA2**t) / (1 - BETA1**t) * mean / (np.sqrt(var) + EPSILON)
        weight = weight - LR * (step + DECAY * weight if decoupled else step)
    return weight


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_adamw_follows_its_formula(steps: int) -> None:
    expected = by_hand(GRADIENTS[:steps], decoupled=True)
    assert trained("adamw", GRADIENTS[:steps]) == pytest.approx(expected, rel=1e-5)


def test_adam_adds_the_decay_to_the_gradient() -> None:
    assert trained("adam", GRADIENTS) == pytest.approx(by_hand(GRADIENTS, decoupled=False), rel=1e-5)


def test_adam_is_that_of_mxnet() -> None:
    assert type(optimizers.create("adam", lr=1, beta1=0, beta2=0, weight_decay=0)) is mx.optimizer.Adam


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_gradient_is_divided_when_it_is_the_sum_of_a_batch(name: str) -> None:
    sums = [4 * gradient for gradient in GRADIENTS]
    assert trained(name, sums, scale=0.25) == pytest.approx(trained(name, GRADIENTS), rel=1e-5)


def test_weight_shrinks_by_the_decay_alone_when_the_gradient_is_zero() -> None:
    expected = np.array([1.0, 2.0, 3.0]) * (1 - LR * DECAY)
    assert trained("adamw", [np.zeros(3)]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.0),
        (1, 0.4),  # half of a warm-up of two steps
        (2, 0.8),
        (4, 0.6),  # a third of the way down: cos(60 degrees) = 1/2, so 0.8 * (1 + 1/2) / 2
        (5, 0.4),
        (6, 0.2),
        (8, 0.0),
    ],
)
def test_cosine_climbs_and_falls(step: int, rate: float) -> None:
    schedule = optimizers.schedule("cosine", lr=0.8, steps=8, warmup=0.25)
    assert schedule(step) == pytest.approx(rate, abs=1e-12)


def test_constant_rate_stays_after_the_warm_up(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    schedule = optimizers.schedule("constant", lr=0.8, steps=8, warmup=0.25)
    assert [schedule(step) for step in range(8)] == pytest.approx([0.0, 0.4, *[0.8] * 6])
    assert caplog.text == ""


def test_rate_is_the_same_when_a_training_goes_on_within_the_schedule() -> None:
    whole = optimizers.schedule("cosine", lr=0.8, steps=8, warmup=0.25)
    expected = [whole(step) for step in range(8)][5:]
    assert [
        optimizers.schedule("cosine", lr=0.8, steps=8, warmup=0.25)(step) for step in range(5, 8)
    ] == expected


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_schedule_of_one_step_is_possible(warmup: float) -> None:
    assert optimizers.schedule("cosine", lr=0.5, steps=1, warmup=warmup)(0) == (0.0 if warmup else 0.5)
