"""Texts are misread as often, and as what, as was counted; the same for the same numbers."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.language.confusions import Confusions, CountedLines, Noise, Pair, Recogniser

PLAIN = Noise(strength=1.0, spread=0.0, bursts=0.0, clean=0.0, most=1.0, smoothing=0.0)
SOURCE = CountedLines("f", "valid", "w", 1)


def counted(**changes: int) -> Confusions:
    """Return confusions of a, which is read as a, b, or not at all, and of b, which is always right."""
    counts: Mapping[Pair, int] = {("a", "a"): 6, ("a", "b"): 3, ("a", None): 1, ("b", "b"): 10}
    return Confusions(counts, SOURCE)


def read(text: str, noise: Noise = PLAIN, confusions: Confusions | None = None, index: int = 0) -> str:
    return Recogniser(confusions or counted(), noise)(text, seed=1, epoch=2, index=index)


def test_characters_are_misread_as_often_as_was_counted() -> None:
    found = Counter(read("a" * 10_000))
    assert found["a"] == pytest.approx(6000, abs=200)
    assert found["b"] == pytest.approx(3000, abs=200)
    assert found.keys() == {"a", "b"}


def test_character_that_was_always_right_stays() -> None:
    assert read("b" * 1000) == "b" * 1000


def test_character_that_was_never_shown_stays() -> None:
    assert read("é" * 1000) == "é" * 1000


def test_unseen_errors_happen_where_counts_are_smoothed() -> None:
    # b is read as what all 20 characters are wrongly read as: 1/20 of the time as nothing, never as itself;
    # with 10 of its own and 10 more times it is lost in (10 * 1/20) / 20 = 1/40 of all
    found = read("b" * 20_000, replace(PLAIN, smoothing=10.0))
    assert set(found) == {"b"}
    assert len(found) == pytest.approx(19_500, abs=100)


def test_characters_are_put_in_as_often_as_was_counted() -> None:
    confusions = Confusions({("a", "a"): 80, (None, "x"): 15, (None, "y"): 5}, SOURCE)
    found = Counter(read("a" * 10_000, confusions=confusions))
    assert found["a"] == 10_000
    assert found["x"] == pytest.approx(10_000 * 15 / 80, abs=150)
    assert found["y"] == pytest.approx(10_000 * 5 / 80, abs=100)


def test_strength_is_a_factor_of_all_error_rates() -> None:
    assert Counter(read("a" * 10_000, replace(PLAIN, strength=0.5)))["b"] == pytest.approx(1500, abs=150)
    assert read("a" * 100, replace(PLAIN, strength=0.0)) == "a" * 100


def test_no_character_is_misread_more_often_than_it_may() -> None:
    found = Counter(read("a" * 10_000, replace(PLAIN, strength=100.0, most=0.5)))
    assert found["a"] == pytest.approx(5000, abs=200)


def test_a_share_of_texts_stays_clean() -> None:
    noise = replace(PLAIN, clean=0.25, strength=2.0)
    clean = sum(read("a" * 50, noise, index=index) == "a" * 50 for index in range(400))
    assert clean == pytest.approx(100, abs=30)


@pytest.mark.parametrize("part", ["spread", "bursts"])
def test_errors_come_in_groups_where_rates_are_spread(part: str) -> None:
    def rates(noise: Noise) -> np.ndarray[Any, Any]:
        texts = (read("a" * 50, noise, index=index) for index in range(300))
        return np.array([50 - text.count("a") for text in texts])

    alike, spread = rates(replace(PLAIN, strength=0.5)), rates(replace(PLAIN, strength=0.5, **{part: 0.7}))
    assert spread.std() > 1.5 * alike.std()
    assert spread.mean() == pytest.approx(alike.mean(), rel=0.2)


def test_text_is_misread_otherwise_for_another_seed_epoch_or_number() -> None:
    recogniser, text = Recogniser(counted(), PLAIN), "a" * 60
    first = recogniser(text, seed=1, epoch=2, index=3)
    others = [{"seed": 2}, {"epoch": 3}, {"index": 4}]
    assert recogniser(text, seed=1, epoch=2, index=3) == first
    assert all(recogniser(text, **{"seed": 1, "epoch": 2, "index": 3} | other) != first for other in others)


@given(st.text(), st.integers(0, 9))
def test_any_text_can_be_misread(text: str, index: int) -> None:
    found = read(text, replace(PLAIN, spread=1.0, bursts=1.0, smoothing=3.0), index=index)
    assert set(found) <= set(text) | set("ab")


def test_nothing_is_misread_where_nothing_was_counted() -> None:
    assert read("abc", confusions=Confusions({}, SOURCE)) == "abc"
