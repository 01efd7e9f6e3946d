"""Runs that end in any way at any moment are resumed to the same bits; none hangs, and none runs for ever.

`make endurance` ends 20 in each way, `make test` one; HWR_KILLS=100 make endurance ARGS=… does 1200.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwr.config import ROOT
from tests.endurance import ending
from tests.endurance.server import Server

KILLS = int(os.environ.get("HWR_KILLS", "1"))


@pytest.mark.slow
@pytest.mark.parametrize("tracked", ["database", "server that goes away"])
def test_run_that_ends_in_any_way_is_resumed_to_the_same_bits(
    tracked: str, database: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = [sys.executable, "-m", "tests.endurance.ending", str(tmp_path / "runs"), str(KILLS)]
    (tmp_path / "runs" / "template").mkdir(parents=True)
    if tracked == "database":
        shutil.copy(database, tmp_path / "runs" / "template" / "mlflow.db")
    else:
        server: Server = request.getfixturevalue("server")
        command.append(str(server.port))
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
    print(done.stdout)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, summary["failed"]) == (0, 0), done.stdout + done.stderr
    assert {kind: count for kind, (count, _) in summary["ended"].items()} == dict.fromkeys(
        ending.KINDS, KILLS
    )
