"""The tables of published results say what result.json holds; the documentation and the README show them."""

import re
from pathlib import Path
from typing import Any

import pytest

from hwr.evaluation import RECORDS
from hwr.evaluation import publish as published
from hwr.published import tables

ROOT = Path(__file__).resolve().parents[2]
LINE: dict[str, Any] = {
    "target": "line", "lines": 3, "cer": 0.125, "wer": 0.5,
    "characters": {"reference": 8, "substitutions": 1, "deletions": 0, "insertions": 0},
    "intervals": {"cer": [0.05, 0.2], "wer": [0.2, 0.8]}, "groups": {},
}  # fmt: skip
SETS = {
    **LINE,
    "groups": {
        "x": {"lines": 2, "cer": 0.2, "wer": 0.6, "characters": {"reference": 5, "substitutions": 1}},
        "y": {"lines": 1, "cer": 0.0, "wer": 0.0, "characters": {"reference": 3, "substitutions": 0}},
    },
}
AREA: dict[str, Any] = {"target": "paragraph", "pages": 2, "mean_iou": 0.95, "worst_iou": 0.91234}
BOXES: dict[str, Any] = {
    "target": "segmentation", "pages": 2, "true": 50, "unit": "line", "f1_50": 0.98, "f1_75": 0.9,
    "mean_iou": 0.87654,
}  # fmt: skip
MENDED = {**LINE, "target": "denoiser", "before": {"cer": 0.25, "wer": 0.6}}
PAGE: dict[str, Any] = {
    "target": "page", "pages": 2, "groups": {name: {"cer": 0.125} for name in "xy"},
    "budget": {
        "nothing": {"cer": 0.125, "missed_lines": 3, "extra_lines": 1},
        "line boxes": {"cer": 0.0625, "missed_lines": 0, "extra_lines": 0},
    },
}  # fmt: skip
DECODERS: dict[str, Any] = {
    "target": "decoders", "lines": 3, "baseline": "greedy",
    "decoders": {
        "greedy": {"cer": 0.125, "wer": 0.5, "intervals": LINE["intervals"], "lines_per_s": 99.6},
        "beam": {
            "cer": 0.1, "wer": 0.25, "intervals": {"cer": None, "wer": None}, "lines_per_s": 12,
            "differences": {"cer": {"value": -0.025, "interval": [-0.03, 0.01]},
                            "wer": {"value": -0.25, "interval": None}},
        },
    },
}  # fmt: skip
TABLES = {
    "paragraph": """\
| weights | test pages | mean IoU of the area | worst |
|---|---|---|---|
| [`paragraph/b`](experiments/paragraph/b/card.md) | 2 | 0.9500 | 0.9123 |""",
    "segmentation": """\
| weights | test pages | boxes | F1 at IoU 0.5 | at 0.75 | mean IoU |
|---|---|---|---|---|---|
| [`segmentation/c`](experiments/segmentation/c/card.md) | 2 | 50 lines | 0.9800 | 0.9000 | 0.8765 |
| [`segmentation/d`](experiments/segmentation/d/card.md) | 2 | 50 lines | 0.9800 | 0.9000 | 0.8765 |""",
    "line": """\
| weights | test lines | CER [95 %] | WER [95 %] | N / S / D / I of characters |
|---|---|---|---|---|
| [`line/a`](experiments/line/a/card.md) | 3 | \
12.50 % [5.0, 20.0] | 50.00 % [20.0, 80.0] | 8 / 1 / 0 / 0 |
|  | 2, x | 20.00 % | 60.00 % | 5 / 1 |
|  | 1, y | 0.00 % | 0.00 % | 3 / 0 |""",
    "denoiser": """\
| weights | test lines | CER before | WER before | CER [95 %] | WER [95 %] |
|---|---|---|---|---|---|
| [`denoiser/e`](experiments/denoiser/e/card.md) | 3 | 25.00 % | 60.00 % | \
12.50 % [5.0, 20.0] | 50.00 % [20.0, 80.0] |""",
    "page": """\
| result | given | CER | lines missed | extra |
|---|---|---|---|---|
| [`page/f`](experiments/page/f/card.md), 2 pages | nothing | 12.50 % | 3 | 1 |
|  | the true boxes of lines | 6.25 % | 0 | 0 |
|  | nothing, x | 12.50 % |  |  |
|  | nothing, y | 12.50 % |  |  |""",
    "decoders": """\
| result | decoder | CER [95 %] | WER [95 %] | CER minus baseline | WER minus baseline | lines/s |
|---|---|---|---|---|---|---|
| [`decoders/g`](experiments/decoders/g/card.md), 3 lines | greedy (baseline) | \
12.50 % [5.0, 20.0] | 50.00 % [20.0, 80.0] |  |  | 100 |
|  | beam | 10.00 % | 25.00 % | -2.50 [-3.00, +1.00] | -25.00 | 12 |""",
}


def cells(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, row by row, without the line below the head."""
    head, _, *rows = table.splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in (head, *rows)]


@pytest.mark.parametrize("target", RECORDS)
def test_results_page_shows_the_published_results(target: str) -> None:
    text = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    table = tables()[target].replace("](experiments/", "](../experiments/")
    assert f"\n\n{table}\n\n" in text  # not a row more


def test_readme_shows_figures_of_the_published_results() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r"^\| \[`(\w+/\w+)`\]\(experiments/\1/card\.md\) \|.*\| (.+) \|$", text, re.MULTILINE)
    assert len(shown) >= 6
    for name, score in shown:
        rows = _rows(name)
        for figure in re.findall(r"\d+\.\d+", score):
            assert re.search(rf"(?<![\d.+-]){re.escape(figure)}(?!\d)", rows), (
                f"{name}: {figure} is not in\n{rows}"
            )


def _rows(name: str) -> str:
    """Return the rows of a result in the tables of published results."""
    lines = tables()[name.partition("/")[0]].splitlines()
    first = next(n for n, line in enumerate(lines) if f"[`{name}`]" in line)
    more = (n for n in range(first + 1, len(lines)) if not re.match(r"\|\s+\|", lines[n]))
    return "\n".join(lines[first : next(more, len(lines))])


def test_tables_are_of_targets_with_published_results(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {
        "line/a": SETS, "paragraph/b": AREA, "segmentation/c": BOXES, "segmentation/d": BOXES,
        "denoiser/e": MENDED, "page/f": PAGE, "decoders/g": DECODERS,
    }  # fmt: skip
    monkeypatch.setattr(published, "published_results", lambda: results)
    assert {target: cells(table) for target, table in tables().items()} == {
        target: cells(table) for target, table in TABLES.items()
    }
    alone = {**LINE, "intervals": {"cer": None, "wer": None}}  # one line has none
    monkeypatch.setattr(published, "published_results", lambda: {"line/a": alone})
    assert cells(tables()["line"])[1][1:4] == ["3", "12.50 %", "50.00 %"]
    monkeypatch.setattr(published, "published_results", lambda: {"paragraph/b": AREA})
    assert list(tables()) == ["paragraph"]
