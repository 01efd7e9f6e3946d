"""The table lines.tsv: what is written in every line, what was read there, and the edits between them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hwr.errors import InputError
from hwr.scoring import tsv
from hwr.scoring.counts import Counts

NAME = "lines.tsv"
_COUNTS = tuple(Counts().as_dict())
_COLUMNS = (
    "id",
    "reference",
    "hypothesis",
    *(f"{u}_{n}" for u in ("characters", "words") for n in _COUNTS),
    "writer",
)


@dataclass(frozen=True)
class LineScore:
    """A line: its id, what is written and what was read, the edits, and who wrote it ("" = unknown)."""

    id: str
    reference: str
    hypothesis: str
    characters: Counts
    words: Counts
    writer: str


def write(path: Path, lines: Iterable[LineScore]) -> None:
    """Write the table."""
    rows = (
        [
            line.id,
            line.reference,
            line.hypothesis,
            *line.characters.as_dict().values(),
            *line.words.as_dict().values(),
            line.writer,
        ]
        for line in lines
    )
    tsv.write(path, _COLUMNS, rows)


def read(path: Path) -> list[LineScore]:
    """Return the lines of a table, in order; raise InputError where it lacks a column or holds no counts.

    Tables of before the column `writer` are read as of unknown writers.
    """
    return [_line(path, row) for row in tsv.read(path)]


def _line(path: Path, row: dict[str, str]) -> LineScore:
    try:
        characters, words = (_counts(row, unit) for unit in ("characters", "words"))
        texts = (row["id"], row["reference"], row["hypothesis"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: no table of lines and their edits ({error}); evaluate anew") from None
    return LineScore(*texts, characters, words, row.get("writer", ""))


def _counts(row: dict[str, str], unit: str) -> Counts:
    return Counts(**{name: int(row[f"{unit}_{name}"]) for name in _COUNTS})
