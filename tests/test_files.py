import subprocess
import sys
from pathlib import Path

import pytest

from hwr.errors import InputError
from hwr.files import held


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "locks" / "one.lock"


def test_lock_is_held_when_nobody_else_holds_it(lock: Path) -> None:
    for _ in range(2):
        with held(lock, shared=False, wait=False) as ours:
            assert ours


def test_lock_is_not_held_while_another_holds_it(lock: Path) -> None:
    with held(lock, shared=False, wait=True), held(lock, shared=False, wait=False) as ours:
        assert not ours


@pytest.mark.parametrize(("shared", "expected"), [(True, True), (False, False)])
def test_shared_lock_is_held_with_others_that_share_it(lock: Path, shared: bool, expected: bool) -> None:
    with held(lock, shared=True, wait=True), held(lock, shared=shared, wait=False) as ours:
        assert ours is expected


def test_lock_falls_with_the_process_that_holds_it(lock: Path) -> None:
    hold = (
        "import sys, time, pathlib; from hwr.files import held\n"
        f"with held(pathlib.Path({str(lock)!r}), shared=False, wait=True): print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    with held(lock, shared=False, wait=False) as during:
        pass
    process.kill()
    process.wait()
    process.stdout.close()
    with held(lock, shared=False, wait=False) as after:
        pass
    assert (during, after) == (False, True)


def test_lock_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(InputError, match=r"file/lock: cannot write there \((File exists|Not a directory)\)"),
        held(tmp_path / "file" / "lock", shared=False, wait=True),
    ):
        pass
