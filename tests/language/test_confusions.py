"""Confusions: what is counted, written, read again, and refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.language.confusions import FLOOR, Confusions, Costs, CountedLines, Pair

SOURCE = CountedLines("f00d", "valid", "beef", 2)
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
    with pytest.raises(InputError, match=r"confusions.json: not UTF-8"):
        Confusions.load(str(path))


# a is true 13 times, b 48 times; with three outcomes, a, b or nothing: T + K is 16, 51, and 64 for both
COUNTS: dict[Pair, int] = {("a", "a"): 9, ("a", "b"): 3, ("a", None): 1, ("b", "b"): 48, (None, "b"): 7}
FEW_CHARACTERS = st.sampled_from([None, "a", "b", "é"])


def of(counts: dict[Pair, int]) -> Costs:
    return Costs.of(Confusions(counts, SOURCE))


def test_substitution_costs_the_less_the_more_often_it_was_counted() -> None:
    costs = of(COUNTS)
    assert costs.substitution[0, 1] == pytest.approx(0.5)  # 1 - log 4 / log 16
    assert costs.substitution[1, 0] == 1.0  # b was never read as a


def test_deletion_is_estimated_among_what_its_character_was_read_as() -> None:
    assert of(COUNTS).deletion == pytest.approx([0.75, 1.0])  # 1 - log 2 / log 16


def test_insertion_is_estimated_among_all_characters() -> None:
    assert of(COUNTS).insertion == pytest.approx([1.0, 0.5])  # 1 - log 8 / log 64


def test_match_costs_nothing() -> None:
    assert np.diag(of(COUNTS).substitution).tolist() == [0.0, 0.0]


def test_rare_character_keeps_costs_near_1_whatever_its_share() -> None:
    assert of({("a", "b"): 1}).substitution[0, 1] == pytest.approx(0.5)  # 1 of 1, and yet 1 - log 2 / log 4


def test_no_edit_is_free_however_often_it_was_counted() -> None:
    assert of({("a", "a"): 1, (None, "a"): 1000}).insertion.tolist() == [FLOOR]


@given(st.dictionaries(st.tuples(FEW_CHARACTERS, FEW_CHARACTERS).filter(any), st.integers(1, 10**6)))
def test_costs_lie_between_the_floor_and_1(counts: dict[Pair, int]) -> None:
    costs = of(counts)
    unequal = costs.substitution[~np.eye(len(costs.symbols), dtype=bool)]
    for own in (costs.deletion, costs.insertion, unequal):
        assert ((own >= FLOOR) & (own <= 1)).all()


def test_characters_outside_the_symbols_have_the_last_index_and_cost_1() -> None:
    costs = of(COUNTS)
    codes = np.array([[ord("b"), ord("a"), ord("c"), 0, 0x10FFFF]], np.uint32)
    assert costs.indices(codes).tolist() == [[1, 0, 2, 2, 2]]
    deletion, insertion, substitution = costs.padded
    assert (deletion[2], insertion[2], substitution[2, 0], substitution[0, 2]) == (1.0, 1.0, 1.0, 1.0)


# Tables of the original program


def write_ones(folder: Path) -> None:
    for name, shape in (("deletion", 128), ("insertion", 128), ("substitute", (128, 128))):
        np.savetxt(folder / f"{name}_costs.txt", np.ones(shape))


def test_original_deletion_takes_back_what_a_recogniser_inserts(tmp_path: Path) -> None:
    write_ones(tmp_path)
    table = np.ones(128)
    table[ord("x")] = 0.25
    np.savetxt(tmp_path / "deletion_costs.txt", table)
    costs = Costs.from_tables(tmp_path)
    assert costs.insertion[ord("x")] == 0.25
    assert costs.deletion[ord("x")] == 1.0


def test_original_insertion_gives_back_what_a_recogniser_deletes(tmp_path: Path) -> None:
    write_ones(tmp_path)
    table = np.ones(128)
    table[ord("x")] = 0.25
    np.savetxt(tmp_path / "insertion_costs.txt", table)
    costs = Costs.from_tables(tmp_path)
    assert costs.deletion[ord("x")] == 0.25
    assert costs.insertion[ord("x")] == 1.0


def test_original_substitution_is_of_what_is_read_by_what_is_true(tmp_path: Path) -> None:
    write_ones(tmp_path)
    table = np.ones((128, 128))
    table[ord("o"), ord("a")] = 0.125
    np.savetxt(tmp_path / "substitute_costs.txt", table)
    costs = Costs.from_tables(tmp_path)
    assert costs.substitution[ord("a"), ord("o")] == 0.125  # [true, read]
    assert costs.substitution[ord("o"), ord("a")] == 1.0


def test_tables_bring_back_the_costs_of_ascii_characters(tmp_path: Path) -> None:
    costs = of(COUNTS)
    costs.write_tables(tmp_path)
    found = Costs.from_tables(tmp_path)
    ab = [ord("a"), ord("b")]
    assert found.deletion[ab] == pytest.approx(costs.deletion, abs=1e-6)
    assert found.insertion[ab] == pytest.approx(costs.insertion, abs=1e-6)
    assert found.substitution[np.ix_(ab, ab)] == pytest.approx(costs.substitution, abs=1e-6)


def test_tables_leave_out_characters_beyond_ascii(tmp_path: Path) -> None:
    of({("é", "e"): 90, ("é", "é"): 9, ("e", "e"): 9}).write_tables(tmp_path)
    substitutions = np.loadtxt(tmp_path / "substitute_costs.txt")
    assert substitutions.shape == (128, 128)
    assert (substitutions == 1).all()


def test_tables_have_a_number_a_line(tmp_path: Path) -> None:
    of(COUNTS).write_tables(tmp_path)
    rows = (tmp_path / "insertion_costs.txt").read_text(encoding="ascii").splitlines()
    assert len(rows) == 128
    assert rows[ord("a")] == "0.750000"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, r"insertion_costs.txt: cannot be read \(No such file"),
        ("one\n" * 128, "insertion_costs.txt: not a table of numbers"),
        ("1\n" * 127, "insertion_costs.txt: not 128 costs of 0 or more"),
        ("1\n" * 127 + "-1\n", "insertion_costs.txt: not 128 costs of 0 or more"),
        ("1\n" * 127 + "nan\n", "insertion_costs.txt: not 128 costs of 0 or more"),
    ],
)
def test_damaged_table_is_refused_by_name(tmp_path: Path, text: str | None, said: str) -> None:
    write_ones(tmp_path)
    path = tmp_path / "insertion_costs.txt"
    path.unlink() if text is None else path.write_text(text, encoding="ascii")
    with pytest.raises(InputError, match=said):
        Costs.from_tables(tmp_path)
