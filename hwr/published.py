"""Published experiments: weights and scores kept under experiments/, and the README's tables of them."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hwr import weights
from hwr.config import ROOT, portable
from hwr.errors import InputError

EXPERIMENTS = ROOT / "experiments"
RESULT, WEIGHTS, CARD = "result.json", "weights", "card.md"
UNFILLED = "DIR"  # stands for a folder of the machine that published, as in `portable`


def check(name: str, target: str) -> None:
    """Raise InputError where `name` cannot be published by an evaluation of `target`."""
    if name.partition("/")[0] != target or target == "page":
        raise InputError(
            f"publish={name}: not of stage {target}, whose weights are evaluated; name it {target}/…"
        )
    if not (EXPERIMENTS / f"{name}.yaml").is_file():
        raise InputError(
            f"publish={name}: experiments/{name}.yaml is missing; write the overlay that makes it first"
        )


def publish(name: str, found: weights.Weights, summary: Mapping[str, Any]) -> Path:
    """Keep weights and scores as the published experiment `name` (line/copiste); an older one is replaced.

    Paths of this machine stay behind. Raises InputError as `check` does.
    """
    check(name, str(summary["target"]))
    folder = EXPERIMENTS / name
    weights.copy(found, folder / WEIGHTS, portable(found.config))
    kept = _without_folders({**summary, "weights": name})
    (folder / RESULT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def results() -> dict[str, dict[str, Any]]:
    """Return the scores of every published experiment by name."""
    names = sorted(path.parent.relative_to(EXPERIMENTS) for path in EXPERIMENTS.glob(f"*/*/{WEIGHTS}"))
    return {str(n): json.loads((EXPERIMENTS / n / RESULT).read_text(encoding="utf-8")) for n in names}


def table() -> str:
    """Return the published experiments as Markdown tables, one a stage."""
    found = results()
    tables = []
    for target, (heads, cells) in COLUMNS.items():
        own = {name: result for name, result in found.items() if result["target"] == target}
        rows = [
            _row([f"[`{name}`](experiments/{name}/{CARD})", *cells(result)]) for name, result in own.items()
        ]
        if rows:
            head = ["weights", *heads]
            tables.append("\n".join([_row(head), "|" + "---|" * len(head), *rows]))
    return "\n\n".join(tables)


def _without_folders(value: Any) -> Any:
    """Return a value of JSON with absolute paths as DIR."""
    if isinstance(value, Mapping):
        return {key: _without_folders(own) for key, own in value.items()}
    if isinstance(value, list):
        return [_without_folders(own) for own in value]
    return UNFILLED if isinstance(value, str) and Path(value).is_absolute() else value


def _line(result: Mapping[str, Any]) -> list[str]:
    counts = " / ".join(str(n) for n in result["characters"].values())
    return [str(result["lines"]), _rate(result, "cer"), _rate(result, "wer"), counts]


def _denoiser(result: Mapping[str, Any]) -> list[str]:
    before = (f"{100 * result['before'][name]:.2f} %" for name in ("cer", "wer"))
    return [str(result["lines"]), *before, _rate(result, "cer"), _rate(result, "wer")]


def _paragraph(result: Mapping[str, Any]) -> list[str]:
    return [str(result["pages"]), f"{result['mean_iou']:.4f}", f"{result['worst_iou']:.4f}"]


def _segmentation(result: Mapping[str, Any]) -> list[str]:
    rates = (f"{result[name]:.4f}" for name in ("f1_50", "f1_75", "mean_iou"))
    return [str(result["pages"]), f"{result['true']} {result['unit']}s", *rates]


# target -> heads of a stage's columns, and what fills them
COLUMNS: dict[str, tuple[list[str], Callable[[Mapping[str, Any]], list[str]]]] = {
    "paragraph": (["test pages", "mean IoU of the area", "worst"], _paragraph),
    "segmentation": (["test pages", "boxes", "F1 at IoU 0.5", "at 0.75", "mean IoU"], _segmentation),
    "line": (["test lines", "CER [95 %]", "WER [95 %]", "N / S / D / I of characters"], _line),
    "denoiser": (["test lines", "CER before", "WER before", "CER [95 %]", "WER [95 %]"], _denoiser),
}


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(result: Mapping[str, Any], name: str) -> str:
    low, high = (f"{100 * end:.1f}" for end in result["intervals"][name])
    return f"{100 * result[name]:.2f} % [{low}, {high}]"
