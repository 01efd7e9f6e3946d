"""What two evaluations of the same lines or pages say of each other: differing error rates, and tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from hwr.comparison.recorded import Recorded
from hwr.errors import InputError
from hwr.scoring import edits, significance
from hwr.scoring.edits import Counts
from hwr.scoring.sclite import Scorer, sctk_matched_pairs
from hwr.scoring.significance import Interval, Resampling

_IOU_UNITS = 10_000  # an IoU is kept to four decimals
_SAME = {
    "target": "targets",
    "data_fingerprint": "data",
    "convention": "scoring conventions",
    "pairing": "pairings of lines",
    "unit": "units",
}
_SHOWN = 40  # characters of what differs

Texts = Mapping[str, str]


@dataclass(frozen=True)
class Measure:
    """An error rate of two runs: the counts of each, in one order, by `what`: lines, pages or writers."""

    name: str
    what: str
    first: Mapping[str, Counts]
    second: Mapping[str, Counts]

    @property
    def rates(self) -> tuple[float, float]:
        """Both rates, over everything."""
        return Counts.total(self.first.values()).rate, Counts.total(self.second.values()).rate

    @property
    def errors(self) -> tuple[list[int], list[int]]:
        """The errors of either run, in order."""
        first, second = ([counts.errors for counts in side.values()] for side in (self.first, self.second))
        return first, second

    def by(self, clusters: Mapping[str, str], what: str) -> "Measure":
        """Return the same over clusters of lines."""
        first, second = (significance.sum_by_cluster(side, clusters) for side in (self.first, self.second))
        return Measure(self.name, what, first, second)


@dataclass(frozen=True, kw_only=True)
class Result:
    """A test of a measure over so many `units` of `what`: both rates, interval and p of their difference.

    `adjusted` is p where several runs are held against one (Holm). Of the tests of a measure one `decides`.
    """

    measure: str
    test: str
    units: int
    what: str
    rates: tuple[float, float]
    interval: Interval | None
    p: float
    adjusted: float
    decides: bool = False
    note: str = ""

    @property
    def difference(self) -> float:
        """The rate of the second run less that of the first: below 0 where the second errs less."""
        return self.rates[1] - self.rates[0]

    def better(self, level: float) -> int | None:
        """Return 0 or 1, the run that errs significantly less at a level; None where neither does."""
        return None if self.adjusted > level or not self.difference else int(self.difference < 0)


def check(first: Recorded, second: Recorded) -> None:
    """Raise InputError where two evaluations are not of the same data in the same way."""
    pair, remedy = f"runs {first.short} and {second.short}", "evaluate both alike"
    for key, name in _SAME.items():
        own, other = (str(run.scores.get(key)) for run in (first, second))
        if own != other:
            shown = ", ".join(_cut(text, own, other) for text in (own, other))
            raise InputError(f"{pair} were evaluated on other {name} ({shown}); {remedy}")
    for line in {**first.lines, **second.lines}:
        texts = [run.lines[line].reference if line in run.lines else "" for run in (first, second)]
        if texts[0] != texts[1]:
            raise InputError(f"{pair}: line {line} is not written alike in both evaluations; {remedy}")


def measures(first: Recorded, second: Recorded) -> list[Measure]:
    """Return the error rates that both evaluations hold; what is read where nothing is, counts as well."""
    runs = (first, second)
    if first.lines:
        ids = list({**first.lines, **second.lines})
        return [
            Measure(name, "lines", *({line: _counts(run, line, unit) for line in ids} for run in runs))
            for name, unit in (("CER", "characters"), ("WER", "words"))
        ]
    if "iou_by_page" in first.scores:
        areas = [{page: _missed(iou) for page, iou in run.scores["iou_by_page"].items()} for run in runs]
        return [Measure("1 − IoU", "pages", *areas)]
    return [
        Measure(
            f"boxes missed or extra at IoU 0.{limit}",
            "pages",
            *({page: _boxes(own, limit) for page, own in run.scores["by_page"].items()} for run in runs),
        )
        for limit in (50, 75)
    ]


def writers(first: Recorded, second: Recorded) -> dict[str, str]:
    """Return the writer of every line; nothing unless all are known and several."""
    found = {name: line.writer for run in (second, first) for name, line in run.lines.items()}
    return found if all(found.values()) and len(set(found.values())) > 1 else {}


def results(
    first: Recorded, second: Recorded, how: Resampling, scorer: Scorer, *, level: float
) -> list[Result]:
    """Return all tests of two evaluations that `check` accepts.

    Where swaps of writers can give a p-value of `level`, the test over writers decides, else that over lines.
    """
    by = writers(first, second)
    found: list[Result] = []
    for measure in measures(first, second):
        found += _in_order(
            _swapped_and_drawn(measure, how),
            _swapped_and_drawn(measure.by(by, "writers"), how) if by else [],
            level,
        )
    if first.lines:
        wrong = _lines_with_an_error(first, second)
        clustered = [_swapped(wrong.by(by, "writers"))] if by else []
        found += [_matched_pairs(first, second, scorer)]
        found += _in_order([_mcnemar(first, second, wrong)], clustered, level)
    return found


def adjust(comparisons: Sequence[Sequence[Result]]) -> list[list[Result]]:
    """Return the results of several runs against one, each test's p-values adjusted together (Holm)."""
    together = [
        significance.holm_adjusted([own.p for own in kind]) for kind in zip(*comparisons, strict=True)
    ]
    return [
        [replace(result, adjusted=p[number]) for result, p in zip(own, together, strict=True)]
        for number, own in enumerate(comparisons)
    ]


def _in_order(lines: Sequence[Result], writers: Sequence[Result], level: float) -> list[Result]:
    """Return the tests of a measure, first those of what decides."""
    enough = bool(writers) and _least(writers[0].units) <= level
    first, *others = [*writers, *lines] if enough else [*lines, *writers]
    return [replace(first, decides=True), *others]


def _least(units: int) -> float:
    """Return the smallest p-value that swaps of so many units can have."""
    return float(2.0 ** (1 - units))


def _swapped(measure: Measure) -> Result:
    units = len(measure.first)
    p, least = significance.permutation_p(*measure.errors), _least(units)
    note = f"of {units} {measure.what} p cannot fall below {least:.2g}" if least > 0.01 else ""
    return Result(
        measure=measure.name, test="permutation", units=units, what=measure.what, rates=measure.rates,
        interval=None, p=p, adjusted=p, note=note,
    )  # fmt: skip


def _swapped_and_drawn(measure: Measure, how: Resampling) -> list[Result]:
    drawn = significance.bootstrap_test(list(measure.first.values()), list(measure.second.values()), how)
    interval, p = drawn if drawn is not None else (None, 1.0)
    swapped = _swapped(measure)
    return [swapped, replace(swapped, test="bootstrap", interval=interval, p=p, adjusted=p, note="")]


def _lines_with_an_error(first: Recorded, second: Recorded) -> Measure:
    """Return the rate of lines that are not read without an error."""
    characters, _ = measures(first, second)
    sides = (
        {line: Counts(1, int(counts.errors > 0)) for line, counts in side.items()}
        for side in (characters.first, characters.second)
    )
    return Measure("lines with an error", "lines", *sides)


def _matched_pairs(first: Recorded, second: Recorded, scorer: Scorer) -> Result:
    lines = {**second.lines, **first.lines}
    references = {name: line.reference for name, line in lines.items()}
    own, other = (
        {name: run.lines[name].hypothesis if name in run.lines else "" for name in lines}
        for run in (first, second)
    )
    if scorer.name == "sclite":
        found, made = sctk_matched_pairs(references, own, other, scorer), "by SCTK's sc_stats"
    else:
        found, made = significance.matched_pairs(_segments(references, own, other)), "in process"
    _, words = measures(first, second)
    return Result(
        measure=words.name, test="matched pairs", units=found.segments, what="segments", rates=words.rates,
        interval=None, p=found.p, adjusted=found.p, note=f"MAPSSWE {made}, z = {found.z:.3f}",
    )  # fmt: skip


def _segments(references: Texts, first: Texts, second: Texts) -> list[significance.Errors]:
    found: list[significance.Errors] = []
    for name, reference in references.items():
        aligned = (edits.align(reference.split(), side[name].split()) for side in (first, second))
        found += significance.error_segments(*aligned)
    return found


def _mcnemar(first: Recorded, second: Recorded, wrong: Measure) -> Result:
    pairs = list(zip(*wrong.errors, strict=True))
    first_alone, second_alone = (sum(pair == alone for pair in pairs) for alone in ((1, 0), (0, 1)))
    p = significance.mcnemar_p(first_alone, second_alone)
    return Result(
        measure=wrong.name, test="McNemar", units=len(pairs), what=wrong.what, rates=wrong.rates,
        interval=None, p=p, adjusted=p,
        note=f"{second_alone} read well by {first.label} alone, {first_alone} by {second.label}",
    )  # fmt: skip


def _counts(run: Recorded, line: str, unit: str) -> Counts:
    own = run.lines.get(line)
    return Counts() if own is None else own.characters if unit == "characters" else own.words


def _missed(iou: float) -> Counts:
    return Counts(_IOU_UNITS, round(_IOU_UNITS * (1 - iou)))


def _boxes(page: Mapping[str, int], limit: int) -> Counts:
    matched = page[f"matched_{limit}"]
    return Counts(page["true"], 0, page["true"] - matched, page["predicted"] - matched)


def _cut(text: str, *both: str) -> str:
    """Return a text as it is, or of a long one what stands where the two begin to differ."""
    if len(text) <= _SHOWN:
        return text
    differ = next((n for n, (a, b) in enumerate(zip(*both, strict=False)) if a != b), 0)
    place = max(0, differ - _SHOWN // 2)
    end = place + _SHOWN
    return f"{'…' if place else ''}{text[place:end]}{'…' if end < len(text) else ''}"
