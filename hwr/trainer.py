"""One training loop for every stage: phases, epochs, batches; it knows no stage, no data and no tracking server."""

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


class Batch(Protocol):
    """What a training step needs to know of a batch: the ids of its samples."""

    ids: Sequence[str]


class Stage(Protocol):
    """A step of the pipeline, as the trainer sees it."""

    network: gluon.HybridBlock

    def steps(self) -> int:
        """Return the number of batches an epoch has."""

    def batches(self, phase: "Phase", epoch: int) -> Iterator[Any]:
        """Yield the training batches of `epoch`, counted from 0 over all phases; the same for the same arguments."""

    def loss(self, phase: "Phase", batch: Any) -> Any:
        """Return the loss of every sample, (N,); called while autograd records."""

    def validate(self) -> Mapping[str, float]:
        """Score the network on the validation split."""


class Tracker(Protocol):
    """Where metrics go; `sink` of a run may be a tracking server, a list, or nothing."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take the metrics of an epoch."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training with one loss: `lr` is its peak rate, `settings` are the stage's own."""

    name: str
    epochs: int
    lr: float
    schedule: str
    warmup: float
    settings: Mapping[str, Any]


@dataclass(frozen=True)
class Limits:
    """What a training minimises and when it ends: None lifts a limit; `average` is the decay of the weight average."""

    monitor: str
    max_epochs: int | None
    max_minutes: float | None
    patience: int | None
    clip: float | None
    average: float | None
    seed: int


class NonFiniteLossError(RuntimeError):
    """The loss of a batch is NaN or infinite."""


def fit(
    stage: Stage, phases: Sequence[Phase], limits: Limits, *, optimizer: Callable[[float], Any], tracker: Tracker,
    checkpoint: Checkpoint, report: Callable[["Step"], None],
) -> float:  # fmt: skip
    """Train `stage` through `phases` and return the best monitored error.

    `checkpoint` holds the progress: a training that was stopped goes on from its last finished epoch. `optimizer` makes a
    fresh one from a learning rate; `report` hears of every step. Raises NonFiniteLossError with the batch's ids.
    """
    loop = _Loop(stage, limits, tracker, checkpoint, report)
    for number, phase in enumerate(phases):
        if number >= loop.progress.phase and not loop.over():
            loop.run(number, phase, optimizer(phase.lr))
    return loop.progress.best


@dataclass(frozen=True)
class Step:
    """One training step, for a progress bar: `step` of `total` in the phase, mean loss, samples and seconds so far."""

    phase: str
    epoch: int
    step: int
    total: int
    loss: float
    samples: int
    seconds: float


class _Loop:
    def __init__(
        self, stage: Stage, limits: Limits, tracker: Tracker, checkpoint: Checkpoint, report: Callable[[Step], None]
    ) -> None:  # fmt: skip
        self.stage, self.limits, self.tracker, self.checkpoint, self.report = stage, limits, tracker, checkpoint, report
        self.progress = checkpoint.restore_progress()
        self.started = time.monotonic() - self.progress.seconds

    def run(self, number: int, phase: Phase, optimizer: Any) -> None:
        """Train one phase from the best weights so far, or from where the checkpoint left it."""
        params = self.stage.network.collect_params()
        trainer = gluon.Trainer(params, optimizer, kvstore=None)
        if number > self.progress.phase or not self.checkpoint.restore_weights(trainer):
            self.checkpoint.start_phase(trainer, average=self.limits.average)
            self.progress = self.progress.next_phase(number)
        rate = schedule(phase.schedule, lr=phase.lr, steps=phase.epochs * self.stage.steps(), warmup=phase.warmup)
        while self.progress.phase_epoch < phase.epochs and not self.over():
            self._epoch(phase, trainer, rate)

    def _epoch(self, phase: Phase, trainer: Any, rate: Callable[[int], float]) -> None:
        epoch = self.progress.epoch
        mx.random.seed(_seed(self.limits.seed, epoch))
        totals = self._train(phase, trainer, rate)
        with self.checkpoint.averaged():
            scores = dict(self.stage.validate())
            error = self._monitored(scores)
            if error < self.progress.best:
                self.progress = self.progress.improved(error)
                self.checkpoint.keep_best()
        self.progress = self.progress.next_epoch(time.monotonic() - self.started)
        self.tracker.metrics({**totals, **scores, "best/" + self.limits.monitor: self.progress.best}, epoch + 1)
        self.checkpoint.save(self.progress, trainer)

    def _train(self, phase: Phase, trainer: Any, rate: Callable[[int], float]) -> dict[str, float]:
        losses: list[float] = []
        start, samples, total = time.monotonic(), 0, phase.epochs * self.stage.steps()
        for batch in self.stage.batches(phase, self.progress.epoch):
            trainer.set_learning_rate(rate(self.progress.step))
            losses.extend(self._step(phase, trainer, batch))
            samples += len(batch.ids)
            self.progress = self.progress.next_step()
            seconds = time.monotonic() - start
            self.report(Step(phase.name, self.progress.epoch, self.progress.step, total, float(np.mean(losses[-512:])),
                             samples, seconds))  # fmt: skip
            if self._out_of_time():
                break
        seconds = max(time.monotonic() - start, 1e-9)
        return {"train/loss": float(np.mean(losses)), "train/lr": float(trainer.learning_rate),
                "time/samples_per_s": samples / seconds, "time/minutes": (time.monotonic() - self.started) / 60}  # fmt: skip

    def _step(self, phase: Phase, trainer: Any, batch: Any) -> list[float]:
        with autograd.record():
            loss = self.stage.loss(phase, batch)  # (N,)
        values = loss.asnumpy()
        if not np.isfinite(values).all():
            wrong = [name for name, value in zip(batch.ids, values, strict=True) if not np.isfinite(value)]
            raise NonFiniteLossError(
                f"the loss is not finite in phase {phase.name}, epoch {self.progress.epoch + 1}, step "
                f"{self.progress.step + 1}, for {', '.join(wrong)}; lower lr or look at these samples"
            )
        loss.backward()
        if self.limits.clip is not None:
            gradients = [p.grad() for p in trainer._params if p.grad_req != "null"]  # sums over the batch
            gluon.utils.clip_global_norm(gradients, self.limits.clip * len(values), check_isfinite=False)
        trainer.step(len(values))
        self.checkpoint.average_weights(self.progress.step)
        return [float(value) for value in values]

    def _monitored(self, scores: Mapping[str, float]) -> float:
        if self.limits.monitor not in scores:
            raise InputError(f"monitor={self.limits.monitor}: no such metric; use one of {', '.join(sorted(scores))}")
        return float(scores[self.limits.monitor])

    def _out_of_time(self) -> bool:
        minutes = self.limits.max_minutes
        return minutes is not None and time.monotonic() - self.started >= 60 * minutes

    def over(self) -> bool:
        """Tell whether a limit ends the training here."""
        limits, progress = self.limits, self.progress
        stale = limits.patience is not None and progress.stale >= limits.patience
        full = limits.max_epochs is not None and progress.epoch >= limits.max_epochs
        return stale or full or self._out_of_time()


def _seed(seed: int, epoch: int) -> int:
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1)[0] >> 1)

