from pathlib import Path

import pytest

from hwr.data.sources.table import rows
from hwr.errors import InputError

COLUMNS = ("file", "text", "writer")


def read(path: Path, text: str) -> list[dict[str, str]]:
    path.write_text(text, encoding="utf-8")
    return [row for _, row in rows(path, COLUMNS, COLUMNS[:2])]


def test_rows_take_a_header_in_any_order_and_beside_other_columns(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "Text,note,File\nhi,x,a.png\n") == [
        {"text": "hi", "note": "x", "file": "a.png"}
    ]


def test_rows_without_header_stand_in_the_order_of_the_columns(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", "a.png\thi\n") == [{"file": "a.png", "text": "hi"}]


def test_rows_of_a_csv_may_be_quoted(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", 'a.png,"say ""a, b"""\n')[0]["text"] == 'say "a, b"'


def test_rows_of_a_tsv_hold_quotation_marks_as_they_stand(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", 'a.png\t"Yes\nb.png\tNo"\n')[1]["text"] == 'No"'


def test_rows_of_a_csv_keep_semicolons_beside_commas(tmp_path: Path) -> None:
    assert read(tmp_path / "t.csv", "a.png,b; c; d\n")[0]["text"] == "b; c; d"


def test_rows_pass_over_blank_lines_and_count_them(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("a.png\thi\n\n \nb.png\tho\n")
    places = [place for place, _ in rows(tmp_path / "t.tsv", COLUMNS, COLUMNS[:2])]
    assert places == [f"{tmp_path}/t.tsv, line 1", f"{tmp_path}/t.tsv, line 4"]


def test_rows_may_hold_an_empty_text(tmp_path: Path) -> None:
    assert read(tmp_path / "t.tsv", "a.png\t\n")[0]["text"] == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no row; write TSV with file, text, writer"),
        ("a.png\n", r"line 1: expected file, text, writer; found 1 field\(s\)"),
        ("a.png\thi\tanna\tmore\n", "found 4 field"),
    ],
)
def test_rows_refuse_what_is_no_such_table(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(tmp_path / "t.tsv", text)


def test_rows_refuse_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.csv: cannot be read"):
        rows(tmp_path / "t.csv", COLUMNS, COLUMNS[:2])
