"""The report of a comparison: sentences, tables, an HTML page, and the lines that changed most."""

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from hwr import pictures, tracking
from hwr.comparison.compared import ComparedRun
from hwr.comparison.paired import Comparison, PairedTest
from hwr.images.load import GreyImage
from hwr.scoring.edits import Counts
from hwr.scoring.report import LineScore
from hwr.scoring.significance import sum_by_cluster
from hwr.tables import ABSENT, figure_columns, text_table
from hwr.text import shortened

Value = TypeVar("Value")
Side = Mapping[str, Value]  # what is recorded of a run

_METRICS = ("best/", "test/", "evaluation/")  # metrics of one number; curves are for MLflow's own page
_RATES = ("cer", "wer", "error", "cer_lines", "wer_lines", "cer_writers", "wer_writers")  # in percent
_LONGEST = 80  # characters of a value that is shown whole
_WRITERS = 20  # rows of the table of writers
_SHORT = 24  # characters of a cell that is not broken
_LEFT, _RIGHT = 320, 860  # px between which intervals are drawn
_BLANK = np.full((1, 1), 255, np.uint8)  # in place of a line whose picture is not kept


@dataclass(frozen=True)
class Table:
    """A titled table of plain text; `marked` rows matter most, `note` says what a reader should know."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    note: str = ""

    @property
    def styles(self) -> list[str]:
        """The style of each column on the page: figure, short, or none."""
        columns = zip(zip(*self.rows, strict=True), figure_columns(self.rows), strict=True)
        return [
            "figure" if is_figure else "short" if max(map(len, cells)) <= _SHORT else ""
            for cells, is_figure in columns
        ]


def text_report(comparison: Comparison) -> str:
    """Return the comparison for a terminal: sentences, and tables in columns."""
    blocks = []
    for table in tables(comparison):
        cells = text_table(table.head, table.rows) if table.rows else ""
        blocks.append("\n".join(filter(None, [table.title.upper(), cells, table.note])))
    return "\n\n".join([blocks[0], "\n".join(sentences(comparison)), *blocks[1:]])


def html_report(comparison: Comparison, picture: Path | None) -> str:
    """Return the comparison as one page that needs nothing else, with the picture of changed lines."""
    runs = comparison.runs
    names = " and ".join(f"{run.name} {run.short}" for run in runs) if len(runs) == 2 else f"{len(runs)} runs"
    first, *others = tables(comparison)
    count = len(comparison.tests)
    loader = PackageLoader("hwr.comparison", "")
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2").render(
        title=f"Comparison of {names}",
        sentences=sentences(comparison),
        tables=[first, *others[:count]],
        intervals=_intervals(comparison),
        differences=others[count:],
        picture=None if picture is None else base64.b64encode(picture.read_bytes()).decode("ascii"),
    )


def draw_changed_lines(comparison: Comparison, count: int) -> pictures.Picture | None:
    """Draw for each run so many lines that got better, and that got worse; None where no line changed.

    Each has its picture, where one is kept, what is written, and what both runs read.
    """
    base, *runs = comparison.runs
    groups = {}
    for run in runs:
        better, worse = most_changed(base, run, count)
        groups[f"{run.label} reads better than {base.label}"] = _line_cards(base, run, better)
        groups[f"{run.label} reads worse than {base.label}"] = _line_cards(base, run, worse)
    groups = {title: group for title, group in groups.items() if group}
    return pictures.readings(groups) if groups else None


def most_changed(base: ComparedRun, run: ComparedRun, count: int) -> tuple[list[str], list[str]]:
    """Return the ids of lines with the largest loss, and with the largest gain, of wrong characters."""
    both = {name: (line, run.lines[name]) for name, line in base.lines.items() if name in run.lines}
    changes = {name: own.characters.errors - one.characters.errors for name, (one, own) in both.items()}
    ranked = sorted(changes, key=changes.__getitem__)  # where changes are alike, in the order of the lines
    better = [name for name in ranked if changes[name] < 0]
    worse = sorted((name for name in changes if changes[name] > 0), key=lambda name: -changes[name])
    return better[:count], worse[:count]


def sentences(comparison: Comparison) -> list[str]:
    """Return a sentence for each measure of each run: which errs less, and how sure that is."""
    base, level = comparison.runs[0], comparison.level
    pairs = ((run, test) for run, tests in comparison.against_first() for test in tests if test.decides)
    return [_sentence(base, run, test, level) for run, test in pairs]


def tables(comparison: Comparison) -> list[Table]:
    """Return all tables in order: runs, tests, metrics, then what else differs."""
    runs = comparison.runs
    return [
        _run_table(runs),
        *(_test_table(comparison, run, tests) for run, tests in comparison.against_first()),
        *_writer_table(runs),
        _metric_table(runs),
        _difference_table("Parameters that differ", runs, known(runs, parameters)),
        _difference_table("Training data", runs, known(runs, training_data)),
        _difference_table("Environment", runs, known(runs, environment)),
    ]


def known(runs: Sequence[ComparedRun], what: Callable[[ComparedRun], Side[str]]) -> list[Side[str] | None]:
    """Return what is recorded of each run; None for hypotheses of another system."""
    return [None if run.is_foreign else what(run) for run in runs]


def differing(sides: Sequence[Side[Value] | None]) -> dict[str, list[Value | None]]:
    """Return the keys whose values are not alike on all sides, in order, None where a side lacks one.

    A side that is None has no values, and counts for nothing.
    """
    own = [side for side in sides if side is not None]
    keys = [
        key for key in sorted(set[str]().union(*own)) if any(side.get(key) != own[0].get(key) for side in own)
    ]
    return {key: [None if side is None else side.get(key) for side in sides] for key in keys}


def by_writer(runs: Sequence[ComparedRun]) -> dict[str, list[Counts]]:
    """Return the character counts of each run by writer, of the largest difference first.

    Nothing, unless every line has a writer.
    """
    writers = {name: line.writer for run in reversed(runs) for name, line in run.lines.items()}
    if not all(writers.values()):
        return {}
    sums = [
        sum_by_cluster({name: line.characters for name, line in run.lines.items()}, writers) for run in runs
    ]
    rows = {writer: [own.get(writer, Counts()) for own in sums] for writer in dict.fromkeys(writers.values())}

    def spread(writer: str) -> float:
        errors = [counts.errors for counts in rows[writer]]
        return -(max(errors) - min(errors)) / max(1, rows[writer][0].reference)

    return {writer: rows[writer] for writer in sorted(rows, key=spread)}


def line_table(runs: Sequence[ComparedRun]) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of all lines: id, writer, reference, and text and character errors of each run."""
    ids = dict.fromkeys(name for run in runs for name in run.lines)
    firsts = {name: line for run in reversed(runs) for name, line in run.lines.items()}
    head = [cell for run in runs for cell in (run.label, f"{run.label}_errors")]
    rows = [
        [name, firsts[name].writer, firsts[name].reference]
        + [cell for run in runs for cell in _line_cells(run.lines.get(name))]
        for name in ids
    ]
    return ["id", "writer", "reference", *head], rows


def parameters(run: ComparedRun) -> dict[str, str]:
    """Return how a run was made and, where its scores tell, how it was evaluated.

    Runs that only evaluate have the same parameters under both names; they are given once.
    """
    settings = {**run.scores.get("settings", {}), "scorer": run.scores.get("scorer", "")}
    evaluated = tracking.flatten({"evaluation": settings})
    once = evaluated if "target" in run.parameters else ()  # a key of conf/evaluate.yaml, of no training
    return {**{k: v for k, v in run.parameters.items() if f"evaluation.{k}" not in once}, **evaluated}


def environment(run: ComparedRun) -> Side[str]:
    """Return where a run was made."""
    return run.environment


def training_data(run: ComparedRun) -> dict[str, str]:
    """Return which data a run was trained on, and how much of them."""
    fingerprint = run.tags.get("data_fingerprint")
    return {**({"fingerprint": fingerprint[:16]} if fingerprint else {}), **run.data}


def percent(rate: float) -> str:
    """Return a rate as a percentage with two decimals."""
    return f"{100 * rate:.2f} %"


def points(difference: float) -> str:
    """Return a difference of rates in percentage points, signed."""
    return _signed(f"{100 * difference:+.2f}") if difference else "0.00"


def p_value(p: float) -> str:
    """Return a p-value with three decimals; of smaller ones, that they are smaller."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _sentence(base: ComparedRun, run: ComparedRun, test: PairedTest, level: float) -> str:
    better = test.better(level)
    verdict = f"no significant difference between {run.label} and {base.label}"
    if better is not None:
        verdict = f"{(base, run)[better].label} is significantly better than {(run, base)[better].label}"
    rates = f"{run.label} {percent(test.rates[1])}, {base.label} {percent(test.rates[0])}"
    p = p_value(test.adjusted)
    sure = f"{test.test} test over {test.units} {test.what}, p {p if p.startswith('<') else f'= {p}'}"
    return f"{test.measure}: {verdict} ({rates}; {sure})"


def _run_table(runs: Sequence[ComparedRun]) -> Table:
    rates = [name for name in ("cer", "wer", "mean_iou", "f1_50") if name in runs[0].scores]
    rows = []
    for run in runs:
        digests = run.scores["weights_sha256"]  # one, or several where pages were read
        weights = " ".join(digest[:8] for digest in ([digests] if isinstance(digests, str) else digests))
        figures = [_number(name, run.scores[name]) for name in rates]
        rows.append([run.label, run.name, run.short, run.started, *figures, weights])
    scores = runs[0].scores
    counted = f"{scores['lines']} lines" if "lines" in scores else f"{scores['pages']} pages"
    note = f"Evaluated on {counted} of split {scores['split']}, data {scores['data_fingerprint'][:12]}."
    note = " ".join([note, *(told for run in runs for told in _incomplete(run))])
    return Table("Runs", ["", "name", "run", "started", *map(str.upper, rates), "weights"], rows, note=note)


def _incomplete(run: ComparedRun) -> list[str]:
    """Return what hypotheses of another system lack, and what they hold besides."""
    said = {"missing": "are missing and count as empty", "unknown": "are not scored here and left out"}
    found = {key: run.scores.get(key, []) for key in said}
    return [
        f"{run.label}: {len(ids)} lines {said[key]} ({', '.join(ids[:3])}{' …' if len(ids) > 3 else ''})."
        for key, ids in found.items()
        if ids
    ]


def _writer_table(runs: Sequence[ComparedRun]) -> list[Table]:
    """Return the error rates of the writers on whom runs differ most; none where writers are not known."""
    rows = by_writer(runs)
    shown = [
        [writer, str(counts[0].reference), *(percent(own.rate) for own in counts)]
        for writer, counts in list(rows.items())[:_WRITERS]
    ]
    more = f"{len(rows) - _WRITERS} more are in comparison.json." if len(rows) > _WRITERS else ""
    head = ["writer", "characters", *(run.label for run in runs)]
    return [Table("CER by writer", head, shown, note=more)] if rows else []


def _line_cells(line: LineScore | None) -> list[str]:
    return ["", ""] if line is None else [line.hypothesis, str(line.characters.errors)]


def _test_table(comparison: Comparison, run: ComparedRun, tests: Sequence[PairedTest]) -> Table:
    base, several = comparison.runs[0], len(comparison.runs) > 2
    rows, measure = [], ""
    for test in tests:
        rates = [test.measure, *map(percent, test.rates), points(test.difference)]
        better = test.better(comparison.level)
        rows.append([
            *([""] * len(rates) if test.measure == measure else rates),
            f"{test.units} {test.what}",
            test.test,
            "" if test.interval is None else " to ".join(map(points, test.interval)),
            p_value(test.p),
            *([p_value(test.adjusted)] if several else []),
            "not significant" if better is None else f"{(base, run)[better].label} better",
        ])  # fmt: skip
        measure = test.measure
    change = f"{run.label} − {base.label}, points"
    adjusted = ["p (Holm)"] if several else []
    head = ["error rate", base.label, run.label, change, "over", "test", "95 % interval", "p", *adjusted,
            f"at {comparison.level:g}"]  # fmt: skip
    marked = frozenset(n for n, test in enumerate(tests) if test.decides)
    notes = [f"{test.measure}, {test.test}: {test.note}." for test in tests if test.note]
    return Table(f"{run.label} against {base.label}", head, rows, marked, note=" ".join(notes))


def _metric_table(runs: Sequence[ComparedRun]) -> Table:
    base, *others = runs
    rows = []
    for name in sorted({name for run in runs for name in run.metrics if name.startswith(_METRICS)}):
        values = [run.metrics.get(name) for run in runs]
        row = [name, *(ABSENT if value is None else _number(name, value) for value in values)]
        rows.append(row + [_change(name, values[0], value) for value in values[1:]])
    changes = [f"{run.label} − {base.label}" for run in others]
    return Table("Metrics", ["", *(run.label for run in runs), *changes], rows)


def _difference_table(title: str, runs: Sequence[ComparedRun], sides: Sequence[Side[str] | None]) -> Table:
    """Return what differs; where a run has nothing of the kind recorded, nothing is said of it."""
    lacking = [run.label for run, side in zip(runs, sides, strict=True) if side is not None and not side]
    if lacking:
        return Table(title, [], [], note=f"Not recorded for {', '.join(lacking)}.")
    rows = [
        [key, *(ABSENT if value is None else shortened(value, _LONGEST) for value in values)]
        for key, values in differing(sides).items()
    ]
    return Table(title, ["", *(run.label for run in runs)], rows, note="" if rows else "No difference.")


def _intervals(comparison: Comparison) -> dict[str, Any] | None:
    """Return what draws the intervals, a row each around a line at zero, in px; None where there is none."""
    base = comparison.runs[0]
    drawn = [
        (f"{run.label} − {base.label}: {test.measure} over {test.units} {test.what}", test, test.interval)
        for run, tests in comparison.against_first()
        for test in tests
        if test.interval is not None
    ]
    if not drawn:
        return None
    ends = [end for _, test, interval in drawn for end in (*interval, test.difference, 0.0)]
    low, room = min(ends), max(max(ends) - min(ends), 1e-9)

    def across(value: float) -> float:
        return round(float(_LEFT + (_RIGHT - _LEFT) * (value - low) / room), 1)

    rows = [
        {"name": name, "start": across(start), "end": across(end), "middle": across(test.difference),
         "text": f"{points(test.difference)} [{points(start)}, {points(end)}]"}
        for name, test, (start, end) in drawn
    ]  # fmt: skip
    return {"rows": rows, "zero": across(0), "right": _RIGHT}


def _line_cards(base: ComparedRun, run: ComparedRun, ids: Sequence[str]) -> list[pictures.LineCard]:
    return [
        pictures.LineCard(image, name, base.lines[name].reference, {
            side.label: pictures.ReadText(side.lines[name].hypothesis, side.lines[name].characters.errors)
            for side in (base, run)
        })
        for name, image in zip(ids, _line_images(base, run, ids), strict=True)
    ]  # fmt: skip


def _line_images(base: ComparedRun, run: ComparedRun, ids: Sequence[str]) -> list[GreyImage]:
    for side in (base, run):
        if side.line_pictures is not None:
            numbers = {name: number for number, name in enumerate(side.lines)}
            return pictures.load_lines(side.line_pictures, [numbers[name] for name in ids])
    return [_BLANK] * len(ids)


def _change(name: str, base: float | None, value: float | None) -> str:
    if base is None or value is None:
        return ABSENT
    return points(value - base) if _is_rate(name) else _signed(f"{value - base:+.4g}")


def _number(name: str, value: float) -> str:
    return percent(value) if _is_rate(name) else f"{value:.6g}"


def _is_rate(name: str) -> bool:
    return any(part.endswith(_RATES) for part in name.split("/"))  # test/cer/letters is one too


def _signed(number: str) -> str:
    return number.replace("-", "−")
