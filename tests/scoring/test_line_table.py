from pathlib import Path

import pytest

from hwr.errors import InputError
from hwr.scoring import line_table
from hwr.scoring.counts import Counts
from hwr.scoring.line_table import LineScore

LINES = [
    LineScore("p1/l1", "the\tcat", "\\n", Counts(7, 1, 2, 3), Counts(2, 1, 0, 1), "Ann"),
    LineScore("p1/l2", "", "a", Counts(0, 0, 0, 1), Counts(0, 0, 0, 1), ""),
]


def test_lines_come_back(tmp_path: Path) -> None:
    line_table.write(tmp_path / "lines.tsv", LINES)
    assert line_table.read(tmp_path / "lines.tsv") == LINES


def test_table_without_writers_is_of_unknown_ones(tmp_path: Path) -> None:
    line_table.write(tmp_path / "lines.tsv", LINES)
    rows = (tmp_path / "lines.tsv").read_text(encoding="utf-8").splitlines()
    older = "".join(row.rpartition("\t")[0] + "\n" for row in rows)
    (tmp_path / "lines.tsv").write_text(older, encoding="utf-8")
    assert [line.writer for line in line_table.read(tmp_path / "lines.tsv")] == ["", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id\treference\nl1\tx\n", "no table of lines and their edits"),
        ("id\treference\nl1\n", "lines.tsv, line 2: 1 cells, the header has 2"),
        ("", "no table"),
    ],
)
def test_damaged_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lines.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        line_table.read(tmp_path / "lines.tsv")


def test_counts_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    line_table.write(tmp_path / "lines.tsv", LINES)
    text = (tmp_path / "lines.tsv").read_text(encoding="utf-8").replace("\t7\t", "\tseven\t")
    (tmp_path / "lines.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"lines.tsv: no table of lines .*'seven'.*; evaluate anew"):
        line_table.read(tmp_path / "lines.tsv")
