"""Decoders are compared on the same lines: what is scored, timed, drawn, logged and refused."""

import json
import shutil
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hwr import pictures
from hwr.config.compose import composed
from hwr.config.roots import DecodersConfig
from hwr.evaluation import decoders
from hwr.evaluation.decoders import Entry, picture, table
from hwr.evaluation.lines import Lines
from hwr.scoring.edits import Counts
from hwr.scoring.report import Scores, Texts
from hwr.text import Alphabet
from hwr.tracking import Store
from tests import told
from tests.evaluation.tiny import write_pages, write_weights
from tests.refusal import refused

REAL = ("lexicon", "beam", "denoise", "lexicon_beam")

Compare = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    (written,) = write_weights(tmp_path_factory.mktemp("weights"), "line")
    return written


@pytest.fixture
def compare(tmp_path: Path, database: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> Compare:
    """Return what compares decoders that are told the texts: greedy makes a mistake a line, better none."""
    told.install(monkeypatch)
    shutil.copy(database, tmp_path / "mlflow.db")
    root = write_pages(tmp_path / "data", told.TEXTS[:2], told.TEXTS[2:])
    pages = root / "pages.csv"
    pages.write_text(pages.read_text(encoding="utf-8").replace("p1,ann", "p1,bob"), encoding="utf-8")
    places = [weights, "data=alto", f"data.root={root}", f"folder={tmp_path}", f"output={tmp_path / 'board'}"]
    nodes = [
        *told.node("decoders.greedy", 1),
        "+decoder@decoders.better=greedy",
        *told.node("decoders.better", 0),
    ]
    without = [f"~decoders.{name}" for name in REAL]

    def run(*overrides: str) -> dict[str, Any]:
        settings = [*places, *without, *nodes, "scorer=edit_distance", "repeats=1", *overrides]
        decoders.compare_decoders(composed("decoders", settings, DecodersConfig))
        return said(tmp_path)

    return run


def said(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "board" / "board.json").read_text(encoding="utf-8"))
    return found


def test_decoders_are_scored_on_the_same_lines(compare: Compare) -> None:
    found = compare()
    assert list(found["decoders"]) == ["greedy", "better"]
    greedy, better = found["decoders"].values()
    # of 14 characters and 6 words in ab ba, ba, ab ba and ba; greedy reads -b ba, -a, -b ba and -a
    assert (greedy["cer"], greedy["wer"]) == (pytest.approx(4 / 14), pytest.approx(4 / 6))
    assert (better["cer"], better["wer"]) == (0, 0)
    assert greedy["characters"] == {"reference": 14, "substitutions": 4, "deletions": 0, "insertions": 0}
    assert (found["lines"], found["split"], found["scorer"]) == (4, "test", "edit_distance")


def test_difference_is_certain_where_both_writers_agree(compare: Compare) -> None:
    found = compare()
    assert (found["over"], found["units"]) == ("writers", 2)
    difference = found["decoders"]["better"]["differences"]["cer"]
    assert difference["value"] == pytest.approx(-4 / 14)
    assert difference["interval"] == pytest.approx([-4 / 14, -4 / 14])
    assert found["decoders"]["greedy"]["differences"]["wer"] == {"value": 0, "interval": [0, 0]}


def test_scores_of_each_decoder_are_written_as_an_evaluation_writes_them(
    compare: Compare, tmp_path: Path
) -> None:
    compare()
    assert {path.name for path in (tmp_path / "board").iterdir()} == {
        "board.json", "board.md", "samples.png", "greedy", "better",
    }  # fmt: skip
    scores = json.loads((tmp_path / "board" / "greedy" / "scores.json").read_text(encoding="utf-8"))
    assert (scores["decoder"], scores["cer"]) == ("greedy", pytest.approx(4 / 14))
    assert (tmp_path / "board" / "better" / "lines.tsv").is_file()


def test_table_is_printed_and_written(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compare()
    written = (tmp_path / "board" / "board.md").read_text(encoding="utf-8")
    assert written in capsys.readouterr().out
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in written.splitlines()[:4]]
    assert rows[0] == [
        "decoder", "CER [95 %]", "WER [95 %]", "CER less greedy", "WER less greedy", "lines/s",
    ]  # fmt: skip
    assert rows[2][:5] == ["greedy", "28.57 % [28.6, 28.6]", "66.67 % [66.7, 66.7]", "", ""]
    assert rows[3][:4] == ["better", "0.00 % [0.0, 0.0]", "0.00 % [0.0, 0.0]", "-28.57 [-28.57, -28.57]"]


def test_comparison_is_a_run_of_its_own(compare: Compare, tmp_path: Path) -> None:
    run = compare()["run"]
    logged = Store(f"sqlite:///{tmp_path}/mlflow.db", "0").client.get_run(run)
    assert (logged.info.run_name, logged.info.status) == ("decoders", "FINISHED")
    assert logged.data.metrics["decoders/greedy/cer"] == pytest.approx(4 / 14)
    assert logged.data.metrics["decoders/better/wer_difference"] == pytest.approx(-4 / 6)
    assert logged.data.metrics["decoders/better/lines_per_s"] > 0
    assert logged.data.params["decoders.better.mistakes"] == "0"
    artifacts = tmp_path / "artifacts" / run / "artifacts" / "decoders"
    assert (artifacts / "samples.png").is_file()


def test_speed_is_the_median_of_the_repeats(compare: Compare, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = chain([0, 9, 10, 12, 20, 21], [30, 34, 40, 48, 50, 51])  # s: 9, 2, 1 and 4, 8, 1
    monkeypatch.setattr(decoders, "time", SimpleNamespace(perf_counter=ticks.__next__))
    found = compare("repeats=3")["decoders"]
    assert [own["lines_per_s"] for own in found.values()] == [4 / 2, 4 / 4]


def test_every_repeat_has_a_decoder_that_remembers_nothing(
    compare: Compare, monkeypatch: pytest.MonkeyPatch
) -> None:
    readers: list[object] = []
    read = told.Told.read
    monkeypatch.setattr(told.Told, "read", lambda self, *lines: readers.append(self) or read(self, *lines))
    compare("repeats=3")
    assert len(set(map(id, readers))) == len(readers) == 6


def test_baseline_is_chosen(compare: Compare) -> None:
    found = compare("baseline=better")
    assert found["decoders"]["greedy"]["differences"]["cer"]["value"] == pytest.approx(4 / 14)
    assert "CER less better" in table(found)


def test_decoder_whose_files_are_missing_is_refused_with_how_to_do_without(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = refused(capsys, lambda: compare("decoders.better.file=none.arpa"))
    assert refusal == "decoder better: none.arpa: no such file; or leave it out with ~decoders.better"
    assert not list((tmp_path / "board").glob("*"))


def test_decoder_that_knows_the_lines_is_refused(
    compare: Compare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    refusal = refused(capsys, lambda: compare("decoders.better.seen=true"))
    assert refusal.startswith("decoder better: model.arpa: made from line p0/l0 of what is read; ")
    assert refusal.endswith("; or leave it out with ~decoders.better")
    assert not list((tmp_path / "board").glob("*"))


def test_table_leaves_out_intervals_where_there_are_none() -> None:
    rates = {"cer": 0.1, "wer": 0.2, "intervals": {"cer": None, "wer": None}, "lines_per_s": 1234.5}
    differences = {rate: {"value": -0.012, "interval": None} for rate in ("cer", "wer")}
    own = {**rates, "differences": differences}
    given = {
        "baseline": "greedy", "decoders": {"greedy": own, "beam": own}, "split": "test", "lines": 1,
        "scorer": "sclite", "units": 1, "over": "lines", "repeats": 3, "threads": 1,
    }  # fmt: skip
    row = table(given).splitlines()[3]
    assert [cell.strip() for cell in row.split("|")[1:-1]] == [
        "beam", "10.00 %", "20.00 %", "-1.20", "-1.20", "1234",
    ]  # fmt: skip


# Which lines are drawn


def entry(errors: list[int]) -> Entry:
    """Return what a decoder read with so many errors in lines 0, 1, 2 and so on."""
    counts = {str(n): Counts(10, own) for n, own in enumerate(errors)}
    texts = dict.fromkeys(counts, "text")
    return Entry(Texts(texts, texts, {}, {}), Scores(counts, counts, {}), 1.0)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[list[str]]]]:
    """Return what draws with these errors, and then tells the lines of each group."""
    groups: list[Any] = []
    monkeypatch.setattr(pictures, "readings", lambda given: groups.append(given))

    def draw(*errors: list[int], count: int, seed: int = 0) -> list[list[str]]:
        ids = [str(n) for n in range(len(errors[0]))]
        images = list(repeat(np.zeros((4, 4), np.uint8), len(ids)))
        lines = Lines(ids, ids, images, ["text"] * len(ids), [], [], Alphabet("ext"), "")
        picture(lines, {str(n): entry(own) for n, own in enumerate(errors)}, count=count, seed=seed)
        return [[item.id for item in group] for group in groups.pop().values()]

    yield draw


def test_lines_on_which_decoders_differ_most_are_drawn_first(drawn: Callable[..., list[list[str]]]) -> None:
    first, others = drawn([9, 2, 5, 0], [9, 3, 1, 2], count=2)
    assert first == ["2", "3"]  # by 4 and 2 errors; by 1 in line 1, by none in line 0
    assert others == ["0", "1"]


def test_lines_on_which_all_err_alike_are_drawn_at_random_alone(
    drawn: Callable[..., list[list[str]]],
) -> None:
    first, others = drawn([3] * 50, [3] * 50, count=4)
    assert first == []
    assert len(set(others)) == 4
    assert drawn([3] * 50, [3] * 50, count=4)[1] == others
    assert drawn([3] * 50, [3] * 50, count=4, seed=1)[1] != others


def test_no_line_is_drawn_where_none_is_asked_for(drawn: Callable[..., list[list[str]]]) -> None:
    assert drawn([3, 1], [0, 1], count=0) == [[], []]
