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


def test_interval_draws_the_same_however_many_units_are_drawn_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    at_once = bootstrap.interval(units, HOW)
    monkeypatch.setattr(bootstrap, "_DRAWN", 7 * 20)  # blocks of 7 resamples, and a shorter one at the end
    assert bootstrap.interval(units, HOW) == at_once


def test_difference_of_a_system_with_itself_is_nothing() -> None:
    units = [Counts(7 + n * n, n % 5) for n in range(20)]
    assert bootstrap.difference(units, units, HOW) == (0.0, 0.0)


def test_difference_is_certain_where_every_unit_differs_alike() -> None:
    base = [Counts(10, n % 7) for n in range(20)]  # rates from 0 to 0.6: alone, each interval is wide
    better = [Counts(10, 0, n % 7, 1) for n in range(20)]
    assert bootstrap.difference(better, base, HOW) == pytest.approx((0.1, 0.1))
    low, high = bootstrap.interval(base, HOW) or (0.0, 0.0)
    assert high - low > 0.1


def test_difference_of_two_units_spans_both() -> None:
    # of the resamples a quarter draws the first twice, half both, a quarter the second twice
    base = [Counts(10, 5), Counts(30, 5)]
    own = [Counts(10, 3), Counts(30, 8)]  # -2/10 and +3/30; together +1/40
    assert bootstrap.difference(own, base, HOW) == pytest.approx((-0.2, 0.1))


def test_difference_is_as_wide_as_the_normal_approximation_says() -> None:
    base = [Counts(1, 1) if n < 120 else Counts(1) for n in range(400)]
    own = [Counts(1, 1) if 40 <= n < 130 else Counts(1) for n in range(400)]
    low, high = bootstrap.difference(own, base, HOW) or (0.0, 0.0)
    mean, square = (10 - 40) / 400, (10 + 40) / 400  # of the differences of a line: 10 of +1, 40 of -1
    half = 1.96 * np.sqrt((square - mean**2) / 400)  # 0.0339
    assert low == pytest.approx(mean - half, abs=0.005)
    assert high == pytest.approx(mean + half, abs=0.005)


def test_difference_changes_sign_when_systems_change_places() -> None:
    base = [Counts(9 + n, n % 3) for n in range(30)]
    own = [Counts(9 + n, n % 4) for n in range(30)]
    low, high = bootstrap.difference(own, base, HOW) or (0.0, 0.0)
    assert bootstrap.difference(base, own, HOW) == pytest.approx((-high, -low))


def test_difference_of_one_unit_is_none() -> None:
    assert bootstrap.difference([Counts(10, 1)], [Counts(10, 2)], HOW) is None


def test_difference_is_refused_where_units_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 and 1 units"):
        bootstrap.difference([Counts(10, 1)] * 2, [Counts(10, 2)], HOW)


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
    assert bootstrap.drawn(lines, writers) == drawn


def test_by_cluster_sums_the_lines_of_each() -> None:
    lines = {"a": Counts(10, 1), "b": Counts(5, 0, 2), "c": Counts(3, 0, 0, 1)}
    clusters = bootstrap.by_cluster(lines, {"a": "W2", "b": "W1", "c": "W2"})
    assert clusters == {"W2": Counts(13, 1, 0, 1), "W1": Counts(5, 0, 2)}


def test_macro_weighs_every_unit_the_same() -> None:
    assert bootstrap.macro([Counts(100, 0), Counts(2, 1)]) == 0.25
