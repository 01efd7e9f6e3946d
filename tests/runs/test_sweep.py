import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.artifacts import download_artifacts

from hwr import runtime, tracking
from hwr.errors import InputError
from hwr.files import held
from hwr.runs import sweep
from hwr.runs.sweep import CONFIG_HASH, Sweep, config_hash, hashed, threads
from hwr.tracking import Store, delivery
from hwr.tracking.delivery import Delivery


@pytest.fixture
def store(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for variable in (tracking.PARENT_VARIABLE, sweep.SWEPT_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    shutil.copy(database, tmp_path / "mlflow.db")
    yield tracking.open_store(None, tmp_path, "hwr")
    os.environ.pop(sweep.SWEPT_VARIABLE, None)


def swept(store: Store, **changes: Any) -> Sweep:
    settings: dict[str, Any] = {
        "name": "line sweep", "folder": store.folder, "uri": None, "experiment": "hwr", "keys": ("lr",),
        "hash": "h", "tags": {"overrides": "lr=1,2,3"},
    }  # fmt: skip
    return Sweep(**settings | changes)


def job(
    store: Store,
    lr: float,
    *,
    error: float | None = None,
    ends: type[BaseException] | None = None,
    **tags: str,
) -> str:
    """Run a training as a job of the sweep does, end it as told, and return its id."""
    os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": lr})
    all_tags = {**sweep.job_tags(), CONFIG_HASH: f"lr{lr}", **tags}
    try:
        with tracking.start_run(store, sweep.job_name() or "", tags=all_tags) as run:
            run.parameters({"lr": lr, "seed": 0, "monitor": "valid/cer"})
            place = store.folder / "runs" / run.id
            (place / "config.yaml").write_text("lr: 1\n", encoding="utf-8")
            if error is not None:
                run.metrics({"best/valid/cer": error, "valid/cer": 1.0}, 3)
            if ends is not None:
                raise ends("ended so")
    except BaseException as raised:
        if ends is None or not isinstance(raised, ends):
            raise
    return run.id


def jobs(store: Store, run_id: str) -> list[sweep.SweepJob]:
    """Return the jobs of a sweep, as its table tells them."""
    return [sweep.stored_job(one) for one in tracking.tagged(store, tracking.PARENT, run_id)]


def stored(store: Store, run_id: str) -> Any:
    return store.client.get_run(run_id)


def only_parent(store: Store) -> Any:
    runs = store.client.search_runs([store.experiment])
    (parent,) = (run for run in runs if tracking.PARENT not in run.data.tags)
    return parent


def artifact(store: Store, run_id: str, name: str, folder: Path) -> str:
    path = download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(folder), tracking_uri=store.uri)
    return Path(path).read_text(encoding="utf-8")


# the parent


def test_parent_holds_what_the_best_job_reached(store: Store) -> None:
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        best = job(store, 2, error=0.25)
        job(store, 3)
    parent = only_parent(store)
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name == "line sweep"
    assert parent.data.metrics == {"best/valid/cer": 0.25, "jobs": 3, "jobs/finished": 2}
    assert parent.data.tags["best_run"] == best
    assert json.loads(parent.data.tags["best_swept"]) == {"lr": 2}
    assert parent.data.tags["overrides"] == "lr=1,2,3"


def test_parent_holds_a_table_of_all_jobs(store: Store, tmp_path: Path) -> None:
    with sweep.parent(swept(store)):
        first, second = job(store, 1, error=0.5), job(store, 2, error=0.25)
    assert artifact(store, only_parent(store).info.run_id, "sweep.csv", tmp_path / "got") == (
        f"rank,lr,best/valid/cer,status,run,error\n1,2,0.25,FINISHED,{second},\n2,1,0.5,FINISHED,{first},\n"
    )
    shown = artifact(store, only_parent(store).info.run_id, "sweep.md", tmp_path / "got")
    assert shown.splitlines()[0].replace(" ", "") == "|rank|lr|best/valid/cer|status|run|"


def test_best_of_jobs_that_did_not_finish_is_not_taken(store: Store) -> None:
    with pytest.raises(SystemExit), sweep.parent(swept(store)):
        whole = job(store, 1, error=0.5)
        job(store, 2, error=0.25, ends=InputError)
        job(store, 3, error=0.1, state="pruned")
    assert only_parent(store).data.tags["best_run"] == whole


def test_sweep_fails_with_status_1_and_keeps_its_table_when_a_job_failed(
    store: Store, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as ended, sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        job(store, 2, ends=InputError)
    parent = only_parent(store)
    assert (ended.value.code, parent.info.status) == (1, "FAILED")
    assert parent.data.metrics["best/valid/cer"] == 0.5
    assert ",FAILED," in artifact(store, parent.info.run_id, "sweep.csv", tmp_path / "got")


def test_job_that_diverged_does_not_fail_a_search(store: Store) -> None:
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        job(store, 2, ends=InputError, state="diverged")
    assert only_parent(store).info.status == "FINISHED"


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (RuntimeError(), "FAILED"),
        (KeyboardInterrupt(), "KILLED"),
        (tracking.Terminated(143), "KILLED"),
        (SystemExit(130), "KILLED"),  # what a job makes of an interrupt
        (SystemExit(2), "FAILED"),
    ],
)
def test_parent_ends_as_its_process_does(store: Store, ends: BaseException, status: str) -> None:
    with pytest.raises((type(ends), KeyboardInterrupt)), sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        raise ends
    assert only_parent(store).info.status == status
    assert only_parent(store).data.metrics["best/valid/cer"] == 0.5


def parent_parameters(store: Store) -> dict[str, str]:
    return dict(only_parent(store).data.params)


def test_parent_holds_what_its_jobs_have_in_common(store: Store) -> None:
    of_data = {"data_fingerprint": "f1", "mlflow.source.git.commit": "c1"}
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5, **of_data)
        job(store, 2, error=0.25, **of_data)
        os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": 3})
        with tracking.start_run(store, "without parameters", tags=sweep.job_tags()):
            pass
    assert parent_parameters(store) == {"seed": "0", "monitor": "valid/cer"}
    tags = only_parent(store).data.tags
    assert {name: tags[name].split()[0] for name in of_data} == of_data


def test_parent_tells_all_data_and_commits_where_jobs_differ_in_them(store: Store) -> None:
    with sweep.parent(swept(store)):
        for number in (1, 2, 3):
            job(store, number, error=0.5, data_fingerprint=f"f{number % 2}")
    assert only_parent(store).data.tags["data_fingerprint"] == "f1 f0"


def test_parent_of_an_interrupted_sweep_has_no_parameters_yet(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        raise KeyboardInterrupt
    assert parent_parameters(store) == {}
    with sweep.parent(swept(store, keys=("lr", "seed"))):
        job(store, 2, error=0.5)
    assert parent_parameters(store) == {"monitor": "valid/cer"}


def test_parent_has_the_commit_from_its_start(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    found = runtime.Revision("c0ffee", "a patch")
    monkeypatch.setattr(runtime.Revision, "of", lambda folder: found)
    with sweep.parent(swept(store)) as run:
        tags = stored(store, run.id).data.tags
    assert (tags["mlflow.source.git.commit"], tags["changed"]) == ("c0ffee", "true")


def test_parent_holds_the_best_job_of_each_error(store: Store) -> None:
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": 2})
        with tracking.start_run(store, "other", tags=sweep.job_tags()) as other:
            other.parameters({"monitor": "valid/iou_error"})
            other.metrics({"best/valid/iou_error": 0.25}, 1)
    data = only_parent(store).data
    assert (data.metrics["best/valid/cer"], data.metrics["best/valid/iou_error"]) == (0.5, 0.25)
    assert data.tags["best_run/valid/iou_error"] == other.id
    assert "best_run" not in data.tags


def test_parent_ends_when_it_had_no_jobs(store: Store) -> None:
    with sweep.parent(swept(store)):
        pass
    assert only_parent(store).data.metrics == {"jobs": 0, "jobs/finished": 0}


@pytest.mark.parametrize("raised", [None, RuntimeError])
def test_later_processes_do_not_see_the_parent(store: Store, raised: type[Exception] | None) -> None:
    try:
        with sweep.parent(swept(store)) as run:
            assert os.environ[tracking.PARENT_VARIABLE] == run.id
            if raised:
                raise raised
    except RuntimeError:
        pass
    assert tracking.PARENT_VARIABLE not in os.environ


def test_store_that_cannot_be_opened_is_refused(store: Store, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with (
        pytest.raises(InputError, match="cannot be written"),
        sweep.parent(swept(store, folder=tmp_path / "file")),
    ):
        pass
    assert tracking.PARENT_VARIABLE not in os.environ


# going on


def interrupted(store: Store, **changes: Any) -> str:
    with pytest.raises(KeyboardInterrupt), sweep.parent(swept(store, **changes)) as run:
        raise KeyboardInterrupt
    return run.id


def test_sweep_that_was_killed_goes_on_in_its_run(store: Store) -> None:
    first = interrupted(store)
    with sweep.parent(swept(store)) as again:
        assert stored(store, first).info.status == "RUNNING"
    assert again.id == first
    assert only_parent(store).info.status == "FINISHED"


def test_sweep_of_another_folder_is_another(store: Store, tmp_path: Path) -> None:
    first = interrupted(store)
    uri = f"sqlite:///{store.folder.resolve()}/mlflow.db"
    with sweep.parent(swept(store, folder=tmp_path / "other", uri=uri)) as second:
        pass
    assert second.id != first


def test_sweep_that_finished_starts_anew(store: Store) -> None:
    with sweep.parent(swept(store)) as first:
        pass
    with sweep.parent(swept(store)) as second:
        pass
    assert first.id != second.id


def test_search_that_finished_goes_on(store: Store) -> None:
    with sweep.parent(swept(store)) as first:
        pass
    with sweep.parent(swept(store, again=True)) as second:
        pass
    assert first.id == second.id


def test_other_sweep_does_not_go_on_in_the_run_of_one_that_was_killed(store: Store) -> None:
    first = interrupted(store)
    with sweep.parent(swept(store, hash="other")) as other:
        pass
    assert other.id != first


def test_sweep_is_refused_while_another_process_runs_it(store: Store) -> None:
    with (
        sweep.parent(swept(store)),
        pytest.raises(InputError, match="line sweep: runs already in"),
        sweep.parent(swept(store)),
    ):
        pass


def test_better_job_of_a_later_start_is_the_best(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        raise KeyboardInterrupt
    with sweep.parent(swept(store)):
        later = job(store, 2, error=0.25)
    parent = only_parent(store)
    assert (parent.data.tags["best_run"], parent.data.metrics["best/valid/cer"]) == (later, 0.25)


def test_job_that_fell_with_its_process_ends_as_killed(store: Store) -> None:
    started = (
        "import os, sys, pathlib; from hwr import tracking; from hwr.runs import sweep\n"
        "store = tracking.open_store(None, pathlib.Path(sys.argv[1]), 'hwr')\n"
        "with sweep.claim(store, 'c'), tracking.start_run(store, 'x',\n"
        "    tags={**sweep.job_tags(), sweep.CONFIG_HASH: 'c'}) as run:\n"
        "    run.flush(); os.kill(os.getpid(), 9)"
    )
    with pytest.raises(SystemExit), sweep.parent(swept(store)) as run:
        subprocess.run([sys.executable, "-c", started, str(store.folder)], check=False)
        (fallen,) = jobs(store, run.id)
        assert fallen.status == "RUNNING"
    assert stored(store, fallen.id).info.status == "KILLED"


def test_job_that_ended_and_could_not_say_so_ends_as_it_did(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sweep.parent(swept(store)) as run:
        with monkeypatch.context() as away:
            away.setattr(Delivery, "_send_status", lambda self, record: away_now())
            away.setattr(delivery, "FAREWELL_S", 0.0)
            ended = job(store, 1.0, error=0.25)
        assert stored(store, ended).info.status == "RUNNING"
    assert stored(store, ended).info.status == "FINISHED"
    assert stored(store, run.id).data.metrics["best/valid/cer"] == 0.25


def away_now() -> None:
    raise ConnectionError("away")


def test_job_that_someone_resumed_goes_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "GRACE_S", 0.0)
    with pytest.raises(SystemExit), sweep.parent(swept(store)):
        tags = {**sweep.job_tags(), CONFIG_HASH: "c"}
        going = store.client.create_run(store.experiment, tags=tags).info.run_id
        lock = held(store.folder / "runs" / going / "lock", wait=False)
        lock.__enter__()
    lock.__exit__(None, None, None)
    assert stored(store, going).info.status == "RUNNING"


# jobs


def place_of(store: Store, lr: float) -> Any:
    """Take the place of a job for a moment, and return who had it."""
    os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": lr})
    with sweep.claim(store, f"lr{lr}") as before:
        return before


def ids(store: Store) -> set[str]:
    found = store.client.search_runs([store.experiment])
    return {run.info.run_id for run in found if tracking.PARENT in run.data.tags}


def test_job_is_named_by_what_is_swept(store: Store) -> None:
    with sweep.parent(swept(store)):
        made = job(store, 0.0003, error=0.5)
    assert stored(store, made).info.run_name == "lr=0.0003"
    assert json.loads(stored(store, made).data.tags["swept"]) == {"lr": 0.0003}


def test_training_outside_of_a_sweep_is_no_job(store: Store) -> None:
    assert (sweep.job_name(), sweep.job_tags(), sweep.swept()) == (None, {}, {})


def test_finished_job_is_found_again(store: Store) -> None:
    with sweep.parent(swept(store)):
        done = job(store, 1, error=0.5)
        before = place_of(store, 1)
    assert (before.id, before.status, before.value) == (done, "FINISHED", 0.5)


@pytest.mark.parametrize("ends", [KeyboardInterrupt, InputError])
def test_job_that_did_not_finish_is_found_again(store: Store, ends: type[BaseException]) -> None:
    with pytest.raises(SystemExit), sweep.parent(swept(store)):
        begun = job(store, 1, error=0.5, ends=ends)
        assert place_of(store, 1).id == begun


def test_no_job_is_found_when_none_had_the_configuration(store: Store) -> None:
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        assert place_of(store, 2) is None


def test_job_asks_for_no_finished_jobs_of_other_configurations(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    tagged = tracking.tagged

    def counting(*given: str) -> Any:
        answers.extend(tagged(*given))
        return tagged(*given)

    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
        done = job(store, 2, error=0.5)
        with monkeypatch.context() as watched:
            watched.setattr(tracking, "tagged", counting)
            assert place_of(store, 2).id == done
    assert [run.id for run in answers] == [done]


def test_job_of_another_sweep_is_not_found(store: Store) -> None:
    with sweep.parent(swept(store)):
        job(store, 1, error=0.5)
    with sweep.parent(swept(store, hash="other")):
        assert place_of(store, 1) is None


def test_job_that_was_killed_before_it_kept_its_configuration_is_deleted(store: Store) -> None:
    with sweep.parent(swept(store)):
        begun = job(store, 1, ends=KeyboardInterrupt)
        (store.folder / "runs" / begun / "config.yaml").unlink()
        assert place_of(store, 1) is None
        assert ids(store) == set()


def test_failure_without_a_run_gets_one_that_the_next_start_deletes(store: Store) -> None:
    os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": -1})
    with pytest.raises(SystemExit), sweep.parent(swept(store)) as run:
        sweep.record_failure(InputError("lr=-1 is not possible"), lambda: store)
    (failed,) = jobs(store, run.id)
    assert (failed.status, failed.swept, failed.error) == ("FAILED", {"lr": -1}, "lr=-1 is not possible")
    with sweep.parent(swept(store)):
        place_of(store, -1)
    assert ids(store) == set()


def test_failure_twice_is_recorded_once(store: Store) -> None:
    with pytest.raises(SystemExit), sweep.parent(swept(store)) as run:
        os.environ[sweep.SWEPT_VARIABLE] = json.dumps({"lr": -1})
        sweep.record_failure(InputError("first"), lambda: store)
        sweep.record_failure(InputError("second"), lambda: store)
    assert [one.error for one in jobs(store, run.id)] == ["second"]


def test_failure_is_recorded_in_the_run_of_the_job(store: Store) -> None:
    with pytest.raises(SystemExit), sweep.parent(swept(store)) as run:
        begun = job(store, 1, error=0.5, ends=InputError)
        sweep.record_failure(InputError("disk full"), lambda: store)
    (failed,) = jobs(store, run.id)
    assert (failed.id, failed.value, failed.error) == (begun, 0.5, "disk full")


def test_failure_is_over_when_the_job_is_resumed_and_finishes(store: Store) -> None:
    with sweep.parent(swept(store)) as run:
        begun = job(store, 1, error=0.5, ends=InputError)
        sweep.record_failure(InputError("disk full"), lambda: store)
        with tracking.start_run(store, "", run_id=begun, tags={}):
            pass
    (finished,) = jobs(store, run.id)
    assert (finished.complete, finished.error) == (True, "")


# hashes


def test_hash_does_not_change_with_what_changes_nothing_of_the_training() -> None:
    one = {"lr": 0.1, "folder": "a", "tracking": {"uri": None}, "resume": None, "max_pixels": 1}
    other = {"max_pixels": 2, "tracking": {"uri": "http://x"}, "lr": 0.1, "folder": "b", "save_every": 5}
    assert config_hash(one) == config_hash(other)


@pytest.mark.parametrize("change", [{"lr": 0.2}, {"max_epochs": 3}, {"data": {"seed": 1}}, {"new": None}])
def test_hash_changes_with_everything_else(change: dict[str, Any]) -> None:
    config = {"lr": 0.1, "max_epochs": None, "data": {"seed": 0}}
    assert config_hash(config) != config_hash(config | change)


nested = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), nested, max_size=4))
def test_hash_does_not_depend_on_the_order_of_keys(values: dict[str, Any]) -> None:
    assert hashed(values) == hashed(dict(reversed(values.items())))


# threads


@pytest.mark.parametrize(
    ("launcher", "jobs", "expected"),
    [
        ({"_target_": "x.BasicLauncher"}, 6, None),  # one after the other, each with all
        ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, 6, 4),
        ({"_target_": "x.JoblibLauncher", "n_jobs": 2}, 1, 8),  # no second one to share with
        ({"_target_": "x.JoblibLauncher", "n_jobs": 3}, 6, 2),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -1}, 20, 1),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -1}, 2, 4),
        ({"_target_": "x.JoblibLauncher", "n_jobs": -5}, 20, 2),  # joblib: all but four
        ({"_target_": "x.JoblibLauncher", "n_jobs": 20}, 20, 1),
        ({"_target_": "x.LocalLauncher", "cpus_per_task": None}, 4, 2),
        ({"_target_": "x.LocalLauncher", "cpus_per_task": 3}, 4, 3),
        ({"_target_": "x.LocalLauncher", "cpus_per_task": None}, 20, 1),
        ({"_target_": "x.SlurmLauncher", "cpus_per_task": 3}, 4, None),  # cores of another machine
        ({"_target_": "x.RayLauncher", "ray": {"remote": {"num_cpus": 2}}}, 4, 2),
        ({"_target_": "x.RayLauncher", "ray": {"remote": {}}}, 4, 1),
    ],
)
def test_cores_are_shared_among_the_jobs_that_run_at_once(
    launcher: dict[str, Any], jobs: int, expected: int | None
) -> None:
    assert threads(launcher, jobs, cores=8) == expected
