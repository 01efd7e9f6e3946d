from pathlib import Path

from hwr.scoring import confusion
from hwr.scoring.edits import align


def test_count_leaves_matches_out() -> None:
    pairs = confusion.count([align("nun", "uun"), align("nab", "uab"), align("a b", "ab"), align("c", "cé")])
    assert pairs == {("n", "u"): 2, (" ", None): 1, (None, "é"): 1}


def test_write_sorts_by_count_and_escapes(tmp_path: Path) -> None:
    confusion.write(tmp_path / "table.tsv", {(None, "é"): 1, ("n", "u"): 3, ("\t", "\\"): 1, (" ", None): 2})
    assert (tmp_path / "table.tsv").read_text(encoding="utf-8").splitlines() == [
        "count\tkind\treference\thypothesis\treference_code_point\thypothesis_code_point",
        "3\tsubstitution\tn\tu\tU+006E\tU+0075",
        "2\tdeletion\t \t\tU+0020\t",
        "1\tinsertion\t\té\t\tU+00E9",
        "1\tsubstitution\t\\t\t\\\\\tU+0009\tU+005C",
    ]
