"""From texts to the training of a denoiser: what is misread, what is left out, what is shown."""

from pathlib import Path

import pytest

from hwr.data.records import LeftOut, Line, Page
from hwr.errors import InputError
from hwr.stages.denoiser import training as denoiser
from hwr.stages.kind import Built
from tests.alto_folder import write_folder
from tests.stages.small import training_of, write_confusions, write_data

ALWAYS = ["augmentation.clean=0", "augmentation.strength=99", "augmentation.smoothing=0"]  # misread
LONG = "a line of more than twenty characters"


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": "tea at sea", "valid": "toast eaté"})
    known = write_confusions(tmp_path / "confusions.json", {("a", "a"): 1, ("a", "o"): 99, ("e", "e"): 1})
    places = [f"data.root={root}", f"folder={tmp_path / 'outputs'}", f"stage.confusions={known}"]
    return ["data=alto", *places, *ALWAYS]


def built(*overrides: str) -> Built:
    return training_of("denoiser", *overrides).built


def page(split: str, *texts: str) -> Page:
    lines = tuple(Line(f"{split}/{n}", text, (0, 0, 1, 1)) for n, text in enumerate(texts))
    return Page(split, "", split, Path("nowhere"), (10, 10), lines)


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
    file = str(tmp_path / "more.txt")
    found, (rule,) = denoiser.extra_texts([file], [page(split, LONG, "short")])
    assert rule == LeftOut(f"stage.texts={file}, as in valid or test", lines={"texts": (f"{file}:2",)})
    assert [passage.lines for passage in found] == [("before",), ("short",)]  # short lines repeat by chance


def test_lines_of_the_training_split_stay_in_files(tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text(f"{LONG}\n", encoding="utf-8")
    (found,), _ = denoiser.extra_texts([str(tmp_path / "more.txt")], [page("train", LONG)])
    assert found.lines == (LONG,)


@pytest.mark.parametrize("content", [None, b"\xff"])
def test_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "more.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"stage.texts: {path}: (not UTF-8|cannot be read)"):
        denoiser.extra_texts([str(path)], [])


def test_missing_confusions_are_refused(data: list[str]) -> None:
    with pytest.raises(InputError, match="language/nowhere: no such file"):
        built(*data, "stage.confusions=language/nowhere")


def test_texts_need_no_images(tmp_path: Path) -> None:
    overrides = write_data(tmp_path, "denoiser")
    for image in (tmp_path / "data").glob("train*.jpg"):
        image.unlink()
    training = training_of("denoiser", *overrides)
    assert len(training.report.findings["unreadable_image"]) == 5
    assert training.report.told() == []
    assert training.report.used["train"] == 5
