"""What an epoch draws: shares of sets, and texts that come often."""

from collections import Counter

import numpy as np
import pytest

from hwr.data.batches import Drawing, Draws

A, B = ["a"] * 10, ["b"] * 4


def drawn(
    drawing: dict[str, Drawing], epochs: int, *, texts: list[str] | None = None, seed: int = 0
) -> list[list[int]]:
    """Return what epochs draw of ten samples of set a, then four of set b; all texts differ unless given."""
    draws = Draws(A + B, texts or [f"t{n}" for n in range(14)], drawing, seed=seed)
    found = [draws.of_epoch(epoch).tolist() for epoch in range(epochs)]
    assert {len(own) for own in found} == {len(draws)}
    return found


@pytest.mark.parametrize(
    ("share", "epochs", "each", "times"),
    [  # of set a in one epoch; how often each of its samples comes in all epochs
        (1.0, 1, 10, 1),
        (0.5, 2, 5, 1),  # the other half in the second epoch
        (0.3, 10, 3, 3),
        (2.0, 1, 20, 2),
        (1.5, 2, 15, 3),
        (0.01, 10, 1, 1),  # one at least
    ],
)
def test_share_of_a_set_is_drawn_in_turn(share: float, epochs: int, each: int, times: int) -> None:
    found = drawn({"a": Drawing(share=share)}, epochs)
    assert [sum(index < 10 for index in own) for own in found] == [each] * epochs
    assert Counter(index for own in found for index in own if index < 10) == dict.fromkeys(range(10), times)
    assert all([index for index in own if index >= 10] == [10, 11, 12, 13] for own in found)


@pytest.mark.parametrize(
    ("drawing", "often", "others"),
    [  # eight of set a share a text: how many of them an epoch draws, and how many of its two others
        (Drawing(same_text=3), 3, 2),
        (Drawing(same_text=8), 8, 2),
        (Drawing(same_text=3, share=0.5), 3, 1),
        (Drawing(same_text=6, share=0.5), 4, 1),
        (Drawing(same_text=9, share=2.0), 9, 4),
        (Drawing(same_text=3, share=2.0), 3, 4),
    ],
)
def test_lines_with_one_text_are_drawn_up_to_a_number(drawing: Drawing, often: int, others: int) -> None:
    texts = ["London"] * 8 + ["x", "y"] + ["London"] * 4  # those of b are another set's
    found = drawn({"a": drawing}, 24, texts=texts)
    assert [sum(index < 8 for index in own) for own in found] == [often] * 24
    assert [sum(index in (8, 9) for index in own) for own in found] == [others] * 24
    assert [sum(index > 9 for index in own) for own in found] == [4] * 24
    times = Counter(index for own in found for index in own)
    assert {times[index] for index in range(8)} == {24 * often // 8}  # all in turn


def test_what_is_drawn_depends_on_seed_and_epoch_alone() -> None:
    half = {"a": Drawing(share=0.5)}
    assert drawn(half, 4) == drawn(half, 4) != drawn(half, 4, seed=1)
    first, second = drawn(half, 2)
    assert first == sorted(first) != second


@pytest.mark.parametrize("datasets", [[], ["x"] * 5, ["x", "y", "x", "y", "y"]])
def test_every_sample_is_drawn_once_where_nothing_else_is_set(datasets: list[str]) -> None:
    draws = Draws(datasets, list("abcde"), {}, seed=3)
    np.testing.assert_array_equal(draws.of_epoch(7), np.arange(5))
    assert draws.note == ""


def test_note_says_how_many_an_epoch_draws() -> None:
    assert Draws(A, A, {"a": Drawing(share=0.5)}, seed=0).note == "; an epoch draws 5"
