import random

import pytest

from hwr.scoring import edits
from hwr.scoring.edits import Counts


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("", "", Counts(0, 0, 0, 0)),
        ("abc", "abc", Counts(3, 0, 0, 0)),
        ("abc", "", Counts(3, 0, 3, 0)),
        ("", "abc", Counts(0, 0, 0, 3)),
        ("abc", "axc", Counts(3, 1, 0, 0)),
        ("abc", "ac", Counts(3, 0, 1, 0)),
        ("abc", "abxc", Counts(3, 0, 0, 1)),
        ("a b", "ab", Counts(3, 0, 1, 0)),  # a space is a character
        ("été", "ete", Counts(3, 2, 0, 0)),
        ("A", "a", Counts(1, 1, 0, 0)),  # case matters
        ("ab", "bc", Counts(2, 0, 1, 1)),  # a match between costs 3 + 3, two substitutions 4 + 4
        ("abc", "xyz", Counts(3, 3, 0, 0)),
        ("xyzab", "abuvw", Counts(5, 0, 3, 3)),  # 3 D + 3 I cost 18, 5 S cost 20
    ],
)
def test_characters_counts_each_kind(reference: str, hypothesis: str, expected: Counts) -> None:
    assert edits.character_edits(reference, hypothesis) == expected


@pytest.mark.parametrize(
    ("reference", "hypothesis", "expected"),
    [
        ("the old house", "the old house", Counts(3, 0, 0, 0)),
        ("the old house", "the  old\thouse ", Counts(3, 0, 0, 0)),
        ("the old house", "the old house.", Counts(3, 1, 0, 0)),  # punctuation stays attached
        ("the old house", "the house", Counts(3, 0, 1, 0)),
        ("forum", "for um", Counts(1, 1, 0, 1)),
        ("", "  ", Counts(0, 0, 0, 0)),
    ],
)
def test_words_counts_tokens_between_white_space(reference: str, hypothesis: str, expected: Counts) -> None:
    assert edits.word_edits(reference, hypothesis) == expected


def test_align_prefers_substitutions_when_a_tie_is_walked_back() -> None:
    # three substitutions cost 12, and so do two deletions, the match of b and two insertions
    assert edits.align("aab", "bcc") == [("a", "b"), ("a", "c"), ("b", "c")]


def test_align_inserts_before_it_deletes_walking_back_from_the_end() -> None:
    assert edits.align("ab", "ba") == [("a", None), ("b", "b"), (None, "a")]


def test_align_pairs_spell_both_texts() -> None:
    pairs = edits.align("handwriting", "hand writing")
    assert "".join(r or "" for r, _ in pairs) == "handwriting"
    assert "".join(h or "" for _, h in pairs) == "hand writing"
    assert pairs[4] == (None, " ")


def test_levenshtein_counts_every_edit_once() -> None:
    assert edits.levenshtein("kitten", "sitting") == 3
    assert edits.levenshtein("xyzab", "abuvw") == 5  # where the alignment of least cost has 6 edits
    assert edits.levenshtein(["the", "house"], ["a", "house"]) == 1


def test_errors_are_never_below_levenshtein_and_equal_on_nearly_right_texts() -> None:
    generator = random.Random(0)
    for _ in range(200):
        reference = "".join(generator.choices("abc", k=12))
        hypothesis = "".join(generator.choices("abc", k=12))
        assert edits.character_edits(reference, hypothesis).errors >= edits.levenshtein(reference, hypothesis)
        once = reference[:5] + "x" + reference[6:]
        assert edits.character_edits(reference, once).errors == edits.levenshtein(reference, once) == 1


def test_errors_and_rate_are_sums_over_the_reference() -> None:
    counts = Counts(reference=10, substitutions=1, deletions=2, insertions=3)
    assert counts.errors == 6
    assert counts.rate == 0.6


def test_rate_of_an_empty_reference_is_the_number_of_insertions() -> None:
    assert Counts(reference=0, insertions=2).rate == 2.0
    assert Counts().rate == 0.0


def test_total_adds_each_kind() -> None:
    assert Counts.total([Counts(3, 1, 0, 2), Counts(4, 0, 1, 0)]) == Counts(7, 1, 1, 2)
    assert Counts.total([]) == Counts()


def test_as_dict_has_the_names_of_the_scores_file() -> None:
    assert Counts(4, 3, 2, 1)._asdict() == {
        "reference": 4,
        "substitutions": 3,
        "deletions": 2,
        "insertions": 1,
    }


def test_confusions_leave_matches_out() -> None:
    pairs = edits.count_confusions(
        [
            edits.align("nun", "uun"),
            edits.align("nab", "uab"),
            edits.align("a b", "ab"),
            edits.align("c", "cé"),
        ]
    )
    assert pairs == {("n", "u"): 2, (" ", None): 1, (None, "é"): 1}
