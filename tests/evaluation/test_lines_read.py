"""The lines of a split, and what the network makes of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig
from hwr.data.records import LeftOut
from hwr.data.report import KINDS
from hwr.decoding import Reading
from hwr.errors import InputError
from hwr.evaluation import lines as line
from hwr.evaluation.lines import Lines, UnreadLine, find_lines, read_chunks, read_lines
from hwr.evaluation.task import Task
from hwr.text import Alphabet
from hwr.tracking import Store
from hwr.weights import Weights
from tests import told
from tests.evaluation.tiny import ALPHABET, TEXTS, Place, write_pages
from tests.told import SAW, Told

BARE = Lines(
    ["p/1", "p/2"], ["p", "p"], [], ["ab", "b"], ["ann", ""], ["other", "note"], Alphabet("ab"), "0123"
)


@pytest.fixture
def task(tmp_path: Path, tiny_weights: list[str]) -> Task[EvaluateConfig]:
    root = write_pages(tmp_path / "data")
    settings = [*tiny_weights, "data=alto", f"data.root={root}", f"folder={tmp_path}", "scorer=edit_distance"]
    return Task(
        composed("evaluate", settings, EvaluateConfig).root, Store("sqlite:////nowhere/mlflow.db", "0")
    )


@pytest.fixture
def weights(task: Task[EvaluateConfig]) -> Weights:
    return line.load_counted(task, "line")[0]


def test_lines_are_found_in_order_with_what_is_known_of_them(
    task: Task[EvaluateConfig], weights: Weights
) -> None:
    lines = find_lines(task, weights)
    assert lines.ids == ["p0/l0", "p0/l1", "p1/l0", "p1/l1"]
    assert lines.texts == ("ab ba", "ba", "ab ba", "ba")
    assert lines.writers == ("ann",) * 4
    assert lines.groups == ("other",) * 4
    assert (lines.unread, lines.left_out) == ([], [])
    assert (lines.alphabet, lines.probs) == (ALPHABET, ())
    assert [image.shape[0] for image in lines.images] == [16] * 4


def test_fingerprint_changes_with_the_texts(task: Task[EvaluateConfig], weights: Weights) -> None:
    before = find_lines(task, weights).fingerprint
    page = Path(task.config.data["root"]) / "p1.xml"
    page.write_text(page.read_text(encoding="utf-8").replace('"ba"', '"bb"'), encoding="utf-8")
    assert find_lines(task, weights).fingerprint != before


def test_every_line_has_a_distribution_over_the_classes_at_every_step(
    task: Task[EvaluateConfig], weights: Weights
) -> None:
    lines = read_lines(task, weights)
    assert len(lines.probs) == 4
    for image, probs in zip(lines.images, lines.probs, strict=True):
        assert probs.shape == (-(-image.shape[1] // 32) * 8, len(ALPHABET))
        assert probs.dtype == np.float32
        np.testing.assert_allclose(probs.sum(axis=1), 1, rtol=1e-5)


def test_lines_are_read_a_few_at_once(task: Task[EvaluateConfig], weights: Weights) -> None:
    whole = read_lines(task, weights)
    chunks = list(read_chunks(task, weights, whole, size=3))
    assert [[*pages] for pages, _ in chunks] == [["p0", "p0", "p1", "p1"]]  # no page is parted
    assert [len(probs) for _, probs in read_chunks(task, weights, whole, size=1)] == [2, 2]
    for one, other in zip(chunks[0][1], whole.probs, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)  # what is multiplied at once rounds otherwise


def test_readings_are_set_beside_the_true_texts() -> None:
    texts = BARE.with_readings([Reading("a", 0.5), Reading("", 0.0)])
    assert texts.references == {"p/1": "ab", "p/2": "b"}
    assert texts.hypotheses == {"p/1": "a", "p/2": ""}
    assert texts.writers == {"p/1": "ann", "p/2": ""}
    assert texts.groups == {"p/1": "other", "p/2": "note"}


def test_unread_lines_stand_beside_the_readings_as_missed() -> None:
    missed = UnreadLine("p/3", "abc", "ben", "other", "torn")
    lines = replace(BARE, unread=[missed])
    texts = lines.with_readings([Reading("a", 0.5), Reading("", 0.0)])
    assert texts.references == {"p/1": "ab", "p/2": "b", "p/3": "abc"}
    assert texts.hypotheses == {"p/1": "a", "p/2": "", "p/3": ""}
    assert texts.writers["p/3"] == "ben"
    assert texts.groups["p/3"] == "other"
    assert lines.scored.told("line") == ["could not be read, count as missed: 1 line: p/3 (torn)"]


def broken(root: Path) -> None:
    """Of four pages, break a line of the first, the image of the second, and the text of the third."""
    write_pages(root, *[TEXTS] * 4)
    for name, old, new in (
        ("p0", 'HPOS="20" VPOS="60"', 'HPOS="900" VPOS="60"'),
        ("p2", 'CONTENT="ba"', 'CONTENT=""'),
    ):
        page = root / f"{name}.xml"
        page.write_text(page.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    (root / "p1.png").write_bytes((root / "p1.png").read_bytes()[:60])


def test_bad_lines_count_as_missed_and_the_others_are_read(
    tmp_path: Path, task: Task[EvaluateConfig], weights: Weights
) -> None:
    task.config.data["root"] = str(tmp_path / "broken")
    broken(tmp_path / "broken")
    lines = find_lines(task, weights)
    assert lines.ids == ["p0/l0", "p2/l0", "p3/l0", "p3/l1"]
    assert [(line.id, line.text) for line in lines.unread] == [
        ("p0/l1", "ba"), ("p1/l0", "ab ba"), ("p1/l1", "ba")
    ]  # fmt: skip
    assert lines.left_out == [LeftOut(line.UNTOLD, lines={"test": ("p2/l1",)})]


def test_policy_of_the_training_leaves_no_line_out(
    tmp_path: Path, task: Task[EvaluateConfig], tiny_weights: list[str]
) -> None:
    weights = task.weights("line")
    strict = dict.fromkeys(KINDS, "drop") | {"unreadable_image": "refuse"}
    config = OmegaConf.create(weights.config)
    config.inspect.policy = strict
    broken(tmp_path / "broken")
    task.config.data["root"] = str(tmp_path / "broken")
    found = find_lines(task, replace(weights, config=OmegaConf.to_yaml(config)))
    assert len(found.ids) + len(found.unread) == 7


def test_split_without_a_line_that_can_be_read_is_refused(
    tmp_path: Path, task: Task[EvaluateConfig], weights: Weights
) -> None:
    for image in Path(task.config.data["root"]).glob("*.png"):
        image.unlink()
    with pytest.raises(
        InputError, match=r"the split test has no lines left: .*p0.png is missing.*\(and 3 more\)"
    ):
        find_lines(task, weights)


def test_split_whose_lines_are_all_left_out_says_by_what(
    task: Task[EvaluateConfig], weights: Weights
) -> None:
    task.config.data["exclude"] = {"types": [], "pattern": "."}
    with pytest.raises(
        InputError, match=r"no lines left; left out: 4 lines \(test 4\) by data.exclude.pattern=\."
    ):
        find_lines(task, weights)


def test_scores_tell_what_is_left_out_and_what_was_not_read(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(place.folder / "data")
    place.evaluate("line")
    scores = place.scores
    assert (scores["lines"], scores["characters"]["reference"]) == (7, 26)
    assert scores["characters"]["deletions"] >= len("ba" + "ab ba" + "ba")
    assert list(scores["unread"]) == ["p0/l1", "p1/l0", "p1/l1"]
    assert scores["left_out"] == [{"rule": line.UNTOLD, "files": 0, "pages": {}, "lines": {"test": 1}}]
    said = capsys.readouterr().out
    assert f"left out by {line.UNTOLD}: 1 line (test 1)" in said
    assert "could not be read, count as missed: 3 lines: p0/l1 (" in said
    rows = (place.output / "lines.tsv").read_text(encoding="utf-8").splitlines()
    assert [row.split("\t")[0] for row in rows[-3:]] == ["p0/l1", "p1/l0", "p1/l1"]


def test_decoder_that_knows_the_lines_is_refused() -> None:
    BARE.refuse_seen_by(Told(0))
    with pytest.raises(InputError, match=r"model\.arpa: made from line p/1 of what is read"):
        BARE.refuse_seen_by(Told(0, (SAW,)))


@pytest.mark.parametrize("target", ["line", "page"])
def test_evaluation_refuses_a_decoder_that_knows_the_lines(
    place: Place, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told.install(monkeypatch)
    with pytest.raises(InputError, match=r"model\.arpa: made from line p0/l0 of what is read"):
        place.evaluate(target, *told.node("decoder"), "decoder.seen=true")
    assert not list(place.output.glob("*"))
