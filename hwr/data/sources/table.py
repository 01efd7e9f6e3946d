"""CSV and TSV tables that a user wrote, with a header row or without."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from hwr.errors import InputError
from hwr.files import read_text


def rows(path: Path, columns: Sequence[str], required: Sequence[str]) -> list[tuple[str, dict[str, str]]]:
    """Return (place, row) for every row, place being the file and line for messages.

    A first row that names the `required` columns is a header, in any order and beside others; without one the
    columns stand in the order of `columns`. Fields are stripped; a `.tsv` has no quotation marks. Raise
    InputError for a file that is no such table, has no row, or lacks a required field.
    """
    found = _cells(path)
    header = [name.lower() for name in found[0][1]] if found else []
    if set(required) <= set(header):
        del found[0]
    else:
        header = list(columns)
    if not found:
        raise InputError(f"{path} holds no row; write {path.suffix[1:].upper()} with {', '.join(columns)}")
    return [(place, _row(cells, header, required, place)) for place, cells in found]


def _row(cells: Sequence[str], header: Sequence[str], required: Sequence[str], place: str) -> dict[str, str]:
    row = dict(zip(header, cells, strict=False))
    if len(cells) > len(header) or any(name not in row for name in required):
        raise InputError(f"{place}: expected {', '.join(header)}; found {len(cells)} field(s): {cells}")
    return row


def _cells(path: Path) -> list[tuple[str, list[str]]]:
    text = read_text(path)
    lines = io.StringIO(text, newline="")
    if path.suffix.lower() == ".tsv":
        reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
    else:
        reader = csv.reader(lines, delimiter=_delimiter(text.partition("\n")[0]))
    try:
        found = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}; write it as plain CSV or TSV") from None
    return [(place, cells) for place, cells in found if any(cells)]


def _delimiter(first_line: str) -> str:
    """Return the comma, or where there is none what office programs write for it."""
    return next((mark for mark in ",;\t" if mark in first_line), ",")
