"""SCTK's matched-pairs test, and the same one made in process."""

import random
from pathlib import Path

import pytest

from hwr.errors import InputError
from hwr.scoring import sc_stats, sclite, significance
from hwr.scoring.edits import align
from hwr.scoring.significance import MatchedPairs

try:
    sclite.find(None)
    SCTK = True
except InputError:
    SCTK = False
needs_sctk = pytest.mark.skipif(not SCTK, reason="no SCTK: apt-get install sctk")

WORDS = [
    *("the", "a", "cat", "sat", "on,", "mat.", "it's", '"no"'),
    *("(x)", "A:b;", "é", "–", "日", "{a/b}", "\\", "*"),
]
Texts = dict[str, str]


def compared(references: Texts, first: Texts, second: Texts) -> MatchedPairs:
    return sc_stats.matched_pairs(references, first, second, command=None, timeout_s=60)


def drawn(seed: int, lines: int) -> tuple[Texts, Texts, Texts]:
    """Return texts of words that need escapes, and two readings of them with every kind of error."""
    generator = random.Random(seed)
    truth = {f"l{n}": generator.choices(WORDS, k=generator.randint(0, 12)) for n in range(lines)}
    sides = [
        truth,
        *({line: _noisy(words, share, generator) for line, words in truth.items()} for share in (0.2, 0.3)),
    ]
    references, first, second = ({line: " ".join(words) for line, words in side.items()} for side in sides)
    return references, first, second


def _noisy(words: list[str], share: float, generator: random.Random) -> list[str]:
    read: list[str] = []
    for word in words:
        kind = generator.random() / share  # below 1: lost, another, or one more behind it
        read += [] if kind < 1 / 3 else [generator.choice(WORDS) if kind < 2 / 3 else word]
        read += [generator.choice(WORDS)] * (2 / 3 <= kind < 1)
    return read


@needs_sctk
@pytest.mark.parametrize(("seed", "lines"), [(0, 1), (1, 5), (2, 30), (3, 600)])
def test_matched_pairs_agree_with_those_made_in_process(seed: int, lines: int) -> None:
    references, first, second = drawn(seed, lines)
    segments = [
        segment
        for line, text in references.items()
        for segment in significance.segments(
            *(align(text.split(), side[line].split()) for side in (first, second))
        )
    ]
    own, found = significance.matched_pairs(segments), compared(references, first, second)
    assert found.segments == own.segments
    assert found.z == pytest.approx(own.z, abs=5.1e-4)  # three decimals


@needs_sctk
def test_matched_pairs_see_what_the_second_inserts_at_the_end_of_a_line() -> None:
    references = {"a": "one two three", "b": "one two three", "c": "one two three"}
    second = {"a": "one two three x", "b": "one two three x", "c": "one two three"}
    first = {"a": "one two three", "b": "one two three", "c": "one x three"}
    assert compared(references, first, second).segments == 3


@needs_sctk
def test_matched_pairs_of_texts_without_an_error_are_no_difference() -> None:
    texts = {"a": "one two"}
    assert compared(texts, texts, texts) == MatchedPairs(0, 0.0)


def test_matched_pairs_of_other_lines_are_refused() -> None:
    with pytest.raises(InputError, match="1 lines have no hypothesis"):
        compared({"a": "x"}, {"a": "x"}, {"b": "x"})


def test_missing_sc_stats_is_told(tmp_path: Path) -> None:
    command = tmp_path / "sclite"
    command.write_text("#!/bin/sh\n", encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(InputError, match=r"sc_stats does not run \(No such file"):
        sc_stats.matched_pairs({"a": "x"}, {"a": "y"}, {"a": "x"}, command=str(command), timeout_s=60)


def test_another_program_is_refused(tmp_path: Path) -> None:
    for name in ("sclite", "sc_stats"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(InputError, match="sc_stats wrote no matched-pairs result"):
        sc_stats.matched_pairs(
            {"a": "x"}, {"a": "y"}, {"a": "x"}, command=str(tmp_path / "sclite"), timeout_s=60
        )
