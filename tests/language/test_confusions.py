"""Confusions: what is counted, written, read again, and refused."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.language.confusions import Confusions, Pair, Source

SOURCE = Source("f00d", "valid", "beef", 2)
# chat read as "cnatt", la as "l"
ALIGNMENTS: list[list[Pair]] = [
    [("c", "c"), ("h", "n"), ("a", "a"), ("t", "t"), (None, "t")],
    [("l", "l"), ("a", None)],
]
CHARACTERS = st.none() | st.characters(exclude_categories=["Cs"])


def test_pairs_are_counted_over_all_alignments() -> None:
    counts = Confusions.of([*ALIGNMENTS, ALIGNMENTS[1]], SOURCE).counts
    assert counts == {
        ("c", "c"): 1, ("h", "n"): 1, ("a", "a"): 1, ("t", "t"): 1, (None, "t"): 1, ("l", "l"): 2,
        ("a", None): 2,
    }  # fmt: skip


def test_totals_tell_how_often_a_character_was_true() -> None:
    assert Confusions.of(ALIGNMENTS, SOURCE).totals == {"c": 1, "h": 1, "a": 2, "t": 1, "l": 1}


def test_symbols_are_those_that_were_true_or_read() -> None:
    assert Confusions.of(ALIGNMENTS, SOURCE).symbols == "achlnt"


def test_most_frequent_leaves_out_matches_and_puts_equals_in_order() -> None:
    counts: dict[Pair, int] = {("e", "e"): 9, ("e", "c"): 2, ("a", "o"): 3, ("a", None): 2, (None, "x"): 1}
    found = Confusions(counts, SOURCE).most_frequent(3)
    assert found == [(("a", "o"), 3), (("a", None), 2), (("e", "c"), 2)]


@given(st.dictionaries(st.tuples(CHARACTERS, CHARACTERS).filter(any), st.integers(1, 99), max_size=9))
def test_json_brings_back_what_was_counted(counts: dict[Pair, int]) -> None:
    counted = Confusions(counts, SOURCE)
    assert Confusions.from_json(counted.to_json(), "x") == counted


def test_json_has_a_pair_a_line_the_most_frequent_first() -> None:
    rows = Confusions({("é", "e"): 2, (None, " "): 5}, SOURCE).to_json().splitlines()
    assert rows[1:] == ['"counts": [', '[null, " ", 5],', '["é", "e", 2]', "]}"]


@pytest.mark.parametrize("place", ["confusions.json", "other.json", ""])
def test_confusions_are_loaded_from_a_file_or_its_folder(tmp_path: Path, place: str) -> None:
    path = tmp_path / (place or "confusions.json")
    path.write_text(Confusions.of(ALIGNMENTS, SOURCE).to_json(), encoding="utf-8")
    assert Confusions.load(str(tmp_path / place)).source == SOURCE


FROM = {"data_fingerprint": "f00d", "split": "valid", "weights_sha256": "beef", "lines": 2}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "not a file of confusions; expected JSON with 'counts'"),
        ({"from": FROM}, "not a file of confusions"),
        ({"counts": []}, "not a file of confusions"),
        ({"counts": [["a", "b"]], "from": FROM}, "not a file of confusions"),
        ({"counts": [["a", ["b"], 1]], "from": FROM}, "not a file of confusions"),
        ({"counts": [], "from": {**FROM, "line": 3}}, "not a file of confusions"),
        ({"counts": [], "from": {**FROM, "lines": "two"}}, "not a file of confusions"),
        ({"counts": [["ab", "b", 1]], "from": FROM}, r"\['ab', 'b', 1\] is not a pair of characters"),
        ({"counts": [[None, None, 1]], "from": FROM}, r"\[None, None, 1\] is not a pair"),
        ({"counts": [["a", 7, 1]], "from": FROM}, r"\['a', 7, 1\] is not a pair"),
        ({"counts": [["a", "b", 0]], "from": FROM}, r"\['a', 'b', 0\] is not a pair"),
        ({"counts": [["a", "b", 1.5]], "from": FROM}, r"\['a', 'b', 1.5\] is not a pair"),
        ({"counts": [["a", "b", 1], ["a", "b", 2]], "from": FROM}, "a pair of characters is there twice"),
    ],
)  # fmt: skip
def test_damaged_file_is_refused_by_name(found: object, said: str) -> None:
    with pytest.raises(InputError, match=f"^some.json: {said}"):
        Confusions.from_json(json.dumps(found), "some.json")


def test_what_is_no_json_is_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"^some.json: not a file of confusions"):
        Confusions.from_json("a\tb\t3", "some.json")


def test_file_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "confusions.json"
    path.write_bytes(b"\xe9\xff")
    with pytest.raises(InputError, match=r"confusions.json: cannot be read as UTF-8"):
        Confusions.load(str(path))
