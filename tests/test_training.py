"""What a resumed training takes from its run and what from the command line, and what is told of one."""

from pathlib import Path

import pytest

from hwr.config import Composed, TrainConfig, composed
from hwr.errors import InputError
from hwr.plan import Step
from hwr.training import Bar, _resumed

RUN = (
    "stage=line",
    "network=crnn_small",
    "data=alto",
    "data.root=DIR",
    "name=mine",
    "lr=2e-3",
    "max_epochs=3",
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the folder of a run that RUN began."""
    (tmp_path / "config.yaml").write_text(configured(*RUN).yaml, encoding="utf-8")
    return tmp_path


def configured(*overrides: str) -> Composed:
    return composed("train", overrides, TrainConfig)


def resumed(place: Path, *overrides: str) -> TrainConfig:
    root: TrainConfig = _resumed(place, configured(f"resume={place.name}", *overrides)).root
    return root


def test_resumed_training_is_that_of_its_run(place: Path) -> None:
    config = resumed(place)
    assert (config.lr, config.max_epochs, config.data["root"], config.resume) == (2e-3, 3, "DIR", None)


def test_single_keys_of_the_command_line_win(place: Path) -> None:
    config = resumed(
        place, "max_epochs=9", "patience=null", "optimizer.weight_decay=1e-3", "phases.ctc.epochs=70"
    )
    assert (config.max_epochs, config.patience, config.lr) == (9, None, 2e-3)
    assert (config.optimizer["weight_decay"], config.phases["ctc"]["epochs"]) == (1e-3, 70)


def test_whole_command_line_may_be_given_again(place: Path) -> None:
    assert resumed(place, *RUN, "max_minutes=5").max_minutes == 5


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["network=crnn_large"], "the run has another network than network=crnn_large; leave that out"),
        (["data=synthetic"], "the run has another data than data=synthetic"),
        (
            ["experiments=line/copiste", "data.root=DIR"],
            "the run has another experiments than experiments=line/copiste",
        ),
    ],
)
def test_other_parts_are_refused(overrides: list[str], said: str, place: Path) -> None:
    with pytest.raises(InputError, match=f"resume={place.name}: {said}"):
        resumed(place, *overrides)


def test_folder_without_a_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=f"resume={tmp_path.name}: no training in {tmp_path}; give the id of a run"
    ):
        resumed(tmp_path)


def test_resumed_training_is_of_the_stage_of_its_run(tmp_path: Path) -> None:
    run = ("stage=paragraph", "stage.growth=0.1", "phases.mse.epochs=3")
    (tmp_path / "config.yaml").write_text(configured(*run).yaml, encoding="utf-8")
    bare, again = resumed(tmp_path), resumed(tmp_path, *run, "phases.mse.epochs=4")
    assert (bare.stage["kind"], bare.stage["growth"], bare.phases["mse"]["epochs"]) == ("paragraph", 0.1, 3)
    assert (again.stage["kind"], again.stage["growth"], again.phases["mse"]["epochs"]) == (
        "paragraph",
        0.1,
        4,
    )
    with pytest.raises(InputError, match="the run has another stage than stage=segmentation; leave that out"):
        resumed(tmp_path, "stage=segmentation")


def test_bar_tells_epoch_loss_and_speed_and_starts_anew_with_a_phase() -> None:
    with Bar() as bar:
        bar(Step("ctc", epoch=0, step=1, total=2, loss=0.5, samples=16, seconds=2.0))
        assert bar._bar.postfix == "epoch 1, loss 0.500, 8.0 samples/s"
        bar(Step("ctc", epoch=0, step=2, total=2, loss=0.5, samples=16, seconds=2.0))
        assert (bar._bar.n, bar._bar.total) == (2, 2)
        bar(Step("plain", epoch=1, step=1, total=3, loss=0.5, samples=16, seconds=2.0))
        assert (bar._bar.desc.rstrip(": "), bar._bar.n, bar._bar.total) == ("plain", 1, 3)
