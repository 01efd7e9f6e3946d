"""A comparison for a terminal: sentences, then tables in columns."""

from collections.abc import Sequence

from hwr.comparison.tables import Comparison, Table, sentences, tables

_GAP = "  "


def text(comparison: Comparison) -> str:
    """Return the comparison as lines of text."""
    blocks = [_block(table) for table in tables(comparison)]
    return "\n\n".join([blocks[0], "\n".join(sentences(comparison)), *blocks[1:]])


def _block(table: Table) -> str:
    rows = [table.head, *table.rows] if table.rows else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [_GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([table.title.upper(), *(line.rstrip() for line in lines), *_note(table)])


def _note(table: Table) -> Sequence[str]:
    return [table.note] if table.note else []
