"""Plan of a training: phases, optimizer, limits; and the clock for `max_minutes`."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Schedule = Literal["constant", "cosine"]


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss: `lr` is its peak rate, `settings` are the stage's own."""

    name: str
    epochs: int
    lr: float
    schedule: Schedule
    warmup: float
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training goes through, what it minimises, when it ends; None lifts a limit or leaves a part out.

    `optimizer` makes a fresh one from a learning rate. `patience` ends a phase after so many epochs without a
    lower error, `max_epochs` and `max_minutes` the training. `save_every` is the time in minutes between two
    states within an epoch. `clip` bounds the norm of the mean gradient, `average` is the decay of the weight
    average that is validated and kept.
    """

    phases: Sequence[Phase]
    optimizer: Callable[[float], Any]
    monitor: str
    seed: int
    max_epochs: int | None
    max_minutes: float | None
    patience: int | None
    save_every: float | None
    clip: float | None
    average: float | None


@dataclass(frozen=True)
class Step:
    """A step, for a progress bar: `step` of `total` in its phase, recent mean loss, its epoch so far."""

    phase: str
    epoch: int
    step: int
    total: int
    loss: float
    samples: int
    seconds: float


class Clock:
    """The seconds that a training of `plan` takes, after `behind` that it took before it was interrupted."""

    def __init__(self, plan: Plan, behind: float) -> None:
        self.plan = plan
        self._struck = time.monotonic()
        self._started = self._struck - behind

    def seconds(self) -> float:
        """Return how long it has taken so far."""
        return time.monotonic() - self._started

    def is_over(self) -> bool:
        """Tell whether the plan gives it no more time."""
        return self.plan.max_minutes is not None and self.seconds() >= 60 * self.plan.max_minutes

    def strikes(self) -> bool:
        """Tell whether it is time to keep the state within an epoch, and wait for the next time."""
        every, now = self.plan.save_every, time.monotonic()
        if every is None or now - self._struck < 60 * every:
            return False
        self._struck = now
        return True
