"""A line through two points as a second stage: the loop knows nothing of handwriting."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from hwr.errors import InputError
from hwr.training import checkpoint, optimizers
from hwr.training.checkpoint import Checkpoint, Progress
from hwr.training.loop import NonFiniteLossError, Phase, Plan, Step, fit, nothing_left

X = np.array([[1.0], [2.0], [3.0], [4.0]], np.float32)  # y = 2 x + 1
Y = 2 * X + 1


@dataclass(frozen=True)
class Batch:
    ids: list[str]
    x: Any
    y: Any


@dataclass
class LinearStage:
    """Fit y = w x + b by half the squared error, two samples a batch, in an order drawn from the epoch."""

    dropout: float = 0.0
    errors: list[float] | None = None  # what `validate` returns, one an epoch; None: the mean squared error
    metrics: tuple[str, ...] = ("valid/error", "valid/weight")
    seen: list[tuple[str, int, float]] = field(default_factory=list)  # phase, epoch, weight at its start

    def __post_init__(self) -> None:
        self.network = nn.HybridSequential()
        self.network.add(nn.Dropout(self.dropout), nn.Dense(1, in_units=1))
        self.network.initialize(mx.init.Zero())
        self.network.hybridize()

    @property
    def weight(self) -> float:
        return float(self.network[1].weight.data().asnumpy().item())

    def steps(self) -> int:
        return 2

    def batches(self, phase: Phase, epoch: int, *, start: int) -> Iterator[Batch]:
        self.seen.append((phase.name, epoch, self.weight))
        order = np.random.default_rng(epoch).permutation(4)
        for rows in (order[:2], order[2:])[start:]:
            yield Batch([f"line{row}" for row in rows], mx.nd.array(X[rows]), mx.nd.array(Y[rows]))

    def loss(self, phase: Phase, batch: Batch) -> Any:
        return 0.5 * ((self.network(batch.x) - batch.y) ** 2).mean(axis=1) * phase.settings.get("scale", 1)

    def validate(self) -> Mapping[str, float]:
        error = float(((self.network(mx.nd.array(X)) - mx.nd.array(Y)) ** 2).mean().asnumpy().item())
        return {"valid/error": self.errors.pop(0) if self.errors else error, "valid/weight": self.weight}


@dataclass
class History:
    """A tracker that keeps what it hears."""

    epochs: list[dict[str, float]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.epochs.append({name: value for name, value in values.items() if not name.startswith("time/")})
        self.steps.append(step)


def sgd(lr: float) -> Any:
    return mx.optimizer.SGD(learning_rate=lr)


def adam(lr: float) -> Any:
    return optimizers.create("adamw", lr=lr, beta1=0.9, beta2=0.999, weight_decay=0.01)


def phase(name: str = "one", epochs: int = 4, lr: float = 0.1, **settings: Any) -> Phase:
    return Phase(name, epochs, lr, schedule="constant", warmup=0.0, settings=settings)


def plan(*phases: Phase, optimizer: Callable[[float], Any] = adam, **changes: Any) -> Plan:
    limits: dict[str, Any] = {
        "max_epochs": None,
        "max_minutes": None,
        "patience": None,
        "save_every": None,
        "clip": None,
        "average": None,
    }
    known = {"monitor": "valid/error", "seed": 0, **limits, **changes}
    return Plan(phases=phases or (phase(),), optimizer=optimizer, **known)


def train(
    stage: LinearStage, wanted: Plan, folder: Path, report: Callable[[Step], None] = lambda step: None
) -> tuple[float, History, Checkpoint]:
    state, history = Checkpoint(stage.network, folder), History()
    state.restore()
    best = fit(stage, wanted, checkpoint=state, tracker=history, report=report)
    return best, history, state


def test_phases_run_in_order_when_there_are_two(tmp_path: Path) -> None:
    stage = LinearStage()
    train(stage, plan(phase("mse", epochs=2), phase("iou", epochs=1)), tmp_path)
    assert [(name, epoch) for name, epoch, _ in stage.seen] == [("mse", 0), ("mse", 1), ("iou", 2)]


def test_next_phase_starts_from_the_best_weights_when_the_last_are_worse(tmp_path: Path) -> None:
    stage = LinearStage(errors=[0.5, 0.2, 0.9, 0.1])
    _, history, _ = train(stage, plan(phase("a", epochs=3), phase("b", epochs=1)), tmp_path)
    assert stage.seen[-1] == ("b", 3, history.epochs[1]["valid/weight"])


def test_optimizer_is_fresh_when_a_phase_begins(tmp_path: Path) -> None:
    made: list[Any] = []

    def make(lr: float) -> Any:
        made.append(adam(lr))
        return made[-1]

    train(LinearStage(), plan(phase("a", epochs=3), phase("b", epochs=2, lr=0.01), optimizer=make), tmp_path)
    assert [(one.lr, one.num_update) for one in made] == [(0.1, 6), (0.01, 4)]


def test_rate_falls_as_a_cosine_after_the_warm_up(tmp_path: Path) -> None:
    wanted = Phase(
        "one", epochs=4, lr=0.8, schedule="cosine", warmup=0.25, settings={}
    )  # 8 steps, 2 of them warm-up
    _, history, _ = train(LinearStage(), plan(wanted, optimizer=sgd), tmp_path)
    rates = [epoch["train/lr"] for epoch in history.epochs]  # of steps 1, 3, 5 and 7
    expected = [0.4, *(0.4 * (1 + np.cos(np.pi * done / 6)) for done in (1, 3, 5))]
    assert rates == pytest.approx(expected, rel=1e-12)


def test_gradient_is_clipped_to_the_norm_of_its_mean(tmp_path: Path) -> None:
    stage = LinearStage()
    before: list[tuple[float, float]] = []

    def keep(step: Step) -> None:
        before.append((stage.weight, float(stage.network[1].bias.data().asnumpy().item())))

    train(stage, plan(phase(epochs=1, lr=1.0), optimizer=sgd, clip=0.5), tmp_path, keep)
    moves = np.diff(np.array([(0.0, 0.0), *before]), axis=0)
    assert np.linalg.norm(moves, axis=1) == pytest.approx(0.5, rel=1e-5)  # lr 1: a step is the gradient


def test_step_is_the_mean_gradient_when_nothing_is_clipped(tmp_path: Path) -> None:
    stage = LinearStage()
    values: list[float] = []
    train(
        stage,
        plan(phase(epochs=1, lr=0.1), optimizer=sgd),
        tmp_path,
        lambda step: values.append(stage.weight),
    )
    rows = np.random.default_rng(0).permutation(4)[:2]
    assert values[0] == pytest.approx(0.1 * float((X[rows] * Y[rows]).mean()), rel=1e-6)  # w = b = 0 at first


def test_average_follows_the_weights_as_said(tmp_path: Path) -> None:
    stage = LinearStage()
    weights: list[float] = []
    wanted = plan(phase(epochs=2), average=0.2)
    _, history, state = train(stage, wanted, tmp_path, lambda step: weights.append(stage.weight))
    average, averages = 0.0, []
    for step, weight in enumerate(weights):
        keep = min(0.2, (1 + step) / (10 + step))  # 1/10, 2/11, 0.2, 0.2
        average = keep * average + (1 - keep) * weight
        averages.append(average)
    assert [epoch["valid/weight"] for epoch in history.epochs] == pytest.approx(averages[1::2], rel=1e-6)
    assert stage.weight == weights[-1]  # training goes on from the weights themselves
    assert state.last()["1.weight"].item() == pytest.approx(averages[-1], rel=1e-6)


def test_best_weights_are_kept_when_later_ones_are_worse(tmp_path: Path) -> None:
    stage = LinearStage(errors=[0.5, 0.2, 0.3])
    best, history, state = train(stage, plan(phase(epochs=3)), tmp_path)
    assert best == 0.2
    assert state.best["1.weight"].item() == np.float32(history.epochs[1]["valid/weight"])
    assert [epoch["best/valid/error"] for epoch in history.epochs] == [0.5, 0.2, 0.2]


def test_metrics_are_told_once_an_epoch(tmp_path: Path) -> None:
    _, history, _ = train(LinearStage(), plan(phase(epochs=2)), tmp_path)
    assert history.steps == [1, 2]
    assert set(history.epochs[0]) == {
        "train/loss",
        "train/lr",
        "valid/error",
        "valid/weight",
        "best/valid/error",
    }


def test_patience_ends_the_phase_when_nothing_gets_better(tmp_path: Path) -> None:
    stage = LinearStage(errors=[0.5, 0.6, 0.7, 0.4, 0.8, 0.9])
    train(stage, plan(phase("a", epochs=9), phase("b", epochs=9), patience=2), tmp_path)
    assert [name for name, _, _ in stage.seen] == ["a"] * 3 + ["b"] * 3


def test_max_epochs_ends_the_training_within_a_phase(tmp_path: Path) -> None:
    stage = LinearStage()
    train(stage, plan(phase("a", epochs=2), phase("b", epochs=9), max_epochs=3), tmp_path)
    assert [name for name, _, _ in stage.seen] == ["a", "a", "b"]


def test_max_minutes_ends_the_epoch_but_not_without_its_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = {"now": 1000.0}

    def look() -> float:
        clock["now"] += 1e-3
        return clock["now"]

    monkeypatch.setattr(time, "monotonic", look)
    steps: list[int] = []

    def tick(step: Step) -> None:
        steps.append(step.step)
        clock["now"] += 20

    best, history, _ = train(LinearStage(errors=[0.5, 0.4]), plan(max_minutes=1), tmp_path, tick)
    assert (steps, best, history.steps) == ([1, 2, 3], 0.4, [1, 2])


@pytest.mark.parametrize(
    ("changes", "at", "over"),
    [
        ({}, Progress(phase=1, phase_epoch=3, epoch=7), False),
        ({}, Progress(phase=1, phase_epoch=4, epoch=8), True),
        ({}, Progress(phase=0, phase_epoch=4, epoch=4), False),  # a second phase follows
        ({}, Progress(), False),
        ({"max_epochs": 7}, Progress(phase=1, phase_epoch=3, epoch=7), True),
        ({"max_epochs": 8}, Progress(phase=1, phase_epoch=3, epoch=7), False),
        ({"max_minutes": 2.0}, Progress(phase=0, phase_epoch=1, epoch=1, seconds=120.0), True),
        ({"max_minutes": 2.0}, Progress(phase=0, phase_epoch=1, epoch=1, seconds=119.0), False),
        ({"patience": 2}, Progress(phase=1, phase_epoch=2, epoch=6, stale=2), True),
        ({"patience": 2}, Progress(phase=0, phase_epoch=2, epoch=2, stale=2), False),
    ],
)
def test_nothing_is_left_when_the_plan_is_gone_through(
    changes: dict[str, Any], at: Progress, over: bool
) -> None:
    assert nothing_left(plan(phase("one"), phase("two"), **changes), at) == over


def test_unknown_monitor_is_refused_before_the_first_step(tmp_path: Path) -> None:
    stage = LinearStage()
    with pytest.raises(
        InputError, match="monitor=valid/eror: no such metric; use one of valid/error, valid/weight"
    ):
        train(stage, plan(monitor="valid/eror"), tmp_path)
    assert stage.seen == []


def test_ids_are_named_when_their_loss_is_not_finite(tmp_path: Path) -> None:
    class Broken(LinearStage):
        def loss(self, phase: Phase, batch: Batch) -> Any:
            return mx.nd.array([np.nan if name == "line2" else 1.0 for name in batch.ids])

    with pytest.raises(NonFiniteLossError, match="phase one, epoch 1: loss not finite for line2; lower lr"):
        train(Broken(), plan(), tmp_path)


def test_batch_is_named_when_its_gradient_is_not_finite(tmp_path: Path) -> None:
    class Broken(LinearStage):
        def loss(self, phase: Phase, batch: Batch) -> Any:
            return mx.nd.sqrt(self.network(batch.x) * 0).mean(axis=1)  # its slope at 0 is infinite

    stage = Broken()
    first = [f"line{row}" for row in np.random.default_rng(0).permutation(4)[:2]]
    with pytest.raises(NonFiniteLossError, match=f"gradient not finite for {', '.join(first)}"):
        train(stage, plan(clip=1.0), tmp_path)
    assert stage.weight == 0.0


TWO = (phase("a", epochs=3, lr=0.1), phase("b", epochs=3, lr=0.05))


def arrays_in(folder: Path) -> dict[str, bytes]:
    found = checkpoint.newest_state(folder)
    assert found is not None
    return {name: value.tobytes() for name, value in found.arrays.items()}


@pytest.mark.parametrize("stopped", [1, 2, 3, 4])
def test_resumed_training_ends_with_the_same_bits_when_stopped_after(stopped: int, tmp_path: Path) -> None:
    wanted = plan(*TWO, clip=1.0, average=0.9, seed=7)
    best, history, _ = train(LinearStage(dropout=0.5), wanted, tmp_path / "whole")
    _, early, _ = train(LinearStage(dropout=0.5), replace(wanted, max_epochs=stopped), tmp_path / "parts")
    again, late, _ = train(LinearStage(dropout=0.5), wanted, tmp_path / "parts")
    assert (again, early.epochs, late.epochs) == (best, history.epochs[:stopped], history.epochs)
    assert arrays_in(tmp_path / "parts") == arrays_in(tmp_path / "whole")


def stopped_after(step: int) -> Callable[[Step], None]:
    """Return what interrupts a training in its `step`, counted from 1, before its state is kept."""
    seen = iter(range(1, step + 1))

    def interrupt(_: Step) -> None:
        if next(seen) == step:
            raise KeyboardInterrupt

    return interrupt


ALWAYS = 1e-9  # minutes between two states: each step is kept
FEW = plan(*TWO, clip=1.0, average=0.9, seed=7)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[float, list[dict[str, float]], dict[str, bytes]]:
    """Return the best error, the metrics and the last state of FEW, never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    best, history, _ = train(LinearStage(dropout=0.5), FEW, folder)
    return best, history.epochs, arrays_in(folder)


@pytest.mark.parametrize("save_every", [None, ALWAYS])
@pytest.mark.parametrize("step", [1, 2, 4, 6, 7, 12])
def test_resumed_training_ends_with_the_same_bits_when_interrupted_in(
    step: int, save_every: float | None, whole: Any, tmp_path: Path
) -> None:
    wanted = replace(FEW, save_every=save_every)
    with pytest.raises(KeyboardInterrupt):
        train(LinearStage(dropout=0.5), wanted, tmp_path, stopped_after(step))
    best, history, _ = train(LinearStage(dropout=0.5), wanted, tmp_path)
    assert (best, history.epochs, arrays_in(tmp_path)) == whole


def test_bits_do_not_depend_on_where_the_state_is_kept(whole: Any, tmp_path: Path) -> None:
    best, history, _ = train(LinearStage(dropout=0.5), replace(FEW, save_every=ALWAYS), tmp_path)
    assert (best, history.epochs, arrays_in(tmp_path)) == whole


def test_resumed_epoch_begins_behind_the_last_kept_step(tmp_path: Path) -> None:
    wanted = plan(phase(epochs=3), save_every=ALWAYS)
    with pytest.raises(KeyboardInterrupt):
        train(
            LinearStage(), wanted, tmp_path, stopped_after(4)
        )  # the second of the second epoch: one is kept
    said: list[Step] = []
    train(LinearStage(), wanted, tmp_path, said.append)
    assert [(one.epoch, one.step, one.samples) for one in said] == [(1, 4, 4), (2, 5, 2), (2, 6, 4)]


def test_epoch_is_only_scored_when_all_its_steps_are_kept(tmp_path: Path) -> None:
    class Killed(LinearStage):
        def validate(self) -> Mapping[str, float]:
            raise KeyboardInterrupt

    wanted = plan(phase(epochs=2), save_every=ALWAYS)
    _, history, _ = train(LinearStage(), wanted, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(Killed(), wanted, tmp_path / "parts")
    said: list[Step] = []
    _, late, _ = train(LinearStage(), wanted, tmp_path / "parts", said.append)
    assert [one.epoch for one in said] == [1, 1]
    assert late.epochs == history.epochs


def test_metrics_are_told_again_when_the_tracker_may_not_have_them(tmp_path: Path) -> None:
    class Gone(History):
        def metrics(self, values: Mapping[str, float], step: int) -> None:
            if step == 2:
                raise KeyboardInterrupt

    stage, told = LinearStage(), Gone()
    with pytest.raises(KeyboardInterrupt):
        fit(stage, plan(), checkpoint=Checkpoint(stage.network, tmp_path), tracker=told, report=print)
    _, late, _ = train(LinearStage(), plan(), tmp_path)
    assert late.steps == [1, 2, 3, 4]


def test_dropout_is_drawn_anew_in_each_step(tmp_path: Path) -> None:
    class Same(LinearStage):
        def steps(self) -> int:
            return 8

        def batches(self, phase: Phase, epoch: int, *, start: int) -> Iterator[Batch]:
            for _ in range(8):
                yield Batch(["a", "b", "c", "d"], mx.nd.array(X), mx.nd.array(Y))

        def loss(self, phase: Phase, batch: Batch) -> Any:
            seen.append(tuple((self.network[0](batch.x) == 0).asnumpy().ravel()))  # who is dropped
            return super().loss(phase, batch)

    seen: list[tuple[float, ...]] = []
    train(Same(dropout=0.5), plan(phase(epochs=1)), tmp_path)
    assert len(set(seen)) > 2


def test_dropout_is_drawn_anew_in_each_epoch(tmp_path: Path) -> None:
    def losses(seed: int, name: str) -> list[float]:
        stage = LinearStage(dropout=0.5)
        stage.network[1].weight.set_data(
            mx.nd.ones((1, 1))
        )  # so that the loss tells which samples were dropped
        _, history, _ = train(stage, plan(phase(epochs=9, lr=1e-12), seed=seed), tmp_path / name)
        return [epoch["train/loss"] for epoch in history.epochs]

    assert losses(1, "a") == losses(1, "b") != losses(2, "c")
    assert len(set(losses(1, "d"))) > 2


def test_finished_training_keeps_its_weights_when_it_is_resumed(tmp_path: Path) -> None:
    stage, again = LinearStage(), LinearStage()
    best, _, state = train(stage, plan(max_epochs=2), tmp_path)
    same, _, after = train(again, plan(max_epochs=2), tmp_path)
    assert (same, again.seen) == (best, [])
    assert after.last()["1.weight"] == state.last()["1.weight"] != 0


def test_steps_are_reported_for_a_progress_bar(tmp_path: Path) -> None:
    said: list[Step] = []
    train(LinearStage(), plan(phase(epochs=2)), tmp_path, said.append)
    assert [(one.epoch, one.step, one.total, one.samples) for one in said] == [
        (0, 1, 4, 2),
        (0, 2, 4, 4),
        (1, 3, 4, 2),
        (1, 4, 4, 4),
    ]
    assert all(one.seconds > 0 and one.loss > 0 for one in said)
