"""Tab-separated tables whose cells may hold any text."""

from collections.abc import Iterable, Sequence
from pathlib import Path

_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    r"""Write a header and `rows` as UTF-8; backslash, tab and line ends become \\ \t \n \r, None is empty."""
    lines = ("\t".join(map(_cell, row)) + "\n" for row in (columns, *rows))
    path.write_text("".join(lines), encoding="utf-8", newline="\n")


def _cell(value: object) -> str:
    return "" if value is None else str(value).translate(_ESCAPES)
