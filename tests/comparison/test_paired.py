"""What is said of two runs that read the same lines."""

from dataclasses import replace
from pathlib import Path

import pytest

from hwr.comparison import paired
from hwr.comparison.compared import ComparedRun
from hwr.comparison.paired import PairedTest
from hwr.config.roots import Scorer
from hwr.errors import InputError
from hwr.scoring.edits import Counts
from hwr.scoring.report import CONVENTION
from tests.comparison.logged import HOW, IN_PROCESS, TRUTH, Logged, misread, recorded
from tests.scoring.test_sclite import needs_sclite


@pytest.fixture
def pair(tmp_path: Path) -> tuple[ComparedRun, ComparedRun]:
    """Return a run that misreads eight lines of four writers, and one that misreads none."""
    return of(tmp_path, Logged("a", misread(8)), Logged("b", misread(0)))


def of(folder: Path, first: Logged, second: Logged) -> tuple[ComparedRun, ComparedRun]:
    return recorded(first, "A", folder / "a"), recorded(second, "B", folder / "b")


def result(results: list[PairedTest], measure: str, test: str, what: str = "lines") -> PairedTest:
    (found,) = (r for r in results if (r.measure, r.test, r.what) == (measure, test, what))
    return found


def test_results_swap_lines_and_writers(pair: tuple[ComparedRun, ComparedRun]) -> None:
    found = paired.paired_tests(*pair, HOW, IN_PROCESS, level=0.05)
    assert result(found, "CER", "permutation").p == 2 / 2**8
    assert result(found, "CER", "permutation", "writers").p == 2 / 2**4
    assert (
        result(found, "WER", "permutation").units,
        result(found, "WER", "permutation", "writers").units,
    ) == (16, 8)


def test_results_hold_rates_and_intervals(pair: tuple[ComparedRun, ComparedRun]) -> None:
    length = sum(map(len, TRUTH.values()))
    found = result(paired.paired_tests(*pair, HOW, IN_PROCESS, level=0.05), "CER", "bootstrap")
    assert found.rates == (8 / length, 0.0)
    assert found.difference == -8 / length
    assert found.interval is not None
    assert found.interval[0] < -8 / length < found.interval[1] <= 0


def test_results_count_lines_that_one_alone_reads_well(tmp_path: Path) -> None:
    first, second = of(tmp_path, Logged("a", misread(5)), Logged("b", {**misread(0), "p7/l1": "wrong"}))
    found = result(
        paired.paired_tests(first, second, HOW, IN_PROCESS, level=0.05), "lines with an error", "McNemar"
    )
    assert found.p == 2 * (1 + 6) / 2**6
    assert found.rates == (5 / 16, 1 / 16)
    assert found.note == "1 read well by A alone, 5 by B"


def test_results_compare_segments(pair: tuple[ComparedRun, ComparedRun]) -> None:
    found = result(
        paired.paired_tests(*pair, HOW, IN_PROCESS, level=0.05), "WER", "matched pairs", "segments"
    )
    assert found.units == 8  # each misread line has one
    assert found.p == 1  # all differ alike: no spread
    assert "in process" in found.note


@needs_sclite
def test_results_compare_segments_as_sctk_does(tmp_path: Path) -> None:
    first, second = of(tmp_path, Logged("a", misread(5)), Logged("b", {**misread(0), "p7/l1": "wrong"}))
    official = Scorer(name="sclite", command=None, timeout_s=60)
    own, other = (
        result(
            paired.paired_tests(first, second, HOW, scorer, level=0.05), "WER", "matched pairs", "segments"
        )
        for scorer in (IN_PROCESS, official)
    )
    assert other.units == own.units == 6
    assert other.p == pytest.approx(own.p, abs=1e-3)
    assert "sc_stats" in other.note


@pytest.mark.parametrize(("writers", "what"), [(8, "writers"), (4, "lines")])
def test_writers_decide_where_they_are_enough(tmp_path: Path, writers: int, what: str) -> None:
    by = {line: f"w{n % writers}" for n, line in enumerate(TRUTH)}
    first, second = of(tmp_path, Logged("a", misread(8), writers=by), Logged("b", misread(0), writers=by))
    deciding = [
        r
        for r in paired.paired_tests(first, second, HOW, IN_PROCESS, level=0.05)
        if r.decides and r.measure == "CER"
    ]
    assert [(r.test, r.what) for r in deciding] == [("permutation", what)]


def test_writers_decide_of_whole_lines_too(pair: tuple[ComparedRun, ComparedRun]) -> None:
    found = paired.paired_tests(*pair, HOW, IN_PROCESS, level=0.05)
    (deciding,) = (r for r in found if r.decides and r.measure == "lines with an error")
    assert (deciding.test, deciding.what, deciding.p) == ("permutation", "writers", 2 / 2**4)
    assert deciding.rates == (8 / 16, 0.0)


@pytest.mark.parametrize(("level", "what"), [(0.01, "writers"), (0.005, "lines")])
def test_writers_decide_where_they_can_reach_the_level(
    pair: tuple[ComparedRun, ComparedRun], level: float, what: str
) -> None:
    found = paired.paired_tests(*pair, HOW, IN_PROCESS, level=level)  # 8 writers: 2 / 2**8 at least
    assert {r.what for r in found if r.decides} == {what}


def test_few_writers_are_told_of(tmp_path: Path) -> None:
    by = {line: f"w{n % 4}" for n, line in enumerate(TRUTH)}
    first, second = of(tmp_path, Logged("a", misread(8), writers=by), Logged("b", misread(0), writers=by))
    found = result(
        paired.paired_tests(first, second, HOW, IN_PROCESS, level=0.05), "CER", "permutation", "writers"
    )
    assert found.note == "of 4 writers p cannot fall below 0.12"


def test_lines_of_unknown_writers_are_drawn_alone(tmp_path: Path) -> None:
    unknown = dict.fromkeys(TRUTH, "")
    first, second = of(
        tmp_path, Logged("a", misread(8), writers=unknown), Logged("b", misread(0), writers=unknown)
    )
    assert {r.what for r in paired.paired_tests(first, second, HOW, IN_PROCESS, level=0.05)} == {
        "lines",
        "segments",
    }


def test_line_read_where_none_is_counts_for_who_read_it(tmp_path: Path) -> None:
    extra = {"p0/extra": ""}
    more = Logged(
        "b", {**misread(0), "p0/extra": "abc"}, {**TRUTH, **extra}, dict.fromkeys((*TRUTH, *extra), "w")
    )
    first, second = of(tmp_path, Logged("a", misread(0)), more)
    paired.check_comparable(first, second)
    characters, _ = paired.error_rates(first, second)
    assert characters.first["p0/extra"] == Counts()
    assert characters.second["p0/extra"] == Counts(insertions=3)


# what is refused


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"data_fingerprint": "e1"}, "runs aaaaaaaa and bbbbbbbb were evaluated on other data (f0f0f0"),
        (
            {"convention": CONVENTION.replace("case matters", "case ignored")},
            "on other scoring conventions (…tion attached; case matters, …tion attached; case ignored)",
        ),
        ({"pairing": "by order"}, "were evaluated on other pairings of lines (None, by order)"),
        ({"target": "page"}, "were evaluated on other targets (line, page); evaluate both alike"),
    ],
)
def test_runs_evaluated_otherwise_are_refused(tmp_path: Path, about: dict[str, str], said: str) -> None:
    first, second = of(tmp_path, Logged("a", misread(1)), Logged("b", misread(1), about=about))
    with pytest.raises(InputError) as refused:
        paired.check_comparable(first, second)
    assert said in str(refused.value)


@pytest.mark.parametrize("truth", [{**TRUTH, "p0/l0": "other"}, {**TRUTH, "more": "text"}])
def test_lines_written_otherwise_are_refused(tmp_path: Path, truth: dict[str, str]) -> None:
    writers = dict.fromkeys(truth, "w")
    first, second = of(tmp_path, Logged("a", misread(1)), Logged("b", misread(1, truth), truth, writers))
    with pytest.raises(InputError, match=r"line (p0/l0|more) is not written alike"):
        paired.check_comparable(first, second)


# boxes


def test_areas_are_compared_by_page(pair: tuple[ComparedRun, ComparedRun]) -> None:
    first, second = (
        boxes(run, {"iou_by_page": {"p0": iou, "p1": 0.9}}) for run, iou in zip(pair, (0.7, 0.8), strict=True)
    )
    (measure,) = paired.error_rates(first, second)
    assert measure.rates == pytest.approx((0.2, 0.15))
    found = paired.paired_tests(first, second, HOW, IN_PROCESS, level=0.05)
    assert [(r.measure, r.test, r.what) for r in found] == [
        ("1 − IoU", "permutation", "pages"),
        ("1 − IoU", "bootstrap", "pages"),
    ]


def test_boxes_are_compared_by_what_is_missed_and_extra(pair: tuple[ComparedRun, ComparedRun]) -> None:
    page = {"true": 10, "predicted": 9, "matched_50": 8, "matched_75": 5}
    first, second = (
        boxes(run, {"by_page": {"p0": {**page, "matched_50": matched}}})
        for run, matched in zip(pair, (8, 9), strict=True)
    )
    at_50, at_75 = paired.error_rates(first, second)
    assert at_50.rates == pytest.approx((0.3, 0.1))  # 2 missed and 1 extra; 1 missed
    assert at_75.rates == pytest.approx((0.9, 0.9))


def boxes(run: ComparedRun, scores: dict[str, object]) -> ComparedRun:
    return replace(run, lines={}, scores=scores)


# several runs


def test_tests_of_several_runs_are_adjusted_together(tmp_path: Path) -> None:
    base = recorded(Logged("a", misread(8)), "A", tmp_path / "a")
    others = [recorded(Logged("b", misread(n)), "B", tmp_path / str(n)) for n in (0, 8)]
    found = paired.adjust_tests(
        [paired.paired_tests(base, other, HOW, IN_PROCESS, level=0.05) for other in others]
    )
    p = [result(own, "CER", "permutation").p for own in found]
    adjusted = [result(own, "CER", "permutation").adjusted for own in found]
    assert p == [2 / 2**8, 1]
    assert adjusted == [4 / 2**8, 1]


@pytest.mark.parametrize(
    ("rates", "adjusted", "better"),
    [((0.2, 0.1), 0.01, 1), ((0.1, 0.2), 0.05, 0), ((0.2, 0.1), 0.06, None), ((0.1, 0.1), 0.01, None)],
)
def test_run_is_better_when_it_errs_less_and_hardly_by_chance(
    rates: tuple[float, float], adjusted: float, better: int | None
) -> None:
    own = PairedTest(
        measure="CER", test="x", units=1, what="lines", rates=rates, interval=None, p=0.0, adjusted=adjusted
    )
    assert own.better(0.05) == better
