"""A comparison as sentences and tables, for a page and for a terminal alike."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from hwr import tracking
from hwr.comparison.paired import Result
from hwr.comparison.recorded import Recorded
from hwr.tables import ABSENT

Value = TypeVar("Value")

COMPARED = ("best/", "test/", "evaluation/")  # metrics of one number; curves are for MLflow's own page
_RATES = ("cer", "wer", "error", "cer_lines", "wer_lines", "cer_writers", "wer_writers")  # in percent
_LONGEST = 80  # characters of a value that is shown whole


@dataclass(frozen=True)
class Comparison:
    """Runs evaluated on one split: results[i] are those of runs[i + 1] against runs[0], held to a level."""

    runs: Sequence[Recorded]
    results: Sequence[Sequence[Result]]
    split: str
    level: float


@dataclass(frozen=True)
class Table:
    """A titled table of plain text; `marked` rows matter most, `note` says what a reader should know."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    marked: frozenset[int] = frozenset()
    note: str = ""


def sentences(comparison: Comparison) -> list[str]:
    """Return a sentence for each measure of each run: which errs less, and how sure that is."""
    base, *others = comparison.runs
    return [
        _sentence(base, run, result, comparison)
        for run, own in zip(others, comparison.results, strict=True)
        for result in own
        if result.decides
    ]


def tables(comparison: Comparison) -> list[Table]:
    """Return all tables in order: runs, tests, metrics, then what else differs."""
    runs = comparison.runs
    return [
        _runs(runs),
        *(_tests(comparison, place) for place in range(len(runs) - 1)),
        _metrics(runs),
        _differing("Parameters that differ", runs, [parameters(run) for run in runs]),
        _differing("Training data", runs, [data(run) for run in runs]),
        _differing("Environment", runs, [run.environment for run in runs]),
    ]


def differing(sides: Sequence[Mapping[str, Value]]) -> dict[str, list[Value | None]]:
    """Return the keys whose values are not alike on all sides, in order, None where a side lacks one."""
    keys = sorted({key for side in sides for key in side})
    found = {key: [side.get(key) for side in sides] for key in keys}
    return {key: values for key, values in found.items() if any(value != values[0] for value in values)}


def parameters(run: Recorded) -> dict[str, str]:
    """Return how a run was made and, where its scores tell, how it was evaluated.

    Runs that only evaluate have the same parameters under both names; they are given once.
    """
    settings = {**run.scores.get("settings", {}), "scorer": run.scores.get("scorer", "")}
    evaluated = tracking.flatten({"evaluation": settings})
    only_evaluates = "target" in run.parameters  # a key of conf/evaluate.yaml, of no training
    made = {
        k: v for k, v in run.parameters.items() if not (only_evaluates and f"evaluation.{k}" in evaluated)
    }
    return {**made, **evaluated}


def data(run: Recorded) -> dict[str, str]:
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


def _sentence(base: Recorded, run: Recorded, result: Result, comparison: Comparison) -> str:
    better = result.better(comparison.level)
    verdict = (
        f"no significant difference between {run.label} and {base.label}"
        if better is None
        else f"{(base, run)[better].label} is significantly better than {(run, base)[better].label}"
    )
    rates = f"{run.label} {percent(result.rates[1])}, {base.label} {percent(result.rates[0])}"
    sure = f"{result.test} test over {result.units} {result.what}, p {_equals(p_value(result.adjusted))}"
    return f"{result.measure}: {verdict} ({rates}; {sure})"


def _runs(runs: Sequence[Recorded]) -> Table:
    rates = [name for name in ("cer", "wer", "mean_iou", "f1_50") if name in runs[0].scores]
    rows = [
        [
            run.label,
            run.name,
            run.short,
            run.started,
            *(_number(name, run.scores[name]) for name in rates),
            _digests(run.scores["weights_sha256"]),
        ]
        for run in runs
    ]
    scores = runs[0].scores
    counted = f"{scores['lines']} lines" if "lines" in scores else f"{scores['pages']} pages"
    note = f"Evaluated on {counted} of split {scores['split']}, data {scores['data_fingerprint'][:12]}."
    return Table("Runs", ["", "name", "run", "started", *map(str.upper, rates), "weights"], rows, note=note)


def _tests(comparison: Comparison, place: int) -> Table:
    base, run = comparison.runs[0], comparison.runs[place + 1]
    several = len(comparison.runs) > 2
    rows: list[list[str]] = []
    for before, result in zip([None, *comparison.results[place]], comparison.results[place], strict=False):
        rates = [result.measure, *map(percent, result.rates), points(result.difference)]
        known = before is not None and before.measure == result.measure
        rows.append(
            [
                *([""] * len(rates) if known else rates),
                f"{result.units} {result.what}",
                result.test,
                _interval(result),
                p_value(result.p),
                *([p_value(result.adjusted)] if several else []),
                _verdict(base, run, result, comparison.level),
            ]
        )
    change = f"{run.label} − {base.label}, points"
    adjusted = ["p (Holm)"] if several else []
    head = ["error rate", base.label, run.label, change, "over", "test", "95 % interval", "p", *adjusted,
            f"at {comparison.level:g}"]  # fmt: skip
    marked = frozenset(n for n, result in enumerate(comparison.results[place]) if result.decides)
    notes = [f"{own.measure}, {own.test}: {own.note}." for own in comparison.results[place] if own.note]
    return Table(f"{run.label} against {base.label}", head, rows, marked, note=" ".join(notes))


def _verdict(base: Recorded, run: Recorded, result: Result, level: float) -> str:
    better = result.better(level)
    return "not significant" if better is None else f"{(base, run)[better].label} better"


def _metrics(runs: Sequence[Recorded]) -> Table:
    base, *others = runs
    names = sorted({name for run in runs for name in run.metrics if name.startswith(COMPARED)})
    rows = []
    for name in names:
        values = [run.metrics.get(name) for run in runs]
        row = [name, *(ABSENT if value is None else _number(name, value) for value in values)]
        rows.append(row + [_change(name, values[0], value) for value in values[1:]])
    changes = [f"{run.label} − {base.label}" for run in others]
    return Table("Metrics", ["", *(run.label for run in runs), *changes], rows)


def _differing(title: str, runs: Sequence[Recorded], sides: Sequence[Mapping[str, str]]) -> Table:
    """Return what differs; where a run has nothing of the kind recorded, nothing is said of it."""
    lacking = [run.label for run, side in zip(runs, sides, strict=True) if not side]
    if lacking:
        return Table(title, [], [], note=f"Not recorded for {', '.join(lacking)}.")
    found = differing(sides)
    rows = [[key, *(ABSENT if v is None else _cut(v) for v in values)] for key, values in found.items()]
    return Table(title, ["", *(run.label for run in runs)], rows, note="" if rows else "No difference.")


def _digests(found: str | Sequence[str]) -> str:
    """Return the beginnings of the digests of weights, one, or several where pages were read."""
    return " ".join(digest[:8] for digest in ([found] if isinstance(found, str) else found))


def _interval(result: Result) -> str:
    if result.interval is None:
        return ""
    return f"{points(result.interval[0])} to {points(result.interval[1])}"


def _change(name: str, base: float | None, value: float | None) -> str:
    if base is None or value is None:
        return ABSENT
    return points(value - base) if _is_rate(name) else _signed(f"{value - base:+.4g}")


def _number(name: str, value: float) -> str:
    return percent(value) if _is_rate(name) else f"{value:.6g}"


def _is_rate(name: str) -> bool:
    return name.rpartition("/")[2].endswith(_RATES)


def _signed(number: str) -> str:
    return number.replace("-", "−")


def _equals(p: str) -> str:
    return p if p.startswith("<") else f"= {p}"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
