"""The IAM reader on folders of the database's shape, with its real ids and made-up words."""

import re
from pathlib import Path
from typing import Any

import pytest

from hwr.data.records import NOWHERE, Dataset, LeftOut, Page
from hwr.data.sources import iam
from hwr.errors import InputError
from tests.iam_folder import LISTS, first_of, write_form, write_lists

DEFAULTS: dict[str, Any] = {
    "images": "forms",
    "splits": "splits",
    "task": "official",
    "segmentation": "all",
    "whole_forms": False,
}


def dataset(root: Path, **settings: Any) -> Dataset:
    return iam.read_iam(root, lists=LISTS, **(DEFAULTS | settings))


def read(root: Path, **settings: Any) -> tuple[Page, ...]:
    return dataset(root, **settings).pages


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with one form whose first two lines train."""
    write_form(tmp_path, "a01-000u")
    write_lists(tmp_path, trainset="a01-000u-00\na01-000u-01")
    return tmp_path


def test_read_gives_a_form_with_the_boxes_of_its_components(root: Path) -> None:
    (page,) = read(root)
    assert (page.id, page.writer, page.split, page.size) == ("a01-000u", "000", "train", (3542, 2479))
    assert page.image == (root / "forms" / "a01-000u.png").resolve()
    line = page.lines[0]
    assert line.box == pytest.approx((400 / 2479, 700 / 3542, 700 / 2479, 750 / 3542))
    assert [word.id for word in line.words] == ["a01-000u-00-00", "a01-000u-00-01"]
    assert line.words[0].box == pytest.approx((400 / 2479, 700 / 3542, 500 / 2479, 750 / 3542))


def test_read_counts_the_first_id_of_a_list_and_leaves_out_lines_that_none_names(root: Path) -> None:
    (page,) = read(root)
    assert [line.id for line in page.lines] == ["a01-000u-00", "a01-000u-01"]


def test_read_keeps_whole_forms_when_asked(root: Path) -> None:
    (page,) = read(root, whole_forms=True)
    assert len(page.lines) == 3


def test_read_takes_the_area_from_all_lines_of_the_form(root: Path) -> None:
    (page,) = read(root)
    assert page.area == pytest.approx((400 / 2479, 700 / 3542, 700 / 2479, 950 / 3542))


def test_read_undoes_the_second_escaping(root: Path) -> None:
    assert read(root)[0].lines[0].text == '"I\'m here" & there'


def test_read_marks_badly_segmented_lines_and_leaves_them_out_by_choice(root: Path) -> None:
    assert [line.segmented for line in read(root)[0].lines] == [True, False]
    assert [line.id for line in read(root, segmentation="ok")[0].lines] == ["a01-000u-00"]


def test_read_keeps_a_form_that_no_list_names_without_split(root: Path) -> None:
    write_form(root, "a01-003")
    assert [(page.id, page.split, len(page.lines)) for page in read(root)] == [
        ("a01-000u", "train", 2),
        ("a01-003", "", 3),
    ]


def test_read_gives_one_page_a_line(root: Path) -> None:
    pages = read(root, images="lines")
    assert [(page.id, page.split, page.size, page.writer) for page in pages] == [
        ("a01-000u-00", "train", (20, 60), "000"),
        ("a01-000u-01", "train", (20, 60), "000"),
    ]
    assert pages[0].lines[0].box == (0.0, 0.0, 1.0, 1.0)
    assert pages[0].image == (root / "lines/a01/a01-000u/a01-000u-00.png").resolve()


def test_read_gives_one_page_a_word(root: Path) -> None:
    pages = read(root, images="words")
    assert [page.id for page in pages] == [f"a01-000u-0{line}-0{word}" for line in (0, 1) for word in (0, 1)]
    assert pages[1].lines[0].text == "w1"


def test_read_finds_forms_in_the_parts_they_come_in(tmp_path: Path) -> None:
    write_form(tmp_path, "a01-000u", forms="formsA-D")
    write_form(tmp_path, "m01-049", forms="formsI-Z")
    write_lists(tmp_path, trainset="a01-000u-00", testset="m01-049-00")
    assert [page.split for page in read(tmp_path)] == ["train", "test"]


def test_read_refuses_a_form_in_two_splits_but_not_its_lines(root: Path) -> None:
    write_lists(root, trainset="a01-000u-00", testset="a01-000u-01")
    with pytest.raises(InputError, match=r"form a01-000u has lines in test, train"):
        read(root)
    assert [page.split for page in read(root, images="lines")] == ["train", "test"]


def test_read_lets_either_validation_set_be_chosen(root: Path) -> None:
    write_form(root, "f04-032")
    write_form(root, "c04-110")
    write_lists(root, trainset="a01-000u-00", validationset1="f04-032-00", validationset2="c04-110-00")
    only = {"official": LISTS["official"] | {"valid": ["validationset1"]}}
    chosen = iam.read_iam(root, lists=only, **DEFAULTS).pages
    assert {page.id for page in read(root) if page.split == "valid"} == {"c04-110", "f04-032"}
    assert {page.id for page in chosen if page.split == "valid"} == {"f04-032"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"images": "pages"}, "data.images=pages is unknown; use one of forms, lines, words"),
        ({"segmentation": "err"}, "data.segmentation=err is unknown"),
        ({"task": "kaggle"}, "data.task=kaggle is unknown; use one of official, aachen"),
        ({"splits": "nowhere"}, "data.splits: folder .*nowhere does not exist"),
        ({"task": "aachen"}, "holds no id list lines_tr.txt"),
    ],
)
def test_read_refuses_a_setting_it_does_not_know(root: Path, settings: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(root, **settings)


def test_read_tells_what_lists_and_segmentation_leave_out(root: Path) -> None:
    unlisted = LeftOut("data.splits=splits", lines={"": ("a01-000u-02",)})
    doubted = LeftOut("data.segmentation=ok", lines={"train": ("a01-000u-01",)})
    assert dataset(root).left_out == (unlisted,)
    assert dataset(root, segmentation="ok").left_out == (unlisted, doubted)
    assert dataset(root, whole_forms=True).left_out == ()


@pytest.mark.parametrize("images", ["forms", "lines"])
def test_read_keeps_a_page_without_image(root: Path, images: str) -> None:
    for path in (*root.rglob("a01-000u.png"), *root.rglob("a01-000u-00.png")):
        path.unlink()
    write_form(root, "a01-003")
    page = read(root, images=images)[0]
    assert page.image == root
    assert f"{page.id} has no image in {images}; add it, or remove its XML" in page.flaw


def test_read_keeps_a_line_whose_words_have_no_place(root: Path) -> None:
    path = root / "xml" / "a01-000u.xml"
    first, rest = path.read_text().split("</line>", 1)
    path.write_text(re.sub(r"<cmp[^>]*>(</cmp>)?", "", first) + "</line>" + rest)
    (page,) = read(root)
    assert (page.lines[0].box, page.lines[1].flaw) == (NOWHERE, "")
    assert "no word with a <cmp> box" in page.lines[0].flaw
    assert page.area == pytest.approx((400 / 2479, page.lines[1].box[1], 700 / 2479, 950 / 3542))


def test_read_refuses_a_folder_without_images(root: Path) -> None:
    (root / "forms" / "a01-000u.png").unlink()
    with pytest.raises(InputError, match=r"holds no folder forms with images"):
        read(root)


def test_read_refuses_missing_xml(root: Path) -> None:
    for path in (root / "xml").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"xml holds no XML file"):
        read(root)


@pytest.fixture
def real_lists(shared: Path) -> Path:
    folder = shared / "data" / "iam_splits"
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}: the real split lists are not tested")
    return folder


@pytest.mark.parametrize("task", ["official", "aachen"])
def test_read_takes_the_real_lists_down_to_their_first_ids(
    tmp_path: Path, real_lists: Path, task: str
) -> None:
    first = dict(first_of(real_lists / task, LISTS[task]))
    for line in first:
        write_form(tmp_path, line.rpartition("-")[0])
    pages = read(tmp_path, splits=str(real_lists), task=task)
    split_of = {line.id: page.split for page in pages for line in page.lines}
    assert len(first) == 3
    assert {line: split_of[line] for line in first} == first


def test_read_takes_lists_of_forms(tmp_path: Path, real_lists: Path) -> None:
    for name in ("a01-000u", "c04-156", "c04-110"):
        write_form(tmp_path, name)
    pages = read(tmp_path, splits=str(real_lists / "aachen"), task="forms")
    assert [(page.split, len(page.lines)) for page in pages] == [("train", 3), ("test", 3), ("valid", 3)]
