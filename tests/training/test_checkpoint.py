from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd, gluon
from mxnet.gluon import nn

from hwr.errors import InputError
from hwr.files import sha256
from hwr.networks import arrays, network_parameters, set_arrays
from hwr.training import checkpoint
from hwr.training.checkpoint import Checkpoint, Progress


def dense(units: int = 2) -> Any:
    network = nn.HybridSequential()
    network.add(nn.Dense(units, in_units=3), nn.BatchNorm(in_channels=units))
    network.initialize(mx.init.One())
    return network


def stepped(network: Any, steps: int = 1) -> Any:
    """Return a trainer after a few steps of Adam."""
    trainer = gluon.Trainer(network.collect_params(), mx.optimizer.Adam(learning_rate=0.1), kvstore=None)
    for _ in range(steps):
        with autograd.record():
            loss = network[0](mx.nd.arange(6).reshape((2, 3))).sum(axis=1)
        loss.backward()
        trainer.step(2, ignore_stale_grad=True)
    return trainer


def saved(folder: Path, *, average: float | None = 0.5, epochs: int = 1) -> Checkpoint:
    """Return a checkpoint that saved `epochs` generations, errors 1.0, 0.5, …"""
    network = dense()
    state = Checkpoint(network, folder)
    state.begin(0, average=average)
    trainer = stepped(network)
    for epoch in range(epochs):
        state.average_weights(epoch)
        state.finish_epoch(1 / (1 + epoch), seconds=2.0)
        state.save(trainer)
    return state


def test_everything_comes_back_when_it_is_restored(tmp_path: Path) -> None:
    before, after = saved(tmp_path), Checkpoint(dense(), tmp_path)
    assert after.restore() == ""
    assert after.progress == before.progress == Progress(0, 1, 1, 0, 0, 1.0, 2.0, 2.0)
    for own, other in ((arrays(after.network), arrays(before.network)), (after.best, before.best)):
        assert {name: value.tolist() for name, value in own.items()} == {
            n: v.tolist() for n, v in other.items()
        }
    assert after.last()["0.weight"].tolist() == before.last()["0.weight"].tolist()
    assert after.last()["0.weight"].tolist() != after.best["0.weight"].tolist()


def test_steps_losses_and_metrics_come_back_when_saved_within_an_epoch(tmp_path: Path) -> None:
    before = saved(tmp_path)
    before.keep_metrics({"train/loss": 0.1, "valid/error": float("nan")})
    before.finish_step([0.5, 1 / 3], seconds=3.0)
    before.finish_step([0.25], seconds=4.0)
    before.save(stepped(before.network))
    after = Checkpoint(dense(), tmp_path)
    after.restore()
    assert after.progress == Progress(0, 1, 1, 2, 0, 1.0, 4.0, 2.0)
    assert after.losses == [0.5, 1 / 3, 0.25]
    assert list(after.history) == [1]
    assert (after.history[1]["train/loss"], str(after.history[1]["valid/error"])) == (0.1, "nan")


def test_losses_are_those_of_the_epoch_under_way(tmp_path: Path) -> None:
    state = Checkpoint(dense(), tmp_path)
    state.finish_step([0.5], seconds=1.0)
    state.finish_epoch(0.1, seconds=2.0)
    state.finish_step([0.25], seconds=3.0)
    assert (state.losses, state.progress.step, state.progress.began) == ([0.25], 1, 2.0)


def test_moments_come_back_when_they_are_set(tmp_path: Path) -> None:
    network = dense()
    state, trainer = Checkpoint(network, tmp_path), stepped(network, steps=3)
    state.begin(0, average=None)
    state.save(trainer)
    again = dense()
    restored = Checkpoint(again, tmp_path)
    restored.restore()
    fresh = gluon.Trainer(again.collect_params(), mx.optimizer.Adam(learning_rate=0.1), kvstore=None)
    restored.set_moments(fresh)
    stepped_on = [(network, trainer), (again, fresh)]
    for one, its in stepped_on:
        with autograd.record():
            loss = one[0](mx.nd.ones((1, 3))).sum(axis=1)
        loss.backward()
        its.step(1, ignore_stale_grad=True)
    assert fresh._optimizer.num_update == 4
    assert again[0].weight.data().asnumpy().tolist() == network[0].weight.data().asnumpy().tolist()


def test_nothing_happens_when_the_folder_holds_no_state(tmp_path: Path) -> None:
    state = Checkpoint(dense(), tmp_path / "none")
    state.restore()
    assert (state.progress, state.best) == (Progress(), {})


def damaged(folder: Path, number: int) -> None:
    (folder / f"state-{number:06d}.npz").write_bytes(b"PK")


def test_generation_before_is_gone_on_from_when_the_newest_is_damaged(tmp_path: Path) -> None:
    saved(tmp_path, epochs=3)
    damaged(tmp_path, 3)
    after = Checkpoint(dense(), tmp_path)
    said = f"{tmp_path}: the newest state is damaged; going on from the one before it"
    assert after.restore() == said
    assert (after.progress.epoch, after.progress.best) == (2, 0.5)


def test_generation_that_was_gone_on_from_stays_when_the_next_is_written(tmp_path: Path) -> None:
    saved(tmp_path, epochs=3)
    damaged(tmp_path, 3)
    state = Checkpoint(dense(), tmp_path)
    state.restore()
    state.save(stepped(state.network))
    damaged(tmp_path, 4)
    again = Checkpoint(dense(), tmp_path)
    again.restore()
    assert again.progress.epoch == 2


def test_state_of_another_version_is_refused(tmp_path: Path) -> None:
    checkpoint.write_state(tmp_path, {"progress": {"stop": 1}, "average": None, "history": {}}, {}, before=0)
    with pytest.raises(InputError, match="the state is of another version of this program; start anew"):
        Checkpoint(dense(), tmp_path).restore()


def test_state_of_another_network_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    with pytest.raises(
        InputError, match=r"0.weight differs; a resumed training keeps its network and alphabet"
    ):
        Checkpoint(dense(units=5), tmp_path).restore()


def test_network_keeps_its_weights_when_the_state_is_refused(tmp_path: Path) -> None:
    saved(tmp_path)
    damaged(tmp_path, 1)
    network = dense()
    with pytest.raises(InputError):
        Checkpoint(network, tmp_path).restore()
    assert arrays(network)["0.weight"].tolist() == np.ones((2, 3)).tolist()


def test_averaged_weights_are_taken_back_when_the_block_fails(tmp_path: Path) -> None:
    state = saved(tmp_path)
    own = arrays(state.network)["0.weight"].tolist()
    with pytest.raises(ZeroDivisionError), state.averaged():
        assert arrays(state.network)["0.weight"].tolist() == state.last()["0.weight"].tolist() != own
        raise ZeroDivisionError
    assert arrays(state.network)["0.weight"].tolist() == own


def test_network_stays_when_nothing_is_averaged(tmp_path: Path) -> None:
    state = saved(tmp_path, average=None)
    with state.averaged():
        assert state.last()["0.weight"].tolist() == arrays(state.network)["0.weight"].tolist()


@pytest.mark.parametrize(
    ("errors", "best", "stale"),
    [
        ([0.5], 0.5, 0),
        ([0.5, 0.5], 0.5, 1),  # equal is not better
        ([0.5, 0.6, 0.7], 0.5, 2),
        ([0.5, 0.6, 0.4], 0.4, 0),
        ([float("nan")], float("inf"), 1),  # no number is not better either
    ],
)
def test_progress_counts_epochs_without_a_lower_error(
    tmp_path: Path, errors: list[float], best: float, stale: int
) -> None:
    state = Checkpoint(dense(), tmp_path)
    for error in errors:
        state.finish_epoch(error, seconds=1.0)
    progress = state.progress
    assert (progress.best, progress.stale, progress.epoch) == (best, stale, len(errors))


def test_parameters_are_named_by_place_not_by_counter() -> None:
    expected = ["0.weight", "0.bias", "1.gamma", "1.beta", "1.running_mean", "1.running_var"]
    assert [sorted(network_parameters(dense())) for _ in range(2)] == [sorted(expected)] * 2


def test_sha256_is_that_of_the_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_earlier_weights_stay_the_best_when_later_ones_are_as_good(tmp_path: Path) -> None:
    state = Checkpoint(dense(), tmp_path)
    state.finish_epoch(0.5, seconds=1.0)
    set_arrays(state.network, {"0.weight": np.zeros((2, 3), np.float32)})
    state.finish_epoch(0.5, seconds=2.0)
    assert state.best["0.weight"].tolist() == np.ones((2, 3)).tolist()
