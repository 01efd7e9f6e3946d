"""Runs are found and fetched from a tracking store."""

import re
import shlex
import tempfile
from pathlib import Path

import pytest

from hwr import tracking
from hwr.comparison.compared import COMPARED, ComparedRun, fetch_run, find_runs
from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig, TrainConfig
from hwr.errors import InputError
from hwr.tracking import Store
from tests.comparison.logged import Logged, log, misread


@pytest.fixture(scope="module")
def runs(store: Store) -> list[str]:
    """Return a run with pictures of its lines and one without, the older first."""
    own = Logged("wide", misread(2), parameters={"seed": 7}, environment={"packages": {"mxnet": "1"}})
    return [log(store, own), log(store, Logged("narrow", misread(1), pictures=False))]


def found(store: Store, *names: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return [run.named.info.run_id for run in find_runs(store, names, "test", Path(folder))]


def test_runs_are_found_by_id_and_beginning(store: Store, runs: list[str]) -> None:
    assert found(store, runs[1], runs[0][:12]) == [runs[1], runs[0]]


def test_last_is_the_run_started_last_but_no_comparison(store: Store, runs: list[str]) -> None:
    with tracking.start_run(store, "compare", tags={COMPARED: "a b"}):
        pass
    assert found(store, "last") == [runs[1]]


def test_unknown_run_is_refused(store: Store, runs: list[str]) -> None:
    with pytest.raises(
        InputError, match=r"zz: no such run in sqlite:.*; give an id or its beginning, or where"
    ):
        found(store, "zz")


def test_run_of_another_experiment_is_told_from_none(store: Store, runs: list[str], tmp_path: Path) -> None:
    other = tracking.open_store(store.uri, tmp_path, "recipes 2")
    remedy = f"{runs[0]}: a run of experiment hwr; add tracking.experiment=hwr"
    with pytest.raises(InputError, match=re.escape(remedy)):
        found(other, runs[0])


def test_command_that_evaluates_a_run_names_its_experiment(store: Store, tmp_path: Path) -> None:
    other = tracking.open_store(store.uri, tmp_path, "recipes 2")
    with tracking.start_run(other, "train", tags={"stage": "line"}) as run:
        pass
    with pytest.raises(InputError, match=r"make one: hwr evaluate .* 'tracking.experiment=recipes 2'"):
        found(other, run.id)


def test_beginning_of_several_runs_is_refused(store: Store, runs: list[str]) -> None:
    with pytest.raises(InputError, match=r": \d runs begin so \(\w{4}, \w{4}.* …\); give more of the id"):
        found(store, "")


def test_run_named_twice_is_refused(store: Store, runs: list[str]) -> None:
    with pytest.raises(InputError, match=f"last and {runs[1]} are one run; name two"):
        found(store, runs[1], "last")


def fetched(store: Store, run_id: str, folder: Path) -> ComparedRun:
    (run,) = find_runs(store, [run_id], "test", folder)
    return fetch_run(store, run, "A", "test", folder)


def test_run_is_fetched_with_what_it_logged(store: Store, runs: list[str], tmp_path: Path) -> None:
    own = fetched(store, runs[0], tmp_path)
    assert (own.label, own.id, own.name, own.short) == ("A", runs[0], "wide", runs[0][:8])
    assert own.parameters == {"lr": "0.001", "data.source": "alto", "data.root": "DATA", "seed": "7"}
    assert own.metrics["best/valid/cer"] == 0.25
    assert own.environment == {"threads": "2", "packages.mxnet": "1"}
    assert own.data == {"train.lines": "9"}
    assert own.tags["data_fingerprint"] == "d0" * 32


def test_run_is_fetched_with_its_evaluation(store: Store, runs: list[str], tmp_path: Path) -> None:
    own = fetched(store, runs[0], tmp_path)
    assert own.scores["lines"] == 16
    assert {name: line.hypothesis for name, line in own.lines.items()} == misread(2)
    assert own.lines["p3/l1"].writer == "p3"
    assert own.line_pictures is not None
    assert own.line_pictures.is_file()


def test_run_without_pictures_of_lines_is_fetched_without(
    store: Store, runs: list[str], tmp_path: Path
) -> None:
    assert fetched(store, runs[1], tmp_path).line_pictures is None


def test_run_without_an_evaluation_is_refused_with_the_command_that_makes_one(
    store: Store, runs: list[str], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as refused:
        find_runs(store, [runs[0]], "valid", tmp_path)
    assert str(refused.value) == (
        f"run {runs[0][:8]} (wide) has no evaluation of split valid; make one: hwr evaluate "
        f"target=line weights.line=runs:/{runs[0]} split=valid data=alto data.root=DATA folder={store.folder}"
    )


def test_run_whose_weights_cannot_be_evaluated_so_is_told_what_to_do(store: Store, tmp_path: Path) -> None:
    with tracking.start_run(store, "d", tags={"stage": "denoiser"}) as denoiser:
        pass
    with tracking.start_run(store, "p", tags={}) as pages:
        pass
    with tracking.start_run(store, "s", tags={"stage": "line"}) as several:  # of which no file is left
        several.parameters({"data": {"source": "sets", "root": "."}})
    for run, remedy in (
        (denoiser, f"decoder=denoise decoder.weights={store.folder}/runs/{denoiser.id}/weights/best"),
        (pages, "it holds no weights to evaluate; name a training"),
        (several, r"split=test 'data=…' folder="),
    ):
        with pytest.raises(InputError, match=remedy):
            fetched(store, run.id, tmp_path)


def test_command_that_makes_an_evaluation_scores_the_pages_of_the_run(store: Store, tmp_path: Path) -> None:
    own = composed("train", ["experiments=line/smoke", "data.seed=7"], TrainConfig)
    with tracking.start_run(store, "drawn", tags={"stage": "line"}) as run:
        run.text("config.yaml", own.yaml)
    with pytest.raises(InputError, match=r"split=test data=synthetic .*data\.pages\.train=12 ") as refused:
        fetched(store, run.id, tmp_path)
    words = shlex.split(str(refused.value).partition("make one: ")[2])[2:]
    assert composed("evaluate", words, EvaluateConfig).root.data == own.root.data


def test_damaged_scores_are_refused(store: Store, tmp_path: Path) -> None:
    with tracking.start_run(store, "broken", tags={}) as run:
        run.text("evaluation/test/scores.json", "[1]")
    with pytest.raises(InputError, match=r"scores\.json of a run is damaged"):
        fetched(store, run.id, tmp_path)


# evaluations that are runs of their own


@pytest.fixture
def training(store: Store) -> str:
    """Return a training that was evaluated on the data of the others, on other data, and by a decoder."""
    trained = log(store, Logged("trained", {}, evaluated=False, parameters={"lr": 0.5}))
    other = {"data_fingerprint": "e0" * 32}
    for misreads, about in ((3, {}), (5, other), (4, {"settings": {"decoder": "beam"}})):
        log(store, Logged("evaluate", misread(misreads), about=about, of=trained))
    return trained


def test_training_is_compared_by_its_latest_evaluation_that_is_like_the_others(
    store: Store, training: str, runs: list[str], tmp_path: Path
) -> None:
    one, other = find_runs(store, [training, runs[0]], "test", tmp_path)
    assert one.scores["characters"]["substitutions"] == 3  # on the same data, by the same decoder
    fetched_run = fetch_run(store, one, "A", "test", tmp_path)
    assert (fetched_run.id, fetched_run.parameters["lr"]) == (training, "0.5")
    assert (fetched_run.metrics["best/valid/cer"], fetched_run.environment["threads"]) == (0.25, "2")
    assert {name: line.hypothesis for name, line in fetched_run.lines.items()} == misread(3)
    assert other.evaluation is other.named  # as older versions recorded it


def test_latest_evaluation_is_taken_of_a_training_alone(store: Store, training: str, tmp_path: Path) -> None:
    (one,) = find_runs(store, [training], "test", tmp_path)
    assert one.scores["characters"]["substitutions"] == 4


def test_evaluations_of_a_training_are_compared_by_their_ids(
    store: Store, training: str, tmp_path: Path
) -> None:
    beam, _, greedy = (run.id for run in tracking.tagged(store, tracking.WEIGHTS_RUN, training))
    runs = find_runs(store, [greedy, beam], "test", tmp_path)
    assert [run.scores["characters"]["substitutions"] for run in runs] == [3, 4]
    assert {run.training.info.run_id for run in runs} == {training}


def test_training_without_an_evaluation_is_told_how_to_make_one(store: Store, tmp_path: Path) -> None:
    trained = log(store, Logged("trained", {}, evaluated=False))
    with pytest.raises(InputError, match=f"make one: .* weights.line=runs:/{trained} split=test"):
        find_runs(store, [trained], "test", tmp_path)
