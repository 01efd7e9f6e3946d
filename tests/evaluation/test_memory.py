"""An evaluation takes no more memory for lines of more widths."""

import os
import subprocess
import sys

import pytest

from hwr import runtime

GROWN = """
import hwr
from hwr import runtime
{prepared}
runtime.start()
import mxnet as mx, numpy as np
from pathlib import Path
from hwr.networks.crnn import Crnn
from hwr.stages.kind import draw_parameters
from hwr.stages.line import LineReader
network = Crnn(80, stem=32, channels=[48, 96], blocks=[1, 1], hidden=128, layers=2, dropout=0.0)
draw_parameters(network, (1, 1, 32, 32), seed=0, context=mx.cpu())
reader = LineReader(network, batch_size=4, context=mx.cpu())
held = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
read = lambda first, last: [reader.probs([np.zeros((32, w), np.uint8)]) for w in range(first, last, -32)]
read(2400, 1800)  # the largest first: their room is taken again
before = held()
read(1800, 32)
print(held() - before)
"""


@pytest.mark.slow
def test_evaluation_keeps_memory_for_few_widths() -> None:
    free, bounded = (grown(prepared) for prepared in ("", "runtime.keep_few_shapes()"))
    assert bounded < 0.5 * free
    assert free > 20  # MiB: else there is nothing to bound


def grown(prepared: str) -> float:
    command = [sys.executable, "-c", GROWN.format(prepared=prepared)]
    # An evaluation in this process may have bounded it for all that come.
    environment = {name: value for name, value in os.environ.items() if name not in runtime.FEW_SHAPES}
    return float(subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout)
