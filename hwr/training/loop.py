"""The training loop of every stage: plan, phases, epochs, batches. Imports no stage, data or tracking."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.training.checkpoint import Checkpoint, Progress
from hwr.training.optimizers import Schedule, schedule
from hwr.training.shares import Shares


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


class Batch(Protocol):
    """Training samples: `ids` name them.

    To be shared by several devices or workers it is a dataclass, and every field has N items.
    """

    @property
    def ids(self) -> Sequence[str]:
        """The ids of the samples, N."""


B = TypeVar("B", bound=Batch)


class Stage(Protocol[B]):
    """A step of the pipeline, as the trainer sees it; `metrics` are the names that `validate` returns."""

    network: Any
    metrics: Sequence[str]

    def steps(self) -> int:
        """Return the number of batches an epoch has."""

    def batches(self, phase: Phase, epoch: int, *, start: int) -> Iterator[B]:
        """Yield the batches of `epoch`, 0-based over all phases, from batch `start` on, with sample `ids`.

        They are always the same, and those before `start` cost little.
        """

    def loss(self, phase: Phase, batch: B) -> Any:
        """Return the loss of every sample, (N,) of MXNet.

        Called while autograd records, with the device that computes as MXNet's current context.
        """

    def validate(self) -> Mapping[str, float]:
        """Score the network on the validation split."""


class Tracker(Protocol):
    """Where metrics go: a run of a tracking server, a list, or nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take the metrics of an epoch; a resumed training tells those behind it again."""


class NonFiniteLossError(InputError):
    """The loss of a batch, or its gradient, is NaN or infinite."""


def fit(
    stage: Stage[B], plan: Plan, *, checkpoint: Checkpoint, tracker: Tracker,
    report: Callable[[Step], None], shares: Shares | None = None,
) -> float:  # fmt: skip
    """Train `stage` as planned, on from where `checkpoint` is, and return the lowest monitored error.

    `report` hears of every step. Of the workers that share a training, the first validates, decides when a
    phase ends, and keeps the state. Raises NonFiniteLossError with the ids of the batch.
    """
    if plan.monitor not in stage.metrics:
        raise InputError(f"monitor={plan.monitor}: no such metric; use one of {', '.join(stage.metrics)}")
    for epoch, values in checkpoint.history.items():
        tracker.metrics(values, epoch)
    clock = Clock(plan, checkpoint.progress.seconds)
    loop = _Loop(stage, plan, checkpoint, tracker, report, clock, shares or Shares())
    for number, phase in enumerate(plan.phases):
        if number >= checkpoint.progress.phase and not loop.over():
            loop.run(number, phase)
    return checkpoint.progress.best


def nothing_left(plan: Plan, at: Progress) -> bool:
    """Tell whether a training that is so far has gone through its plan, or has met a limit of it."""
    if plan.max_epochs is not None and at.epoch >= plan.max_epochs:
        return True
    if plan.max_minutes is not None and at.seconds >= 60 * plan.max_minutes:
        return True
    stale = plan.patience is not None and at.stale >= plan.patience
    last = len(plan.phases) - 1
    return at.phase == last and (at.phase_epoch >= plan.phases[last].epochs or stale)


@dataclass
class _Loop(Generic[B]):
    stage: Stage[B]
    plan: Plan
    checkpoint: Checkpoint
    tracker: Tracker
    report: Callable[[Step], None]
    clock: Clock
    shares: Shares

    def run(self, number: int, phase: Phase) -> None:
        """Train a phase from the best weights so far, or on from within it."""
        state, steps = self.checkpoint, phase.epochs * self.stage.steps()
        parameters = self.stage.network.collect_params()
        trainer = gluon.Trainer(parameters, self.plan.optimizer(phase.lr), kvstore=None)
        if state.progress.phase == number:
            state.set_moments(trainer)
        else:
            state.begin(number, average=self.plan.average)
        rate = schedule(phase.schedule, lr=phase.lr, steps=steps, warmup=phase.warmup)
        while state.progress.phase_epoch < phase.epochs and not (self._stale() or self.over()):
            self._epoch(phase, trainer, rate)

    def over(self) -> bool:
        """Tell whether a limit ends the training here."""
        full = self.plan.max_epochs is not None and self.checkpoint.progress.epoch >= self.plan.max_epochs
        return full or self._out_of_time()

    def _epoch(self, phase: Phase, trainer: Any, rate: Callable[[int], float]) -> None:
        state, monitor = self.checkpoint, self.plan.monitor
        values = self._train(phase, trainer, rate)
        with state.averaged():
            values |= self._validate()
            state.finish_epoch(values[monitor], self.clock.seconds())
        values |= {f"best/{monitor}": state.progress.best, "time/minutes": state.progress.seconds / 60}
        state.keep_metrics(values)
        self._save(trainer)
        self.tracker.metrics(values, state.progress.epoch)  # last: what is in the state is told again

    def _train(self, phase: Phase, trainer: Any, rate: Callable[[int], float]) -> dict[str, float]:
        """Train the epoch under way, or what is left of it."""
        state, at = self.checkpoint, self.checkpoint.progress
        first = at.phase_epoch * self.stage.steps()
        own = [self.shares.rank] if self.shares.rank else []  # each worker drops out other units
        begun, shared = time.monotonic(), self.shares.seconds
        for step, batch in enumerate(self.stage.batches(phase, at.epoch, start=at.step), at.step):
            seed = np.random.SeedSequence([self.plan.seed, at.epoch, step, *own]).generate_state(1)[0]
            mx.random.seed(int(seed >> 1))
            trainer.set_learning_rate(rate(first + step))
            losses = self._step(phase, trainer, batch)
            state.average_weights(first + step)
            state.finish_step(losses, self.clock.seconds())
            recent, total = float(np.mean(state.losses[-512:])), phase.epochs * self.stage.steps()
            samples, seconds = len(state.losses), state.progress.seconds - at.began
            self.report(Step(phase.name, at.epoch, first + step + 1, total, recent, samples, seconds))
            if self._out_of_time():
                break
            if self.clock.strikes():
                self._save(trainer)
        speed = len(state.losses) / (state.progress.seconds - at.began)
        rates = {"train/lr": rate(first + state.progress.step - 1), "time/samples_per_s": speed}
        if self.shares.count > 1:
            rates["time/communication"] = (self.shares.seconds - shared) / (time.monotonic() - begun)
        return {"train/loss": float(np.mean(state.losses)), **rates}

    def _step(self, phase: Phase, trainer: Any, batch: B) -> list[float]:
        values = self._gradients(phase, trainer, batch)
        if not np.isfinite(values).all():
            wrong = [name for name, value in zip(batch.ids, values, strict=True) if not np.isfinite(value)]
            raise self._not_finite("loss", phase, wrong)
        if self.plan.clip is not None:
            learnt = [p.list_grad() for p in trainer._params if p.grad_req != "null"]
            for gradients in zip(*learnt, strict=True):  # of each device, sums over the batch
                bound = self.plan.clip * len(values)
                norm = gluon.utils.clip_global_norm(list(gradients), bound, check_isfinite=False)
                if not np.isfinite(norm.asscalar()):
                    raise self._not_finite("gradient", phase, batch.ids)
        trainer.step(len(values))
        return [float(value) for value in values]

    def _gradients(self, phase: Phase, trainer: Any, batch: B) -> NDArray[np.float32]:
        """Return the losses of a batch (N,), and leave the sum of their gradients in the parameters."""
        parts, losses = self.shares.of(batch), []
        for part in parts:
            with part.context, autograd.record():
                losses.append(self.stage.loss(phase, part.batch))  # (N / parts,)
        values = np.zeros(len(batch.ids), np.float32)
        for part, loss in zip(parts, losses, strict=True):
            values[part.rows] = loss.asnumpy()
        if losses and np.isfinite(values).all():  # else all workers hear of it
            autograd.backward(losses)
        return self.shares.sum_up(trainer._params, values)

    def _validate(self) -> dict[str, float]:
        """Return what worker 0 finds; the others hear the error that decides."""
        values = dict(self.stage.validate()) if self.shares.rank == 0 else {}
        values[self.plan.monitor] = self.shares.first(values.get(self.plan.monitor, 0.0))
        return values

    def _save(self, trainer: Any) -> None:
        if self.shares.rank == 0:
            self.checkpoint.save(trainer)

    def _out_of_time(self) -> bool:
        return self.plan.max_minutes is not None and bool(self.shares.first(self.clock.is_over()))

    def _not_finite(self, what: str, phase: Phase, ids: Sequence[str]) -> NonFiniteLossError:
        place = f"phase {phase.name}, epoch {self.checkpoint.progress.epoch + 1}"
        return NonFiniteLossError(f"{place}: {what} not finite for {', '.join(ids)}; lower lr or look there")

    def _stale(self) -> bool:
        return self.plan.patience is not None and self.checkpoint.progress.stale >= self.plan.patience
