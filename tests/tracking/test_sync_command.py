"""python -m hwr sync, as a user gives it."""

import shutil
from pathlib import Path

import pytest

from hwr.__main__ import main
from hwr.tracking import open_store, start_run
from hwr.tracking.spool import Spool
from tests.refusal import refused


def left(folder: Path, database: Path) -> str:
    """Return a run whose last values and end wait in a folder."""
    shutil.copy(database, folder / "mlflow.db")
    with start_run(open_store(None, folder, "tests"), "test", run_id=None, tags={}) as ended:
        pass
    ended.spool.append("metrics", {"step": 1, "values": {"loss": 2.0, "cer": 0.5}})
    ended.spool.append_files("pictures", lambda place: (place / "a.txt").write_text("tea"))
    ended.spool.append("status", {"status": "KILLED"})
    return ended.id


def test_what_is_delivered_is_told_run_by_run(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = left(tmp_path, database)
    main(["sync", str(tmp_path)])
    assert capsys.readouterr().out == f"run {ended}: 2 metric values, 1 artifact, 1 status delivered\n"
    main(["sync", str(tmp_path)])
    assert capsys.readouterr().out == f"nothing waits in {tmp_path}\n"


def test_exit_status_tells_that_something_still_waits(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    spool = Spool(tmp_path / "runs" / "0123" / "spool")
    spool.describe({"run": "0123", "uri": None})
    spool.append("status", {"status": "FINISHED"})
    with pytest.raises(SystemExit) as ended:
        main(["sync", str(tmp_path)])
    assert ended.value.code == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first == "run 0123: nothing delivered"
    assert second.startswith("run 0123: 1 status still waiting: ")


def test_folder_is_outputs_when_none_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outputs").mkdir()
    main(["sync"])
    assert capsys.readouterr().out == "nothing waits in outputs\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "sync: no folder nowhere; give the one that trainings write to (their key folder)"),
        (["a", "b"], "b: not understood; sync takes [FOLDER] once"),
        (["--all"], "unrecognized arguments: --all; see hwr sync --help"),
        (["tracking.url=x"], "tracking.url: no such key (did you mean uri?); known are uri"),
    ],
)
def test_arguments_are_refused_in_one_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert refused(capsys, lambda: main(["sync", *arguments])) == said


def test_server_is_refused_when_it_does_not_answer(
    tmp_path: Path, database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    left(tmp_path, database)
    said = refused(capsys, lambda: main(["sync", str(tmp_path), "tracking.uri=http://127.0.0.1:1"]))
    assert said.startswith("tracking.uri=http://127.0.0.1:1: no tracking server answers there")
