"""A comparison as one HTML page: nothing is fetched from elsewhere, pictures are inside, no script runs."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from hwr.comparison.paired import Result
from hwr.comparison.tables import Comparison, Table, points, sentences, tables
from hwr.tables import figure_columns

_WIDTH, _LEFT, _RIGHT, _ROW = 1100, 320, 860, 30  # px of the drawn intervals
_MARKED = ' class="marked"'
_SHORT = 24  # characters of a cell that is not broken
_STYLE = """
:root { --ink: #1f2430; --muted: #5b6472; --line: #d5d9e0; --ground: #f4f5f7; --card: #fff; --mark: #0b6e4f; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 32px 24px 64px; }
h1 { font-size: 26px; margin: 0 0 4px; }
h2 { font-size: 18px; margin: 36px 0 10px; }
p { margin: 6px 0; max-width: 80ch; }
.muted { color: var(--muted); }
.said { background: var(--card); border: 1px solid var(--line); border-left: 4px solid var(--mark);
        border-radius: 6px; padding: 10px 18px; margin: 18px 0; }
.said li { margin: 6px 0; }
.said ul { margin: 0; padding-left: 18px; }
.wide { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 6px 9px; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child th { border-top: 0; color: var(--muted); font-weight: 600; font-size: 13px; }
td:first-child { font-weight: 600; }
td.figure, th.figure { text-align: right; white-space: nowrap; }
td.short, th.short { white-space: nowrap; }
tr.marked td { background: #eaf5f0; }
img { max-width: 100%; border: 1px solid var(--line); border-radius: 6px; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: var(--ink); }
"""
_READ = (
    "Each rate is errors over the length of the reference, summed over all lines; a difference below zero"
    " means that the later run errs less. Permutation: were both runs alike, either reading of a line or"
    " writer might as well be the other run's; p is the share of all such swaps with at least this"
    " difference, counted exactly. Bootstrap: lines or writers drawn with replacement, the same for both"
    " runs; the interval holds the middle 95 % of the differences. Matched pairs: mean difference of word"
    " errors between stretches that both read well (Gillick and Cox, 1989). McNemar: lines that one run"
    " alone read without an error.",
    "Lines of one writer err alike: where writers are known, and enough for a p-value as small as the"
    " level, the test over writers decides. The shaded row of each rate is the one that the sentences"
    " above follow.",
    "A test tells whether these weights would differ on more lines of the same kind. It does not tell"
    " whether trainings with other seeds would differ likewise: for that, compare several seeds of each.",
)


def page(comparison: Comparison, picture: Path | None) -> str:
    """Return the page, with the picture of the lines that changed most where there is one."""
    first, *others = tables(comparison)
    count = len(comparison.results)
    return "\n".join(
        [
            "<!doctype html>",
            f'<html lang="en"><head><meta charset="utf-8"><title>{_title(comparison)}</title>',
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body><main>',
            f"<h1>{_title(comparison)}</h1>",
            _said(comparison),
            _section(first),
            *map(_section, others[:count]),
            *(
                ["<h2>Differences and their intervals</h2>", _intervals(comparison)]
                if _drawn(comparison)
                else []
            ),
            *map(_section, others[count:]),
            *_changed(picture),
            "<h2>How to read this</h2>",
            *(f'<p class="muted">{text}</p>' for text in _READ),
            "</main></body></html>",
            "",
        ]
    )


def _title(comparison: Comparison) -> str:
    runs = comparison.runs
    names = " and ".join(f"{run.name} {run.short}" for run in runs)
    return escape(f"Comparison of {names if len(runs) == 2 else f'{len(runs)} runs'}")


def _said(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(comparison))
    return f'<div class="said"><ul>{items}</ul></div>'


def _section(table: Table) -> str:
    note = f'<p class="muted">{escape(table.note)}</p>' if table.note else ""
    return f"<h2>{escape(table.title)}</h2>{_table(table) if table.rows else ''}{note}"


def _table(table: Table) -> str:
    columns = zip(zip(*table.rows, strict=True), figure_columns(table.rows), strict=True)
    kinds = [_kind(column, is_figure) for column, is_figure in columns]
    head = "".join(f"<th{kind}>{escape(text)}</th>" for text, kind in zip(table.head, kinds, strict=True))
    rows = [f"<tr>{head}</tr>"]
    for place, row in enumerate(table.rows):
        cells = "".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(row, kinds, strict=True))
        rows.append(f"<tr{_MARKED if place in table.marked else ''}>{cells}</tr>")
    return f'<div class="wide"><table>{"".join(rows)}</table></div>'


def _kind(column: Sequence[str], is_figure: bool) -> str:
    if is_figure:
        return ' class="figure"'
    return ' class="short"' if max(map(len, column)) <= _SHORT else ""


def _changed(picture: Path | None) -> list[str]:
    if picture is None:
        return []
    inside = base64.b64encode(picture.read_bytes()).decode("ascii")
    said = "Red: read wrongly, or missing. Yellow: written characters that neither run read."
    return [
        "<h2>Lines that changed most</h2>",
        f'<p class="muted">{said}</p>',
        f'<img alt="lines with what each run read" src="data:image/png;base64,{inside}">',
    ]


def _drawn(comparison: Comparison) -> list[tuple[str, Result]]:
    """Return the results that have an interval, with what each is of."""
    base, *runs = comparison.runs
    return [
        (f"{run.label} − {base.label}: {result.measure} over {result.units} {result.what}", result)
        for run, own in zip(runs, comparison.results, strict=True)
        for result in own
        if result.interval is not None
    ]


def _intervals(comparison: Comparison) -> str:
    """Return a picture of the differences, a row each, around a line at zero."""
    drawn = _drawn(comparison)
    ends = [end for _, result in drawn for end in (*(result.interval or ()), result.difference, 0.0)]
    low, high = min(ends), max(ends)
    room = max(high - low, 1e-9)

    def across(value: float) -> float:
        return round(float(_LEFT + (_RIGHT - _LEFT) * (value - low) / room), 1)

    height, zero = _ROW * (len(drawn) + 1), across(0)
    parts = [f'<line x1="{zero}" y1="0" x2="{zero}" y2="{height - _ROW + 4}" stroke="#9aa3b2"/>',
             f'<text x="{zero}" y="{height - 10}" text-anchor="middle">0 points</text>']  # fmt: skip
    for place, (name, result) in enumerate(drawn):
        middle, (start, end) = _ROW * place + _ROW // 2, result.interval or (0.0, 0.0)
        parts += [
            f'<text x="0" y="{middle + 4}">{escape(name)}</text>',
            f'<line x1="{across(start)}" y1="{middle}" x2="{across(end)}" y2="{middle}" '
            'stroke="#1f2430" stroke-width="2"/>',
            f'<circle cx="{across(result.difference)}" cy="{middle}" r="4.5" fill="#1f2430"/>',
            f'<text x="{_RIGHT + 16}" y="{middle + 4}">{points(result.difference)} '
            f"[{points(start)}, {points(end)}]</text>",
        ]
    return (
        f'<div class="wide"><svg viewBox="-12 0 {_WIDTH} {height}" width="100%" role="img" '
        f'aria-label="differences with their 95 % intervals">{"".join(parts)}</svg></div>'
    )
