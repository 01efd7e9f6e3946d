"""Texts of another system beside our runs: tables, ALTO and PAGE, whole and broken."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwr.comparison import compare_runs
from hwr.comparison.compared import names_hypotheses, score_hypotheses
from hwr.config.compose import composed
from hwr.config.roots import CompareConfig
from hwr.errors import InputError
from hwr.scoring.report import read_tsv
from hwr.tracking import Store
from tests.comparison.logged import TRUTH, WRITERS, Logged, configuration, log, misread, recorded

_ALTO = '<alto><Layout><Page WIDTH="9" HEIGHT="9">{lines}</Page></Layout></alto>'
_ALTO_LINE = (
    '<TextLine ID="{id}" HPOS="1" VPOS="1" WIDTH="5" HEIGHT="2" {more}><String CONTENT="{text}"/></TextLine>'
)
_PAGE = '<PcGts><Page imageWidth="9" imageHeight="9"><TextRegion id="r">{lines}</TextRegion></Page></PcGts>'
_PAGE_LINE = (
    '<TextLine id="{id}"><Coords points="1,1 6,1 6,3"/>'
    "<TextEquiv><Unicode>{text}</Unicode></TextEquiv></TextLine>"
)


@pytest.fixture(scope="module")
def runs(store: Store) -> list[str]:
    return [log(store, Logged("old", misread(8))), log(store, Logged("new", misread(4)))]


def compared(store: Store, output: Path, *names: str) -> Any:
    """Compare, and return what comparison.json holds."""
    own = [f"folder={store.folder}", f"output={output}", "scorer=edit_distance", "resampling.resamples=400"]
    compare_runs(composed("compare", own, CompareConfig), names=names)
    return json.loads((output / "comparison.json").read_text(encoding="utf-8"))


def table(path: Path, texts: Mapping[str, str], *, head: str = "") -> Path:
    path.write_text(head + "".join(f"{name}\t{text}\n" for name, text in texts.items()), encoding="utf-8")
    return path


def folder(path: Path, texts: Mapping[str, str], page: str, line: str, **more: str) -> Path:
    """Write a file for every page of `texts`, without images."""
    path.mkdir()
    for name in dict.fromkeys(own.partition("/")[0] for own in texts):
        own = {key.partition("/")[2]: text for key, text in texts.items() if key.startswith(f"{name}/")}
        lines = "".join(line.format(id=key, text=text, more=more.get(key, "")) for key, text in own.items())
        (path / f"{name}.xml").write_text(page.format(lines=lines), encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["table", "with a header", "text before id", "lines.tsv", "alto", "page"])
def test_texts_of_another_system_are_compared_by_line_and_by_writer(
    store: Store, runs: list[str], tmp_path: Path, kind: str
) -> None:
    read = misread(2)
    made = {
        "table": lambda: table(tmp_path / "other.tsv", read),
        "with a header": lambda: table(tmp_path / "other.tsv", read, head="id\ttext\n"),
        "text before id": lambda: table(
            tmp_path / "other.tsv", {t: n for n, t in read.items()}, head="\ufefftext\tid\n"
        ),
        "lines.tsv": lambda: table(
            tmp_path / "other.tsv",
            {f"{n}\tx": t for n, t in read.items()},
            head="id\treference\thypothesis\n",
        ),
        "alto": lambda: folder(tmp_path / "other", read, _ALTO, _ALTO_LINE, l0='CS="true"'),
        "page": lambda: folder(tmp_path / "other", read, _PAGE, _PAGE_LINE),
    }[kind]()
    said = compared(store, tmp_path / "out", *runs, str(made))
    assert said["runs"]["C"]["scores"]["characters"]["substitutions"] == 2
    assert (said["runs"]["C"]["scores"]["missing"], said["runs"]["C"]["scores"]["unknown"]) == ([], [])
    assert [said["writers"]["p1"][label]["substitutions"] for label in "ABC"] == [2, 2, 0]
    rows = {row["id"]: row for row in read_tsv(tmp_path / "out" / "lines.tsv")}
    assert [rows["p1/l0"][f"{label}_errors"] for label in "ABC"] == ["1", "1", "0"]
    assert rows["p1/l0"]["C"] == TRUTH["p1/l0"]
    assert said["parameters"] == {}  # those of A and B, which are alike


def test_texts_are_scored_by_set_where_the_run_read_several(tmp_path: Path) -> None:
    groups = {page: {"lines": 2} for page in dict.fromkeys(WRITERS.values())}
    base = recorded(Logged("run", misread(4), about={"groups": groups}), "A", tmp_path / "run")
    texts = table(tmp_path / "other.tsv", misread(3))
    found = score_hypotheses(texts, "B", base, configuration(), tmp_path)
    rates = {name: value for name, value in found.metrics.items() if name.startswith("test/cer/")}
    assert rates.keys() == {f"test/cer/{page}" for page in groups}
    assert [rate > 0 for rate in rates.values()] == [True, True, *[False] * 6]
    one = replace(base, scores={**base.scores, "groups": {"p0": {"lines": 2}}})
    assert not score_hypotheses(texts, "B", one, configuration(), tmp_path).scores["groups"]


def test_lines_that_are_missing_are_told_and_count_as_empty(
    store: Store, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = {**TRUTH, "p9/l0": "of another split"}
    del texts["p7/l1"]
    said = compared(store, tmp_path / "out", str(table(tmp_path / "other.tsv", texts)), runs[0])
    own = said["runs"]["A"]["scores"]
    assert (own["missing"], own["unknown"]) == (["p7/l1"], ["p9/l0"])
    assert own["characters"]["deletions"] == len(TRUTH["p7/l1"])
    told = capsys.readouterr().out
    assert "A: 1 lines are missing and count as empty (p7/l1)" in told
    assert "A: 1 lines are not scored here and left out (p9/l0)" in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("p0/l0 no tab\n", "other.tsv, line 1: 1 cells, not 2; write id, tab, text"),
        ("id\ttext\nx\ty\tz\n", "other.tsv, line 2: 3 cells, not 2"),
        ("p0/l0\ta\np0/l0\tb\n", "other.tsv, line 2: line p0/l0 occurs twice"),
        ("l0\ta\n", "none of the lines that are scored; its ids are like 'l0', those of run .* like 'p0/l0'"),
        ("", "other.tsv: holds no text of a line; write a line for each"),
        (b"\xff\xfe\xff", "other.tsv: not UTF-8"),
        (None, "other.tsv: cannot be read"),
    ],
)
def test_bad_table_is_refused(
    store: Store, runs: list[str], tmp_path: Path, text: "str | bytes | None", said: str
) -> None:
    path = tmp_path / "other.tsv"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said):
        compared(store, tmp_path / "out", runs[0], str(path))


@pytest.mark.parametrize(
    ("file", "said"),
    [("p0.txt", "no hypotheses in ALTO or PAGE"), ("p9.xml", r"p9.xml: damaged XML .*; 1 such files in")],
)
def test_bad_folder_is_refused(store: Store, runs: list[str], tmp_path: Path, file: str, said: str) -> None:
    texts = TRUTH if file == "p9.xml" else {}
    made = folder(tmp_path / "other", texts, _ALTO, _ALTO_LINE)
    (made / file).write_text("<alto><Layout>", encoding="utf-8")
    with pytest.raises(InputError, match=said):
        compared(store, tmp_path / "out", runs[0], str(made))


def test_run_is_needed_whose_lines_are_scored(store: Store, tmp_path: Path) -> None:
    files = [str(table(tmp_path / name, TRUTH)) for name in ("a.tsv", "b.tsv")]
    with pytest.raises(InputError, match="is scored on the lines of an evaluated run; name one beside it"):
        compared(store, tmp_path / "out", *files)


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("last", False),
        ("1a2b", False),
        ("other.tsv", True),
        ("./1a2b", True),
        ("pages", True),
        ("nowhere", False),
    ],
)
def test_path_is_told_from_a_run(
    name: str, foreign: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for own in ("pages", "1a2b"):
        (tmp_path / own).mkdir()
    assert names_hypotheses(name) == foreign
