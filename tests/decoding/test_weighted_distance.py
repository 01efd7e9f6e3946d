"""The weighted edit distance: against all ways to edit, and which way each cost counts."""

import editdistance
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.decoding.weighted_distance import distances
from hwr.language.costs import Costs

SYMBOLS = "aé\0"  # and € outside
WORDS = st.text(SYMBOLS + "€", max_size=4)


@st.composite
def tables(draw: st.DrawFn) -> Costs:
    costs = draw(st.lists(st.floats(0.01, 2), min_size=15, max_size=15))
    substitution = np.array(costs[6:]).reshape(3, 3)
    np.fill_diagonal(substitution, 0.0)
    return Costs(SYMBOLS, np.array(costs[:3]), np.array(costs[3:6]), substitution)


def least(true: str, read: str, costs: Costs) -> float:
    """Return the least cost over all ways to turn `true` into `read`."""
    deletion, insertion, substitution = costs.padded
    place = {symbol: n for n, symbol in enumerate(costs.symbols)}
    ways = []
    if true:
        ways.append(deletion[place.get(true[0], 3)] + least(true[1:], read, costs))
    if read:
        ways.append(insertion[place.get(read[0], 3)] + least(true, read[1:], costs))
    if true and read:
        edit = 0.0 if true[0] == read[0] else substitution[place.get(true[0], 3), place.get(read[0], 3)]
        ways.append(edit + least(true[1:], read[1:], costs))
    return min(ways, default=0.0)


@given(WORDS, st.lists(WORDS, max_size=3), tables())
def test_distance_is_the_least_over_all_ways_to_edit(read: str, candidates: list[str], costs: Costs) -> None:
    expected = [least(true, read, costs) for true in candidates]
    assert distances(read, candidates, costs).tolist() == pytest.approx(expected)


@given(st.text(max_size=8), st.lists(st.text(max_size=8)))
def test_distance_is_that_of_levenshtein_when_every_edit_costs_1(read: str, candidates: list[str]) -> None:
    found = distances(read, candidates, Costs.plain())
    assert found.tolist() == pytest.approx([editdistance.eval(read, true) for true in candidates])


def cheap(**own: tuple[int, ...]) -> Costs:
    """Return costs of 1 over a and o, but 0.25 at one place of a table."""
    made = {"deletion": np.ones(2), "insertion": np.ones(2), "substitution": 1 - np.eye(2)}
    for name, place in own.items():
        made[name][place] = 0.25
    return Costs("ao", **made)


def test_substitution_is_of_what_is_true_by_what_is_read() -> None:
    costs = cheap(substitution=(0, 1))  # a is often read as o
    assert distances("o", ["a"], costs).tolist() == [0.25]
    assert distances("a", ["o"], costs).tolist() == [1.0]


def test_deletion_is_of_a_character_that_is_true_and_not_read() -> None:
    costs = cheap(deletion=(0,))  # a is often passed over
    assert distances("", ["a"], costs).tolist() == [0.25]
    assert distances("a", [""], costs).tolist() == [1.0]


def test_insertion_is_of_a_character_that_is_read_and_not_true() -> None:
    costs = cheap(insertion=(0,))  # an a is often seen where none is
    assert distances("a", [""], costs).tolist() == [0.25]
    assert distances("", ["a"], costs).tolist() == [1.0]


def test_equal_characters_cost_nothing_where_no_symbols_are_known() -> None:
    assert distances("€x", ["€x", "€y"], Costs.plain()).tolist() == [0.0, 1.0]


def test_longer_candidates_do_not_change_the_distance_of_others() -> None:
    costs = cheap(substitution=(0, 1))
    alone = distances("ooa", ["aoa"], costs)
    assert distances("ooa", ["aoa", "aaaaaaaaaa", ""], costs)[0] == alone[0] == 0.25
