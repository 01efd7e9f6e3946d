import json
import logging
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.config.roots import Resampling, Scorer
from hwr.errors import InputError
from hwr.scoring import report, sclite
from hwr.scoring.edits import Counts
from hwr.scoring.report import LineScore, Texts
from tests.scoring.test_sclite import needs_sclite

IN_PROCESS = Scorer(name="edit_distance", command=None, timeout_s=60)
SCLITE = Scorer(name="sclite", command=None, timeout_s=60)
HOW = Resampling(resamples=200, seed=0)
TEXTS = Texts(
    references={"p1/l1": "the cat", "p1/l2": "a (b)", "p2/l1": "Été 1890"},
    hypotheses={"p1/l1": "the  cap ", "p1/l2": "a (b)", "p2/l1": "Eté 189"},
    writers={"p1/l1": "W1", "p1/l2": "W1", "p2/l1": "W2"},
    groups={"p2/l1": "held-out"},
)


def _compare(output: Path, texts: Texts = TEXTS, scorer: Scorer = IN_PROCESS) -> report.Scores:
    return report.score_texts(
        texts, scorer, HOW, output=output, about={"data_fingerprint": "f0", "weights_sha256": "a1"}
    )


def _written(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "scores.json").read_text(encoding="utf-8")))


def test_compare_pools_the_counts_of_all_lines(tmp_path: Path) -> None:
    scores = _compare(tmp_path)
    assert scores.characters == {"p1/l1": Counts(7, 1), "p1/l2": Counts(5), "p2/l1": Counts(8, 1, 1)}
    assert scores.words == {"p1/l1": Counts(2, 1), "p1/l2": Counts(2), "p2/l1": Counts(2, 2)}
    assert scores.cer == 3 / 20
    assert scores.wer == 3 / 6


def test_compare_writes_the_scores_under_their_names(tmp_path: Path) -> None:
    summary = _compare(tmp_path / "new" / "out").summary
    written = _written(tmp_path / "new" / "out")
    assert written == json.loads(json.dumps(summary))
    assert written["cer"] == 0.15
    assert written["characters"] == {"reference": 20, "substitutions": 2, "deletions": 1, "insertions": 0}
    assert written["words"] == {"reference": 6, "substitutions": 3, "deletions": 0, "insertions": 0}
    assert (written["lines"], written["exact_lines"], written["scorer"]) == (3, 1, "edit_distance")
    assert (written["data_fingerprint"], written["weights_sha256"]) == ("f0", "a1")
    assert written["levenshtein"] == {"characters": 3, "words": 3}
    assert "SClite" in written["convention"]


def test_compare_names_macro_figures_apart(tmp_path: Path) -> None:
    summary = _compare(tmp_path).summary
    assert summary["macro_cer_lines"] == pytest.approx((1 / 7 + 0 + 2 / 8) / 3)
    assert summary["macro_cer_writers"] == pytest.approx((1 / 12 + 2 / 8) / 2)
    assert summary["macro_wer_lines"] == pytest.approx((1 / 2 + 0 + 2 / 2) / 3)
    assert summary["macro_wer_writers"] == pytest.approx((1 / 4 + 2 / 2) / 2)


PAGES = Texts(  # of page p1, line 2 is missed and a line is read where none is
    references={"p1/l1": "the cat", "p1/l2": "on it", "p2/l1": "sat", "p1/extra1": ""},
    hypotheses={"p1/l1": "the cat", "p1/l2": "", "p2/l1": "sat", "p1/extra1": "a (b"},
    writers={"p1/l1": "W1", "p1/l2": "W1", "p2/l1": "W2", "p1/extra1": "W1"},
    groups={},
)


@pytest.mark.parametrize("scorer", [IN_PROCESS, pytest.param(SCLITE, marks=needs_sclite)])
def test_compare_counts_missed_lines_as_deletions_and_extra_ones_as_insertions(
    tmp_path: Path, scorer: Scorer
) -> None:
    scores = _compare(tmp_path, PAGES, scorer)
    assert scores.characters["p1/l2"] == Counts(5, deletions=5)
    assert scores.characters["p1/extra1"] == Counts(insertions=4)
    assert scores.words["p1/l2"] == Counts(2, deletions=2)
    assert scores.words["p1/extra1"] == Counts(insertions=2)
    assert (scores.cer, scores.wer) == (9 / 15, 4 / 5)
    assert scores.summary["in_process"]["differing_lines"] == []


def test_compare_gives_extra_lines_no_rate_of_their_own(tmp_path: Path) -> None:
    summary = _compare(tmp_path, PAGES).summary
    assert summary["macro_cer_lines"] == pytest.approx((0 + 1 + 0) / 3)
    assert summary["macro_cer_writers"] == pytest.approx((9 / 12 + 0) / 2)


def test_compare_scores_groups_apart(tmp_path: Path) -> None:
    groups = _compare(tmp_path).summary["groups"]
    assert list(groups) == ["held-out"]
    assert (groups["held-out"]["cer"], groups["held-out"]["lines"]) == (2 / 8, 1)


def test_compare_draws_writers_where_known_and_lines_otherwise(tmp_path: Path) -> None:
    intervals = _compare(tmp_path).summary["intervals"]
    assert (intervals["over"], intervals["units"], intervals["confidence"]) == ("writers", 2, 0.95)
    assert intervals["cer"] == (1 / 12, 2 / 8)  # two writers: the interval spans both
    unknown = Texts(TEXTS.references, TEXTS.hypotheses, dict.fromkeys(TEXTS.references, ""), {})
    summary = _compare(tmp_path, unknown).summary
    assert (summary["intervals"]["over"], summary["intervals"]["units"]) == ("lines", 3)
    assert "macro_cer_writers" not in summary


def test_compare_writes_every_line_and_confusion(tmp_path: Path) -> None:
    _compare(tmp_path)
    lines = (tmp_path / "lines.tsv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split("\t")[:5] == [
        "id",
        "reference",
        "hypothesis",
        "characters_reference",
        "characters_substitutions",
    ]
    assert lines[1].split("\t") == [
        *("p1/l1", "the cat", "the cap"), *("7", "1", "0", "0"), *("2", "1", "0", "0"), "W1"
    ]  # fmt: skip
    assert len(lines) == 4
    assert len((tmp_path / "confusions.tsv").read_text(encoding="utf-8").splitlines()) == 4


def test_compare_normalises_both_sides(tmp_path: Path) -> None:
    texts = Texts({"a": "e\u0301te\u0301  x"}, {"a": " \u00e9t\u00e9 x"}, {}, {})
    assert _compare(tmp_path, texts).cer == 0


@needs_sclite
def test_compare_takes_the_counts_from_sclite_and_checks_them(tmp_path: Path) -> None:
    summary = _compare(tmp_path, scorer=SCLITE).summary
    assert summary["characters"] == {"reference": 20, "substitutions": 2, "deletions": 1, "insertions": 0}
    assert summary["in_process"] == {
        "characters": summary["characters"],
        "words": summary["words"],
        "agrees_with_sclite": True,
        "differing_lines": [],
    }
    assert {"characters.pra", "characters.raw", "words.pra"} <= {
        path.name for path in (tmp_path / "sclite").iterdir()
    }


def test_compare_names_the_lines_where_sclite_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def differing(references: dict[str, str], *_: object, **__: object) -> dict[str, Counts]:
        return {line: Counts(len(text), 1) for line, text in references.items()}

    monkeypatch.setattr(sclite, "find_sclite", str)
    monkeypatch.setattr(report, "count_with_sclite", differing)
    texts = Texts({"p1/l1": "a", "p1/l2": "b"}, {"p1/l1": "x", "p1/l2": "b"}, {}, {})
    with caplog.at_level(logging.WARNING):
        summary = _compare(tmp_path, texts, SCLITE).summary
    assert summary["in_process"]["differing_lines"] == ["p1/l2"]
    assert summary["in_process"]["agrees_with_sclite"] is False
    assert summary["characters"]["substitutions"] == 2
    assert "differ in 1 lines: p1/l2" in caplog.text


def test_compare_does_not_claim_agreement_when_sclite_was_not_asked(tmp_path: Path) -> None:
    assert _compare(tmp_path).summary["in_process"]["agrees_with_sclite"] is None


def test_compare_refuses_what_it_cannot_score(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="have no hypothesis"):
        _compare(tmp_path, Texts({"a": "x"}, {}, {}, {}))
    with pytest.raises(InputError, match="no line has a reference text"):
        _compare(tmp_path, Texts({"a": " "}, {"a": "x"}, {}, {}))
    with pytest.raises(InputError, match=r"nowhere.*apt-get install sctk"):
        _compare(tmp_path, TEXTS, Scorer(name="sclite", command="/nowhere/sclite", timeout_s=60))


def test_compare_says_that_the_output_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file.*: cannot be written .* choose another output="):
        _compare(tmp_path / "file")


SCORED = [
    LineScore("p1/l1", "the\tcat", "\\n", Counts(7, 1, 2, 3), Counts(2, 1, 0, 1), "Ann"),
    LineScore("p1/l2", "", "a", Counts(0, 0, 0, 1), Counts(0, 0, 0, 1), ""),
]


def test_lines_come_back(tmp_path: Path) -> None:
    report.write_lines(tmp_path / "lines.tsv", SCORED)
    assert report.read_lines(tmp_path / "lines.tsv") == SCORED


def test_table_without_writers_is_of_unknown_ones(tmp_path: Path) -> None:
    report.write_lines(tmp_path / "lines.tsv", SCORED)
    rows = (tmp_path / "lines.tsv").read_text(encoding="utf-8").splitlines()
    older = "".join(row.rpartition("\t")[0] + "\n" for row in rows)
    (tmp_path / "lines.tsv").write_text(older, encoding="utf-8")
    assert [line.writer for line in report.read_lines(tmp_path / "lines.tsv")] == ["", ""]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id\treference\nl1\tx\n", "no table of lines and their edits"),
        ("id\treference\nl1\n", "lines.tsv, line 2: 1 cells, the header has 2"),
        ("", "no table"),
    ],
)
def test_damaged_table_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "lines.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        report.read_lines(tmp_path / "lines.tsv")


def test_counts_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    report.write_lines(tmp_path / "lines.tsv", SCORED)
    text = (tmp_path / "lines.tsv").read_text(encoding="utf-8").replace("\t7\t", "\tseven\t")
    (tmp_path / "lines.tsv").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"lines.tsv: no table of lines .*'seven'.*; evaluate anew"):
        report.read_lines(tmp_path / "lines.tsv")


def test_write_keeps_one_line_a_row(tmp_path: Path) -> None:
    report.write_tsv(tmp_path / "t.tsv", ["id", "text"], [["a\tb", "1\n2\r"], [None, "\\n"], [3, ""]])
    written = (tmp_path / "t.tsv").read_bytes().decode()
    assert written == "id\ttext\na\\tb\t1\\n2\\r\n\t\\\\n\n3\t\n"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_read_gives_what_was_written(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        report.write_tsv(Path(folder) / "t.tsv", ["id", "text"], rows)
        assert report.read_tsv(Path(folder) / "t.tsv") == [{"id": a, "text": b} for a, b in rows]


@pytest.mark.parametrize("content", [b"", b"id\xff\n", b"id\ttext\na\n"])
def test_read_refuses_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.tsv"):
        report.read_tsv(tmp_path / "t.tsv")


def test_read_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.tsv: no table \(No such file"):
        report.read_tsv(tmp_path / "t.tsv")


def test_confusions_are_sorted_by_count_and_escaped(tmp_path: Path) -> None:
    report.write_confusions(
        tmp_path / "table.tsv", {(None, "é"): 1, ("n", "u"): 3, ("\t", "\\"): 1, (" ", None): 2}
    )
    assert (tmp_path / "table.tsv").read_text(encoding="utf-8").splitlines() == [
        "count\tkind\treference\thypothesis\treference_code_point\thypothesis_code_point",
        "3\tsubstitution\tn\tu\tU+006E\tU+0075",
        "2\tdeletion\t \t\tU+0020\t",
        "1\tinsertion\t\té\t\tU+00E9",
        "1\tsubstitution\t\\t\t\\\\\tU+0009\tU+005C",
    ]
