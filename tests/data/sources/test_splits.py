from collections import Counter
from pathlib import Path

import pytest

from hwr.data.records import Page
from hwr.data.sources import splits
from hwr.errors import InputError

SHARES = (0.8, 0.1, 0.1)


def page(name: str, writer: str = "", split: str = "") -> Page:
    return Page(name, writer, split, Path("/data") / f"{name}.png", (10, 10), ())


def assign(root: Path, pages: list[Page], where: str | None = None) -> dict[str, tuple[str, str]]:
    found = splits.assign_splits(pages, root, splits=where, shares=SHARES, seed=0)
    return {p.id: (p.writer, p.split) for p in found}


def test_assign_takes_writer_and_split_from_the_table_in_the_root(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("page,writer,split\na,anna,train\nb,bert,test\n")
    assert assign(tmp_path, [page("a"), page("b")]) == {"a": ("anna", "train"), "b": ("bert", "test")}


def test_assign_reads_a_table_without_header(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("a,anna,train\n")
    assert assign(tmp_path, [page("a")]) == {"a": ("anna", "train")}


@pytest.mark.parametrize(
    "table", ["split;page;writer\ntest;a;anna\n", "\ufeffpage,split,writer\r\na.jpg,test,anna\r\n"]
)
def test_assign_reads_tables_as_office_programs_write_them(tmp_path: Path, table: str) -> None:
    (tmp_path / "pages.csv").write_text(table, encoding="utf-8")
    assert assign(tmp_path, [page("a")]) == {"a": ("anna", "test")}


def test_assign_gives_a_page_that_the_table_lacks_no_split(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("page,writer,split\na,anna,train\n")
    assert assign(tmp_path, [page("a"), page("b")])["b"] == ("b", "")


def test_assign_warns_of_pages_that_are_listed_but_not_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "pages.csv").write_text("page,writer,split\na,anna,train\nx,anna,train\ny,anna,train\n")
    assign(tmp_path, [page("a")])
    assert "lists x and 1 more, not in the data" in caplog.text


def test_assign_shares_out_by_the_writers_of_a_table_without_splits(tmp_path: Path) -> None:
    names = [f"p{n}" for n in range(20)]
    rows = "".join(f"{name},w{n // 2}\n" for n, name in enumerate(names))
    (tmp_path / "pages.csv").write_text(f"page,writer\n{rows}")
    found = assign(tmp_path, [page(name) for name in names])
    assert Counter(split for _, split in found.values()) == {"train": 16, "valid": 2, "test": 2}
    assert len(set(found.values())) == 10  # each of the 10 writers in one split


def test_assign_reads_a_folder_of_lists(tmp_path: Path) -> None:
    for split, name in (("train", "a"), ("valid", "b"), ("test", "c")):
        (tmp_path / f"{split}.txt").write_text(f"{name} 1.jpg\n")
    found = assign(tmp_path, [page(f"{name} 1") for name in "abcd"], ".")
    assert [split for _, split in found.values()] == ["train", "valid", "test", ""]


def test_assign_refuses_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"other.csv does not exist"):
        assign(tmp_path, [page("a")], "other.csv")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("page,writer,split\na,anna,dev\n", "split 'dev' is unknown; use train, valid, test"),
        ("page,writer,split\na,anna,train\na,anna,test\n", "line 3: page a is listed twice"),
        ("page,writer,split\n", "holds no row"),
        ("", "holds no row"),
        ("page,writer,split\na,anna,train,more\n", "line 2: 4 field.s. for the columns page, writer, split"),
    ],
)
def test_assign_refuses_a_table_it_cannot_read(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "pages.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        assign(tmp_path, [page("a")])


def test_assign_refuses_a_table_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_bytes("page,writer\na,Zoë\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"not UTF-8"):
        assign(tmp_path, [page("a")])


def test_share_out_is_the_same_for_a_seed_and_another_for_another() -> None:
    pages = [page(f"p{n}", f"w{n}") for n in range(50)]
    first, again, other = (splits.share_out(pages, SHARES, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize(("count", "expected"), [(1, "100"), (2, "110"), (3, "111"), (4, "211"), (10, "811")])
def test_share_out_leaves_no_split_empty_while_writers_last(count: int, expected: str) -> None:
    found = splits.share_out([page(f"p{n}", f"w{n}") for n in range(count)], SHARES, 0)
    numbers = Counter(p.split for p in found)
    assert "".join(str(numbers[split]) for split in ("train", "valid", "test")) == expected


def test_share_out_gives_everything_to_one_split_when_asked() -> None:
    found = splits.share_out([page(f"p{n}", f"w{n}") for n in range(5)], (0, 0, 1), 0)
    assert {p.split for p in found} == {"test"}


@pytest.mark.parametrize("shares", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_share_out_refuses_shares_that_are_none(shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"add up to 1"):
        splits.share_out([page("a", "w")], shares, 0)


def test_read_lists_counts_the_first_line(tmp_path: Path) -> None:
    (tmp_path / "trainset.txt").write_text("a01-000u-00\na01-000u-01\n")
    assert splits.read_lists(tmp_path, {"train": ["trainset"]}) == {
        "a01-000u-00": "train",
        "a01-000u-01": "train",
    }


def test_read_lists_refuses_an_id_in_two_splits(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a\nb\n")
    (tmp_path / "two.lst").write_text("b\n")
    with pytest.raises(InputError, match=r"b is in train and in test"):
        splits.read_lists(tmp_path, {"train": ["one"], "test": ["two"]})


def test_read_lists_refuses_a_missing_and_an_empty_list(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no id list one.txt"):
        splits.read_lists(tmp_path, {"train": ["one"]})
    (tmp_path / "one.txt").touch()
    with pytest.raises(InputError, match=r"one.txt is empty"):
        splits.read_lists(tmp_path, {"train": ["one"]})


def test_table_is_left_alone_where_none_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "pages.csv").write_text("page,split\np0,test\n", encoding="utf-8")
    pages = [page("p0", "w0")]
    shared = [
        splits.assign_splits(pages, tmp_path, splits=own, shares=[1, 0, 0], seed=0) for own in (None, "none")
    ]
    assert [own[0].split for own in shared] == ["test", "train"]
