"""A fifth stage, of an installed package, is trained, interrupted, resumed and scored as any other.

Nothing outside this folder knows of it.
"""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from hwr import weights
from hwr.config.compose import Composed, composed
from hwr.config.roots import EvaluateConfig, TrainConfig
from hwr.errors import InputError
from hwr.evaluation import evaluate
from hwr.networks import arrays
from hwr.runs.train import train_stage
from hwr.stages.build import find_weights, model_of
from hwr.stages.kind import kind_named
from tests.stages.small import CPU, write_data

HERE = Path(__file__).parent
METRIC = "valid/darkness_error"


class TrainingEndedError(Exception):
    """Ends a training as a signal would."""


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(HERE))


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    return [override for override in write_data(tmp_path, "toy") if not override.startswith("folder=")]


def training(folder: Path, database: Path, *overrides: str) -> Composed:
    """Compose a training that keeps its state at every step, in a folder with a database of its own."""
    folder.mkdir(exist_ok=True)
    if not (folder / "mlflow.db").exists():
        shutil.copy(database, folder / "mlflow.db")
    own = [f"hydra.searchpath=[file://{HERE / 'conf'}]", "stage=toy", f"folder={folder}", "save_every=1e-9"]
    return composed("train", [*own, *overrides], TrainConfig)


def values(folder: Path, name: str) -> dict[str, bytes]:
    """Return the parameters of the weights `name` of the one run in `folder`."""
    (place,) = (folder / "runs").glob(f"*/weights/{name}")
    loaded = weights.load(place)
    network = model_of(loaded, kind_named("toy").model).draw((1, 1, 32, 32), context=CPU)
    weights.fill(network, loaded)
    return {name: value.tobytes() for name, value in arrays(network).items()}


def test_toy_learns_how_dark_pages_are(tmp_path: Path, database: Path, data: list[str]) -> None:
    heard: list[dict[str, float]] = []
    best = train_stage(
        training(tmp_path / "one", database, *data), watch=lambda metrics, epoch: heard.append(dict(metrics))
    )
    assert [own["train/loss"] > 0 for own in heard] == [True, True]
    assert best == min(own[METRIC] for own in heard)
    assert heard[1]["train/loss"] < heard[0]["train/loss"]


@pytest.mark.parametrize("step", [2, 4])  # of six: within the first epoch and at the start of the second
def test_toy_goes_on_to_the_same_bits_after_an_interruption(
    tmp_path: Path, database: Path, data: list[str], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    whole, parted = tmp_path / "whole", tmp_path / "parted"
    best = train_stage(training(whole, database, *data))
    stage = import_module("toy_stage.stage").ToyStage
    loss, done, last = stage.loss, 0, step

    def counted(self: Any, *args: Any) -> Any:
        nonlocal done
        if done == last:
            raise TrainingEndedError
        done += 1
        return loss(self, *args)

    monkeypatch.setattr(stage, "loss", counted)
    with pytest.raises(TrainingEndedError):
        train_stage(training(parted, database, *data))
    last = 6
    assert train_stage(training(parted, database, *data, "resume=last")) == best
    assert done == 6  # it went on from where it was
    for name in ("best", "last"):
        assert values(parted, name) == values(whole, name)


def test_toy_is_scored_on_another_split(tmp_path: Path, database: Path, data: list[str]) -> None:
    folder = tmp_path / "one"
    best = train_stage(training(folder, database, *data))
    (made,) = (folder / "runs").glob("*/weights/best")
    places = [f"folder={folder}", f"output={tmp_path / 'scores'}"]
    overrides = ["target=toy", f"+weights.toy={made}", "split=valid", "scorer=edit_distance", *data, *places]
    error = evaluate(composed("evaluate", overrides, EvaluateConfig))
    assert error == pytest.approx(best)
    scores = json.loads((tmp_path / "scores" / "scores.json").read_text(encoding="utf-8"))
    assert scores["darkness_error"] == error
    assert (scores["target"], scores["split"], scores["pages"]) == ("toy", "valid", 2)
    assert (tmp_path / "scores" / "samples.png").is_file()


def test_toy_refuses_what_it_cannot_take(tmp_path: Path, database: Path, data: list[str]) -> None:
    for override, said in (
        ("stage.side=8", "stage.side=8 is too small"),
        ("+stage.planted=1", r"stage\.planted: no such key"),
        ("monitor=valid/cer", f"monitor=valid/cer: no such metric; use one of {METRIC}"),
        ("loss._target_=hwr.losses.CtcLoss", "not a loss of stage toy"),
        ("network._target_=hwr.networks.crnn.Crnn", "not a network of stage toy"),
    ):
        with pytest.raises(InputError, match=said):
            train_stage(training(tmp_path / "one", database, *data, override))


def test_weights_of_toy_are_not_taken_for_another_stage(
    tmp_path: Path, database: Path, data: list[str]
) -> None:
    made = training(tmp_path / "one", database, *data)
    train_stage(made)
    (place,) = (tmp_path / "one" / "runs").glob("*/weights/best")
    assert find_weights(str(place), "toy", made.root).folder == place
    with pytest.raises(InputError, match="of stage toy, not line; choose weights of that stage"):
        find_weights(str(place), "line", made.root)
