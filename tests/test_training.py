"""What a resumed training takes from its run and what from the command line."""

from pathlib import Path

import pytest

from hwr.config import Composed, TrainConfig, composed
from hwr.errors import InputError
from hwr.training import _resumed

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
