from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.config.roots import TuneConfig
from hwr.evaluation.tune import Judge, Setting, best_setting

SPACE = {"weight": [0.0, 1.0, 2.0], "bonus": [-1.0, 0.0, 1.0]}
START: Setting = {"weight": 0.0, "bonus": 0.0}


def how(
    every: bool = False, rounds: int = 2, cheap: tuple[str, ...] = (), tolerance: float = 0.0
) -> TuneConfig:
    search = "grid" if every else "coordinate"
    return cast(
        TuneConfig, SimpleNamespace(search=search, rounds=rounds, cheap=[*cheap], tolerance=tolerance)
    )


class Asked:
    """Remembers what it was asked, in order."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.settings: list[Setting] = []

    def __call__(self, setting: Setting) -> float:
        self.settings.append(setting)
        return self.judge(setting)


def bowl(setting: Setting) -> float:
    return float((setting["weight"] - 2) ** 2 + (setting["bonus"] - 1) ** 2)


def diagonal(setting: Setting) -> float:
    """Err least at (2, 1), which no change of one value from (0, 0) comes nearer to."""
    return {(0.0, 0.0): 0.5, (2.0, 1.0): 0.1}.get((setting["weight"], setting["bonus"]), 0.9)


@pytest.mark.parametrize("every", [True, False])
def test_least_error_is_found(every: bool) -> None:
    assert best_setting(SPACE, START, bowl, how(every)) == {"weight": 2.0, "bonus": 1.0}


def test_start_is_judged_first() -> None:
    judge = Asked(bowl)
    best_setting(SPACE, START, judge, how())
    assert judge.settings[0] == START


def test_keys_are_tried_in_turn() -> None:
    judge = Asked(bowl)
    best_setting(SPACE, START, judge, how(rounds=1))
    assert [tuple(setting.values()) for setting in judge.settings] == [
        (0, 0), (1, 0), (2, 0), (2, -1), (2, 1),
    ]  # fmt: skip


def test_every_combination_finds_what_no_single_key_betters() -> None:
    assert best_setting(SPACE, START, diagonal, how(every=True)) == {"weight": 2.0, "bonus": 1.0}
    assert best_setting(SPACE, START, diagonal, how(every=False)) == START


def test_search_ends_where_a_round_betters_nothing() -> None:
    judge = Asked(diagonal)
    best_setting(SPACE, START, judge, how(rounds=100))
    assert len(judge.settings) == 5  # the start, two weights, two bonuses


def test_second_round_mends_a_value_chosen_too_early() -> None:
    def judge(setting: Setting) -> float:  # the best weight is 1 with bonus 0, and 2 with bonus 1
        errors = {(0, 0): 5, (1, 0): 4, (2, 0): 6, (1, 1): 3, (2, 1): 1}
        return errors.get((setting["weight"], setting["bonus"]), 9)

    assert best_setting(SPACE, START, judge, how(rounds=1)) == {"weight": 1.0, "bonus": 1.0}
    assert best_setting(SPACE, START, judge, how(rounds=2)) == {"weight": 2.0, "bonus": 1.0}


def test_start_stays_among_equals() -> None:
    assert best_setting(SPACE, START, lambda setting: 0.5, how()) == START


def test_value_of_start_counts_though_it_is_not_listed() -> None:
    assert best_setting({"weight": [1.0, 2.0]}, {"weight": 7.0}, lambda s: -s["weight"], how()) == {
        "weight": 7.0
    }


@pytest.mark.parametrize(("tolerance", "width"), [(0.0, 100), (0.001, 50), (0.01, 25), (1.0, 25)])
def test_least_value_within_the_tolerance_is_taken_of_a_cheap_key(tolerance: float, width: int) -> None:
    errors = {25: 0.105, 50: 0.1005, 100: 0.1}
    space = {"width": [100, 25, 50]}
    found = best_setting(
        space, {"width": 50}, lambda s: errors[s["width"]], how(cheap=("width",), tolerance=tolerance)
    )
    assert found == {"width": width}


def test_cheap_key_is_held_while_the_others_are_chosen() -> None:
    judge = Asked(lambda setting: setting["weight"] + 1 / setting["width"])
    space = {"width": [10, 20], "weight": [2, 1]}
    found = best_setting(space, {"width": 20, "weight": 3}, judge, how(cheap=("width",)))
    assert found == {"width": 20, "weight": 1}
    assert [setting["width"] for setting in judge.settings] == [20, 20, 20, 10]


def test_whole_numbers_are_the_same_as_their_decimals() -> None:
    judge = Asked(lambda setting: 0.0)
    best_setting({"weight": [1, 1.0, 2]}, {"weight": 1.0}, judge, how())
    assert [setting["weight"] for setting in judge.settings] == [1.0, 2]


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(st.integers(0, 3), min_size=1, max_size=3), min_size=1),
    st.booleans(),
    st.integers(1, 3),
    st.randoms(use_true_random=False),
)
def test_no_setting_is_judged_twice_and_none_erring_less_is_left(
    space: dict[str, list[int]], every: bool, rounds: int, random: Any
) -> None:
    errors: dict[str, float] = {}
    asked: Counter[str] = Counter()

    def judge(setting: Setting) -> float:
        name = str(sorted(setting.items()))
        asked[name] += 1
        return errors.setdefault(name, random.random())

    found = best_setting(space, dict.fromkeys(space, 0), judge, how(every, rounds, cheap=("a",)))
    assert max(asked.values()) == 1
    assert errors[str(sorted(found.items()))] == min(errors.values())
