"""evaluate.py as a user starts it: what it writes, where it logs, and what it refuses."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr import evaluation, pictures, tracking
from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig
from hwr.errors import InputError
from tests.alto_folder import write_folder
from tests.refusal import refused, tells
from tests.smoke import Smoke, evaluate, script

KEYS = {
    "cer", "wer", "characters", "words", "lines", "scorer", "convention", "exact_lines", "intervals",
    "macro_cer_lines", "macro_wer_lines", "macro_cer_writers", "macro_wer_writers", "groups", "levenshtein",
    "in_process", "target", "split", "data_fingerprint", "weights", "weights_sha256", "run",
    "environment", "settings", "left_out", "unread", "replacements",
}  # fmt: skip
COUNTS = {"reference", "substitutions", "deletions", "insertions"}


def run(smoke: Smoke, output: Path, *overrides: str, data: Path | None = None) -> float:
    """Evaluate the smoke weights, on their own pages or on the ALTO files in `data`."""
    pages = ["data=alto", f"data.root={data}"] if data else smoke.data
    places = [f"weights.line={smoke.weights}", f"folder={smoke.folder}", f"output={output}"]
    settings = [*places, "scorer=edit_distance", *pages, *overrides]
    return evaluation.evaluate(composed("evaluate", settings, EvaluateConfig))


def scores(output: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    return found


@pytest.fixture(scope="module")
def by_sclite(smoke: Smoke, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what the script itself wrote, with SClite's counts."""
    if shutil.which("sclite") is None and not Path("/usr/lib/sctk/bin/sclite").exists():
        pytest.skip("SClite is not installed: apt-get install sctk")
    output = tmp_path_factory.mktemp("by_sclite") / "scores"
    said = evaluate(smoke, output)
    assert "CER" in said
    assert f"run {scores(output)['run']}" in said
    return output


def test_scores_hold_counts_rates_and_what_they_are_of(smoke: Smoke, by_sclite: Path) -> None:
    found = scores(by_sclite)
    assert set(found) == KEYS
    assert set(found["characters"]) == set(found["words"]) == COUNTS
    errors = sum(found["characters"][name] for name in COUNTS - {"reference"})
    assert found["cer"] == errors / found["characters"]["reference"]
    manifest = json.loads((smoke.weights / "manifest.json").read_text(encoding="utf-8"))
    assert found["weights_sha256"] == manifest["sha256"]["network.params"]
    assert (found["split"], found["scorer"]) == ("test", "sclite")
    assert set(found["groups"]) == {"held-out", "other"}
    assert found["in_process"]["agrees_with_sclite"] is True


def test_every_line_is_in_the_table(by_sclite: Path) -> None:
    head, *rows = (by_sclite / "lines.tsv").read_text(encoding="utf-8").splitlines()
    assert head.split("\t")[:3] == ["id", "reference", "hypothesis"]
    assert len(rows) == scores(by_sclite)["lines"]


def test_reports_and_picture_are_written(by_sclite: Path) -> None:
    for unit in ("characters", "words"):
        assert {f"{unit}.ref.trn", f"{unit}.hyp.trn", f"{unit}.raw", f"{unit}.pra", f"{unit}.dtl"} <= {
            path.name for path in (by_sclite / "sclite").iterdir()
        }
    assert (by_sclite / "confusions.tsv").exists()
    with Image.open(by_sclite / "lines.png") as picture:
        assert min(picture.size) > 100


def test_scores_are_logged_to_a_run_below_the_one_that_made_the_weights(
    smoke: Smoke, by_sclite: Path
) -> None:
    made = scores(by_sclite)["run"]
    logged = smoke.store.client.get_run(made)
    assert (logged.info.status, logged.info.run_name) == ("FINISHED", "evaluate line synthetic test greedy")
    assert {logged.data.tags[tag] for tag in (tracking.PARENT, tracking.WEIGHTS_RUN)} == {smoke.run}
    assert "test/cer" not in smoke.store.client.get_run(smoke.run).data.metrics
    assert logged.data.metrics["test/cer"] == scores(by_sclite)["cer"]
    assert {"test/cer/held-out", "test/cer/other", "test/wer"} <= set(logged.data.metrics)
    artifacts = smoke.folder / "artifacts" / made / "artifacts" / "evaluation" / "test"
    assert {
        "scores.json",
        "lines.tsv",
        "lines.json",
        "lines.zip",
        "confusions.tsv",
        "lines.png",
        "sclite",
    } == {p.name for p in artifacts.iterdir()}


def test_table_of_lines_is_what_mlflow_compares_runs_by(
    smoke: Smoke, by_sclite: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", smoke.store.uri)
    made, client = scores(by_sclite)["run"], smoke.store.client
    table = client.load_table(
        client.get_run(made).info.experiment_id, "evaluation/test/lines.json", run_ids=[made]
    )
    rows = [line.split("\t") for line in (by_sclite / "lines.tsv").read_text(encoding="utf-8").splitlines()]
    assert table.columns.tolist() == rows[0]
    assert table.astype(str)["hypothesis"].tolist() == [row[2] for row in rows[1:]]


def test_runs_are_found_by_the_data_that_they_read(smoke: Smoke, by_sclite: Path) -> None:
    trained = smoke.store.client.get_run(smoke.run)
    made = scores(by_sclite)
    reads = {smoke.run: (trained.data.tags["data_fingerprint"], "training"),
             made["run"]: (made["data_fingerprint"], "test")}  # fmt: skip
    for run_id, (fingerprint, context) in reads.items():
        found = smoke.store.client.search_runs(
            [trained.info.experiment_id], f"dataset.digest = '{fingerprint[:36]}'"
        )
        inputs = {one.info.run_id: one.inputs.dataset_inputs for one in found}[run_id]
        assert [(one.dataset.name, one.tags[0].value) for one in inputs] == [("synthetic", context)]


def test_edit_distance_counts_as_sclite(smoke: Smoke, by_sclite: Path, tmp_path: Path) -> None:
    run(smoke, tmp_path)
    one, other = scores(tmp_path), scores(by_sclite)
    for key in ("characters", "words", "lines", "weights_sha256", "data_fingerprint"):
        assert one[key] == other[key]
    assert not (tmp_path / "sclite").exists()


def test_picture_that_finds_no_room_ends_no_evaluation(
    smoke: Smoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, picture: object) -> None:
        raise InputError(f"{path}: cannot be written; make room there")

    monkeypatch.setattr(pictures, "save_picture", full)
    assert run(smoke, tmp_path) == scores(tmp_path)["cer"]
    assert not (tmp_path / "lines.png").exists()
    assert "lines.png: left out" in capsys.readouterr().err


def test_run_is_new_and_linked_when_the_store_does_not_know_the_weights(smoke: Smoke, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    shutil.copytree(smoke.folder / "cache", folder / "cache")
    run(smoke, tmp_path / "scores", f"folder={folder}")
    made = scores(tmp_path / "scores")["run"]
    assert made != smoke.run
    logged = Smoke(folder, made).store.client.get_run(made)
    assert (logged.info.status, logged.data.tags["weights_run"]) == ("FINISHED", smoke.run)
    assert tracking.PARENT not in logged.data.tags
    assert logged.data.tags["weights_sha256"] == scores(tmp_path / "scores")["weights_sha256"]
    assert logged.data.params["split"] == "test"
    assert "test/cer" in logged.data.metrics


def test_weights_are_found_by_their_run(smoke: Smoke, tmp_path: Path) -> None:
    cer = run(smoke, tmp_path, f"weights.line=runs:/{smoke.run}", "split=valid")
    assert cer == scores(tmp_path)["cer"]
    logged = smoke.store.client.get_run(scores(tmp_path)["run"]).data
    assert (logged.tags[tracking.PARENT], logged.metrics["evaluation/valid/cer"]) == (smoke.run, cer)
    best = min(smoke.history("valid/cer"))
    assert cer == pytest.approx(best, abs=0.02)  # read on another instruction set than it was trained on


def test_only_what_the_evaluation_wrote_is_logged(smoke: Smoke, tmp_path: Path) -> None:
    (tmp_path / "private.txt").write_text("not for the server", encoding="utf-8")
    run(smoke, tmp_path, "split=valid")
    artifacts = smoke.folder / "artifacts" / scores(tmp_path)["run"] / "artifacts" / "evaluation" / "valid"
    assert {"scores.json", "lines.tsv", "lines.json", "lines.zip", "confusions.tsv", "lines.png"} == {
        p.name for p in artifacts.iterdir()
    }


def test_one_line_is_scored_without_an_interval(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", {"test": "tea"})
    run(smoke, tmp_path / "scores", data=root)
    assert "test: 1 lines" in capsys.readouterr().out
    assert scores(tmp_path / "scores")["intervals"]["cer"] is None


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (
            "weights.line=line/nothing",
            "weights line/nothing: no such folder; ",
        ),
        ("weights.line=runs:/0123", "runs:/0123/weights/best: cannot be fetched from sqlite"),
        ("scorer.name=sclight", "scorer.name='sclight' is not possible; it must be one of sclite"),
        ("+decoder.beam=4", "decoder.beam: no such key"),
        ("device=gpu:7", "device=gpu:7: this MXNet sees 0 GPUs; use device=cpu"),
        ("tracking.uri=nowhere", "tracking.uri=nowhere: not a tracking server; use http"),
    ],
)
def test_setting_is_refused_and_nothing_is_scored(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert refused(capsys, lambda: run(smoke, tmp_path / "scores", override)).startswith(said)
    assert not list((tmp_path / "scores").glob("*"))


@pytest.mark.parametrize("command", ["null", "/nonexistent/sclite"])
def test_missing_sclite_is_refused_with_what_to_install(
    smoke: Smoke,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: str,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("hwr.scoring.sclite._DEBIAN", tmp_path / "sclite")
    said = refused(capsys, lambda: run(smoke, tmp_path, "scorer=sclite", f"scorer.command={command}"))
    assert "is not installed: apt-get install sctk" in said
    assert "scorer=edit_distance counts without it" in said


@pytest.mark.parametrize("name", ["network.params", "config.yaml", "alphabet.json"])
def test_damaged_weights_are_refused(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    copied = shutil.copytree(smoke.weights, tmp_path / "weights")
    damaged = bytearray((copied / name).read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (copied / name).write_bytes(bytes(damaged))
    said = refused(capsys, lambda: run(smoke, tmp_path / "scores", f"weights.line={copied}"))
    assert said.startswith(f"weights {copied}: {name} was changed since")


def test_output_is_refused_when_it_cannot_be_written(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    said = refused(capsys, lambda: run(smoke, tmp_path / "file" / "scores"))
    tells(said, f"{tmp_path / 'file' / 'scores'}: ", "Not a directory", "choose another folder")


def test_split_without_pages_is_refused(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", {"train": "tea"})
    said = refused(capsys, lambda: run(smoke, tmp_path / "scores", data=root))
    assert said.startswith("the split test has no pages")


def test_split_without_lines_is_refused(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", {"test": "tea"})
    said = refused(capsys, lambda: run(smoke, tmp_path / "scores", "data.exclude.pattern=t", data=root))
    assert said.startswith("the split test has no lines")


def test_characters_that_the_weights_cannot_write_are_refused_where_asked(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_folder(tmp_path / "data", {"test": "thé"})
    said = refused(capsys, lambda: run(smoke, tmp_path / "scores", "unknown=error", data=root))
    tells(said, "line p-test/l: 'é'", "unknown=keep")


def test_store_that_knows_no_such_run_attaches_none(smoke: Smoke) -> None:
    assert tracking.attach(smoke.store, "0123") is None


def test_sweep_writes_an_output_for_each_job(smoke: Smoke, tmp_path: Path) -> None:
    root = write_folder(tmp_path / "data", {"valid": "tea", "test": "toast"})
    words = [f"weights.line={smoke.weights}", f"folder={smoke.folder}", f"output={tmp_path / 'out'}"]
    words += ["scorer=edit_distance", "data=alto", f"data.root={root}", "kept_height=0"]
    done = script("evaluate.py", "-m", *words, "split=valid,test", "hydra.job.chdir=true")
    assert done.returncode == 0, done.stderr
    assert [scores(tmp_path / "out" / str(job))["split"] for job in (0, 1)] == ["valid", "test"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"0", "1"}
    assert [line.rpartition("split=")[2] for line in done.stdout.splitlines() if line.startswith("job ")] == [
        "valid",
        "test",
    ]
    done = script("evaluate.py", "-m", *words, "split=valid,test", "publish=line/mine")
    assert done.returncode == 2
    assert "error: publish=line/mine: one evaluation is published; leave -m out\n" in done.stderr
