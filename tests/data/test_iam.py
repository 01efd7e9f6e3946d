"""The IAM reader on folders of the database's shape, with its real ids and made-up words."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.data import iam
from hwr.data.records import Page
from hwr.errors import InputError

LISTS = {
    "official": {"train": ["trainset"], "valid": ["validationset1", "validationset2"], "test": ["testset"]},
    "aachen": {"train": ["lines_tr"], "valid": ["lines_va"], "test": ["lines_te"]},
    "forms": {"train": ["forms_tr"], "valid": ["forms_va"], "test": ["forms_te"]},
}
DEFAULTS: dict[str, Any] = {
    "images": "forms",
    "splits": "splits",
    "task": "official",
    "segmentation": "all",
    "whole_forms": False,
}
LINES = [("ok", "&amp;quot;I&apos;m here&amp;quot; &amp;amp; there"), ("err", "second line"), ("ok", "third")]


def write_form(root: Path, name: str, *, forms: str = "forms", writer: str = "000") -> None:
    """Write one form of 2479 x 3542: line n lies at y = 700 + 100 n, two words of two parts each."""
    lines = []
    for n, (segmentation, text) in enumerate(LINES):
        line, y = f"{name}-{n:02}", 700 + 100 * n
        words = "".join(
            f'<word id="{line}-{w:02}" tag="AT" text="w{w}">'
            f'<cmp x="{x}" y="{y}" width="50" height="40"/>'
            f'<cmp x="{x + 60}" y="{y + 10}" width="40" height="40"/></word>'
            for w, x in enumerate((400, 600))
        )
        empty = f'<word id="{line}-02" tag="." text="."/>'
        lines.append(f'<line id="{line}" segmentation="{segmentation}" text="{text}">{words}{empty}</line>')
        for kind, ids in (("lines", [line]), ("words", [f"{line}-00", f"{line}-01"])):
            for image in ids:
                picture(root / kind / name[:3] / name / f"{image}.png", (60, 20))
    picture(root / forms / f"{name}.png", (24, 35))
    (root / "xml").mkdir(parents=True, exist_ok=True)
    (root / "xml" / f"{name}.xml").write_text(
        f"""<?xml version="1.0" encoding="ISO-8859-1"?>
<form created="2002-01-14" height="3542" id="{name}" version="3.0_beta" width="2479" writer-id="{writer}">
  <machine-printed-part><machine-print-line text="A MOVE to stop"/></machine-printed-part>
  <handwritten-part>{"".join(lines)}</handwritten-part>
</form>""",
        encoding="latin-1",
    )


def picture(path: Path, size: tuple[int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("1", size).save(path)


def write_lists(root: Path, **lists: str) -> None:
    names = [name for sets in LISTS["official"].values() for name in sets]
    (root / "splits").mkdir(exist_ok=True)
    for name in names:
        (root / "splits" / f"{name}.txt").write_text(lists.get(name, f"{name}-unused") + "\n")


def read(root: Path, **settings: Any) -> list[Page]:
    return iam.read(root, lists=LISTS, **(DEFAULTS | settings))


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
    chosen = iam.read(root, lists=only, **DEFAULTS)
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


def test_read_refuses_missing_images(root: Path) -> None:
    write_form(root, "a01-003")
    (root / "forms" / "a01-003.png").unlink()
    with pytest.raises(InputError, match=r"a01-003 has no image in forms; add it, or remove its XML"):
        read(root)
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


def first_of(lists: Path, names: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
    for split, (name, *_) in names.items():
        path = next(lists.glob(f"{name}.*"))
        yield path.read_text().split("\n", 1)[0], split


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
