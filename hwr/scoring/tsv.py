"""Tab-separated tables whose cells may hold any text."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from hwr.errors import InputError

_WRITTEN = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_ESCAPES = str.maketrans(_WRITTEN)
_READ = {escape: character for character, escape in _WRITTEN.items()}


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a header and `rows` as UTF-8; backslash, tab and line ends become \\ \t \n \r, None is empty."""
    lines = ("\t".join(map(_cell, row)) + "\n" for row in (columns, *rows))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def read(path: Path) -> list[dict[str, str]]:
    """Return the rows of what `write` wrote, by column; raise InputError for a file that is no such table."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            columns, *rows = ([_text(cell) for cell in line.rstrip("\n").split("\t")] for line in file)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no table ({getattr(error, 'strerror', None) or 'damaged'})") from None
    for number, row in enumerate(rows, 2):
        if len(row) != len(columns):
            raise InputError(f"{path}, line {number}: {len(row)} cells, the header has {len(columns)}")
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _cell(value: object) -> str:
    return "" if value is None else str(value).translate(_ESCAPES)


def _text(cell: str) -> str:
    return re.sub(r"\\.", lambda found: _READ.get(found[0], found[0]), cell)
