"""Tables of a data set: CSV and TSV, as people and office programs write them.

No field is guessed: a table whose rows do not fit its columns is refused, in words that say how to quote.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwr.data.records import SPLITS
from hwr.errors import InputError
from hwr.files import read_text

_Rows = list[tuple[str, list[str]]]  # (place, fields)
_FIRST_MARK = re.compile(r'\s*(?:"[^"\n]*"|[^",;\t|\n])*([,;\t|])')  # the first one outside quotation marks
_CHOSEN_MARK = re.compile(r"sep=(.)(?=\n)")  # a first line that Excel writes


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of table: their order without a header, and the names a header may give them.

    `names` gives each column other names; the first `required` of them are in every table. `prose` says that
    fields hold running text, so that a comma in one may be taken for the end of it.
    """

    names: Mapping[str, Sequence[str]]
    required: int
    prose: bool


def table_rows(path: Path, columns: Columns) -> list[tuple[str, dict[str, str]]]:
    """Return (place, row) for every row, place being the file and line for messages.

    A first row that names the required columns is a header, in any order and beside others. Without one the
    columns stand in order: the required ones alone where prose is parted by anything but tabs. Fields are
    stripped. Tabs part a `.tsv`; else the first of , ; | and tab does. A `.csv` may quote its fields, and so
    may others, but not where tabs part them. Raise InputError for a file that is no such table, has no row,
    or a row that does not fit the columns.
    """
    mark, rows = _cells(path)
    header = _header(*rows[0], columns) if rows else []
    if header:
        del rows[0]
    if not rows:
        names = ", ".join(columns.names)
        raise InputError(f"{path} holds no row; write {path.suffix[1:].upper()} with {names}")
    header = header or _assumed(rows, mark, columns)
    for place, cells in rows:
        if len(cells) != len(header):
            quoted = f'a field that holds {mark!r} stands in double quotes: "Dear Sir{mark} thank you"'
            remedy = "a field must not hold a tab" if mark == "\t" else quoted
            raise InputError(
                f"{place}: {len(cells)} field(s) for the columns {', '.join(header)}; {remedy}; "
                f"a first row {mark.join(columns.names)} names more columns"
            )
    return [(place, dict(zip(header, cells, strict=True))) for place, cells in rows]


def _cells(path: Path) -> tuple[str, _Rows]:
    """Return what parts the fields, and the rows that hold any."""
    text = _CHOSEN_MARK.sub("", (whole := read_text(path)), count=1)
    chosen = (_CHOSEN_MARK if text != whole else _FIRST_MARK).match(whole)
    mark = "\t" if path.suffix.lower() == ".tsv" or chosen is None else chosen[1]
    bare = mark == "\t" and path.suffix.lower() != ".csv"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mark,
        quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL,
        skipinitialspace=not bare,
        strict=True,
    )
    try:
        rows = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; a field with quotation marks stands in double quotes, "
            'each mark within doubled: "He said ""yes"" to me"'
        ) from None
    for place, cells in rows:
        if broken := next((cell for cell in cells if "\n" in cell), ""):
            raise InputError(
                f"{place}: a field holds a line break: {broken[:40]!r}; close its quotation mark, "
                "and write each line as a row"
            )
    return mark, [(place, cells) for place, cells in rows if any(cells)]


def _header(place: str, cells: Sequence[str], columns: Columns) -> list[str]:
    """Return the names of the columns; none where the first row is no header."""
    names = [re.sub(r"\W+", "_", cell.lower()) for cell in cells]
    for name, others in columns.names.items():
        called = [other for other in others if other in names]
        if name in names or not called:
            continue
        if len(called) > 1:
            either = " and ".join(called)
            raise InputError(f"{place}: {either} may each be the column {name}; call one {name}")
        names[names.index(called[0])] = name
    lacking = [name for name in list(columns.names)[: columns.required] if name not in names]
    if lacking and names[0] in columns.names:
        remedy = f"no column {lacking[0]}; name it {lacking[0]}"
        raise InputError(f"{place}: names {', '.join(cells)}, but {remedy}")
    return [] if lacking else names


def _assumed(rows: _Rows, mark: str, columns: Columns) -> list[str]:
    """Return the columns of a table without header, as many as its first row has where that is no guess."""
    most = columns.required if columns.prose and mark != "\t" else len(columns.names)
    width = min(max(len(rows[0][1]), columns.required), most)
    names = list(columns.names)[:width]
    if width > columns.required and names[-1] != "split" and {cells[-1] for _, cells in rows} <= set(SPLITS):
        raise InputError(
            f"{rows[0][0]}: {rows[0][1][-1]} stands in the place of a {names[-1]}; "
            f"name the columns in a first row, as {mark.join((*names[:-1], 'split'))}"
        )
    return names
