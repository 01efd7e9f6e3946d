"""A folder of outputs that was moved or copied is whole: its files are found there, and written there."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hwr import tracking
from hwr.tracking import Store, open_store
from hwr.tracking.sync import sync_folder
from tests.tracking.seen import artifact


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    folder = tmp_path / "outputs of one"
    folder.mkdir()
    shutil.copy(database, folder / "mlflow.db")
    return open_store(None, folder, "tests")


def logged(store: Store) -> str:
    """Return a run with a file, which is registered as a model, too."""
    with tracking.start_run(store, "test", tags={}) as run:
        run.text("weights/note.txt", "tea")
    place = f"{store.client.get_run(run.id).info.artifact_uri}/weights"
    store.client.create_registered_model("reader")
    store.client.create_model_version("reader", place, run.id)
    return run.id


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("artifacts/**/*.txt"))


@pytest.mark.parametrize("move", [shutil.move, shutil.copytree])
def test_folder_is_whole_elsewhere(
    move: Callable[[Path, Path], object], store: Store, tmp_path: Path
) -> None:
    run_id, there = logged(store), tmp_path / "outputs of two"
    move(store.folder, there)
    two = open_store(None, there, "tests")
    again = tracking.attach(two, run_id)
    assert again is not None
    again.text("more.txt", "coffee")
    assert files(there) == ["more.txt", "note.txt"]
    assert files(store.folder) == ([] if move is shutil.move else ["note.txt"])
    shutil.rmtree(store.folder, ignore_errors=True)
    assert artifact(again, "weights/note.txt", tmp_path / "a").read_text(encoding="utf-8") == "tea"
    model = tracking.download("models:/reader/1", two, tmp_path / "b")
    assert (model / "note.txt").read_text(encoding="utf-8") == "tea"
    with tracking.start_run(two, "test", tags={}) as fresh:
        fresh.text("fresh.txt", "milk")
    assert files(there) == ["fresh.txt", "more.txt", "note.txt"]


def test_what_waits_in_a_copy_is_delivered_to_the_copy(store: Store, tmp_path: Path) -> None:
    with tracking.start_run(store, "test", tags={}) as run:
        pass
    run.spool.append_files("", lambda place: (place / "late.txt").write_text("tea"))
    there = tmp_path / "copy"
    shutil.copytree(store.folder, there)
    assert [synced.reason for synced in sync_folder(there, None)] == [None]
    assert (files(there), files(store.folder)) == (["late.txt"], [])


def test_files_that_someone_keeps_elsewhere_stay_there(store: Store, tmp_path: Path) -> None:
    elsewhere = tmp_path / "bucket" / "artifacts"
    elsewhere.mkdir(parents=True)
    store.client.create_experiment("theirs", artifact_location=elsewhere.as_uri())
    assert not (store.folder / "artifacts").exists()
    opened = open_store(None, store.folder, "theirs")
    assert opened.client.get_experiment(opened.experiment).artifact_location == elsewhere.as_uri()
