"""A training that devices share is the training of one: gradients, clipping, averages, running statistics."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn
from numpy.typing import NDArray

from hwr.networks import arrays
from hwr.training import optimizers
from hwr.training.checkpoint import Checkpoint
from hwr.training.loop import NonFiniteLossError, Phase, Plan, fit
from hwr.training.shares import Shares

DEVICES = (mx.cpu(0), mx.cpu(1))


@dataclass(frozen=True)
class Batch:
    ids: list[str]
    x: NDArray[np.float32]


@dataclass
class History:
    """A tracker that keeps what it hears."""

    epochs: list[dict[str, float]] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.epochs.append(dict(values))


class SquareStage:
    """Learn weights of 3 inputs whose squared output is the loss; 5 samples make batches of 2, 2 and 1."""

    metrics = ("valid/error",)

    def __init__(self, *layers: Any, x: NDArray[np.float32] | None = None) -> None:
        self.x = np.arange(15, dtype=np.float32).reshape(5, 3) / 10 if x is None else x
        self.network = nn.HybridSequential()
        self.network.add(*layers, nn.Dense(1, in_units=3))
        self.network.initialize(mx.init.One())
        self.network(mx.nd.array(self.x))
        self.network.hybridize()

    def steps(self) -> int:
        return 3

    def batches(self, phase: Phase, epoch: int, *, start: int) -> Iterator[Batch]:
        for first in range(2 * start, 5, 2):
            rows = self.x[first : first + 2]
            yield Batch([f"line{first + n}" for n in range(len(rows))], rows)

    def loss(self, phase: Phase, batch: Batch) -> Any:
        return (self.network(mx.nd.array(batch.x)) ** 2).mean(axis=1)

    def validate(self) -> Mapping[str, float]:
        return {"valid/error": float((self.network(mx.nd.array(self.x)) ** 2).mean().asscalar())}


def plan(**changes: Any) -> Plan:
    def adamw(lr: float) -> Any:
        return optimizers.create("adamw", lr=lr, beta1=0.9, beta2=0.999, weight_decay=0.01)

    phase = Phase("one", 4, 0.05, "constant", 0.0, {})
    limits = dict.fromkeys(("max_epochs", "max_minutes", "patience", "save_every"))
    settings = {"clip": 0.5, "average": 0.9, **limits, **changes}
    return Plan(phases=[phase], optimizer=adamw, monitor="valid/error", seed=0, **settings)


def trained(stage: SquareStage, folder: Path, shares: Shares, **changes: Any) -> tuple[Any, History]:
    """Train, and return the weights of all steps' end and the metrics."""
    if len(shares.contexts) > 1:
        stage.network.collect_params().reset_ctx(list(shares.contexts))
    state, history = Checkpoint(stage.network, folder), History()
    state.restore()
    fit(stage, plan(**changes), checkpoint=state, tracker=history, report=lambda step: None, shares=shares)
    return arrays(stage.network), history


def test_two_devices_learn_what_one_learns(tmp_path: Path) -> None:
    one, alone = trained(SquareStage(), tmp_path / "one", Shares())
    two, shared = trained(SquareStage(), tmp_path / "two", Shares(DEVICES))
    assert len(alone.epochs) == len(shared.epochs) == 4
    for name in ("train/loss", "valid/error"):
        values = [[epoch[name] for epoch in own.epochs] for own in (alone, shared)]
        np.testing.assert_allclose(values[1], values[0], rtol=1e-6)
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-6)
    assert "time/communication" not in alone.epochs[0]
    assert 0 < shared.epochs[0]["time/communication"] < 1


def test_devices_hold_the_same_weights_when_an_epoch_ends(tmp_path: Path) -> None:
    stage = SquareStage(nn.BatchNorm(in_channels=3))
    trained(stage, tmp_path, Shares(DEVICES))
    for parameter in stage.network.collect_params().values():
        first, second = (value.asnumpy() for value in parameter.list_data())
        np.testing.assert_array_equal(first, second)


def test_running_mean_is_that_of_all_parts_by_their_samples() -> None:
    # Of samples 0, 1 and 2 the first device has 0 and 2, the second has 1: means 3 and 9, by 2 and 1 samples.
    stage = SquareStage(nn.BatchNorm(in_channels=3, momentum=0.0), x=np.float32([[0] * 3, [9] * 3, [6] * 3]))
    stage.network.collect_params().reset_ctx(list(DEVICES))
    shares, batch = Shares(DEVICES), Batch(["a", "b", "c"], stage.x)
    parts = shares.of(batch)
    assert [part.batch.ids for part in parts] == [["a", "c"], ["b"]]
    for part in parts:
        with part.context, mx.autograd.record():
            loss = stage.loss(plan().phases[0], part.batch)
        loss.backward()
    shares.sum_up(list(stage.network.collect_params().values()), np.zeros(3, np.float32))
    for mean in stage.network[0].running_mean.list_data():
        np.testing.assert_allclose(mean.asnumpy(), [5.0] * 3, rtol=1e-6)


def test_training_goes_on_with_another_number_of_devices(tmp_path: Path) -> None:
    whole, _ = trained(SquareStage(), tmp_path / "whole", Shares())
    trained(SquareStage(), tmp_path / "cut", Shares(DEVICES), max_epochs=2)
    resumed, history = trained(SquareStage(), tmp_path / "cut", Shares((*DEVICES, mx.cpu(2))))
    assert len(history.epochs) == 4
    for name, value in whole.items():
        np.testing.assert_allclose(resumed[name], value, rtol=1e-6)


def test_sample_is_named_when_its_loss_is_not_finite_on_another_device(tmp_path: Path) -> None:
    x = np.ones((5, 3), np.float32)
    x[3] = np.inf
    with pytest.raises(NonFiniteLossError, match="not finite for line3;"):
        trained(SquareStage(x=x), tmp_path, Shares(DEVICES))


def test_one_alone_has_the_batch_itself() -> None:
    batch = Batch(["a"], np.ones((1, 3), np.float32))
    (part,) = Shares().of(batch)
    assert part.batch is batch
