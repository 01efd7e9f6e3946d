"""A comparison for a terminal: sentences, then tables in columns."""

from hwr.comparison.tables import Comparison, Table, sentences, tables
from hwr.tables import text_table


def text(comparison: Comparison) -> str:
    """Return the comparison as lines of text."""
    blocks = [_block(table) for table in tables(comparison)]
    return "\n\n".join([blocks[0], "\n".join(sentences(comparison)), *blocks[1:]])


def _block(table: Table) -> str:
    cells = text_table(table.head, table.rows) if table.rows else ""
    return "\n".join(filter(None, [table.title.upper(), cells, table.note]))
