"""Published experiments: weights and scores kept under experiments/, and the README's table of them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwr import weights
from hwr.config import ROOT, portable
from hwr.errors import InputError

EXPERIMENTS = ROOT / "experiments"
RESULT, WEIGHTS, CARD = "result.json", "weights", "card.md"


def publish(name: str, found: weights.Weights, summary: Mapping[str, Any]) -> Path:
    """Keep weights and scores as the published experiment `name` (line/copiste); an older one is replaced.

    Paths of this machine stay behind. Raises InputError where no overlay of that name says how it was made.
    """
    if not (EXPERIMENTS / f"{name}.yaml").is_file():
        raise InputError(
            f"publish={name}: experiments/{name}.yaml is missing; write the overlay that makes it first"
        )
    folder = EXPERIMENTS / name
    weights.copy(found, folder / WEIGHTS, portable(found.config))
    kept = {**summary, "weights": name}
    (folder / RESULT).write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return folder


def results() -> dict[str, dict[str, Any]]:
    """Return the scores of every published experiment by name."""
    names = sorted(path.parent.relative_to(EXPERIMENTS) for path in EXPERIMENTS.glob(f"*/*/{WEIGHTS}"))
    return {str(n): json.loads((EXPERIMENTS / n / RESULT).read_text(encoding="utf-8")) for n in names}


def table() -> str:
    """Return the published experiments as a Markdown table."""
    rows = [
        "| weights | test lines | CER [95 %] | WER [95 %] | N / S / D / I of characters |",
        "|---|---|---|---|---|",
    ]
    for name, result in results().items():
        counts = " / ".join(str(n) for n in result["characters"].values())
        cells = [f"[`{name}`](experiments/{name}/{CARD})", str(result["lines"])]
        cells += [_rate(result, "cer"), _rate(result, "wer"), counts]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _rate(result: Mapping[str, Any], name: str) -> str:
    low, high = (f"{100 * end:.1f}" for end in result["intervals"][name])
    return f"{100 * result[name]:.2f} % [{low}, {high}]"
