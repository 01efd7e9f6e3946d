"""The original program's recipes for the IAM train on a folder of its shape, with its real ids."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mxnet import autograd, gluon

from hwr.config.bind import make, target
from hwr.config.compose import Composed, composed
from hwr.config.roots import TrainConfig
from hwr.losses import IouLoss, MseLoss
from hwr.stages.build import Training, build_training
from hwr.stages.recipe import parse_recipe
from hwr.training import optimizers
from hwr.training.loop import Phase
from tests.iam_folder import LISTS, first_of, write_form
from tests.networks.cost import cost

SMALL = {
    "line": ["network.channels=8", "network.hidden=8", "network.layers=1", "batch_size=2"],
    "paragraph": ["network.hidden=8", "stage.size=[96,64]"],
    "segmentation": ["network.downsampled=8", "stage.size=[64,64]"],
}


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


def recipe(stage: str, *overrides: str) -> Composed:
    return composed("train", [f"experiments={stage}/published_iam", *overrides], TrainConfig)


def nonzero(settings: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if value}


# the values of the recipes


def test_recipe_holds_the_original_values() -> None:
    values = recipe("line", "data.root=anywhere").values
    assert (values["lr"], values["batch_size"], values["clip"], values["average"]) == (1e-4, 64, 2.0, None)
    assert values["stage"]["crop"]["height"] == 60
    assert values["phases"]["ctc"] == {
        "epochs": 501, "lr_scale": 1.0, "schedule": "constant", "warmup": 0.0,
    }  # fmt: skip
    assert values["optimizer"]["name"] == "adam"
    assert nonzero(values["augmentation"]) == {
        "probability": 1.0, "shift_x": 0.1, "shift_y": 0.1, "jitter_x": 0.15, "jitter_y": 0.15, "shear": 0.75,
    }  # fmt: skip
    assert [values["data"][key] for key in ("source", "task", "images")] == ["iam", "official", "lines"]


def test_recipe_for_areas_holds_the_original_values() -> None:
    values = recipe("paragraph", "data.root=anywhere").values
    assert (values["lr"], values["batch_size"], values["clip"], values["average"]) == (1e-3, 32, None, None)
    assert (values["stage"]["size"], values["stage"]["normalise"]) == ([373, 266], False)
    assert values["optimizer"]["name"] == "adam"
    assert nonzero(values["augmentation"]) == {"probability": 1.0, "shift_x": 0.05, "shift_y": 0.15}
    phases = [(name, own["epochs"], own["lr_scale"]) for name, own in values["phases"].items()]
    assert phases == [("mse", 181, 1.0), ("iou", 150, 0.1)]
    assert {own["schedule"] for own in values["phases"].values()} == {"constant"}
    assert values["phases"]["iou"]["augmentation"] == {"shift_x": 0.0, "shift_y": 0.0}
    assert [values["data"][key] for key in ("source", "images", "whole_forms")] == ["iam", "forms", True]


def test_recipe_for_words_holds_the_original_values() -> None:
    values = recipe("segmentation", "data.root=anywhere").values
    assert (values["lr"], values["batch_size"], values["clip"], values["average"]) == (1e-4, 32, None, None)
    assert values["stage"] == {
        "kind": "segmentation", "unit": "word", "size": [350, 350], "normalise": False, "growth": 0.05,
        "min_c": 0.01, "overlap_thres": 0.1, "topk": 150, "least_px": 0, "views": [],
    }  # fmt: skip
    assert values["optimizer"]["name"] == "adam"
    assert nonzero(values["augmentation"]) == {
        "probability": 1.0, "shift_x": 0.03, "shift_y": 0.03, "erase": 0.15,
    }  # fmt: skip
    assert values["phases"]["multibox"] == {
        "epochs": 401, "lr_scale": 1.0, "schedule": "constant", "warmup": 0.0,
    }  # fmt: skip
    assert [values["data"][key] for key in ("source", "images", "whole_forms")] == ["iam", "forms", True]


@pytest.mark.parametrize("stage", SMALL)
def test_recipe_binds_to_what_it_configures(stage: str) -> None:
    parse_recipe(recipe(stage, "data.root=anywhere").root)


def test_network_is_after_the_original_one() -> None:  # its parts: tests/networks/test_resnet_bilstm.py
    node = recipe("line", "data.root=anywhere").values["network"]
    network = make(target(node, "network"), node, "network", classes=81)
    assert cost(network, (1, 1, 60, 800)).parameters == 23_042_449


# a step of each


def test_recipe_trains_on_a_folder_of_the_iams_shape(iam: list[str]) -> None:
    made = recipe("line", *iam, *SMALL["line"])
    training = build_training(parse_recipe(made.root), progress=False)
    stage, (phase,) = training.built.stage, parse_recipe(made.root).plan.phases
    assert (len(stage.task.train.ids), len(stage.task.valid.ids)) == (3, 3)
    assert {image.shape[0] for image in stage.task.train.images} == {60}
    before = stage.network.output.weight.data().asnumpy()
    losses = epoch(made, training, phase)
    assert np.isfinite(losses).all()
    assert (losses > 0).all()
    moved = np.abs(stage.network.output.weight.data().asnumpy() - before).max()
    assert 0 < moved < 3e-4  # two steps of Adam at 1e-4
    assert stage.validate()["valid/cer"] >= 0


def test_recipe_for_areas_trains_on_a_folder_of_the_iams_shape(iam: list[str]) -> None:
    made = recipe("paragraph", *iam, *SMALL["paragraph"])
    training = build_training(parse_recipe(made.root), progress=False)
    stage, (first, second) = training.built.stage, parse_recipe(made.root).plan.phases
    assert training.built.size == "1 training and 1 validation pages"
    # words at x 400 to 700 and y 700 to 950 of a form of 2479 x 3542, which fills 64 x 91 px of the canvas
    assert stage.train.images[0].shape == (96, 64)
    x1, x2, (y1, y2) = 400 / 2479, 700 / 2479, ((2 + 91 * y / 3542) / 96 for y in (700, 950))
    assert stage.train.boxes[0].tolist() == [pytest.approx([x1, y1, x2, y2])]
    assert [type(stage.losses[phase.name]) for phase in (first, second)] == [MseLoss, IouLoss]
    before = stage.network[-1].weight.data().asnumpy()
    squared = epoch(made, training, first)
    moved = np.abs(stage.network[-1].weight.data().asnumpy() - before).max()
    assert 0 < moved < 1.1e-3  # a step of Adam at 1e-3
    assert ((squared > 0) & (squared < 1)).all()
    overlap = epoch(made, training, second)
    assert ((overlap >= 0) & (overlap <= 1)).all()
    assert 0 <= stage.validate()["valid/iou_error"] <= 1


def test_recipe_for_words_trains_on_a_folder_of_the_iams_shape(iam: list[str]) -> None:
    made = recipe("segmentation", *iam, *SMALL["segmentation"])
    training = build_training(parse_recipe(made.root), progress=False)
    stage, (phase,) = training.built.stage, parse_recipe(made.root).plan.phases
    assert training.built.size == "1 training and 1 validation areas, 6 and 6 words"  # 2 a line
    assert stage.train.images[0].shape == (64, 64)
    before = stage.network.classes[0].weight.data().asnumpy()
    losses = epoch(made, training, phase)
    moved = np.abs(stage.network.classes[0].weight.data().asnumpy() - before).max()
    assert 0 < moved < 1.1e-4  # a step of Adam at 1e-4
    assert np.isfinite(losses).all()
    assert (losses > 0).all()
    assert all(0 <= error <= 1 for error in stage.validate().values())


def epoch(made: Composed, training: Training, phase: Phase) -> Any:
    """Train one epoch as the recipe's optimizer does, and return the loss of every sample."""
    optimizer = make(optimizers.create, made.values["optimizer"], "optimizer", lr=phase.lr)
    trainer = gluon.Trainer(training.built.stage.network.collect_params(), optimizer, kvstore=None)
    losses = []
    for batch in training.built.stage.batches(phase, 0):
        with autograd.record():
            loss = training.built.stage.loss(phase, batch)
        loss.backward()
        trainer.step(len(batch.ids))
        losses.append(loss.asnumpy())
    return np.concatenate(losses)
