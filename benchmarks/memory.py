"""Measure the memory that reading lines of many widths takes: `python benchmarks/memory.py [WEIGHTS]`.

Each engine that is installed reads the same drawn lines, each batch of another width or size, in a process of
its own. Printed is what the process takes after every hundredth line, in MiB above what it took before.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

ENGINES = {"mxnet": "mxnet", "onnx": "onnxruntime", "openvino": "openvino"}
LINES = 800


def main(engine: str = "", weights: str = "line/copiste") -> None:
    """Measure every engine, or the one that is given."""
    if engine in ENGINES:
        print(f"{engine:10}", *(f"{grown:6.0f}" for grown in measured(engine, weights)), flush=True)
        return
    for name, package in ENGINES.items():
        if importlib.util.find_spec(package):
            subprocess.run([sys.executable, __file__, name, engine or weights], check=True)


def measured(engine: str, weights: str) -> list[float]:
    """Return what memory grows by, MiB, after every hundredth line."""
    from hwr import runtime

    runtime.keep_few_shapes()  # as evaluations do

    import mxnet as mx  # isort: skip
    import numpy as np

    from hwr.config.roots import StoreConfig
    from hwr.stages.build import find_weights
    from hwr.stages.engine import Engine
    from hwr.stages.line import line_crop, load_line_reader

    loaded = find_weights(weights, "line", StoreConfig())
    reader = load_line_reader(loaded, batch_size=16, context=mx.cpu(), engine=Engine(engine))
    draw, height, grown, before = np.random.default_rng(0), line_crop(loaded).height, [], mib()
    for _ in range(LINES // 100):
        widths = draw.normal(900, 250, 100).clip(100, 2400).astype(int)
        reader.probs([draw.integers(0, 256, (height, width), dtype=np.uint8) for width in widths])
        grown.append(mib() - before)
    return grown


def mib() -> float:
    """Return the memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    main(*sys.argv[1:])
