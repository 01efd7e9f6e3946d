"""One training loop for every stage: phases, epochs, batches; knows no stage, no data, no tracking server."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon

from hwr.checkpoint import Checkpoint
from hwr.errors import InputError
from hwr.optimizers import schedule
from hwr.plan import Phase, Plan, Step

Rate = Callable[[int], float]


class Stage(Protocol):
    """A step of the pipeline, as the trainer sees it; `metrics` are the names that `validate` returns."""

    network: Any
    metrics: Sequence[str]

    def steps(self) -> int:
        """Return the number of batches an epoch has."""

    def batches(self, phase: Phase, epoch: int) -> Iterator[Any]:
        """Yield the batches of `epoch`, 0-based over all phases, always the same, with sample `ids`."""

    def loss(self, phase: Phase, batch: Any) -> Any:
        """Return the loss of every sample, (N,); called while autograd records."""

    def validate(self) -> Mapping[str, float]:
        """Score the network on the validation split."""


class Tracker(Protocol):
    """Where metrics go: a run of a tracking server, a list, or nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take the metrics of an epoch."""


class NonFiniteLossError(InputError):
    """The loss of a batch, or its gradient, is NaN or infinite."""


def fit(
    stage: Stage, plan: Plan, *, checkpoint: Checkpoint, tracker: Tracker, report: Callable[[Step], None]
) -> float:
    """Train `stage` as planned, on from where `checkpoint` is, and return the lowest monitored error.

    `report` hears of every step. Raises NonFiniteLossError with the ids of the batch.
    """
    if plan.monitor not in stage.metrics:
        raise InputError(f"monitor={plan.monitor}: no such metric; use one of {', '.join(stage.metrics)}")
    started = time.monotonic() - checkpoint.progress.seconds
    loop = _Loop(stage, plan, checkpoint, tracker, report, started)
    for number, phase in enumerate(plan.phases):
        if number >= checkpoint.progress.phase and not loop.over():
            loop.run(number, phase)
    return checkpoint.progress.best


@dataclass
class _Loop:
    stage: Stage
    plan: Plan
    checkpoint: Checkpoint
    tracker: Tracker
    report: Callable[[Step], None]
    started: float

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

    def _epoch(self, phase: Phase, trainer: Any, rate: Rate) -> None:
        state, monitor = self.checkpoint, self.plan.monitor
        mx.random.seed(_seed(self.plan.seed, state.progress.epoch))
        values = self._train(phase, trainer, rate)
        with state.averaged():
            values |= self.stage.validate()
            state.finish_epoch(values[monitor], time.monotonic() - self.started)
        values |= {f"best/{monitor}": state.progress.best, "time/minutes": state.progress.seconds / 60}
        self.tracker.metrics(values, state.progress.epoch)
        state.save(trainer)

    def _train(self, phase: Phase, trainer: Any, rate: Rate) -> dict[str, float]:
        epoch, steps, start = self.checkpoint.progress.epoch, self.stage.steps(), time.monotonic()
        losses: list[float] = []
        first = self.checkpoint.progress.phase_epoch * steps
        for step, batch in enumerate(self.stage.batches(phase, epoch), first):
            trainer.set_learning_rate(rate(step))
            losses += self._step(phase, trainer, batch)
            self.checkpoint.average_weights(step)
            mean, seconds = float(np.mean(losses[-512:])), time.monotonic() - start
            self.report(Step(phase.name, epoch, step + 1, phase.epochs * steps, mean, len(losses), seconds))
            if self._out_of_time():
                break
        rates = {"train/lr": float(trainer.learning_rate), "time/samples_per_s": len(losses) / seconds}
        return {"train/loss": float(np.mean(losses)), **rates}

    def _step(self, phase: Phase, trainer: Any, batch: Any) -> list[float]:
        with autograd.record():
            loss = self.stage.loss(phase, batch)  # (N,)
        values = loss.asnumpy()
        if not np.isfinite(values).all():
            wrong = [name for name, value in zip(batch.ids, values, strict=True) if not np.isfinite(value)]
            raise self._not_finite("loss", phase, wrong)
        loss.backward()
        if self.plan.clip is not None:
            gradients = [p.grad() for p in trainer._params if p.grad_req != "null"]  # sums over the batch
            bound = self.plan.clip * len(values)
            norm = gluon.utils.clip_global_norm(gradients, bound, check_isfinite=False)
            if not np.isfinite(norm.asscalar()):
                raise self._not_finite("gradient", phase, batch.ids)
        trainer.step(len(values))
        return [float(value) for value in values]

    def _not_finite(self, what: str, phase: Phase, ids: Sequence[str]) -> NonFiniteLossError:
        place = f"phase {phase.name}, epoch {self.checkpoint.progress.epoch + 1}"
        return NonFiniteLossError(f"{place}: {what} not finite for {', '.join(ids)}; lower lr or look there")

    def _stale(self) -> bool:
        return self.plan.patience is not None and self.checkpoint.progress.stale >= self.plan.patience

    def _out_of_time(self) -> bool:
        minutes = self.plan.max_minutes
        return minutes is not None and time.monotonic() - self.started >= 60 * minutes


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)
