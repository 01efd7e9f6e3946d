"""Tables as text: columns for a terminal, Markdown, CSV."""

import csv
import io
import re
from collections.abc import Sequence

from prettytable import PrettyTable, TableStyle

ABSENT = "—"  # a cell of which nothing is known

_FIGURE = re.compile(r"([−+<-] ?)?[\d.,]+(e[+-]?\d+)?( ?%)?")

Rows = Sequence[Sequence[str]]


def text_table(head: Sequence[str], rows: Rows) -> str:
    """Return a table for a terminal in columns two spaces apart; the names in `head` differ."""
    table = _table(head, rows)
    table.set_style(TableStyle.PLAIN_COLUMNS)
    table.left_padding_width, table.right_padding_width = 0, 2
    return "\n".join(line.rstrip() for line in table.get_string().split("\n"))


def markdown_table(head: Sequence[str], rows: Rows) -> str:
    """Return a table in Markdown; `|` and line ends in a cell do not end it."""
    table = _table(head, [[cell.replace("|", r"\|").replace("\n", " ") for cell in row] for row in rows])
    table.set_style(TableStyle.MARKDOWN)
    return table.get_string()


def csv_table(head: Sequence[str], rows: Rows) -> str:
    r"""Return a table as CSV, every row ended by \n."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])  # PrettyTable would change tabs
    return text.getvalue()


def figure_columns(rows: Rows) -> list[bool]:
    """Return for each column whether all its cells are figures, but for empty ones: they go to the right."""
    filled = ([cell for cell in column if cell not in ("", ABSENT)] for column in zip(*rows, strict=True))
    return [bool(cells) and all(map(_FIGURE.fullmatch, cells)) for cells in filled]


def _table(head: Sequence[str], rows: Rows) -> PrettyTable:
    table = PrettyTable(head)
    table.add_rows([list(row) for row in rows])
    table.align = "l"
    for name, is_figure in zip(head, figure_columns(rows), strict=False):  # none where there are no rows
        if is_figure:
            table.align[name] = "r"
    return table
