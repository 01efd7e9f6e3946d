"""Intervals and p-values by hand, by listing every case, and as SciPy has them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hwr.config.roots import Resampling
from hwr.scoring import significance
from hwr.scoring.edits import Counts, align

HOW = Resampling(resamples=4000, seed=0)
ERRORS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9)


# the permutation test


def test_sign_flips_of_four_lines_that_all_get_better_are_two_in_sixteen() -> None:
    assert significance.permutation_p([1, 2, 3, 4], [0, 0, 0, 0]) == 2 / 16


def test_sign_flips_of_equal_sums_are_no_difference() -> None:
    assert significance.permutation_p([3, 1, 4], [4, 0, 4]) == 1


def test_sign_flips_leave_out_lines_that_both_read_alike() -> None:
    assert significance.permutation_p([5, 1, 5, 2, 7], [5, 0, 5, 0, 7]) == significance.permutation_p(
        [1, 2], [0, 0]
    )


def test_sign_flips_of_no_line_are_no_difference() -> None:
    assert significance.permutation_p([], []) == 1


@given(ERRORS)
def test_sign_flips_are_the_share_of_all_ways_to_swap(errors: list[tuple[int, int]]) -> None:
    changes = [a - b for a, b in errors]
    ways = [
        sum(s * c for s, c in zip(signs, changes, strict=True))
        for signs in itertools.product((1, -1), repeat=len(changes))
    ]
    share = sum(abs(way) >= abs(sum(changes)) for way in ways) / len(ways)
    assert significance.permutation_p(*zip(*errors, strict=True)) == pytest.approx(share, abs=1e-12)


def test_sign_flips_are_those_of_scipy() -> None:
    first, second = drawn_errors(12)
    found = stats.permutation_test(
        (first, second), lambda a, b, axis: (a - b).sum(axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=np.inf,
    )  # fmt: skip
    assert significance.permutation_p(first.tolist(), second.tolist()) == pytest.approx(
        found.pvalue, abs=1e-12
    )


def test_sign_flips_of_many_lines_are_near_the_normal_approximation() -> None:
    first, second = drawn_errors(3000)
    changes = (first - second).astype(float)
    z = abs(changes.sum()) / math.sqrt((changes**2).sum())
    found = significance.permutation_p(first.tolist(), second.tolist())
    assert found == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.05)


# the bootstrap


def test_resampling_tells_a_clear_difference_from_none() -> None:
    base = [Counts(10, 2 + n % 3) for n in range(60)]
    better = [Counts(10, 1 + n % 3) for n in range(60)]
    interval, p = resampled(base, better)
    assert interval == pytest.approx((-0.1, -0.1))
    assert p == 2 / 4001
    assert resampled(base, base) == ((0.0, 0.0), 1.0)


def test_resampling_of_two_lines_that_differ_contrarily_is_no_difference() -> None:
    interval, p = resampled([Counts(10, 1), Counts(10, 0)], [Counts(10, 0), Counts(10, 1)])
    assert (interval, p) == ((-0.1, 0.1), 1.0)


def test_resampling_needs_two_lines() -> None:
    assert significance.bootstrap_test([Counts(10, 1)], [Counts(10, 0)], HOW) == (None, 1.0)


def test_resampling_is_the_interval_of_the_paired_bootstrap_and_of_scipy() -> None:
    first, second = drawn_errors(80)
    length = np.random.default_rng(2).integers(20, 60, 80)
    interval, _ = resampled(
        [Counts(int(n), int(e)) for n, e in zip(length, first, strict=True)],
        [Counts(int(n), int(e)) for n, e in zip(length, second, strict=True)],
    )
    found = stats.bootstrap(
        (first, second, length), lambda a, b, n, axis: (b - a).sum(axis=axis) / n.sum(axis=axis),
        paired=True, vectorized=True, n_resamples=4000, method="percentile", random_state=1,
    ).confidence_interval  # fmt: skip
    width = found.high - found.low
    assert interval == pytest.approx((found.low, found.high), abs=0.05 * width)
    assert interval == difference(
        [Counts(int(n), int(e)) for n, e in zip(length, second, strict=True)],
        [Counts(int(n), int(e)) for n, e in zip(length, first, strict=True)],
        HOW,
    )


@pytest.mark.parametrize("better", [0, 20, 45])
def test_resampling_has_the_p_value_of_draws_made_one_by_one(better: int) -> None:
    first, second = drawn_errors(80)
    second = np.maximum(0, second - (np.arange(80) < better))
    length = np.random.default_rng(2).integers(20, 60, 80)
    _, p = resampled(
        [Counts(int(n), int(e)) for n, e in zip(length, first, strict=True)],
        [Counts(int(n), int(e)) for n, e in zip(length, second, strict=True)],
    )
    generator, below, above = np.random.default_rng(5), 0, 0
    for _ in range(4000):
        lines = generator.choice(80, 80)
        change = sum(int(second[line]) - int(first[line]) for line in lines)
        below, above = below + (change <= 0), above + (change >= 0)
    assert p == pytest.approx(min(1, 2 * min(below, above) / 4000), abs=0.05)
    assert better or p > 0.1


# McNemar


@pytest.mark.parametrize(("alone", "p"), [((0, 0), 1), ((3, 3), 1), ((0, 5), 2 / 32), ((5, 1), 2 * 7 / 64)])
def test_mcnemar_counts_tails_of_coin_tosses(alone: tuple[int, int], p: float) -> None:
    assert significance.mcnemar_p(*alone) == p


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_of_scipy(first: int, second: int) -> None:
    found = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert significance.mcnemar_p(first, second) == pytest.approx(found, rel=1e-9)


# MAPSSWE


@pytest.mark.parametrize(
    ("first", "second", "errors"),
    [
        ("a b c d e f", "a b c d e f", []),
        ("a X c d e f", "a b c d e f", [(1, 0)]),
        ("a X c d X f", "a b c d e f", [(1, 0), (1, 0)]),  # c d are two words well read
        ("a X c X e f", "a b c d e f", [(2, 0)]),  # c is one
        ("a X c d e f", "a b c d X f", [(1, 0), (0, 1)]),
        ("a X c d e f", "a b X d e f", [(1, 1)]),
        ("a b c d f", "a b c X X f", [(1, 2)]),  # e is lost
        ("a b c d e f g", "a b c d e f", [(1, 0)]),  # one more at the end
        ("Y a b c d e f", "a b Y c d e f", [(1, 0), (0, 1)]),  # inserted
        ("X b Y c d e f", "a b c d e f", [(2, 0)]),  # b, then something between it and c
        ("", "a b c d e f", [(6, 0)]),
    ],
)
def test_segment_ends_where_two_words_in_a_row_are_well_read(
    first: str, second: str, errors: list[tuple[int, int]]
) -> None:
    truth = ["a", "b", "c", "d", "e", "f"]
    found = significance.error_segments(align(truth, first.split()), align(truth, second.split()))
    assert found == errors


def test_matched_pairs_are_a_test_of_the_mean_difference() -> None:
    # differences 1 1 1 -1: mean 1/2, variance 1, standard error 1/2
    found = significance.matched_pairs([(1, 0), (2, 1), (1, 0), (0, 1)])
    assert (found.segments, found.z) == (4, 1.0)
    assert found.p == pytest.approx(0.3173, abs=1e-4)


@pytest.mark.parametrize("segments", [[], [(1, 0)], [(2, 1), (1, 0)]])
def test_matched_pairs_without_spread_are_no_difference(segments: list[tuple[int, int]]) -> None:
    assert significance.matched_pairs(segments).p == 1


def test_matched_pairs_are_the_t_statistic_of_scipy() -> None:
    first, second = drawn_errors(200)
    found = significance.matched_pairs(list(zip(first.tolist(), second.tolist(), strict=True)))
    assert found.z == pytest.approx(stats.ttest_rel(first, second).statistic)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(found.z)))


# several tests


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04], [0.02, 0.04]),
        ([0.04, 0.01, 0.02], [0.04, 0.03, 0.04]),
        ([0.01, 0.011, 0.9], [0.03, 0.03, 0.9]),  # 2 * 0.011 is less than the one before
        ([0.6, 0.7], [1.0, 1.0]),
    ],
)
def test_holm_multiplies_by_the_tests_that_are_left(p_values: list[float], adjusted: list[float]) -> None:
    assert significance.holm_adjusted(p_values) == pytest.approx(adjusted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lowers_nothing(p_values: list[float]) -> None:
    adjusted = significance.holm_adjusted(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert sorted(adjusted) == [adjusted[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]


def drawn_errors(lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Return errors of two recognisers a line, of which the second is a little better."""
    generator = np.random.default_rng(1)
    return generator.poisson(3.0, lines), generator.poisson(2.9, lines)


def resampled(first: Sequence[Counts], second: Sequence[Counts]) -> tuple[tuple[float, float], float]:
    interval, p = significance.bootstrap_test(first, second, HOW)
    assert interval is not None
    return interval, p


def difference(own: Sequence[Counts], base: Sequence[Counts], how: Resampling) -> tuple[float, float] | None:
    return significance.bootstrap_test(base, own, how)[0]


# intervals


def test_interval_of_alike_units_is_their_rate() -> None:
    assert significance.rate_interval([Counts(10, 1)] * 5, HOW) == pytest.approx((0.1, 0.1))


def test_interval_of_two_units_spans_both() -> None:
    # both draws the first: 1/4 of the resamples, and both the second: 1/4, far beyond the tails of 2.5 %
    assert significance.rate_interval([Counts(10, 0), Counts(10, 10)], HOW) == (0.0, 1.0)


def test_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    units = [Counts(1, int(n < 80)) for n in range(400)]  # rate 0.2
    low, high = significance.rate_interval(units, HOW) or (0.0, 0.0)
    half = 1.96 * np.sqrt(0.2 * 0.8 / 400)  # 0.0392
    assert low == pytest.approx(0.2 - half, abs=0.005)
    assert high == pytest.approx(0.2 + half, abs=0.005)


def test_interval_weighs_units_by_their_length() -> None:
    low, high = significance.rate_interval([Counts(1000, 100)] * 30 + [Counts(1, 1)], HOW) or (0.0, 0.0)
    assert 0.1 <= low <= high < 0.101


def test_interval_depends_on_the_seed_alone() -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    assert significance.rate_interval(units, HOW) == significance.rate_interval(units, HOW)
    assert significance.rate_interval(units, HOW) != significance.rate_interval(
        units, Resampling(resamples=2000, seed=1)
    )


def test_interval_of_one_unit_is_none() -> None:
    assert significance.rate_interval([Counts(10, 1)], HOW) is None


def test_interval_without_any_reference_is_finite() -> None:
    assert significance.rate_interval([Counts(), Counts()], HOW) == (0.0, 0.0)


def test_interval_draws_the_same_however_many_units_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    at_once = significance.rate_interval(units, HOW)
    monkeypatch.setattr(significance, "_DRAWN", 7 * 20)  # blocks of 7 resamples, and a shorter one at the end
    assert significance.rate_interval(units, HOW) == at_once


def test_difference_of_a_system_with_itself_is_nothing() -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    assert difference(units, units, HOW) == (0.0, 0.0)


def test_difference_is_certain_where_every_unit_differs_alike() -> None:
    base = [Counts(10, n % 7) for n in range(20)]  # rates from 0 to 0.6: alone, each interval is wide
    better = [Counts(10, 0, n % 7, 1) for n in range(20)]
    assert difference(better, base, HOW) == pytest.approx((0.1, 0.1))
    low, high = significance.rate_interval(base, HOW) or (0.0, 0.0)
    assert high - low > 0.1


def test_difference_of_two_units_spans_both() -> None:
    # of the resamples a quarter draws the first twice, half both, a quarter the second twice
    base = [Counts(10, 5), Counts(30, 5)]
    own = [Counts(10, 3), Counts(30, 8)]  # -2/10 and +3/30; together +1/40
    assert difference(own, base, HOW) == pytest.approx((-0.2, 0.1))


def test_difference_is_as_wide_as_the_normal_approximation_says() -> None:
    base = [Counts(1, 1) if n < 120 else Counts(1) for n in range(400)]
    own = [Counts(1, 1) if 40 <= n < 130 else Counts(1) for n in range(400)]
    low, high = difference(own, base, HOW) or (0.0, 0.0)
    mean, square = (10 - 40) / 400, (10 + 40) / 400  # of the differences of a line: 10 of +1, 40 of -1
    half = 1.96 * np.sqrt((square - mean**2) / 400)  # 0.0339
    assert low == pytest.approx(mean - half, abs=0.005)
    assert high == pytest.approx(mean + half, abs=0.005)


def test_difference_changes_sign_when_systems_change_places() -> None:
    base = [Counts(9 + n, n % 3) for n in range(30)]
    own = [Counts(9 + n, n % 4) for n in range(30)]
    low, high = difference(own, base, HOW) or (0.0, 0.0)
    assert difference(base, own, HOW) == pytest.approx((-high, -low))


def test_difference_of_one_unit_is_none() -> None:
    assert difference([Counts(10, 1)], [Counts(10, 2)], HOW) is None


def test_difference_is_refused_where_units_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 and 1 units"):
        difference([Counts(10, 1)] * 2, [Counts(10, 2)], HOW)


@pytest.mark.parametrize(
    ("writers", "drawn"),
    [
        ({"a": "W2", "b": "W1", "c": "W2"}, [Counts(13, 1, 0, 1), Counts(5, 0, 2)]),
        ({"a": "W1", "b": "W1", "c": "W1"}, [Counts(10, 1), Counts(5, 0, 2), Counts(3, 0, 0, 1)]),  # only one
        ({"a": "W1", "b": "", "c": "W2"}, [Counts(10, 1), Counts(5, 0, 2), Counts(3, 0, 0, 1)]),  # unknown
        ({}, [Counts(10, 1), Counts(5, 0, 2), Counts(3, 0, 0, 1)]),
    ],
)
def test_writers_are_drawn_where_they_are_known_and_several(
    writers: dict[str, str], drawn: list[Counts]
) -> None:
    lines = {"a": Counts(10, 1), "b": Counts(5, 0, 2), "c": Counts(3, 0, 0, 1)}
    assert significance.units_to_draw(lines, writers) == drawn


def test_by_cluster_sums_the_lines_of_each() -> None:
    lines = {"a": Counts(10, 1), "b": Counts(5, 0, 2), "c": Counts(3, 0, 0, 1)}
    clusters = significance.sum_by_cluster(lines, {"a": "W2", "b": "W1", "c": "W2"})
    assert clusters == {"W2": Counts(13, 1, 0, 1), "W1": Counts(5, 0, 2)}


def test_macro_weighs_every_unit_the_same() -> None:
    assert significance.macro_rate([Counts(100, 0), Counts(2, 1)]) == 0.25
