from pathlib import Path

import pytest

from hwr.data.sources.splits import Columns, table_rows
from hwr.errors import InputError

LINES = Columns({"file": ("filename", "image"), "text": ("words",), "writer": (), "split": ()}, 2, prose=True)
PAGES = Columns({"page": ("file",), "writer": (), "split": ()}, 1, prose=False)
TSV, CSV, TXT = "t.tsv", "t.csv", "t.txt"


def read(path: Path, text: str, columns: Columns = LINES) -> list[dict[str, str]]:
    path.write_text(text, encoding="utf-8", newline="")
    return [row for _, row in table_rows(path, columns)]


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        (CSV, "Text,note,File\nhi,x,a.png\n", [{"text": "hi", "note": "x", "file": "a.png"}]),
        (CSV, "FileName,words\nhi,x\n", [{"file": "hi", "text": "x"}]),
        (CSV, "image,file,text\ni,a.png,hi\n", [{"image": "i", "file": "a.png", "text": "hi"}]),
        (CSV, "\ufefffile,text\r\na.png,hi\r\n", [{"file": "a.png", "text": "hi"}]),
        (CSV, "a.png,hi\n", [{"file": "a.png", "text": "hi"}]),
        (CSV, "\na.png,hi\n", [{"file": "a.png", "text": "hi"}]),
        (CSV, 'a.png,"say ""a, b"""\n', [{"file": "a.png", "text": 'say "a, b"'}]),
        (CSV, 'a.png, "a, b"\n', [{"file": "a.png", "text": "a, b"}]),
        (CSV, 'a.png,say "yes"\n', [{"file": "a.png", "text": 'say "yes"'}]),
        (CSV, "a.png,b; c; d\n", [{"file": "a.png", "text": "b; c; d"}]),
        (CSV, "a.png;b, c, d\n", [{"file": "a.png", "text": "b, c, d"}]),
        (CSV, '"a,b.png";b\n', [{"file": "a,b.png", "text": "b"}]),
        (CSV, "sep=;\na.png;b\n", [{"file": "a.png", "text": "b"}]),
        (CSV, "a.png\tb, c; d\n", [{"file": "a.png", "text": "b, c; d"}]),
        (TXT, 'a.png\t"b, c; d\n', [{"file": "a.png", "text": '"b, c; d'}]),
        (TXT, "a.png|b, c; d\n", [{"file": "a.png", "text": "b, c; d"}]),
        (TSV, "a.png\thi\n", [{"file": "a.png", "text": "hi"}]),
        (TSV, "a.png\t\n", [{"file": "a.png", "text": ""}]),
        (TSV, 'a\t"Yes\nb\tNo"\n', [{"file": "a", "text": '"Yes'}, {"file": "b", "text": 'No"'}]),
        (TSV, "a\thi, you\tanna\n", [{"file": "a", "text": "hi, you", "writer": "anna"}]),
        (TSV, "a\thi\tx\ttest\n", [{"file": "a", "text": "hi", "writer": "x", "split": "test"}]),
        (TSV, "a\ttrain\nb\ttest\n", [{"file": "a", "text": "train"}, {"file": "b", "text": "test"}]),
    ],
)
def test_rows_hold_every_text_whole(tmp_path: Path, name: str, text: str, rows: list[dict[str, str]]) -> None:
    assert read(tmp_path / name, text) == rows


def test_rows_may_be_those_of_office_programs_in_utf_16(tmp_path: Path) -> None:
    (tmp_path / CSV).write_bytes("file\ttext\r\na.png\té\r\n".encode("utf-16"))
    assert table_rows(tmp_path / CSV, LINES)[0][1] == {"file": "a.png", "text": "é"}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a,anna,train\n", [{"page": "a", "writer": "anna", "split": "train"}]),
        ("a,anna\n", [{"page": "a", "writer": "anna"}]),
        ("a\nb\n", [{"page": "a"}, {"page": "b"}]),
        ("file,split\na,train\n", [{"page": "a", "split": "train"}]),
        ('a,"Doe, Jane",train\n', [{"page": "a", "writer": "Doe, Jane", "split": "train"}]),
    ],
)
def test_rows_of_pages_stand_in_order_without_header(
    tmp_path: Path, text: str, rows: list[dict[str, str]]
) -> None:
    assert read(tmp_path / CSV, text, PAGES) == rows


def test_rows_pass_over_blank_lines_and_count_them(tmp_path: Path) -> None:
    (tmp_path / TSV).write_text("a.png\thi\n\n \nb.png\tho\n")
    places = [place for place, _ in table_rows(tmp_path / TSV, LINES)]
    assert places == [f"{tmp_path}/t.tsv, line 1", f"{tmp_path}/t.tsv, line 4"]


QUOTES = 'line {}: {} field.s. for the columns file, text; .* stands in double quotes: "Dear Sir, thank you"'


@pytest.mark.parametrize(
    ("name", "columns", "text", "message"),
    [
        (TSV, LINES, "", "holds no row; write TSV with file, text, writer"),
        (CSV, LINES, "file,text\n", "holds no row"),
        (TSV, LINES, "a.png\n", "line 1: 1 field.s. for the columns file, text; a field must not hold a tab"),
        (TSV, LINES, "a.png\thi\nb.png\thi\tho\n", "line 2: 3 field.s. for the columns file, text"),
        (CSV, LINES, "a.png,hi, you\n", QUOTES.format(1, 3)),
        (CSV, LINES, "a.png,hi\nb.png,hi ,\n", QUOTES.format(2, 3)),
        (CSV, LINES, "file,text\na.png,hi, you\n", QUOTES.format(2, 3)),
        (CSV, LINES, "a.png,well, he said, test\n", QUOTES.format(1, 4)),
        (CSV, LINES, "file,text,writer\na.png,hi\n", "line 2: 2 field.s. for the columns file, text, writer"),
        (CSV, LINES, 'a.png,"Yes" he said\n', 'line 1: .*; a field with quotation marks .* ""yes"" to me'),
        (CSV, LINES, 'a.png,"Yes\nb.png,no\n', "line 2: unexpected end of data; a field with quotation"),
        (CSV, LINES, 'a.png,"Yes\nb.png,no"\n', "line 2: a field holds a line break: 'Yes.nb.png,no'"),
        (CSV, LINES, "filename,identity\na.png,hi\n", "names filename, identity, but no column text"),
        (CSV, LINES, "filename,image,text\nx,a.png,hi\n", "filename and image may each be the column file"),
        (CSV, PAGES, "a,train\nb,test\n", "line 1: train stands in the place of a writer; .*page,split"),
        (CSV, PAGES, "a,Doe, Jane,train\n", "line 1: 4 field.s. for the columns page, writer, split; "),
    ],
)
def test_rows_that_would_be_a_guess_are_refused(
    tmp_path: Path, name: str, columns: Columns, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path / name, text, columns)
    assert "\n" not in str(refused.value)


def test_rows_refuse_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.csv: cannot be read"):
        table_rows(tmp_path / CSV, LINES)
