"""Descriptions of runs: commands that a shell takes, whole or not at all."""

import shlex
import sys
from typing import Any

import pytest

from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig, TrainConfig
from hwr.tracking import PARENT_VARIABLE, Run
from hwr.tracking.notes import NOTE, about_evaluation, about_training, repeating, write_note
from tests.tracking.seen import stored

WORDS = ["stage=line", "data=alto", "data.root=my letters", "folder=there"]


def commands(blocks: list[str]) -> list[list[str]]:
    """Return the words of the commands in blocks of Markdown."""
    return [shlex.split(block.split("\n")[3]) for block in blocks if block.startswith("**")]


def training(run: Run, argv: list[str], monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    monkeypatch.setattr(sys, "argv", argv)
    return commands(about_training(run, composed("train", WORDS, TrainConfig), "alto/my letters"))


def test_training_is_repeated_compared_and_read_with(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    at, weights = "folder=there", f"weights.line=runs:/{run.id}"
    assert training(run, ["hwr train", *WORDS, "--config-dir", "more"], monkeypatch) == [
        ["hwr", "train", *WORDS, "--config-dir", "more"],
        ["hwr", "transcribe", "PAGE.jpg", weights, at],
        ["hwr", "evaluate", "target=line", weights, at, "data=alto", "data.root=my letters", "split=test"],
        ["hwr", "compare", run.id, "OTHER_RUN", at],
    ]


def test_training_of_an_experiment_is_scored_on_its_data(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    own = composed("train", words := ["experiments=line/published_iam", "data.root=x"], TrainConfig)
    monkeypatch.setattr(sys, "argv", ["hwr train", *words])
    scored = commands(about_training(run, own, "iam/x"))[2]
    assert scored[-4:] == ["data=iam", "data.root=x", "data.images=lines", "split=test"]


@pytest.mark.parametrize(
    ("argv", "parent"), [(["hwr train", "-m", "lr=1,2"], ""), (["hwr search"], "r1"), (["loky"], "")]
)
def test_job_of_a_sweep_is_repeated_alone(
    run: Run, argv: list[str], parent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if parent:
        monkeypatch.setenv(PARENT_VARIABLE, parent)
    assert training(run, argv, monkeypatch)[0] == ["hwr", "train", *WORDS]


def test_command_that_made_a_training_repeats_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert training(run, ["hwr adapt", "scans", "folder=x"], monkeypatch)[0] == [
        "hwr",
        "adapt",
        "scans",
        "folder=x",
    ]


def test_evaluation_is_repeated_compared_and_read_alike(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["weights.line=runs:/1a", "data=alto", "data.root=x", "decoder=beam", "split=valid"]
    monkeypatch.setattr(sys, "argv", ["hwr evaluate", *words])
    about = about_evaluation(
        run, composed("evaluate", words, EvaluateConfig), "evaluate line alto/x valid beam"
    )
    assert commands(about) == [
        ["hwr", "evaluate", *words],
        ["hwr", "transcribe", "PAGE.jpg", "weights.line=runs:/1a", "decoder=beam"],
        ["hwr", "compare", run.id, "OTHER_RUN", "split=valid"],
    ]


def test_weights_that_an_evaluation_reads_by_default_are_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys, "argv", ["hwr evaluate", *(words := ["target=page", "data=alto", "data.root=x"])]
    )
    root = composed("evaluate", words, EvaluateConfig)
    _, reading, _ = commands(about_evaluation(run, root, "evaluate page alto/x test greedy"))
    assert reading[3:] == [f"weights.{stage}={name}" for stage, name in root.root.weights.items()]


@pytest.mark.parametrize("long", ["x" * 6000, "``` ' \" \\"])
def test_block_is_whole_or_left_out(run: Run, long: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["hwr train", long])
    write_note(run, ["First.", repeating(), "Last."])
    note: Any = stored(run).data.tags[NOTE]
    if len(long) > 5000:
        assert note.startswith("First.\n\n*2 more do not fit")
    else:
        assert note == f"First.\n\n**Repeat it**\n\n````sh\nhwr train {shlex.quote(long)}\n````\n\nLast."
