"""Denoising: beam search checked against all texts there are, ranking by hand, and what is left as it is."""

import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwr.decoding import Alternative, Probs, Reading
from hwr.decoding.denoise import (
    Classes,
    DenoiseDecoder,
    like_length,
    log_likelihoods,
    search_rewritings,
)
from hwr.text import Alphabet

AB = Alphabet("ab ")
END = AB.blank
RANKING = {"width": 8, "max_growth": 1, "model_weight": 0.0, "reading_weight": 0.0, "copy_bonus": 0.0}

Following = Callable[
    [str, str], Mapping[str, float]
]  # text read and text so far to the next one; "": it ends


@cache
def from_seed(read: str, written: str) -> Mapping[str, float]:
    """Return probabilities that look like nothing in particular, all above 0."""
    generator = np.random.default_rng([sum(map(ord, read)), len(read), *map(ord, written)])
    weights = generator.random(len(AB)) + 0.05
    return dict(zip([*AB.symbols, ""], (weights / weights.sum()).tolist(), strict=True))


def copying(read: str, written: str) -> Mapping[str, float]:
    """Return 0.9 for what was read, 0.05 each for an a and for an end."""
    right = read[len(written) : len(written) + 1]
    found = dict.fromkeys([*AB.symbols, ""], 0.0)
    found[right] += 0.9
    found["a"] += 0.05
    found[""] += 0.05
    return found


@dataclass
class Written:
    """The texts being written, kept as they are."""

    network: "Network"
    texts: Sequence[str]
    so_far: list[list[str]]

    def first(self) -> NDArray[np.float32]:
        return self._following()

    def next(self, parents: Classes, classes: Classes) -> NDArray[np.float32]:
        self.so_far = [
            [row[parent] + AB.decode([own]) for parent, own in zip(*pair, strict=True)]
            for row, *pair in zip(self.so_far, parents.tolist(), classes.tolist(), strict=True)
        ]
        return self._following()

    def _following(self) -> NDArray[np.float32]:
        rows = [
            [[self.network.following(read, text)[c] for c in [*AB.symbols, ""]] for text in row]
            for read, row in zip(self.texts, self.so_far, strict=True)
        ]
        with np.errstate(divide="ignore"):
            return np.log(np.array(rows, np.float32))


@dataclass
class Network:
    """Rewrites texts by a rule."""

    following: Following = from_seed
    alphabet: Alphabet = AB
    longest: int = 20
    batch_size: int = 3

    def start(self, texts: Sequence[str], *, width: int) -> Written:
        return Written(self, texts, [[""] * width for _ in texts])

    def log_probs(self, texts: Sequence[str], written: Sequence[str]) -> list[float]:
        return [self.log_prob(*pair) for pair in zip(texts, written, strict=True)]

    def log_prob(self, read: str, text: str) -> float:
        steps = [self.following(read, text[:at])[text[at : at + 1]] for at in range(len(text) + 1)]
        with np.errstate(divide="ignore"):
            return float(np.log(np.array(steps, np.float32)).astype(float).sum())


@dataclass
class Base:
    """Reads lines as the texts that it is given."""

    texts: Sequence[str]

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        return [self.reading(text) for text in self.texts[: len(lines)]]

    def reading(self, text: str) -> Reading:
        edges = np.linspace(0, 1, len(text) + 1).tolist()
        return Reading(text, 0.5, tuple(itertools.pairwise(edges)), (0.5,) * len(text))


class Model:
    """An n-gram model that loves the letter b."""

    def score(self, text: str) -> float:
        return 10.0 * text.count("b")


def decoder(*texts: str, model: Any = None, network: Network | None = None, **ranking: Any) -> DenoiseDecoder:
    own: dict[str, Any] = RANKING | ranking
    return DenoiseDecoder(
        alphabet=AB, base=Base(texts), network=network or Network(copying), model=model, **own
    )


def read(made: DenoiseDecoder) -> list[Reading]:
    lines = [np.zeros((1, len(AB)), np.float32)] * len(getattr(made.base, "texts", []))
    return made.read(lines)


def every(network: Network, text: str, growth: int) -> dict[str, float]:
    """Return log p(written | text) of all texts of a and b that are not too long."""
    limit = len(text) + growth
    return {
        own: network.log_prob(text, own)
        for length in range(limit + 1)
        for own in map("".join, itertools.product("ab", repeat=length))
    }


def letters(read: str, written: str) -> Mapping[str, float]:
    """Return `from_seed` without spaces."""
    found = {**from_seed(read, written), " ": 0.0}
    return {c: value / sum(found.values()) for c, value in found.items()}


@given(st.text("ab", min_size=1, max_size=3))
def test_search_as_wide_as_there_are_texts_finds_the_best_of_all(text: str) -> None:
    network = Network(letters)
    (found,) = search_rewritings(network, [text], width=64, growth=1)
    best = sorted(every(network, text, 1).items(), key=lambda item: -item[1])[:5]
    assert list(found)[:5] == [own for own, _ in best]
    assert [found[own] for own, _ in best] == pytest.approx([score for _, score in best], abs=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text("ab ", min_size=1, max_size=4), min_size=1, max_size=5), st.integers(1, 3))
def test_text_is_found_the_same_alone_and_among_others(texts: list[str], width: int) -> None:
    network = Network()
    together = search_rewritings(network, texts, width=width, growth=2)
    for text, found in zip(texts, together, strict=True):
        (alone,) = search_rewritings(network, [text], width=width, growth=2)
        assert found == pytest.approx(alone, abs=1e-4)


@given(st.text("ab ", min_size=1, max_size=6), st.integers(0, 3))
def test_no_text_is_longer_than_it_may_become(text: str, growth: int) -> None:
    (found,) = search_rewritings(Network(endless), [text], width=3, growth=growth)
    assert found
    assert max(map(len, found)) <= len(text) + growth


def endless(read: str, written: str) -> Mapping[str, float]:
    return {"a": 0.9, "b": 0.05, " ": 0.04, "": 0.01}


def test_search_of_width_one_takes_the_most_probable_characters() -> None:
    # what was read 0.9, an a or an end 0.05 more: 0.9 for b, 0.95 for a, 0.95 for the end
    assert search_rewritings(Network(copying), ["ba"], width=1, growth=1) == [
        {"ba": pytest.approx(np.log(0.9 * 0.95 * 0.95))}
    ]


def test_white_space_at_the_ends_is_left_out() -> None:
    (found,) = search_rewritings(Network(copying), [" b "], width=1, growth=1)
    assert list(found) == ["b"]


def test_batches_hold_texts_of_like_length() -> None:
    assert list(like_length(["aaa", "", "bb", "a", "b"], 2)) == [[1, 3], [4, 2], [0]]


def test_text_becomes_what_is_most_probable() -> None:
    (found,) = read(decoder("bab"))
    assert found.text == "bab"
    assert found.alternatives[0].score == pytest.approx(np.log(0.9 * 0.95 * 0.9 * 0.95))
    scores = [one.score for one in found.alternatives]
    assert scores == sorted(scores, reverse=True)


def test_model_decides_between_the_texts_that_are_found() -> None:
    network = Network(lambda read, written: {**dict.fromkeys("ab ", 0.2), "": 0.4})
    (plain,) = read(decoder("a", network=network))
    (weighed,) = read(decoder("a", network=network, model=Model(), model_weight=0.5))
    assert plain.text == ""
    assert weighed.text == "bb"
    assert weighed.alternatives[0] == Alternative("bb", pytest.approx(np.log(0.2 * 0.2 * 0.4) + 0.5 * 20))


def test_text_as_read_is_weighed_even_where_search_does_not_find_it() -> None:
    network = Network(lambda read, written: {"a": 0.7, "b": 0.01, " ": 0.01, "": 0.28})
    (found,) = read(decoder("bb", network=network, width=1))
    assert Alternative("bb", pytest.approx(np.log(0.01 * 0.01 * 0.28))) in found.alternatives
    assert found.text != "bb"
    (kept,) = read(decoder("bb", network=network, width=1, copy_bonus=10.0))
    assert kept.text == "bb"


def test_kept_text_keeps_places_and_confidences() -> None:
    made = decoder("ab a")
    (found,) = read(made)
    assert (found.text, found.spans, found.confidences) == ("ab a", *_own(made, "ab a"))


def test_new_text_has_a_place_for_every_character() -> None:
    network = Network(lambda read, written: {"a": 0.7, "b": 0.01, " ": 0.01, "": 0.28})
    (found,) = read(decoder("bb", network=network, width=1))
    assert found.text == "aaa"
    assert len(found.spans) == len(found.confidences) == 3


@pytest.mark.parametrize("text", ["", "a" * 21, "xa"])
def test_text_that_the_network_cannot_take_is_left_as_it_is(text: str) -> None:
    made = decoder(text, "b", network=Network(endless))
    found = read(made)
    assert found[0] == made.base.reading(text)  # type: ignore[attr-defined]
    assert found[1].text != "b"


def test_readings_come_in_the_order_of_the_lines() -> None:
    texts = ["b", "abab", "b", "", "ba", "bab"]
    assert [found.text for found in read(decoder(*texts))] == texts


def test_no_lines_have_no_readings() -> None:
    assert read(decoder()) == []


def _own(made: DenoiseDecoder, text: str) -> tuple[Any, Any]:
    own = made.base.reading(text)  # type: ignore[attr-defined]
    return own.spans, own.confidences


def test_what_the_recogniser_saw_decides_where_it_weighs() -> None:
    seen = np.full((1, len(AB)), 0.01, np.float32)
    seen[0, AB.encode("a")] = 0.9  # the network prefers what it is given, b
    texts = {weight: decoder("b", reading_weight=weight).read([seen])[0].text for weight in (0.0, 10.0)}
    assert texts == {0.0: "b", 10.0: "a"}


@st.composite
def matrices(draw: st.DrawFn) -> NDArray[np.float32]:
    """Return probs (T, 4) of up to five steps."""
    steps = draw(st.integers(1, 5))
    weights = draw(st.lists(st.integers(0, 9), min_size=4 * steps, max_size=4 * steps))
    rows = np.array(weights, np.float32).reshape(steps, 4) + 0.01
    return np.asarray(rows / rows.sum(axis=1, keepdims=True), np.float32)


@given(matrices())
def test_likelihoods_are_sums_over_all_paths(probs: NDArray[np.float32]) -> None:
    every: dict[str, float] = {}
    for path in itertools.product(range(4), repeat=len(probs)):
        text = AB.decode([c for i, c in enumerate(path) if i == 0 or path[i - 1] != c])
        every[text] = every.get(text, 0.0) + float(np.prod(probs[range(len(probs)), path].astype(float)))
    found = log_likelihoods(probs, list(every), AB)
    assert found == pytest.approx(np.log(list(every.values())), rel=1e-4, abs=1e-4)


def test_text_alone_is_as_probable_as_among_longer_ones() -> None:
    probs = np.random.default_rng(0).dirichlet(np.ones(4), 30).astype(np.float32)
    together = log_likelihoods(probs, ["ab", "", "abba ab"], AB)
    alone = [log_likelihoods(probs, [text], AB)[0] for text in ("ab", "", "abba ab")]
    assert together == pytest.approx(alone)


@pytest.mark.parametrize("text", ["aa", "abab", "xyz"])
def test_text_that_no_path_reads_is_impossible(text: str) -> None:
    probs = np.full((2, 4), 0.25, np.float32)  # two a need a blank between them
    assert log_likelihoods(probs, [text], AB)[0] == -np.inf


def test_long_lines_do_not_underflow() -> None:
    probs = np.full((5000, 4), 0.25, np.float32)
    assert log_likelihoods(probs, [""], AB)[0] == pytest.approx(5000 * np.log(0.25))
