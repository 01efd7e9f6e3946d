import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.pruners import NopPruner

from hwr import tracking
from hwr.config.compose import Composed, composed
from hwr.config.roots import SearchConfig
from hwr.errors import InputError, NoRoomError
from hwr.runs import search, sweep, train
from hwr.runs.study import Study
from hwr.tracking import Store, open_store
from hwr.training.loop import NonFiniteLossError
from tests.refusal import refused

SPACE = ("~space", "+space={lr: {low: 0.1, high: 0.9}}")
Errors = Callable[[float], list[float]]  # learning rate -> error of each epoch


@pytest.fixture(autouse=True)
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    for variable in (tracking.PARENT_VARIABLE, sweep.SWEPT_VARIABLE):
        os.environ.pop(variable, None)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    shutil.copy(database, tmp_path / "mlflow.db")
    return open_store(None, tmp_path, "hwr")


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[[Errors], None]:
    """Return a function that puts `errors` in the place of a training."""

    def put(errors: Errors) -> None:
        def run(made: Composed, *, watch: train.Watch) -> float:
            found, place = sweep.config_hash(made.values), made.root.tracking
            store = open_store(place.uri, Path(made.root.folder), place.experiment)
            with sweep.claim(store, found) as before:
                assert before is None  # nothing here is begun: a fake leaves no configuration
            tags = {**sweep.job_tags(), sweep.CONFIG_HASH: found}
            with tracking.start_run(store, sweep.job_name() or "", tags=tags) as run:
                run.parameters({"monitor": "valid/cer"})
                told = errors(made.root.lr)
                try:
                    for epoch, error in enumerate(told, 1):
                        best = min(told[:epoch])
                        run.metrics({"valid/cer": error, "best/valid/cer": best}, epoch)
                        watch({"valid/cer": error}, epoch)
                except sweep.Pruned:
                    run.tags({sweep.STATE: "pruned"})
            return min(told)

        monkeypatch.setattr(train, "train_stage", run)

    return put


def planned(folder: Path, *settings: str, overrides: tuple[str, ...] = ()) -> search.SettingsSearch:
    config = composed("search", [*SPACE, *settings], SearchConfig).root
    return search.planned_search(config, [f"folder={folder}", *overrides])


def runs(store: Store) -> tuple[Any, list[Any]]:
    """Return the run of the search and those of its trials, in the order they were started."""
    found = sorted(store.client.search_runs([store.experiment]), key=lambda run: run.info.start_time)
    (parent,) = (run for run in found if tracking.PARENT not in run.data.tags)
    return parent, [run for run in found if tracking.PARENT in run.data.tags]


def run(folder: Path, *settings: str) -> None:
    search.run_search(planned(folder, *settings), [])


def flat(lr: float) -> list[float]:
    return [lr, lr, lr]


# what is searched


@pytest.mark.parametrize(
    ("settings", "overrides", "said"),
    [
        ((), ("lr=0.5",), "lr: given and searched; leave lr=… out, or say '~search.space.lr'"),
        ((), ("lrr=0.5",), "lrr: no such key"),
        ((), ("batch_size=x",), "batch_size='x' is not a whole number"),
        (("+space.lrr={low: 1, high: 2}",), (), "lrr: no such key"),
        (("+space.network={hidden: {low: 0.1, high: 0.2}}",), (), "network.hidden=0.1 is not a whole number"),
        (("+space.data={choices: [nowhere]}",), (), "data=nowhere: no such choice"),
        (("+space.stage={choices: [line, paragraph]}",), (), "space.stage: trials with different errors"),
        (("study=a/b",), (), "study=a/b: not a name; use letters, digits, '.', '-' and '_'"),
    ],
)
def test_search_is_refused_before_it_starts(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    settings: tuple[str, ...],
    overrides: tuple[str, ...],
    said: str,
) -> None:
    assert refused(capsys, lambda: planned(tmp_path, *settings, overrides=overrides)).startswith(said)
    assert not list(tmp_path.iterdir())


def test_study_is_named_after_the_training_and_what_is_searched(tmp_path: Path) -> None:
    names = [
        planned(tmp_path).name,
        planned(tmp_path / "other", "trials=9", "jobs=3").name,  # the same
        planned(tmp_path, "space.lr.high=0.8").name,
        planned(tmp_path, "pruner=none").name,
        planned(tmp_path, "seed=1").name,
        planned(tmp_path, overrides=("clip=1",)).name,
    ]
    assert all(name.startswith("line-") for name in names)
    assert names[0] == names[1]
    assert len(set(names)) == 5


def test_study_may_have_a_name_of_its_own(tmp_path: Path) -> None:
    assert planned(tmp_path, "study=mine").name == "mine"


# a search


def test_trials_are_jobs_of_one_run_that_holds_the_best(
    store: Store, trained: Callable[[Errors], None], capsys: pytest.CaptureFixture[str]
) -> None:
    trained(flat)
    run(store.folder, "trials=4", "pruner=none")
    parent, trials = runs(store)
    rates = {json.loads(trial.data.tags["swept"])["lr"]: trial.info.run_id for trial in trials}
    assert [parent.info.status, *(trial.info.status for trial in trials)] == ["FINISHED"] * 5
    assert parent.data.metrics["best/valid/cer"] == min(rates)
    assert parent.data.tags["best_run"] == rates[min(rates)]
    assert (parent.data.metrics["jobs"], parent.data.tags["study"]) == (4, parent.info.run_name)
    assert f"best of 4 trials: hwr train folder={store.folder} lr={min(rates)!r}" in capsys.readouterr().out


def test_trial_that_is_worse_than_others_is_pruned(store: Store, trained: Callable[[Errors], None]) -> None:
    curves = [[0.5, 0.4, 0.3], [0.5, 0.3, 0.2], [0.5, 0.4, 0.4], [0.2, 0.1, 0.1]]
    remaining = iter(curves)
    trained(lambda lr: next(remaining))
    run(store.folder, "trials=4", "pruner.startup=2", "pruner.warmup=2")
    parent, trials = runs(store)
    assert [trial.data.tags.get("state", "") for trial in trials] == ["", "", "pruned", ""]  # 0.4 > 0.35
    assert trials[2].info.status == "FINISHED"
    assert [m.value for m in store.client.get_metric_history(trials[2].info.run_id, "valid/cer")] == [
        0.5,
        0.4,
    ]
    assert (parent.info.status, parent.data.metrics["best/valid/cer"]) == ("FINISHED", 0.1)
    assert (parent.data.metrics["jobs"], parent.data.metrics["jobs/finished"]) == (4, 3)


def test_same_command_goes_on_where_the_search_was_interrupted(
    store: Store, trained: Callable[[Errors], None]
) -> None:
    told: list[float] = []

    def errors(lr: float) -> list[float]:
        told.append(lr)
        if len(told) == 2:
            raise KeyboardInterrupt
        return flat(lr)

    trained(errors)
    with pytest.raises(KeyboardInterrupt):
        run(store.folder, "trials=3")
    assert runs(store)[0].info.status == "KILLED"
    run(store.folder, "trials=3")
    parent, trials = runs(store)
    assert parent.info.status == "FINISHED"
    assert told[2] == told[1]  # the interrupted one first
    assert len({json.loads(trial.data.tags["swept"])["lr"] for trial in trials}) == 3


def test_search_goes_on_when_more_trials_are_asked_for(
    store: Store, trained: Callable[[Errors], None]
) -> None:
    trained(flat)
    run(store.folder, "trials=2")
    run(store.folder, "trials=3")
    parent, trials = runs(store)
    assert (parent.info.status, len(trials)) == ("FINISHED", 3)


def test_search_that_has_its_trials_trains_nothing(store: Store, trained: Callable[[Errors], None]) -> None:
    trained(flat)
    run(store.folder, "trials=2")
    trained(lambda lr: pytest.fail("trained again"))
    run(store.folder, "trials=2")
    assert len(runs(store)[1]) == 2


def test_training_that_diverges_is_an_answer(
    store: Store, trained: Callable[[Errors], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def errors(lr: float) -> list[float]:
        if not told:
            told.append(lr)
            raise NonFiniteLossError("loss not finite")
        return flat(lr)

    told: list[float] = []
    trained(errors)
    run(store.folder, "trials=2")
    parent, (diverged, other) = runs(store)
    assert (parent.info.status, diverged.info.status, other.info.status) == ("FINISHED", "FAILED", "FINISHED")
    assert (diverged.data.tags["state"], diverged.data.tags["error"]) == ("diverged", "loss not finite")
    assert "loss not finite" in capsys.readouterr().err


def test_search_ends_at_once_when_the_first_training_cannot_be_made(
    store: Store, trained: Callable[[Errors], None]
) -> None:
    def errors(lr: float) -> list[float]:
        raise InputError("no such data")

    trained(errors)
    with pytest.raises(InputError, match="no such data"):
        run(store.folder, "trials=5")
    parent, trials = runs(store)
    assert (parent.info.status, len(trials)) == ("FAILED", 1)


def test_later_failure_stops_no_other_trial_and_fails_the_search(
    store: Store, trained: Callable[[Errors], None]
) -> None:
    trained(second_raises(InputError("no such network"), []))
    with pytest.raises(SystemExit) as ended:
        run(store.folder, "trials=3")
    parent, trials = runs(store)
    assert (ended.value.code, parent.info.status) == (1, "FAILED")
    assert [trial.info.status for trial in trials] == ["FINISHED", "FAILED", "FINISHED"]


def test_trial_that_found_no_room_is_tried_again_by_the_next_start(
    store: Store, trained: Callable[[Errors], None]
) -> None:
    told: list[float] = []
    trained(second_raises(NoRoomError("disk full"), told))
    with pytest.raises(NoRoomError):
        run(store.folder, "trials=3")
    run(store.folder, "trials=3")
    assert told[1] == told[2]  # the same settings
    parent, trials = runs(store)
    assert ([trial.info.status for trial in trials], parent.info.status) == (["FINISHED"] * 3, "FINISHED")


def second_raises(error: Exception, told: list[float]) -> Errors:
    """Return a training that keeps its rates in `told`, of which the second raises an error."""

    def errors(lr: float) -> list[float]:
        told.append(lr)
        if len(told) == 2:
            raise error
        return flat(lr)

    return errors


def test_value_of_a_trial_is_what_the_training_says_though_the_server_knows_an_older_one(
    store: Store, trained: Callable[[Errors], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained(lambda lr: [0.5, 0.25])
    monkeypatch.setattr(sweep, "job", lambda *given: pytest.fail("the server was asked"))
    found = planned(store.folder, "trials=1")
    search.run_search(found, [])
    study = Study(store.folder / "searches" / found.name, found.hash, NopPruner())
    assert [trial.value for trial in study.optuna.trials] == [0.25]


def test_second_process_helps_the_one_that_leads(store: Store, trained: Callable[[Errors], None]) -> None:
    found = planned(store.folder, "trials=3")
    trained(flat)

    def errors(lr: float) -> list[float]:
        trained(flat)
        search.run_search(found, [])  # as another process would while this one trains
        return flat(lr)

    trained(errors)
    search.run_search(found, [])
    parent, trials = runs(store)
    assert {trial.data.tags[tracking.PARENT] for trial in trials} == {parent.info.run_id}
    assert (len(trials), parent.info.status) == (3, "FINISHED")
