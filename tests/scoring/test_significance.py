"""p-values by hand, by listing every case, and as SciPy has them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hwr.scoring import bootstrap, significance
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.counts import Counts
from hwr.scoring.edits import align

HOW = Resampling(resamples=4000, seed=0)
ERRORS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9)


# the permutation test


def test_sign_flips_of_four_lines_that_all_get_better_are_two_in_sixteen() -> None:
    assert significance.sign_flips([1, 2, 3, 4], [0, 0, 0, 0]) == 2 / 16


def test_sign_flips_of_equal_sums_are_no_difference() -> None:
    assert significance.sign_flips([3, 1, 4], [4, 0, 4]) == 1


def test_sign_flips_leave_out_lines_that_both_read_alike() -> None:
    assert significance.sign_flips([5, 1, 5, 2, 7], [5, 0, 5, 0, 7]) == significance.sign_flips(
        [1, 2], [0, 0]
    )


def test_sign_flips_of_no_line_are_no_difference() -> None:
    assert significance.sign_flips([], []) == 1


@given(ERRORS)
def test_sign_flips_are_the_share_of_all_ways_to_swap(errors: list[tuple[int, int]]) -> None:
    changes = [a - b for a, b in errors]
    ways = [
        sum(s * c for s, c in zip(signs, changes, strict=True))
        for signs in itertools.product((1, -1), repeat=len(changes))
    ]
    share = sum(abs(way) >= abs(sum(changes)) for way in ways) / len(ways)
    assert significance.sign_flips(*zip(*errors, strict=True)) == pytest.approx(share, abs=1e-12)


def test_sign_flips_are_those_of_scipy() -> None:
    first, second = drawn_errors(12)
    found = stats.permutation_test(
        (first, second), lambda a, b, axis: (a - b).sum(axis=axis), vectorized=True,
        permutation_type="samples", n_resamples=np.inf,
    )  # fmt: skip
    assert significance.sign_flips(first.tolist(), second.tolist()) == pytest.approx(found.pvalue, abs=1e-12)


def test_sign_flips_of_many_lines_are_near_the_normal_approximation() -> None:
    first, second = drawn_errors(3000)
    changes = (first - second).astype(float)
    z = abs(changes.sum()) / math.sqrt((changes**2).sum())
    found = significance.sign_flips(first.tolist(), second.tolist())
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
    assert significance.resampled([Counts(10, 1)], [Counts(10, 0)], HOW) is None


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
    assert interval == bootstrap.difference(
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
    assert significance.mcnemar(*alone) == p


@given(st.integers(0, 400), st.integers(0, 400))
def test_mcnemar_is_the_binomial_test_of_scipy(first: int, second: int) -> None:
    found = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert significance.mcnemar(first, second) == pytest.approx(found, rel=1e-9)


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
    found = significance.segments(align(truth, first.split()), align(truth, second.split()))
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
    assert significance.holm(p_values) == pytest.approx(adjusted)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_keeps_the_order_and_lowers_nothing(p_values: list[float]) -> None:
    adjusted = significance.holm(p_values)
    assert all(a >= p for a, p in zip(adjusted, p_values, strict=True))
    assert sorted(adjusted) == [adjusted[i] for i in sorted(range(len(p_values)), key=p_values.__getitem__)]


def drawn_errors(lines: int) -> tuple[np.ndarray, np.ndarray]:
    """Return errors of two recognisers a line, of which the second is a little better."""
    generator = np.random.default_rng(1)
    return generator.poisson(3.0, lines), generator.poisson(2.9, lines)


def resampled(first: Sequence[Counts], second: Sequence[Counts]) -> tuple[tuple[float, float], float]:
    found = significance.resampled(first, second, HOW)
    assert found is not None
    return found
