"""From configuration values to the objects of a training."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr import building
from hwr.config import TrainConfig, composed
from hwr.data.cache import LineImages
from hwr.data.records import Line, Page
from hwr.errors import InputError
from hwr.images import LineCrop
from hwr.text import Alphabet
from hwr.tracking import Store
from tests.alto_folder import write_folder

NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")


def config(*overrides: str) -> TrainConfig:
    made: TrainConfig = composed("train", ["experiments=line/smoke", *overrides], TrainConfig).root
    return made


def page(split: str, *texts: str) -> Page:
    lines = tuple(Line(f"{split}/{n}", text, (0.0, 0.0, 1.0, 1.0)) for n, text in enumerate(texts))
    return Page(split, "", split, Path("none.png"), (10, 10), lines)


def images(*ids: str, problems: tuple[tuple[str, str], ...] = ()) -> LineImages:
    pictures = [np.full((4, 8 + n), n, np.uint8) for n in range(len(ids))]
    return LineImages(ids, pictures, np.array([picture.shape[1] for picture in pictures]), problems)


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_device_is_a_context(name: str) -> None:
    assert building.device(name) == mx.cpu()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "device=gpu: this MXNet sees 0 GPUs"),
        ("gpu:7", "device=gpu:7: this MXNet sees 0 GPUs; use device=cpu"),
        ("gpu:x", "device=gpu:x: use cpu, gpu or gpu:N"),
        ("cuda", "device=cuda: use cpu, gpu or gpu:N"),
    ],
)
def test_device_is_refused_when_it_is_not_there(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        building.device(name)


def test_pages_are_drawn_into_the_cache_where_no_folder_is_named(tmp_path: Path) -> None:
    drawn = building.load_pages(config("data.pages={train: 1, valid: 0, test: 0}").data, tmp_path / "cache")
    assert [found.split for found in drawn] == ["train"]
    assert drawn[0].image.is_relative_to(tmp_path / "cache")


def test_lines_of_a_split_keep_their_order() -> None:
    pages = [page("train", "a", "b"), page("valid", "c"), page("train", "d")]
    assert [line.text for line in building.lines_of(pages, "train")] == ["a", "b", "d"]


def test_split_without_lines_is_refused() -> None:
    with pytest.raises(InputError, match="the split valid has no lines"):
        building.lines_of([page("train", "a"), page("valid")], "valid")


def test_line_set_pairs_lines_with_their_images_by_id() -> None:
    pages = [page("train", "a", "b"), page("valid", "c")]
    found = building.line_set(pages, images("valid/0", "train/1", "train/0"), "train")
    assert (found.ids, found.texts) == (["train/0", "train/1"], ["a", "b"])
    assert [int(image[0, 0]) for image in found.images] == [2, 1]


def test_images_are_copied_into_memory_unless_they_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    mapped = [np.zeros((4, 4), np.uint8)]
    assert building.in_memory(mapped)[0] is not mapped[0]
    monkeypatch.setattr(building, "IN_MEMORY", 16)
    assert building.in_memory(mapped)[0] is mapped[0]


def test_line_without_image_is_refused_with_how_many_more() -> None:
    building.refuse_problems(images("a"))
    with pytest.raises(InputError, match=r"line b: torn \(and 1 more\)"):
        building.refuse_problems(images("a", problems=(("b", "torn"), ("c", "burnt"))))


def test_characters_outside_the_alphabet_are_refused_only_where_asked() -> None:
    lines = [Line("p/1", "ab", (0, 0, 1, 1)), Line("p/2", "aéx", (0, 0, 1, 1))]
    building.check_characters(lines, Alphabet("ab"), "keep")
    with pytest.raises(InputError, match="line p/2: 'éx' is not in the alphabet"):
        building.check_characters(lines, Alphabet("ab"), "error")


@pytest.mark.parametrize(("width", "steps"), [(8, 8), (32, 8), (33, 16), (640, 160)])
def test_steps_are_the_columns_of_the_padded_width(width: int, steps: int) -> None:
    assert building.steps_of(width) == steps


def test_rate_of_a_phase_follows_the_one_flat_rate() -> None:
    plan = building.plan_of(config("lr=2e-3"))
    assert [(phase.name, phase.epochs) for phase in plan.phases] == [("ctc", 20), ("plain", 2)]
    assert [phase.lr for phase in plan.phases] == pytest.approx([2e-3, 2e-4])
    assert plan.optimizer(5e-4).learning_rate == 5e-4


def test_phase_has_the_augmentation_it_asks_for() -> None:
    image = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))
    losses, augmentations = building._phase_parts(config("augmentation.probability=1"))
    assert set(losses) == set(augmentations) == {"ctc", "plain"}
    assert not np.array_equal(augmentations["ctc"](image, 0, 0, 0), image)
    assert np.array_equal(augmentations["plain"](image, 0, 0, 0), image)


def test_network_is_drawn_from_the_seed() -> None:
    def weights(seed: int) -> Any:
        made = building.line_network(config(f"seed={seed}"), Alphabet("abc"), mx.cpu())
        return made.output.weight.data().asnumpy()

    assert weights(1).shape == (4, 64)
    assert np.array_equal(weights(1), weights(1))
    assert not np.array_equal(weights(1), weights(2))


def test_inspection_sees_the_crop_of_the_training(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"train": "tea"})
    overrides = ["data=alto", f"data.root={root}", "stage.crop.height=64"]
    made: TrainConfig = composed("train", overrides, TrainConfig).root
    report = building.inspected(building.load_pages(made.data, tmp_path), made)
    assert report.height == 64
    assert 0 < report.widths["max"] <= LineCrop(**made.stage.crop).max_width


@pytest.mark.parametrize("name", ["line/nothing", "/nonexistent/weights"])
def test_weights_are_refused_when_there_are_none(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"weights {name}: no such folder"):
        building.find_weights(name, NOWHERE, tmp_path)


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
    fetched: list[str] = []
    monkeypatch.setattr(
        building, "download", lambda uri, store, folder: fetched.append(uri) or tmp_path / "x"
    )
    with pytest.raises(InputError, match="no such folder"):
        building.find_weights(name, NOWHERE, tmp_path)
    assert fetched == [asked]


def test_weights_with_a_published_name_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "ROOT", tmp_path)
    place = tmp_path / "experiments" / "line" / "known" / "weights"
    place.mkdir(parents=True)
    monkeypatch.setattr(building, "weights", SimpleNamespace(load=lambda folder: folder))
    assert building.find_weights("line/known", NOWHERE, tmp_path) == place
