"""The clock of a training, moved by hand."""

import time
from collections.abc import Callable

import pytest

from hwr.training.loop import Clock, Plan

Turn = Callable[[float], None]


@pytest.fixture
def turn(monkeypatch: pytest.MonkeyPatch) -> Turn:
    """Return what moves the time by seconds."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def by(seconds: float) -> None:
        now[0] += seconds

    return by


def plan(max_minutes: float | None = None, save_every: float | None = None) -> Plan:
    return Plan(
        phases=(),
        optimizer=print,
        monitor="valid/error",
        seed=0,
        max_epochs=None,
        max_minutes=max_minutes,
        patience=None,
        save_every=save_every,
        clip=None,
        average=None,
    )


def test_time_before_an_interruption_counts(turn: Turn) -> None:
    clock = Clock(plan(max_minutes=1), behind=50.0)
    turn(9)
    assert (clock.seconds(), clock.is_over()) == (59.0, False)
    turn(1)
    assert clock.is_over()


def test_clock_is_never_over_without_a_limit(turn: Turn) -> None:
    clock = Clock(plan(), behind=1e9)
    assert not clock.is_over()


def test_clock_strikes_once_in_the_time_given(turn: Turn) -> None:
    clock = Clock(plan(save_every=0.5), behind=1000.0)
    struck = []
    for _ in range(7):
        turn(10)
        struck.append(clock.strikes())
    assert struck == [False, False, True, False, False, True, False]


def test_clock_never_strikes_when_no_time_is_given(turn: Turn) -> None:
    clock = Clock(plan(), behind=0.0)
    turn(1e9)
    assert not clock.strikes()
