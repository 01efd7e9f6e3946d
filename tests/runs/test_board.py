"""hwr board: the best runs of a data set, repeated trainings as one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from hwr import tracking
from hwr.config.compose import composed
from hwr.config.roots import BoardConfig
from hwr.errors import InputError
from hwr.runs.board import print_board
from hwr.tracking import Store

LETTERS, NOTES, TEST = "a1" * 32, "b2" * 32, "a3" * 32


def training(store: Store, name: str, error: float | None, data: str = LETTERS, **tags: str) -> str:
    tags = {"stage": "line", "data_fingerprint": data, **tags}
    with tracking.start_run(store, name, tags=tags) as run:
        run.parameters({"monitor": "valid/cer", "name": "letters"})
        run.inputs("alto/letters", data, context="training", root=None, profile={})
        run.metrics({} if error is None else {"best/valid/cer": error, "valid/cer": 1.0}, 0)
    return run.id


def evaluation(store: Store, name: str, **scores: float) -> str:
    with tracking.start_run(store, name, tags={tracking.WEIGHTS_RUN: "x"}) as run:
        run.inputs("alto/letters", TEST, context="test", root=None, profile={})
        run.metrics({f"test/{score}": value for score, value in scores.items()}, 0)
    return run.id


@pytest.fixture(scope="module")
def store(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("outputs")
    shutil.copy(database, folder / "mlflow.db")
    store = tracking.open_store(None, folder, "hwr")
    training(store, "worse", 0.3)
    training(store, "better", 0.1)
    training(store, "ended early", None)
    training(store, "other data", 0.01, data=NOTES)
    parent = training(store, "letters sweep", 0.1, sweep_hash="h")
    for seed, error in enumerate((0.15, 0.25)):
        swept = {tracking.PARENT: parent, "swept": json.dumps({"seed": seed})}
        training(store, f"seed={seed}", error, **swept)
    evaluation(store, "beam", cer=0.2, wer=0.5)
    evaluation(store, "greedy", cer=0.4, mean_iou=0.9)
    return store


def printed(store: Store, capsys: pytest.CaptureFixture[str], *names: str, top: int = 20) -> list[list[str]]:
    """Return the words of the lines that are printed, in two columns or more."""
    print_board(composed("board", [f"folder={store.folder}", f"top={top}"], BoardConfig), names=names)
    return [line.split("  ") for line in capsys.readouterr().out.splitlines()]


def names(rows: list[list[Any]]) -> list[str]:
    """Return ranks, values and names, as one text a row."""
    return [" ".join([cell.strip() for cell in row if cell.strip()][:3]) for row in rows]


def test_trainings_are_ranked_and_those_of_several_seeds_are_one(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert names(printed(store, capsys, "a1a1")) == [
        f"data alto/letters, fingerprint {LETTERS[:36]}", "",
        "rank best/valid/cer name",
        "1 0.1000 better",
        "2 0.2000 [-0.4353, 0.8353] letters, 2 seeds",
        "3 0.3000 worse",
    ]  # fmt: skip


def test_evaluations_are_ranked_by_each_score(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert names(printed(store, capsys, "a3", top=1))[2:] == [
        "rank test/cer name", "1 0.2000 beam", "1 more; top=2 shows them", "",
        "rank test/mean_iou name", "1 0.9000 greedy",
    ]  # fmt: skip


def test_data_sets_are_listed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[cell.strip() for cell in row if cell.strip()] for row in printed(store, capsys)]
    assert rows[0] == ["data", "fingerprint", "trainings", "evaluations"]
    assert sorted(rows[1:]) == [
        ["alto/letters", LETTERS[:12], "5", "0"],
        ["alto/letters", TEST[:12], "0", "2"],
        ["alto/letters", NOTES[:12], "1", "0"],
    ]


@pytest.mark.parametrize(
    ("fingerprint", "said"),
    [
        ("a", r"a: begins 2 fingerprints \(.*\); give more of it"),
        ("c4", "c4: no run of such data in sqlite"),
        ("x%", "x%: not the beginning of a fingerprint"),
    ],
)
def test_fingerprint_of_none_or_several_is_refused(store: Store, fingerprint: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        print_board(composed("board", [f"folder={store.folder}"], BoardConfig), names=[fingerprint])
