"""Compare two evaluations of the same lines or pages: error rates, and significance tests."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from hwr.comparison.compared import SAME, ComparedRun
from hwr.config.roots import Resampling, Scorer
from hwr.errors import InputError
from hwr.scoring import edits, significance
from hwr.scoring.edits import Counts
from hwr.scoring.report import LineScore
from hwr.scoring.sclite import sctk_matched_pairs
from hwr.scoring.significance import Interval

_IOU_UNITS = 10_000  # an IoU is kept to four decimals
_SHOWN = 40  # characters of what differs
UNREAD = LineScore("", "", "", Counts(), Counts(), "")  # what a run has of a line that it did not read


@dataclass(frozen=True, kw_only=True)
class PairedTest:
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


@dataclass(frozen=True)
class Comparison:
    """Runs evaluated on one split: tests[i] are those of runs[i + 1] against runs[0], held to a level."""

    runs: Sequence[ComparedRun]
    tests: Sequence[Sequence[PairedTest]]
    split: str
    level: float

    def against_first(self) -> Iterator[tuple[ComparedRun, Sequence[PairedTest]]]:
        """Yield each run but the first, with its tests."""
        return zip(self.runs[1:], self.tests, strict=True)


@dataclass(frozen=True)
class PairedRate:
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

    def by_writer(self, writers: Mapping[str, str]) -> "PairedRate":
        """Return the same rate of lines, summed by the writer of each."""
        first, second = (significance.sum_by_cluster(side, writers) for side in (self.first, self.second))
        return PairedRate(self.name, "writers", first, second)

    def tested(self, test: str, p: float, *, interval: Interval | None = None, note: str = "") -> PairedTest:
        """Return a test of this rate over all its units."""
        return PairedTest(
            measure=self.name, test=test, units=len(self.first), what=self.what, rates=self.rates,
            interval=interval, p=p, adjusted=p, note=note,
        )  # fmt: skip


def check_comparable(first: ComparedRun, second: ComparedRun) -> None:
    """Raise InputError where two evaluations are not of the same data in the same way."""
    pair, remedy = f"runs {first.short} and {second.short}", "evaluate both alike"
    for key, name in SAME.items():
        one, other = (str(run.scores.get(key)) for run in (first, second))
        if one != other:
            shown = ", ".join(_cut(text, one, other) for text in (one, other))
            raise InputError(f"{pair} were evaluated on other {name} ({shown}); {remedy}")
    for line in {**first.lines, **second.lines}:
        texts = [run.lines.get(line, UNREAD).reference for run in (first, second)]
        if texts[0] != texts[1]:
            raise InputError(f"{pair}: line {line} is not written alike in both evaluations; {remedy}")


def error_rates(first: ComparedRun, second: ComparedRun) -> list[PairedRate]:
    """Return the error rates that both evaluations hold; what is read where nothing is, counts as well."""
    runs = (first, second)
    if first.lines:
        ids = list({**first.lines, **second.lines})
        sides = [{line: run.lines.get(line, UNREAD) for line in ids}.items() for run in runs]
        return [
            PairedRate("CER", "lines", *({line: own.characters for line, own in side} for side in sides)),
            PairedRate("WER", "lines", *({line: own.words for line, own in side} for side in sides)),
        ]
    if "iou_by_page" in first.scores:
        areas = [
            {page: Counts(_IOU_UNITS, round(_IOU_UNITS * (1 - iou))) for page, iou in pages.items()}
            for pages in (run.scores["iou_by_page"] for run in runs)
        ]
        return [PairedRate("1 − IoU", "pages", *areas)]
    pages = [run.scores["by_page"].items() for run in runs]
    return [
        PairedRate(f"boxes missed or extra at IoU 0.{limit}", "pages",
                   *({page: _boxes(boxes, limit) for page, boxes in side} for side in pages))
        for limit in (50, 75)
    ]  # fmt: skip


def paired_tests(
    first: ComparedRun, second: ComparedRun, how: Resampling, scorer: Scorer, *, level: float
) -> list[PairedTest]:
    """Return all tests of two evaluations that `check_comparable` accepts.

    Where swaps of writers can give a p-value of `level`, the test over writers decides, else that over lines.
    """
    writers = {name: line.writer for run in (second, first) for name, line in run.lines.items()}
    if not all(writers.values()) or len(set(writers.values())) < 2:
        writers = {}
    rates = error_rates(first, second)
    tests: list[PairedTest] = []
    for rate in rates:
        clustered = _permutation_and_bootstrap(rate.by_writer(writers), how) if writers else []
        tests += _deciding(_permutation_and_bootstrap(rate, how), clustered, level)
    if first.lines:
        characters, words = rates
        wrong = PairedRate("lines with an error", "lines", *(
            {line: Counts(1, int(counts.errors > 0)) for line, counts in side.items()}
            for side in (characters.first, characters.second)
        ))  # fmt: skip
        clustered = [_permutation(wrong.by_writer(writers))] if writers else []
        tests += [_matched_pairs(first, second, words, scorer)]
        tests += _deciding([_mcnemar(first, second, wrong)], clustered, level)
    return tests


def adjust_tests(comparisons: Sequence[Sequence[PairedTest]]) -> list[list[PairedTest]]:
    """Return the tests of several runs against one, each test's p-values adjusted together (Holm)."""
    kinds = zip(*comparisons, strict=True)
    adjusted = [significance.holm_adjusted([test.p for test in kind]) for kind in kinds]
    return [
        [replace(test, adjusted=p[number]) for test, p in zip(tests, adjusted, strict=True)]
        for number, tests in enumerate(comparisons)
    ]


def _deciding(lines: Sequence[PairedTest], writers: Sequence[PairedTest], level: float) -> list[PairedTest]:
    """Return the tests of a rate, first those of what decides."""
    enough = bool(writers) and _least_p(writers[0].units) <= level
    first, *others = [*writers, *lines] if enough else [*lines, *writers]
    return [replace(first, decides=True), *others]


def _least_p(units: int) -> float:
    """Return the smallest p-value that swaps of so many units can have."""
    return float(2.0 ** (1 - units))


def _permutation(rate: PairedRate) -> PairedTest:
    least = _least_p(len(rate.first))
    note = f"of {len(rate.first)} {rate.what} p cannot fall below {least:.2g}" if least > 0.01 else ""
    return rate.tested("permutation", significance.permutation_p(*rate.errors), note=note)


def _permutation_and_bootstrap(rate: PairedRate, how: Resampling) -> list[PairedTest]:
    first, second = (list(side.values()) for side in (rate.first, rate.second))
    interval, p = significance.bootstrap_test(first, second, how)
    return [_permutation(rate), rate.tested("bootstrap", p, interval=interval)]


def _matched_pairs(first: ComparedRun, second: ComparedRun, words: PairedRate, scorer: Scorer) -> PairedTest:
    lines = {**second.lines, **first.lines}
    references = {name: line.reference for name, line in lines.items()}
    one, other = ({n: run.lines.get(n, UNREAD).hypothesis for n in lines} for run in (first, second))
    if scorer.name == "sclite":
        outcome, maker = sctk_matched_pairs(references, one, other, scorer), "by SCTK's sc_stats"
    else:
        segments: list[significance.Errors] = []
        for name, reference in references.items():
            aligned = (edits.align(reference.split(), side[name].split()) for side in (one, other))
            segments += significance.error_segments(*aligned)
        outcome, maker = significance.matched_pairs(segments), "in process"
    test = words.tested("matched pairs", outcome.p, note=f"MAPSSWE {maker}, z = {outcome.z:.3f}")
    return replace(test, units=outcome.segments, what="segments")


def _mcnemar(first: ComparedRun, second: ComparedRun, wrong: PairedRate) -> PairedTest:
    pairs = list(zip(*wrong.errors, strict=True))
    first_alone, second_alone = (sum(pair == alone for pair in pairs) for alone in ((1, 0), (0, 1)))
    note = f"{second_alone} read well by {first.label} alone, {first_alone} by {second.label}"
    return wrong.tested("McNemar", significance.mcnemar_p(first_alone, second_alone), note=note)


def _boxes(page: Mapping[str, int], limit: int) -> Counts:
    matched = page[f"matched_{limit}"]
    return Counts(page["true"], 0, page["true"] - matched, page["predicted"] - matched)


def _cut(text: str, *both: str) -> str:
    """Return a text as it is, or of a long one what stands where the two begin to differ."""
    if len(text) <= _SHOWN:
        return text
    differ = next((n for n, (a, b) in enumerate(zip(*both, strict=False)) if a != b), 0)
    start = max(0, differ - _SHOWN // 2)
    end = start + _SHOWN
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
