import numpy as np
import pytest

from hwr.scoring import bootstrap
from hwr.scoring.bootstrap import Resampling
from hwr.scoring.counts import Counts

HOW = Resampling(resamples=2000, seed=0)


def test_interval_of_alike_units_is_their_rate() -> None:
    assert bootstrap.interval([Counts(10, 1)] * 5, HOW) == pytest.approx((0.1, 0.1))


def test_interval_of_two_units_spans_both() -> None:
    # both draws the first: 1/4 of the resamples, and both the second: 1/4, far beyond the tails of 2.5 %
    assert bootstrap.interval([Counts(10, 0), Counts(10, 10)], HOW) == (0.0, 1.0)


def test_interval_is_as_wide_as_the_normal_approximation_says() -> None:
    units = [Counts(1, int(n < 80)) for n in range(400)]  # rate 0.2
    low, high = bootstrap.interval(units, HOW) or (0.0, 0.0)
    half = 1.96 * np.sqrt(0.2 * 0.8 / 400)  # 0.0392
    assert low == pytest.approx(0.2 - half, abs=0.005)
    assert high == pytest.approx(0.2 + half, abs=0.005)


def test_interval_weighs_units_by_their_length() -> None:
    low, high = bootstrap.interval([Counts(1000, 100)] * 30 + [Counts(1, 1)], HOW) or (0.0, 0.0)
    assert 0.1 <= low <= high < 0.101


def test_interval_depends_on_the_seed_alone() -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    assert bootstrap.interval(units, HOW) == bootstrap.interval(units, HOW)
    assert bootstrap.interval(units, HOW) != bootstrap.interval(units, Resampling(resamples=2000, seed=1))


def test_interval_of_one_unit_is_none() -> None:
    assert bootstrap.interval([Counts(10, 1)], HOW) is None


def test_interval_without_any_reference_is_finite() -> None:
    assert bootstrap.interval([Counts(), Counts()], HOW) == (0.0, 0.0)


def test_by_cluster_sums_the_lines_of_each() -> None:
    lines = {"a": Counts(10, 1), "b": Counts(5, 0, 2), "c": Counts(3, 0, 0, 1)}
    clusters = bootstrap.by_cluster(lines, {"a": "W2", "b": "W1", "c": "W2"})
    assert clusters == {"W2": Counts(13, 1, 0, 1), "W1": Counts(5, 0, 2)}


def test_macro_weighs_every_unit_the_same() -> None:
    assert bootstrap.macro([Counts(100, 0), Counts(2, 1)]) == 0.25
