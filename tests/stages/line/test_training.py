"""From pages to the training of a line reader."""

from pathlib import Path

import numpy as np
import pytest

from hwr import pictures
from hwr.data.cache import CutImages
from hwr.data.records import Line, Page
from hwr.errors import InputError
from hwr.stages.line import training
from hwr.text import Alphabet
from tests.alto_folder import write_folder
from tests.stages.small import training_of


def page(split: str, *texts: str) -> Page:
    lines = tuple(Line(f"{split}/{n}", text, (0.0, 0.0, 1.0, 1.0)) for n, text in enumerate(texts))
    return Page(split, "", split, Path("none.png"), (10, 10), lines)


def images(*ids: str) -> CutImages:
    cards = [np.full((4, 8 + n), n, np.uint8) for n in range(len(ids))]
    return CutImages(ids, cards, np.array([picture.shape[1] for picture in cards]), ())


def test_lines_of_a_split_keep_their_order() -> None:
    pages = [page("train", "a", "b"), page("valid", "c"), page("train", "d")]
    assert [own.text for own in training.lines_of(pages, "train")] == ["a", "b", "d"]


def test_split_without_lines_is_refused() -> None:
    with pytest.raises(InputError, match="the split valid has no lines"):
        training.lines_of([page("train", "a"), page("valid")], "valid")


def test_line_set_pairs_lines_with_their_images_by_id() -> None:
    pages = [page("train", "a", "b"), page("valid", "c")]
    found = training.line_set(pages, images("valid/0", "train/1", "train/0"), "train")
    assert (found.ids, found.texts) == (["train/0", "train/1"], ["a", "b"])
    assert [int(image[0, 0]) for image in found.images] == [2, 1]


def test_characters_outside_the_alphabet_are_refused_only_where_asked() -> None:
    lines = [Line("p/1", "ab", (0, 0, 1, 1)), Line("p/2", "aéx", (0, 0, 1, 1))]
    training.check_characters(lines, Alphabet("ab"), "keep")
    with pytest.raises(InputError, match="line p/2: 'éx' is not in the alphabet"):
        training.check_characters(lines, Alphabet("ab"), "error")


def test_reading_counts_the_characters_that_are_wrong() -> None:
    item = training.reading_item(np.zeros((4, 8), np.uint8), "p/1", "toast", "toss")
    assert (item.id, item.reference, item.read) == ("p/1", "toast", {"read": pictures.ReadText("toss", 2)})


def test_alphabet_is_that_of_the_training_lines(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train": "tea and toast", "valid": "toast"})
    built = training_of("line", "data=alto", f"data.root={root}", f"folder={tmp_path}").built
    assert built.size == "1 training and 1 validation lines"
    assert built.alphabet == Alphabet.of(["tea and toast"])


def test_characters_of_valid_that_train_lacks_are_refused_where_asked(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"train": "tea", "valid": "toast"})
    with pytest.raises(InputError, match="line p-valid/l: 'os' is not in the alphabet"):
        training_of("line", "unknown=error", "data=alto", f"data.root={root}", f"folder={tmp_path}")
