"""What the trainings of all stages are built with: pages, weights, phases, images in memory."""

from pathlib import Path

import numpy as np
import pytest
from mxnet.gluon import nn

from hwr import weights
from hwr.config.compose import TrainConfig, composed
from hwr.data.augment.lines import Augmentation
from hwr.data.augment.pages import PageAugmentation
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.losses import CtcLoss, IouLoss, MseLoss
from hwr.stages import parts
from hwr.text import Alphabet
from hwr.tracking import Store
from tests.alto_folder import write_folder

BOX_LOSSES = (MseLoss, IouLoss)
NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")


def config(*overrides: str) -> TrainConfig:
    made: TrainConfig = composed("train", list(overrides), TrainConfig).root
    return made


def smoke(*overrides: str) -> TrainConfig:
    return config("experiments=line/smoke", *overrides)


def saved(folder: Path, *overrides: str) -> Path:
    """Write weights of the stage that `overrides` choose, the network a dummy."""
    network = nn.Dense(1, in_units=1)
    network.initialize()
    text = composed("train", list(overrides), TrainConfig).yaml
    return weights.save(folder, network, text, Alphabet("ab"), about={}).folder


# pages


def test_pages_are_drawn_into_the_cache_where_no_folder_is_named(tmp_path: Path) -> None:
    drawn = parts.load_pages(smoke("data.pages={train: 1, valid: 0, test: 0}").data, tmp_path / "cache")
    assert [found.split for found in drawn] == ["train"]
    assert drawn[0].image.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("whole", "counts"), [(False, {"train": 0, "valid": 1}), (True, {"train": 1, "valid": 1})]
)
def test_excluded_lines_stay_only_on_pages_taken_whole(
    tmp_path: Path, whole: bool, counts: dict[str, int]
) -> None:
    root = write_folder(tmp_path, {"train": "tea", "valid": "toast"})
    settings = config("data=alto", f"data.root={root}", "data.exclude.pattern=tea").data
    pages: list[Page] = parts.load_pages(settings, tmp_path / "cache", whole=whole)
    assert {page.split: len(page.lines) for page in pages} == counts


# images


def test_images_are_copied_into_memory_unless_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = [np.zeros((4, 4), np.uint8)]
    assert parts.in_memory(mapped)[0] is not mapped[0]
    monkeypatch.setattr(parts, "IN_MEMORY", 16)
    assert parts.in_memory(mapped)[0] is mapped[0]


def test_what_has_no_image_is_refused_with_how_many_more() -> None:
    parts.refuse_problems([], "line")
    with pytest.raises(InputError, match=r"^line b: torn$"):
        parts.refuse_problems([("b", "torn")], "line")
    with pytest.raises(InputError, match=r"^page b: torn \(and 1 more\)$"):
        parts.refuse_problems([("b", "torn"), ("c", "burnt")], "page")


def test_reason_that_names_its_page_does_not_get_the_name_twice() -> None:
    with pytest.raises(InputError, match=r"^page b: torn$"):
        parts.refuse_problems([("b", "page b: torn")], "page")


# phases


def test_rate_of_a_phase_follows_the_one_flat_rate() -> None:
    plan = parts.plan_of(smoke("lr=2e-3"))
    assert [(phase.name, phase.epochs) for phase in plan.phases] == [("ctc", 20), ("plain", 2)]
    assert [phase.lr for phase in plan.phases] == pytest.approx([2e-3, 2e-4])
    assert plan.optimizer(5e-4).learning_rate == 5e-4


def test_phase_has_the_augmentation_it_asks_for() -> None:
    image = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))
    losses, augmentations = parts.phase_parts(smoke("augmentation.probability=1"), Augmentation, [CtcLoss])
    assert set(losses) == set(augmentations) == {"ctc", "plain"}
    assert not np.array_equal(augmentations["ctc"](image, seed=0, epoch=0, index=0), image)
    assert np.array_equal(augmentations["plain"](image, seed=0, epoch=0, index=0), image)


def test_phase_changes_single_keys_of_its_augmentation() -> None:
    _, made = parts.phase_parts(
        config("stage=paragraph", "augmentation.shift_x=0.07"), PageAugmentation, BOX_LOSSES
    )
    assert [(own.shift_x, own.shift_y, own.jitter_x) for own in made.values()] == [
        (0.07, 0.15, 0.1),
        (0.0, 0.0, 0.1),
    ]


def test_loss_of_a_phase_that_names_another_one_stands_alone() -> None:
    own = "+phases.mse.loss={_target_: hwr.losses.MseLoss}"  # and does not take the epsilon of the other
    losses, _ = parts.phase_parts(config("stage=paragraph", "loss=iou", own), PageAugmentation, BOX_LOSSES)
    assert {name: type(loss) for name, loss in losses.items()} == {"mse": MseLoss, "iou": IouLoss}


# weights


@pytest.mark.parametrize("name", ["line/nothing", "/nonexistent/weights"])
def test_weights_are_refused_when_there_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"weights {name}: no such folder"):
        parts.find_weights(name, NOWHERE, tmp_path, kind="line")


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("runs:/ID", "runs:/ID/weights/best"),
        ("runs:/ID/weights/last", "runs:/ID/weights/last"),
        ("models:/name@alias", "models:/name@alias"),
    ],
)
def test_weights_of_a_store_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, asked: str
) -> None:
    fetched: list[tuple[str, Path]] = []
    place = saved(tmp_path / "fetched", "stage=line")
    monkeypatch.setattr(parts, "download", lambda uri, store, folder: fetched.append((uri, folder)) or place)
    assert parts.find_weights(name, NOWHERE, tmp_path, kind="line").folder == place
    assert fetched == [(asked, tmp_path / "cache" / "weights")]


def test_weights_of_a_folder_are_found(tmp_path: Path) -> None:
    place = saved(tmp_path / "here", "stage=paragraph")
    assert parts.find_weights(str(place), NOWHERE, tmp_path, kind="paragraph").folder == place


@pytest.mark.parametrize("kind", ["paragraph", "segmentation"])
def test_weights_of_another_stage_are_refused_wherever_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    place = saved(tmp_path / "here", "stage=line")
    monkeypatch.setattr(parts, "download", lambda uri, store, folder: place)
    for name in (str(place), "runs:/ID"):
        with pytest.raises(
            InputError, match=f"weights {name}: of stage line, not {kind}; choose weights of that"
        ):
            parts.find_weights(name, NOWHERE, tmp_path, kind=kind)
