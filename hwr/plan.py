"""What a training goes through, said before it starts: phases, the optimizer, and when it ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss: `lr` is its peak rate, `settings` are the stage's own."""

    name: str
    epochs: int
    lr: float
    schedule: str
    warmup: float
    settings: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a training goes through, what it minimises, when it ends; None lifts a limit or leaves a part out.

    `optimizer` makes a fresh one from a learning rate. `patience` ends a phase after so many epochs without a
    lower error, `max_epochs` and `max_minutes` the training. `clip` bounds the norm of the mean gradient,
    `average` is the decay of the weight average that is validated and kept.
    """

    phases: Sequence[Phase]
    optimizer: Callable[[float], Any]
    monitor: str
    seed: int
    max_epochs: int | None
    max_minutes: float | None
    patience: int | None
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
