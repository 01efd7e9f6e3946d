"""Mutated files and settings are read or refused: no traceback, crash, hang, unpickling, nothing outside.

HWR_FUZZ inputs a kind; a failure names its seed and number.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwr.config import ROOT
from tests.endurance.fuzzing import TARGETS

COUNT = int(os.environ.get("HWR_FUZZ", "60"))
SEED = os.environ.get("HWR_FUZZ_SEED", "0")
PEAK_MIB = 1024


@pytest.mark.slow
@pytest.mark.parametrize("kind", TARGETS)
def test_mutated_input_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "tests.endurance.fuzzing", kind, str(tmp_path), SEED, str(COUNT)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, f"the last input is in {tmp_path}: {done.stderr[-2000:]}"
    told = json.loads(done.stdout.splitlines()[-1])
    print(kind, told["outcomes"], told["peak_mib"], "MiB")
    assert not told["failures"]
    assert told["outcomes"]["read"]
    assert told["peak_mib"] < PEAK_MIB
