"""Runs of a tracking store are compared, and the comparison is a run of its own."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwr import tracking
from hwr.comparison import compare_runs
from hwr.comparison.compared import COMPARED
from hwr.config.compose import Composed, composed
from hwr.config.roots import CompareConfig
from hwr.errors import InputError
from hwr.tracking import Store
from tests.comparison.logged import Logged, log, misread


@pytest.fixture(scope="module")
def runs(store: Store) -> list[str]:
    return [log(store, Logged("old", misread(16))), log(store, Logged("new", misread(0)))]


def settings(store: Store, output: Path, *overrides: str) -> Composed:
    own = [f"folder={store.folder}", f"output={output}", "scorer=edit_distance", "resampling.resamples=400"]
    return composed("compare", [*own, *overrides], CompareConfig)


def compared(store: Store, names: list[str], output: Path) -> Any:
    """Compare runs, and return the run that the comparison is logged as."""
    compare_runs(settings(store, output), names=names)
    return store.client.search_runs([store.experiment], order_by=["attributes.start_time DESC"])[0]


def test_comparison_is_a_run_that_names_what_it_compares(
    store: Store, runs: list[str], tmp_path: Path
) -> None:
    run = compared(store, runs, tmp_path)
    assert (run.info.run_name, run.info.status) == ("compare", "FINISHED")
    assert run.data.tags[COMPARED] == f"{runs[0]} {runs[1]}"
    assert run.data.tags["compared.B"] == runs[1]
    assert run.data.params["split"] == "test"
    assert run.data.metrics["B/CER/permutation_writers/p"] == 2 / 2**8
    assert run.data.metrics["B/CER/permutation_writers/difference"] < 0


def test_comparison_keeps_its_report(store: Store, runs: list[str], tmp_path: Path) -> None:
    run = compared(store, runs, tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "report.html",
        "comparison.json",
        "lines.tsv",
        "lines.png",
    }
    kept = tracking.download(f"runs:/{run.info.run_id}/comparison", store, tmp_path / "kept")
    for name in ("report.html", "comparison.json", "lines.tsv"):
        assert (kept / name).read_bytes() == (tmp_path / "out" / name).read_bytes()


def test_comparison_writes_its_numbers(store: Store, runs: list[str], tmp_path: Path) -> None:
    compared(store, runs, tmp_path)
    said = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert {label: run["id"] for label, run in said["runs"].items()} == dict(zip("AB", runs, strict=True))
    first = said["tests"]["B"][0]
    assert (first["measure"], first["test"], first["what"], first["p"]) == (
        "CER",
        "permutation",
        "writers",
        2 / 2**8,
    )
    assert "B is significantly better than A" in said["says"][0]


def test_comparison_is_printed(
    store: Store, runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    compared(store, runs, tmp_path)
    said = capsys.readouterr().out
    assert "CER: B is significantly better than A" in said
    assert f"report {tmp_path / 'report.html'}" in said


def test_comparison_of_runs_that_read_alike_leaves_no_older_picture(
    store: Store, runs: list[str], tmp_path: Path
) -> None:
    (tmp_path / "lines.png").touch()
    compared(store, [runs[0], log(store, Logged("twin", misread(16)))], tmp_path)
    assert not (tmp_path / "lines.png").exists()


@pytest.mark.parametrize("count", [0, 1, 27])
def test_too_few_or_too_many_runs_are_refused(store: Store, tmp_path: Path, count: int) -> None:
    with pytest.raises(InputError, match=f"compare takes 2 to 26 runs, not {count}"):
        names = [f"run{n}" for n in range(count)]
        compare_runs(settings(store, tmp_path / "out"), names=names)
    assert not (tmp_path / "out").exists()


def test_missing_sclite_is_told_before_anything_is_fetched(store: Store, tmp_path: Path) -> None:
    own = settings(store, tmp_path / "out", "scorer=sclite", "scorer.command=/nowhere/sclite")
    with pytest.raises(InputError, match=r"SClite \(/nowhere/sclite\) is not installed"):
        compare_runs(own, names=["a", "b"])
    assert not (tmp_path / "out").exists()


def test_runs_evaluated_on_other_data_are_refused(store: Store, runs: list[str], tmp_path: Path) -> None:
    other = log(store, replace(Logged("other", misread(0)), about={"data_fingerprint": "e1" * 32}))
    with pytest.raises(InputError, match="were evaluated on other data"):
        compare_runs(settings(store, tmp_path), names=[runs[0], other])


def test_areas_are_compared_page_by_page(store: Store, tmp_path: Path) -> None:
    ids = []
    for worse in (0.1, 0.0):
        origin = {"data_fingerprint": "f0" * 32, "weights_sha256": "a1" * 32}
        areas = {"mean_iou": 0.9 - worse, "iou_by_page": {f"p{n}": 0.9 - worse for n in range(8)}}
        scores = {"target": "paragraph", "split": "test", "pages": 8, **origin, **areas}
        with tracking.start_run(store, "areas", tags={"stage": "paragraph"}) as run:
            run.json("evaluation/test/scores.json", scores)
        ids.append(run.id)
    compared(store, ids, tmp_path)
    said = json.loads((tmp_path / "comparison.json").read_text(encoding="utf-8"))
    assert said["says"] == [
        "1 − IoU: B is significantly better than A (B 10.00 %, A 20.00 %; "
        "permutation test over 8 pages, p = 0.008)"
    ]
    assert not (tmp_path / "lines.png").exists()
