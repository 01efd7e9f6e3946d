"""Compare runs with the first of them: settings, scores, changed lines, and significance tests."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwr import pictures, tracking
from hwr.comparison import paired, report
from hwr.comparison.compared import (
    COMPARED,
    ComparedRun,
    fetch_run,
    find_runs,
    names_hypotheses,
    score_hypotheses,
)
from hwr.comparison.paired import Comparison
from hwr.config.compose import Composed
from hwr.config.roots import CompareConfig
from hwr.errors import InputError
from hwr.files import make_folder, scratch_folder, write_json, write_text
from hwr.scoring.report import write_tsv
from hwr.scoring.sclite import check_scorer
from hwr.tracking.notes import repeating, write_note

REPORT, NUMBERS, LINES, PICTURE = "report.html", "comparison.json", "lines.tsv", "lines.png"
LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def compare_runs(composed: Composed, *, names: Sequence[str]) -> None:
    """Compare runs as configured: print the tables, write the report, and log it as a run of its own."""
    config: CompareConfig = composed.root
    check_scorer(config.scorer)
    if not 2 <= len(names) <= len(LABELS):
        raise InputError(f"compare takes 2 to {len(LABELS)} runs, not {len(names)}; give their ids, or last")
    output = Path(config.output)
    make_folder(output)
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    with scratch_folder() as scratch, tracking.refusing(store.uri):
        runs = _fetched(store, names, config, scratch)
        comparison = compare_recorded(runs, config)
        _write(comparison, config, output)
    print(report.text_report(comparison))
    tags = {COMPARED: " ".join(run.id for run in runs), **{f"{COMPARED}.{run.label}": run.id for run in runs}}
    with tracking.start_run(store, "compare", tags=tags) as current:
        current.parameters(composed.values)
        current.metrics(_metrics(comparison), 0)
        told = [f"- {sentence}" for sentence in report.sentences(comparison)]
        write_note(current, [repeating(), *told])
        for name in (REPORT, NUMBERS, *([LINES] if runs[0].lines else [])):
            current.text(f"comparison/{name}", (output / name).read_text(encoding="utf-8"))
    print(f"\nreport {output / REPORT}\nrun {current.id}\nlook: {current.url}")


def _fetched(
    store: tracking.Store, names: Sequence[str], config: CompareConfig, folder: Path
) -> list[ComparedRun]:
    """Return what names name, in order: runs, and hypotheses scored on the lines of the first run."""
    labels = dict(zip(names, LABELS, strict=False))
    if len(labels) < len(names):
        raise InputError(f"{' '.join(names)}: one is named twice; name two")
    ours = [name for name in names if not names_hypotheses(name)]
    if not ours:
        raise InputError(f"{names[0]}: is scored on the lines of an evaluated run; name one beside it")
    found = zip(ours, find_runs(store, ours, config.split, folder), strict=True)
    runs = {name: fetch_run(store, run, labels[name], config.split, folder) for name, run in found}
    base = runs[ours[0]]
    for name in names:
        if name not in runs:
            runs[name] = score_hypotheses(Path(name), labels[name], base, config, folder)
    return [runs[name] for name in names]


def compare_recorded(runs: Sequence[ComparedRun], config: CompareConfig) -> Comparison:
    """Return the comparison of runs with the first; InputError where they were not evaluated alike."""
    base, *others = runs
    for other in others:
        paired.check_comparable(base, other)
    level = config.level / len(others)  # p-values are adjusted for so many runs
    how = config.resampling, config.scorer
    tests = [paired.paired_tests(base, other, *how, level=level) for other in others]
    return Comparison(runs, paired.adjust_tests(tests), config.split, config.level)


def _write(comparison: Comparison, config: CompareConfig, output: Path) -> None:
    picture = report.draw_changed_lines(comparison, config.pictures)
    (output / PICTURE).unlink(missing_ok=True)
    if picture is not None:
        pictures.save_picture(output / PICTURE, picture)
    html = report.html_report(comparison, None if picture is None else output / PICTURE)
    write_text(output / REPORT, html)
    write_json(output / NUMBERS, _numbers(comparison, config))
    if comparison.runs[0].lines:
        write_tsv(output / LINES, *report.line_table(comparison.runs))


def _numbers(comparison: Comparison, config: CompareConfig) -> dict[str, Any]:
    """Return everything that the report says, for programs."""
    runs = comparison.runs
    return {
        "split": comparison.split,
        "level": comparison.level,
        "resampling": asdict(config.resampling),
        "data_fingerprint": runs[0].scores["data_fingerprint"],
        "runs": {run.label: {"id": run.id, "name": run.name, "scores": run.scores} for run in runs},
        "against": runs[0].label,
        "tests": {
            run.label: [asdict(test) | {"difference": test.difference} for test in tests]
            for run, tests in comparison.against_first()
        },
        "says": report.sentences(comparison),
        "writers": {
            writer: {run.label: counts._asdict() for run, counts in zip(runs, row, strict=True)}
            for writer, row in report.by_writer(runs).items()
        },
        "parameters": report.differing(report.known(runs, report.parameters)),
        "environment": report.differing(report.known(runs, report.environment)),
        "training_data": report.differing(report.known(runs, report.training_data)),
    }


def _metrics(comparison: Comparison) -> dict[str, float]:
    """Return differences and p-values under names such as `B/CER/permutation_writers/p`."""
    return {
        f"{run.label}/{test.measure}/{test.test}_{test.what}/{name}": value
        for run, tests in comparison.against_first()
        for test in tests
        for name, value in (("difference", test.difference), ("p", test.p))
    }
