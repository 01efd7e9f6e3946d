import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.runs.job_table import (
    SweepJob,
    bests,
    jobs_csv,
    jobs_markdown,
    named,
    ranked,
    repeated,
    repeated_markdown,
)


def job(
    name: str, value: float | None, *, status: str = "FINISHED", state: str = "", **swept: Any
) -> SweepJob:
    return SweepJob(name, status, swept, "valid/cer", value, state)


def test_lowest_value_ranks_first() -> None:
    assert [one.id for one in ranked([job("a", 0.5), job("b", 0.25), job("c", 0.75)])] == ["b", "a", "c"]


@pytest.mark.parametrize(
    "other",
    [
        job("x", 0.1, status="KILLED"),
        job("x", 0.1, status="FAILED"),
        job("x", 0.1, status="RUNNING"),
        job("x", 0.1, state="pruned"),
        job("x", None),
    ],
)
def test_job_that_is_not_complete_ranks_behind_those_that_are(other: SweepJob) -> None:
    assert ranked([other, job("whole", 0.9)])[0].id == "whole"
    assert bests([other, job("whole", 0.9)]) == {"valid/cer": job("whole", 0.9)}


def test_no_job_is_best_when_none_is_complete() -> None:
    assert bests([job("a", 0.1, status="KILLED")]) == {}
    assert bests([]) == {}


@pytest.mark.parametrize(
    ("swept", "expected"),
    [
        ({"lr": 0.0003, "augmentation.shift_x": 0.1}, "lr=0.0003 augmentation.shift_x=0.1"),
        ({"lr": 0.000312345678}, "lr=0.0003123"),
        ({"seed": 20240101, "network": "crnn_small"}, "seed=20240101 network=crnn_small"),
        ({"clip": None, "mask": True, "channels": [1, 2]}, "clip=null mask=true channels=[1, 2]"),
        ({}, ""),
    ],
)  # fmt: skip
def test_name_tells_what_was_swept(swept: dict[str, Any], expected: str) -> None:
    assert named(swept) == expected


def test_name_is_cut_when_it_is_too_long_for_a_run() -> None:
    assert named({"text": "x" * 300}) == "text=" + "x" * 194 + "…"


def test_table_has_a_row_for_each_job_and_a_column_for_each_key() -> None:
    jobs = [job("a", 0.5, lr=0.1), job("b", 0.25, lr=0.2), job("c", None, status="KILLED", lr=0.3)]
    assert jobs_csv(jobs, ["lr"]) == (
        "rank,lr,best/valid/cer,status,run,error\n"
        "1,0.2,0.25,FINISHED,b,\n"
        "2,0.1,0.5,FINISHED,a,\n"
        "3,0.3,,KILLED,c,\n"
    )


def test_table_leaves_a_cell_empty_when_a_job_lacks_the_key() -> None:
    assert jobs_csv([job("a", 0.5)], ["lr"]).splitlines()[1] == "1,,0.5,FINISHED,a,"


def test_jobs_that_minimise_different_errors_are_ranked_apart() -> None:
    jobs = [
        SweepJob("a", "FINISHED", {}, "valid/cer", 0.5),
        SweepJob("b", "FINISHED", {}, "valid/iou_error", 0.4),
        SweepJob("c", "FINISHED", {}, "valid/cer", 0.3),
        SweepJob("d", "FAILED", {}, "", None),
    ]
    assert bests(jobs) == {"valid/cer": jobs[2], "valid/iou_error": jobs[1]}
    assert jobs_csv(jobs, []) == (
        "rank,monitor,best,status,run,error\n"
        "1,valid/cer,0.3,FINISHED,c,\n"
        "2,valid/cer,0.5,FINISHED,a,\n"
        "1,valid/iou_error,0.4,FINISHED,b,\n"
        "2,,,FAILED,d,\n"
    )


def cells(table: str) -> list[list[str]]:
    """Return the cells of a Markdown table, without the line below its head."""
    rows = [[cell.strip() for cell in row.strip("|").split(" | ")] for row in table.splitlines()]
    return [rows[0], *rows[2:]]


def test_markdown_has_a_column_of_errors_when_a_job_failed() -> None:
    failed = SweepJob("b", "FAILED", {"lr": -1}, "", None, error="lr=-1 is not | possible")
    assert cells(jobs_markdown([failed], ["lr"])) == [
        ["rank", "lr", "best", "status", "run", "error"],
        ["1", "-1", "", "FAILED", "b", r"lr=-1 is not \| possible"],
    ]


def test_markdown_has_no_column_of_errors_when_no_job_failed() -> None:
    assert cells(jobs_markdown([job("a", 0.5, state="pruned")], [])) == [
        ["rank", "best/valid/cer", "status", "run"],
        ["1", "0.5", "pruned", "a"],
    ]


texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\r\0"), max_size=8)


@given(
    st.lists(
        st.tuples(texts, st.none() | st.floats(allow_nan=False), st.sampled_from(["FINISHED", "KILLED"]))
    )
)
def test_csv_gives_back_what_was_swept(found: list[tuple[str, float | None, str]]) -> None:
    jobs = [job(str(n), value, status=status, key=text) for n, (text, value, status) in enumerate(found)]
    rows = list(csv.DictReader(io.StringIO(jobs_csv(jobs, ["key"]))))
    read = {
        row["run"]: (row["key"], float(row["best/valid/cer"]) if row["best/valid/cer"] else None)
        for row in rows
    }
    assert read == {one.id: (one.swept["key"], one.value) for one in jobs}


def test_trainings_that_differ_in_their_seed_are_a_group_with_mean_and_interval() -> None:
    jobs = [
        job("a", 0.1, lr=1, seed=0), job("b", 0.2, lr=1, seed=1), job("c", 0.3, lr=1, seed=2),
        job("d", 0.1, lr=2, seed=0), job("e", 0.1, lr=2, seed=1),
        job("f", 0.0, lr=2, seed=2, status="KILLED"), job("g", 0.0, lr=3, seed=0), job("h", 0.0, lr=4),
    ]  # fmt: skip
    first, second = repeated(jobs)
    assert (first.swept, first.values, first.interval) == ({"lr": 2}, [0.1, 0.1], (0.1, 0.1))
    assert (second.swept, second.mean) == ({"lr": 1}, pytest.approx(0.2))
    # Student's t of two degrees of freedom at 97.5 %, 4.3027, by the standard error 0.1 / sqrt(3)
    assert second.interval == pytest.approx((0.2 - 0.24841, 0.2 + 0.24841), abs=1e-5)
    head, _, *rows = repeated_markdown([first, second], ["lr", "seed"]).splitlines()
    assert [cell.strip() for cell in head.split("|")[1:-1]] == [
        "lr",
        "error",
        "seeds",
        "mean",
        "95 % interval",
    ]
    assert [cell.strip() for cell in rows[0].split("|")[1:-1]] == [
        "2",
        "valid/cer",
        "2",
        "0.1000",
        "0.1000 to 0.1000",
    ]
    assert repeated_markdown([], ["lr"]) == ""
