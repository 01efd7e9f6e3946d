"""Tables of published results, one for each target: `hwr models` prints them for docs/results.md."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hwr.evaluation import decoders, publish
from hwr.tables import markdown_table

Rows = list[list[str]]

_GIVEN = {
    "area": "the true area",
    "line boxes": "the true boxes of lines",
    "line outlines": "their true outlines",
}  # names of rows, where those of result.json say too little


def print_tables(overrides: Sequence[str] = ()) -> None:
    """Print the tables of published results."""
    print("\n\n".join(tables().values()))


def tables() -> dict[str, str]:
    """Return the published results as Markdown tables by target."""
    found = publish.published_results()
    made = {}
    for target, (head, rows) in COLUMNS.items():
        own = {name: result for name, result in found.items() if result["target"] == target}
        if own:
            made[target] = markdown_table(head, [row for item in own.items() for row in rows(*item)])
    return made


def _paragraph(name: str, result: Mapping[str, Any]) -> Rows:
    return [[_link(name), str(result["pages"]), f"{result['mean_iou']:.4f}", f"{result['worst_iou']:.4f}"]]


def _segmentation(name: str, result: Mapping[str, Any]) -> Rows:
    rates = (f"{result[name]:.4f}" for name in ("f1_50", "f1_75", "mean_iou"))
    return [[_link(name), str(result["pages"]), f"{result['true']} {result['unit']}s", *rates]]


def _line(name: str, result: Mapping[str, Any]) -> Rows:
    counts = " / ".join(str(n) for n in result["characters"].values())
    return [[_link(name), str(result["lines"]), _rate(result, "cer"), _rate(result, "wer"), counts]]


def _denoiser(name: str, result: Mapping[str, Any]) -> Rows:
    before = (f"{100 * result['before'][name]:.2f} %" for name in ("cer", "wer"))
    return [[_link(name), str(result["lines"]), *before, _rate(result, "cer"), _rate(result, "wer")]]


def _page(name: str, result: Mapping[str, Any]) -> Rows:
    """Return a row for each part of the pipeline that is given, from nothing on."""
    rows: Rows = []
    for given, own in result["budget"].items():
        first = f"{_link(name)}, {result['pages']} pages" if not rows else ""
        missed, extra = str(own["missed_lines"]), str(own["extra_lines"])
        rows.append([first, _GIVEN.get(given, given), f"{100 * own['cer']:.2f} %", missed, extra])
    return rows


def _decoders(name: str, result: Mapping[str, Any]) -> Rows:
    """Return a row for each decoder."""
    _, rows = decoders.columns(result)
    first = [f"{_link(name)}, {result['lines']} lines", *[""] * (len(rows) - 1)]
    names = [f"{own}{' (baseline)' if own == result['baseline'] else ''}" for own, *_ in rows]
    return [[place, own, *row[1:]] for place, own, row in zip(first, names, rows, strict=True)]


# target -> heads of its columns, and what fills the rows of a result
COLUMNS: dict[str, tuple[Sequence[str], Callable[[str, Mapping[str, Any]], Rows]]] = {
    "paragraph": (["weights", "test pages", "mean IoU of the area", "worst"], _paragraph),
    "segmentation": (
        ["weights", "test pages", "boxes", "F1 at IoU 0.5", "at 0.75", "mean IoU"],
        _segmentation,
    ),
    "line": (["weights", "test lines", "CER [95 %]", "WER [95 %]", "N / S / D / I of characters"], _line),
    "denoiser": (
        ["weights", "test lines", "CER before", "WER before", "CER [95 %]", "WER [95 %]"],
        _denoiser,
    ),
    "page": (["result", "given", "CER", "lines missed", "extra"], _page),
    "decoders": (
        [
            "result",
            "decoder",
            "CER [95 %]",
            "WER [95 %]",
            "CER minus baseline",
            "WER minus baseline",
            "lines/s",
        ],
        _decoders,
    ),
}


def _link(name: str) -> str:
    return f"[`{name}`](experiments/{name}/{publish.CARD})"


def _rate(result: Mapping[str, Any], name: str) -> str:
    ends = result["intervals"][name]
    within = "" if ends is None else f" [{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
    return f"{100 * result[name]:.2f} %{within}"
