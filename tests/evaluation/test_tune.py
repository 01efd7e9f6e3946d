"""A decoder's numbers are chosen on validation lines, and what was tried is a run each."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig, TuneConfig
from hwr.evaluation import tune as tuning
from hwr.tracking import PARENT, Store
from tests import told
from tests.evaluation.tiny import write_pages, write_weights
from tests.refusal import refused

SPACE = ["+space.mistakes=[3,0,1]", "+space.width=[50,10]"]

Tune = Callable[..., Path]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    (written,) = write_weights(tmp_path_factory.mktemp("weights"), "line")
    return written


@pytest.fixture
def tune(tmp_path: Path, database: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> Tune:
    """Return what tunes a decoder that is told the texts, in a folder of its own."""
    told.install(monkeypatch)
    monkeypatch.setattr(tuning, "DECODERS", tmp_path / "conf" / "decoder")
    shutil.copy(database, tmp_path / "mlflow.db")
    root = write_pages(tmp_path / "data", told.TEXTS[:2], told.TEXTS[2:], split="valid")
    places = [weights, "data=alto", f"data.root={root}", f"folder={tmp_path}", "decoder=greedy"]

    def run(*overrides: str) -> Path:
        return tuning.tune_decoder(
            composed("tune", [*places, *told.node("decoder"), *SPACE, *overrides], TuneConfig)
        )

    return run


def runs(folder: Path) -> tuple[Any, list[Any]]:
    """Return the parent and its children, the first of them first."""
    client = Store(f"sqlite:///{folder}/mlflow.db", "0").client
    found = client.search_runs([client.get_experiment_by_name("hwr").experiment_id])
    (parent,) = (one for one in found if PARENT not in one.data.tags)
    children = [one for one in found if one.data.tags.get(PARENT) == parent.info.run_id]
    return parent, sorted(children, key=lambda one: one.info.start_time)


def test_best_setting_becomes_a_decoder(tune: Tune, tmp_path: Path) -> None:
    path = tune()
    assert path == tmp_path / "conf" / "decoder" / "greedy_tuned.yaml"
    assert yaml.safe_load(path.read_text(encoding="utf-8")) == {
        "_target_": told.TARGET, "mistakes": 0, "width": 50, "file": None, "seen": False,
    }  # fmt: skip


def test_decoder_is_chosen_by_its_name(tune: Tune, tmp_path: Path) -> None:
    node = yaml.safe_load(tune().read_text(encoding="utf-8"))
    found = [f"hydra.searchpath=[file://{tmp_path}/conf]", "decoder=greedy_tuned"]
    assert composed("evaluate", found, EvaluateConfig).values["decoder"] == node


def test_file_tells_where_its_numbers_come_from(tune: Tune, tmp_path: Path) -> None:
    first, second, third = tune("rounds=1").read_text(encoding="utf-8").splitlines()[:3]
    assert first.startswith("# Numbers chosen by: python -m hwr tune weights.line=")
    assert first.endswith(" rounds=1")
    assert second.startswith("# on 4 lines of the split valid, data fingerprint ")
    assert third.endswith("CER 28.57 % before, 0.00 % after, WER 66.67 % before, 0.00 % after")


def test_line_breaks_of_the_command_do_not_leave_its_comment(tune: Tune) -> None:
    path = tune("tracking.experiment='h\n\nwr: x'")
    assert yaml.safe_load(path.read_text(encoding="utf-8"))["mistakes"] == 0


def test_cheap_key_takes_its_least_value_within_the_tolerance(tune: Tune) -> None:
    def width(*overrides: str) -> Any:
        return yaml.safe_load(tune("cheap=[width]", *overrides).read_text(encoding="utf-8"))["width"]

    assert width("tolerance=0.2") == 50  # with 10 a mistake more: CER 4/14 in place of 0
    assert width("tolerance=0.3") == 10


def test_every_trial_is_a_run_below_that_of_the_choice(tune: Tune, tmp_path: Path) -> None:
    tune()
    parent, children = runs(tmp_path)
    assert parent.info.run_name == "tune greedy"
    assert [child.data.params for child in children] == [
        {"mistakes": mistakes, "width": width}
        for mistakes, width in [("1", "50"), ("3", "50"), ("0", "50"), ("0", "10")]
    ]
    # of 14 characters in ab ba, ba, ab ba and ba; the first of each are read as so many -
    assert [child.data.metrics["valid/cer"] for child in children] == pytest.approx(
        [4 / 14, 12 / 14, 0, 4 / 14]
    )
    assert all(child.data.metrics["lines_per_s"] > 0 for child in children)
    assert {child.info.status for child in [parent, *children]} == {"FINISHED"}


def test_run_of_the_choice_holds_what_was_chosen(tune: Tune, tmp_path: Path) -> None:
    path = tune()
    parent, children = runs(tmp_path)
    assert parent.data.metrics["best/valid/cer"] == parent.data.metrics["best/valid/wer"] == 0
    assert parent.data.metrics["trials"] == 4
    assert (parent.data.params["best.mistakes"], parent.data.params["search"]) == ("0", "coordinate")
    assert parent.data.tags["best_run"] == children[2].info.run_id
    artifacts = tmp_path / "artifacts" / parent.info.run_id / "artifacts"
    assert (artifacts / "decoder.yaml").read_text(encoding="utf-8") == path.read_text(encoding="utf-8")
    assert len((artifacts / "trials.txt").read_text(encoding="utf-8").splitlines()) == 5


def test_trials_are_printed_as_a_table(tune: Tune, capsys: pytest.CaptureFixture[str]) -> None:
    tune()
    printed = capsys.readouterr().out
    assert printed.startswith("mistakes=1 width=50: CER 28.57 %, WER 66.67 %\n")  # before the next is tried
    rows = [row.replace(" %", "%").split() for row in printed.splitlines()]
    head = rows.index(["mistakes", "width", "CER", "WER", "lines/s"])
    assert rows[head + 1][:4] == ["1", "50", "28.57%", "66.67%"]
    assert rows[head + 3][:4] == ["0", "50", "0.00%", "0.00%"]
    assert ["best:", "mistakes=0", "width=50"] in rows


def test_every_combination_is_tried_where_asked(tune: Tune, tmp_path: Path) -> None:
    tune("search=grid")
    assert len(runs(tmp_path)[1]) == 6


def test_file_is_written_where_asked(tune: Tune, tmp_path: Path) -> None:
    output = tmp_path / "somewhere" / "best.yaml"
    assert tune(f"output={output}") == output
    assert output.is_file()


def test_decoder_that_knows_the_lines_is_refused(
    tune: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, lambda: tune("decoder.seen=true"))
    assert said.startswith("model.arpa: made from line p0/l0 of what is read")
    assert not list((tmp_path / "conf" / "decoder").glob("*"))


def test_output_is_refused_when_it_cannot_be_written(
    tune: Tune, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    said = refused(capsys, lambda: tune(f"output={tmp_path / 'file' / 'best.yaml'}"))
    assert said == f"{tmp_path / 'file'}: cannot be written (File exists); choose another folder"


def test_values_are_set_at_dotted_keys_and_nowhere_else() -> None:
    node = {"limit": 3.0, "base": {"width": 50, "model": None}}
    assert tuning.with_values(node, {"base.width": 25, "limit": 1.0}) == {
        "limit": 1.0,
        "base": {"width": 25, "model": None},
    }
    assert node == {"limit": 3.0, "base": {"width": 50, "model": None}}


def test_space_is_flat_whether_keys_are_nested_or_dotted() -> None:
    made = composed("tune", ["decoder=beam"], TuneConfig).root
    config = replace(made, space={"limit": [1], "base": {"width": [25]}, "base.model_weight": [0.5]})
    assert tuning.space_of(config) == {"limit": [1], "base.width": [25], "base.model_weight": [0.5]}


def test_rates_are_errors_of_all_lines_by_all_that_is_written() -> None:
    cer, wer = tuning.rates(["ab ba", "ba"], ["ab b", "ba a"])  # one character missed, two too much
    assert cer == pytest.approx(3 / 7)
    assert wer == pytest.approx(2 / 3)
