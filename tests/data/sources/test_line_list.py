from pathlib import Path

import pytest
from PIL import Image

from hwr.data.records import Page
from hwr.data.sources import line_list
from hwr.errors import InputError


def folder(root: Path, table: str, name: str = "lines.tsv") -> Path:
    """Write the images a.png, b.png and sub/c.jpg, 60 x 20 pixels, and a table."""
    (root / "sub").mkdir(parents=True, exist_ok=True)
    for image in ("a.png", "b.png", "sub/c.jpg"):
        Image.new("L", (60, 20), 255).save(root / image)
    (root / name).write_text(table, encoding="utf-8")
    return root


def read(root: Path, table: str | None = None) -> tuple[Page, ...]:
    return line_list.read_line_list(root, table=table, shares=(0.8, 0.1, 0.1), seed=0).pages


def test_read_gives_one_page_a_row(tmp_path: Path) -> None:
    pages = read(folder(tmp_path, "a.png\tHello  you\tanna\ttrain\nsub/c\tfoo\tbert\ttest\n"))
    assert [(p.id, p.writer, p.split, p.size) for p in pages] == [
        ("a", "anna", "train", (20, 60)),
        ("sub/c", "bert", "test", (20, 60)),
    ]
    (line,) = pages[0].lines
    assert (line.id, line.text, line.box) == ("a", "Hello you", (0.0, 0.0, 1.0, 1.0))


def test_read_takes_a_text_beside_each_image(tmp_path: Path) -> None:
    for name in ("a.bin.png", "a.nrm.png", "sub/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("L", (60, 20), 255).save(tmp_path / name)
    (tmp_path / "a.gt.txt").write_text("\ufeffHello, you\r\n", encoding="utf-8")
    (tmp_path / "sub" / "c.gt.txt").write_text("")
    pages = read(tmp_path)
    assert [(p.image.name, p.lines[0].text) for p in pages] == [("a.nrm.png", "Hello, you"), ("c.jpg", "")]


def test_read_passes_over_a_text_that_is_not_that_of_one_line_and_tells(tmp_path: Path) -> None:
    Image.new("L", (60, 20), 255).save(tmp_path / "b.png")
    (tmp_path / "a.gt.txt").write_text("one\ntwo\n")
    (tmp_path / "c.gt.txt").write_bytes(b"\xff")
    with pytest.raises(InputError, match=r"a.gt.txt: holds 2 lines of text"):
        read(tmp_path)
    (tmp_path / "b.gt.txt").write_text("one\n")
    dataset = line_list.read_line_list(tmp_path, table=None, shares=(0.8, 0.1, 0.1), seed=0)
    assert [page.id for page in dataset.pages] == ["b"]
    assert list(dataset.findings["damaged_file"]) == ["a.gt.txt", "c.gt.txt"]
    assert "not UTF-8" in dataset.findings["damaged_file"]["c.gt.txt"]


def test_read_takes_a_text_file_for_the_table_where_there_is_no_other(tmp_path: Path) -> None:
    pages = read(folder(tmp_path, "a.png\tHello, you\n", "gt.txt"))
    assert [p.lines[0].text for p in pages] == ["Hello, you"]


def test_read_takes_a_header_and_commas(tmp_path: Path) -> None:
    pages = read(folder(tmp_path, 'text,file\n"Hello, you",a.png\n', "lines.csv"))
    assert [p.lines[0].text for p in pages] == ["Hello, you"]


def test_read_shares_lines_out_by_writer_without_splits(tmp_path: Path) -> None:
    pages = read(folder(tmp_path, "a.png\tx\tanna\nb.png\ty\tanna\nsub/c.jpg\tz\tbert\n"))
    split_of = {p.writer: p.split for p in pages}
    assert pages[0].split == pages[1].split
    assert sorted(split_of.values()) == ["train", "valid"]


def test_read_keeps_a_line_without_text(tmp_path: Path) -> None:
    assert read(folder(tmp_path, "a.png\t\n"))[0].lines[0].text == ""


def test_read_takes_the_table_that_is_named(tmp_path: Path) -> None:
    folder(tmp_path, "a.png\tx\n")
    folder(tmp_path, "b.png\ty\n", "other.tsv")
    assert [p.id for p in read(tmp_path, "other.tsv")] == ["b"]


@pytest.mark.parametrize(
    ("row", "flaw"),
    [
        ("gone.png", "lines.tsv, line 2: its image gone.png is missing; add it"),
        ("../gone.png", "leads outside the data folder"),
        ("/etc/hostname", "lines.tsv, line 2: its image /etc/hostname is missing"),
        ("bad.png", "bad.png: damaged"),
        ("", "lines.tsv, line 2: names no image; fill in its file"),
        ("/", "lines.tsv, line 2: its image / is missing"),
        (".", "lines.tsv, line 2: its image . is missing"),
    ],
)
def test_read_keeps_a_row_whose_image_cannot_be_read(tmp_path: Path, row: str, flaw: str) -> None:
    folder(tmp_path, f"a.png\tx\n{row}\ty\n")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n")
    good, bad = read(tmp_path)
    assert (good.id, good.flaw, bad.lines[0].text) == ("a", "", "y")
    assert flaw in bad.flaw
    assert bad.image in (tmp_path, tmp_path / "bad.png")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("a.png\tx\tanna\tdev\n", "lines.tsv, line 1: split 'dev' is unknown"),
        ("", "lines.tsv holds no row"),
    ],
)
def test_read_refuses_a_table_that_it_cannot_follow(tmp_path: Path, table: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(folder(tmp_path, table))


def test_read_tells_of_images_without_a_text_and_of_files_of_macos(tmp_path: Path) -> None:
    folder(tmp_path, "a.png\tx\n")
    for name in ("._lines.tsv", "._a.png", "__MACOSX/._a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\x00\x05\x16\x07")
    dataset = line_list.read_line_list(tmp_path, table=None, shares=(0.8, 0.1, 0.1), seed=0)
    assert [page.id for page in dataset.pages] == ["a"]
    assert dataset.findings == {
        "unused_file": {
            "._a.png": "of macOS", "._lines.tsv": "of macOS", "__MACOSX/._a.png": "of macOS",
            "b.png": "an image without a text", "sub/c.jpg": "an image without a text",
        },
        "damaged_file": {},
    }  # fmt: skip


def test_read_refuses_a_folder_without_or_with_two_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .tsv or .csv, no .gt.txt; set data.table"):
        read(tmp_path)
    folder(tmp_path, "a.png\tx\n")
    folder(tmp_path, "a.png\tx\n", "other.csv")
    with pytest.raises(InputError, match=r"holds 2 tables \(lines.tsv, other.csv\)"):
        read(tmp_path)
