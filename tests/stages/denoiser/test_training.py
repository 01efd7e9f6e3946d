"""From texts to the training of a denoiser: what is misread, what is left out, what is shown."""

from pathlib import Path

import numpy as np
import pytest
from hwr.stages.parts import Training

from hwr import weights
from hwr.config.compose import Composed, TrainConfig, composed
from hwr.data.records import Line, Page
from hwr.errors import InputError
from hwr.language.confusions import Confusions, CountedLines, Pair
from hwr.stages import kind
from hwr.stages.denoiser import training as denoiser
from hwr.tracking import Store
from hwr.training.checkpoint import arrays
from tests.alto_folder import write_folder

NOWHERE = Store("sqlite:////nowhere/mlflow.db", "0")
SMALL = ["network.width=8", "network.encoder_layers=1", "network.decoder_layers=1", "network.hidden=8"]
ALWAYS = ["augmentation.clean=0", "augmentation.strength=99", "augmentation.smoothing=0"]  # misread
LONG = "a line of more than twenty characters"


def written(path: Path, counts: dict[Pair, int]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Confusions(counts, CountedLines("f", "valid", "w", 1)).to_json(), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea at sea", "valid": "toast eaté"})
    known = written(tmp_path / "confusions.json", {("a", "a"): 1, ("a", "o"): 99, ("e", "e"): 1})
    places = [f"data.root={root}", f"folder={tmp_path / 'outputs'}", f"stage.confusions={known}"]
    return ["stage=denoiser", "data=alto", *places, *SMALL, *ALWAYS]


def made(*overrides: str) -> Composed:
    return composed("train", overrides, TrainConfig)


def built(*overrides: str) -> Training:
    return kind.training(made(*overrides).root, NOWHERE, progress=False)


def page(split: str, *texts: str) -> Page:
    lines = tuple(Line(f"{split}/{n}", text, (0, 0, 1, 1)) for n, text in enumerate(texts))
    return Page(split, "", split, Path("nowhere"), (10, 10), lines)


def test_training_tells_what_it_trains_on_and_shows_it(data: list[str]) -> None:
    training = built(*data)
    assert training.size == "1 training and 1 validation lines"
    for picture in (training.augmented(0), training.predicted(12)):
        assert picture.shape[2] == 3
        assert np.ptp(picture) > 100


def test_alphabet_is_that_of_train_and_of_what_the_recogniser_reads(data: list[str]) -> None:
    alphabet = built(*data).alphabet
    assert alphabet is not None
    assert alphabet.symbols == " aeost"  # o is read for a


def test_validation_text_is_misread_without_what_no_recogniser_reads(data: list[str]) -> None:
    task = built(*data, "augmentation.most=1").stage.task
    assert task.valid == [("p-valid/l", "toast eaté")]
    assert task.noised == ["toost eot"]


def test_validation_text_that_train_lacks_is_refused_where_asked(data: list[str]) -> None:
    with pytest.raises(InputError, match="line p-valid/l: 'é' is not in the alphabet"):
        built(*data, "unknown=error")


def test_text_of_files_is_learnt_too(data: list[str], tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("One  line\nanother\n\nnext\n", encoding="utf-8")
    training = built(*data, f"stage.texts=[{tmp_path / 'more.txt'}]")
    assert [passage.lines for passage in training.stage.task.train[1:]] == [
        ("One line", "another"),
        ("next",),
    ]
    assert training.size == "4 training and 1 validation lines"
    assert training.alphabet is not None
    assert set("Onelixr") <= set(training.alphabet.symbols)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_lines_that_are_held_out_are_left_out_of_files(tmp_path: Path, split: str) -> None:
    (tmp_path / "more.txt").write_text(f"before\n{LONG}\nshort\n", encoding="utf-8")
    found = denoiser.extra_texts([str(tmp_path / "more.txt")], [page(split, LONG, "short")])
    assert [passage.lines for passage in found] == [("before",), ("short",)]  # short lines repeat by chance


def test_lines_of_the_training_split_stay_in_files(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text(f"{LONG}\n", encoding="utf-8")
    (found,) = denoiser.extra_texts([str(tmp_path / "more.txt")], [page("train", LONG)])
    assert found.lines == (LONG,)


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "more.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"stage.texts: {path}: (not UTF-8|cannot be read)"):
        denoiser.extra_texts([str(path)], [])


def test_split_without_lines_is_refused(data: list[str], tmp_path: Path) -> None:
    root = write_folder(tmp_path / "other", {"train": "tea"})
    with pytest.raises(InputError, match="the split valid has no lines"):
        built(*data, f"data.root={root}")


def test_missing_confusions_are_refused(data: list[str]) -> None:
    with pytest.raises(InputError, match="language/nowhere: no such file"):
        built(*data, "stage.confusions=language/nowhere")


def test_training_starts_from_weights(data: list[str], tmp_path: Path) -> None:
    before = built(*data, "seed=1")
    text = made(*data).yaml
    place = weights.save(tmp_path / "weights", before.stage.network, text, before.alphabet, about={}).folder
    training = built(*data, "seed=2", f"init={place}")
    after = arrays(training.stage.network)
    assert all(np.array_equal(values, after[name]) for name, values in arrays(before.stage.network).items())
    assert "output rows of 6 characters" in training.took
    assert "not taken" not in training.took
