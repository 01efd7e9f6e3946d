"""The recipe published for the IAM trains on a folder of its shape, with its real ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr import optimizers
from hwr.binding import make, target
from hwr.building import line_training
from hwr.config import Composed, TrainConfig, composed
from hwr.networks.cost import cost
from tests.iam_folder import LISTS, first_of, write_form

SMALL = ["network.channels=8", "network.hidden=8", "network.layers=1", "batch_size=2"]


@pytest.fixture
def iam(shared: Path, tmp_path: Path) -> list[str]:
    """Return what the command line says for a folder with the forms of each official list's first id."""
    lists = shared / "data" / "iam_splits" / "official"
    if not lists.is_dir():
        pytest.skip(f"no folder {lists}: the real split lists are not tested")
    root = tmp_path / "iam"
    for name, _ in first_of(lists, LISTS["official"]):
        write_form(root, name.rpartition("-")[0])
    return [f"data.root={root}", f"data.splits={lists}", f"folder={tmp_path / 'outputs'}"]


def recipe(*overrides: str) -> Composed:
    return composed("train", ["experiments=line/published_iam", *overrides], TrainConfig)


def test_recipe_holds_the_published_values() -> None:
    values = recipe("data.root=anywhere").values
    assert (values["lr"], values["batch_size"], values["clip"], values["average"]) == (1e-4, 64, 2.0, None)
    assert values["stage"]["crop"]["height"] == 60
    assert values["phases"]["ctc"] == {
        "epochs": 501, "lr_scale": 1.0, "schedule": "constant", "warmup": 0.0,
    }  # fmt: skip
    assert values["optimizer"]["name"] == "adam"
    assert {name: value for name, value in values["augmentation"].items() if value} == {
        "probability": 1.0, "shift_x": 0.1, "shift_y": 0.1, "jitter_x": 0.15, "jitter_y": 0.15, "shear": 0.75,
    }  # fmt: skip
    assert [values["data"][key] for key in ("source", "task", "images")] == ["iam", "official", "lines"]


def test_network_is_the_published_one() -> None:  # its parts: tests/networks/test_resnet_bilstm.py
    node = recipe("data.root=anywhere").values["network"]
    network = make(target(node, "network"), node, "network", classes=81)
    assert cost(network, (1, 1, 60, 800)).parameters == 23_042_449


def test_recipe_trains_on_a_folder_of_the_iams_shape(iam: list[str]) -> None:
    made = recipe(*iam, *SMALL)
    store: Any = None  # asked only for weights to start from
    training = line_training(made.root, store, progress=False)
    stage, (phase,) = training.stage, training.plan.phases
    assert (len(stage.task.train.ids), len(stage.task.valid.ids)) == (3, 3)
    assert {image.shape[0] for image in stage.task.train.images} == {60}

    optimizer = make(optimizers.create, made.values["optimizer"], "optimizer", lr=phase.lr)
    trainer = gluon.Trainer(stage.network.collect_params(), optimizer, kvstore=None)
    before = stage.network.output.weight.data().asnumpy()
    for batch in stage.batches(phase, 0):
        with autograd.record():
            loss = stage.loss(phase, batch)
        loss.backward()
        trainer.step(len(batch.ids))
        assert np.isfinite(loss.asnumpy()).all()
        assert (loss.asnumpy() > 0).all()
    moved = np.abs(stage.network.output.weight.data().asnumpy() - before).max()
    assert 0 < moved < 3e-4  # two steps of Adam at 1e-4
    assert stage.validate()["valid/cer"] >= 0
