"""Two or more runs, held against the first: what differs, what changed, and whether that is chance."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwr import tracking
from hwr.comparison import changes, page, paired, recorded, terminal
from hwr.comparison.recorded import Recorded
from hwr.comparison.tables import Comparison, data, differing, parameters, sentences
from hwr.config.bind import make
from hwr.config.compose import Composed
from hwr.config.roots import CompareConfig
from hwr.errors import InputError
from hwr.files import make_folder
from hwr.pictures import cards
from hwr.scoring.sclite import Scorer
from hwr.scoring.significance import Resampling

REPORT, NUMBERS, PICTURE = "report.html", "comparison.json", "lines.png"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def compare_recorded_runs(composed: Composed, *, names: Sequence[str]) -> None:
    """Compare runs as configured: print the tables, write the report, and log it as a run of its own."""
    config: CompareConfig = composed.root
    check(config)
    make(Scorer, config.scorer, "scorer").check()
    if not 2 <= len(names) <= len(LABELS):
        raise InputError(f"compare takes 2 to {len(LABELS)} runs, not {len(names)}; give their ids, or last")
    output = Path(config.output)
    make_folder(output)
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    found = recorded.find(store, names)
    with tempfile.TemporaryDirectory() as place:
        runs = [
            recorded.fetch(store, one, label, config.split, Path(place))
            for one, label in zip(found, LABELS, strict=False)
        ]
        comparison = compare(runs, config)
        _write(comparison, config, output)
    print(terminal.text(comparison))
    with tracking.start_run(store, "compare", tags=_tags(runs)) as current:
        current.parameters(composed.values)
        current.metrics(_metrics(comparison), 0)
        for name in (REPORT, NUMBERS):
            current.text(f"comparison/{name}", (output / name).read_text(encoding="utf-8"))
    print(f"\nreport {output / REPORT}\nrun {current.id}\nlook: {current.url}")


def check(config: CompareConfig) -> None:
    """Raise InputError for settings that no part takes."""
    make(Resampling, config.resampling, "resampling")
    make(Scorer, config.scorer, "scorer")


def compare(runs: Sequence[Recorded], config: CompareConfig) -> Comparison:
    """Return the comparison of runs with the first; InputError where they were not evaluated alike."""
    base, *others = runs
    how = make(Resampling, config.resampling, "resampling")
    scorer = make(Scorer, config.scorer, "scorer")
    for other in others:
        paired.check(base, other)
    level = config.level / len(others)  # p-values are adjusted for so many runs
    results = [paired.results(base, other, how, scorer, level=level) for other in others]
    return Comparison(runs, paired.adjust(results), config.split, config.level)


def _write(comparison: Comparison, config: CompareConfig, output: Path) -> None:
    drawn = changes.picture(comparison, config.pictures)
    (output / PICTURE).unlink(missing_ok=True)
    if drawn is not None:
        cards.save(output / PICTURE, drawn)
    shown = None if drawn is None else output / PICTURE
    (output / REPORT).write_text(page.page(comparison, shown), encoding="utf-8")
    said = json.dumps(_numbers(comparison, config), indent=1, ensure_ascii=False) + "\n"
    (output / NUMBERS).write_text(said, encoding="utf-8")


def _numbers(comparison: Comparison, config: CompareConfig) -> dict[str, Any]:
    """Return everything that the report says, for programs."""
    runs = comparison.runs
    return {
        "split": comparison.split,
        "level": comparison.level,
        "resampling": config.resampling,
        "data_fingerprint": runs[0].scores["data_fingerprint"],
        "runs": {run.label: {"id": run.id, "name": run.name, "scores": run.scores} for run in runs},
        "against": runs[0].label,
        "tests": {
            run.label: [asdict(result) | {"difference": result.difference} for result in results]
            for run, results in zip(runs[1:], comparison.results, strict=True)
        },
        "says": sentences(comparison),
        "parameters": differing([parameters(run) for run in runs]),
        "environment": differing([run.environment for run in runs]),
        "training_data": differing([data(run) for run in runs]),
    }


def _tags(runs: Sequence[Recorded]) -> dict[str, str]:
    labelled = {f"compared.{run.label}": run.id for run in runs}
    return {recorded.COMPARED: " ".join(run.id for run in runs), **labelled}


def _metrics(comparison: Comparison) -> dict[str, float]:
    """Return differences and p-values under names such as `B/CER/permutation_writers/p`."""
    return {
        f"{run.label}/{result.measure}/{result.test}_{result.what}/{name}": value
        for run, results in zip(comparison.runs[1:], comparison.results, strict=True)
        for result in results
        for name, value in (("difference", result.difference), ("p", result.p))
    }
