"""Measure lines a second of the line recogniser: loading, training, reading by engine; beside it PyTorch.

    .venv/bin/python benchmarks/line.py [--rounds 5] [--network crnn] [--channels 64 96 128]
        [--height 64] [--output FILE.json]

Each side runs in a process of its own, the sides take turns, and the medians over the rounds are printed.
All get the same batches: drawn lines of the widths that real pages give. Processors with AMX learn fast only
if all channels are multiples of 32, which those of `crnn` are not and those of `line/latin` (64 96 128) are;
`mxnet, bfloat16` then learns as `hwr train` does, and does not read, as `hwr` reads without AMX.
PyTorch is measured where it is installed (`pip install torch`): as it comes, with the allocator settings of
`hwr`, and in addition with images in channels_last, with that and automatic bfloat16, and with both and
`torch.compile` where there is a C++ compiler.
"""

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
BATCH = 16
BATCHES = 24  # a round, after as many to warm up
CLASSES = 137
SIDES: dict[str, dict[str, str]] = {
    "loading": {},
    "mxnet": {},
    "mxnet, bfloat16": {},
    "onnx": {},
    "openvino": {},
    "openvino, bfloat16": {},
    "torch": {"HWR_ALLOCATOR": "system"},  # the loader is ours, and would set it
    "torch, same allocator": {},
    "torch, channels_last": {},
    "torch, channels_last, bfloat16": {},
    "torch, channels_last, bfloat16, compiled": {},
}
PACKAGES = {"onnx": "onnxruntime"}  # of sides, where their first word is none


def main() -> None:
    """Run the sides in turns and print the medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--network", default="crnn", help="a name in conf/network")
    parser.add_argument("--channels", nargs="+", type=int, help="in place of those of the network")
    parser.add_argument("--height", type=int, default=64, help="of the lines, px")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sides", nargs="+", choices=SIDES, help="only these; mxnet must be among them")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(_measure(asked.side, _settings(asked.network, asked.channels), asked.height)))
        return
    network = ["--network", asked.network, "--height", str(asked.height)]
    if asked.channels:
        network += ["--channels", *map(str, asked.channels)]
    sides = [side for side in SIDES if side in asked.sides] if asked.sides else [*filter(_installed, SIDES)]
    rounds: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    for _ in range(asked.rounds):
        for side in sides:
            rounds[side].append(_in_process(side, network))
    medians = {
        side: {what: statistics.median(one[what] for one in found) for what in found[0]}
        for side, found in rounds.items()
    }
    print(_table(medians))
    if asked.output:
        asked.output.write_text(
            json.dumps({"medians": medians, "rounds": rounds}, indent=1) + "\n", encoding="utf-8"
        )


def _installed(side: str) -> bool:
    package = side.partition(",")[0]
    if "compiled" in side and shutil.which("g++") is None:
        return False
    return package == "loading" or importlib.util.find_spec(PACKAGES.get(package, package)) is not None


def _in_process(side: str, network: list[str]) -> dict[str, float]:
    command = [sys.executable, __file__, "--side", side, *network]
    environment = {**os.environ, **SIDES[side], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _table(medians: dict[str, dict[str, float]]) -> str:
    rows = ["lines/s (medians)        " + "".join(f"{what:>12}" for what in ("load", "train", "read"))]
    for side, found in medians.items():
        cells = "".join(
            f"{found[what]:12.1f}" if what in found else " " * 12 for what in ("load", "train", "read")
        )
        rows.append(f"{side:25}{cells}")
    own = medians["mxnet"]
    if "loading" in medians:
        rows.append(f"loading / training: {medians['loading']['load'] / own['train']:.1f}")
    ours = [side for side in medians if not side.startswith(("torch", "loading"))]
    for side in (side for side in medians if side.startswith("torch")):
        found = medians[side]
        train, read = (
            ", ".join(f"{own} {medians[own][what] / found[what]:.2f}" for own in ours if what in medians[own])
            for what in ("train", "read")
        )
        rows.append(f"ours / {side}: training {train}; reading {read}")
    return "\n".join(rows)


def _measure(side: str, settings: dict[str, Any], height: int) -> dict[str, float]:
    if side == "loading":
        return _loading(height)
    batches = list(_batches(height))
    if side.startswith(("onnx", "openvino")):
        return {"read": _rate(_engine(side, settings, height), batches)}
    if side.startswith("mxnet"):
        steps = _mxnet(settings, height, bfloat16="bfloat16" in side)
    else:
        steps = _torch(side, settings)
    return {what: _rate(step, batches) for what, step in steps.items()}


def _rate(step: Callable[[Any], None], batches: list[Any]) -> float:
    for batch in batches:  # every width once: both frameworks prepare for a shape when they first meet it
        step(batch)
    start = time.perf_counter()
    for batch in batches:
        step(batch)
    return sum(len(batch.ids) for batch in batches) / (time.perf_counter() - start)


def _loading(height: int) -> dict[str, float]:
    list(_batches(height, 3))  # imports, first use of each transform
    start = time.perf_counter()
    lines = sum(len(batch.ids) for batch in _batches(height))
    return {"load": lines / (time.perf_counter() - start)}


def _batches(height: int, count: int = BATCHES) -> Iterator[Any]:
    """Yield training batches of drawn lines, 400 to 1,100 px wide before the default augmentation."""
    import numpy as np
    from omegaconf import OmegaConf

    import hwr  # noqa: F401  (prepares the process)
    from hwr.data.augment import LineAugmentation
    from hwr.data.batches.lines import LineSet, line_training_batches

    draw = np.random.default_rng(0)
    widths = draw.integers(400, 1100, count * BATCH)
    images = [_drawn_line(draw, height, int(width)) for width in widths]
    texts = ["".join(chr(33 + c) for c in draw.integers(0, 90, width // 17)) for width in widths]
    settings: Any = OmegaConf.to_container(OmegaConf.load(ROOT / "conf/augmentation/line.yaml"))
    augment = LineAugmentation(**settings)
    return line_training_batches(
        LineSet([str(i) for i in range(len(images))], images, texts),
        batch_size=BATCH,
        seed=(0, 0),
        change=lambda image, index: augment(image, seed=0, epoch=0, index=index),
        encode=lambda text: [ord(c) - 33 for c in text],
        multiple=4,
    )


def _drawn_line(draw: Any, height: int, width: int) -> Any:
    import cv2
    import numpy as np

    image: Any = np.full((height, width), 255, np.uint8)
    for x in range(8, width - 16, 17):
        points = np.stack([x + draw.integers(0, 14, 4), draw.integers(10, height - 8, 4)], axis=1).astype(
            np.int32
        )
        cv2.polylines(image, [points], False, (int(draw.integers(0, 90)),), 2, cv2.LINE_AA)
    return image


def _settings(name: str, channels: list[int] | None) -> dict[str, Any]:
    from omegaconf import OmegaConf

    settings: Any = OmegaConf.to_container(OmegaConf.load(ROOT / f"conf/network/{name}.yaml"))
    settings.pop("_target_")
    return {**settings, "channels": channels or settings["channels"]}


def _mxnet(settings: dict[str, Any], height: int, *, bfloat16: bool) -> dict[str, Callable[[Any], None]]:
    import hwr  # noqa: F401  (prepares the process)

    import mxnet as mx  # isort: skip
    from mxnet import autograd, gluon  # isort: skip

    from hwr.losses import CtcLoss
    from hwr.networks.crnn import Crnn
    from hwr.runtime import use_tiles, uses_tiles

    if bfloat16 and Crnn.gains_from_tiles(settings["channels"]):
        use_tiles()
    network = _network(settings, height)
    fast = Crnn(CLASSES, params=network.collect_params(), prefix=network.prefix, **settings)
    fast.compute_in_bfloat16()
    fast.hybridize()
    loss = CtcLoss(shortcut_weight=0.1)
    trainer = gluon.Trainer(network.collect_params(), "adam", {"learning_rate": 1e-3}, kvstore=None)

    def train(batch: Any) -> None:
        right = fast.right_in_bfloat16(*batch.images.shape[2:], tiled=uses_tiles())
        learning = fast if bfloat16 and right else network
        with autograd.record():
            values = loss(*learning(mx.nd.array(batch.images)), mx.nd.array(batch.labels))
        values.backward()
        trainer.step(len(batch.ids))
        values.asnumpy()

    def read(batch: Any) -> None:
        (fast if bfloat16 else network)(mx.nd.array(batch.images))[0].asnumpy()

    return {"train": train} if uses_tiles() else {"train": train, "read": read}


def _network(settings: dict[str, Any], height: int) -> Any:
    import hwr  # noqa: F401  (prepares the process)

    import mxnet as mx  # isort: skip

    from hwr.networks.crnn import Crnn
    from hwr.stages.kind import draw_parameters

    network = Crnn(CLASSES, **settings)
    draw_parameters(network, (1, 1, height, height), seed=0, context=mx.cpu())
    return network


def _engine(side: str, settings: dict[str, Any], height: int) -> Callable[[Any], None]:
    network = _network(settings, height)
    from hwr.stages.engine import Engine
    from hwr.stages.line import LineReader

    name, _, precision = side.partition(", ")
    engine = Engine(name, precision or "float32")
    reader = LineReader(network, batch_size=BATCH, context=None, engine=engine, size=(height, "W"))

    def read(batch: Any) -> None:
        list(reader.read_batches([(batch.ids, batch.images)]))

    return read


def _torch(side: str, settings: dict[str, Any]) -> dict[str, Callable[[Any], None]]:
    import torch
    from torch_crnn import Crnn, ctc

    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", str(len(os.sched_getaffinity(0))))))
    order = torch.channels_last if "channels_last" in side else torch.contiguous_format
    bfloat16 = "bfloat16" in side
    network = Crnn(CLASSES, **settings).to(memory_format=order)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    if "compiled" in side:
        torch._dynamo.config.recompile_limit = 64
        network.trunk.compile(dynamic=True)  # lines of many widths; the network as a whole ends in an error

    def train(batch: Any) -> None:
        network.train()
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            logits, shortcut = network(torch.from_numpy(batch.images).contiguous(memory_format=order))
        logits, shortcut = logits.float(), shortcut.float()
        labels = torch.from_numpy(batch.labels)
        loss = ctc(logits, labels) + 0.1 * ctc(shortcut, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def read(batch: Any) -> None:
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            network(torch.from_numpy(batch.images).contiguous(memory_format=order))

    return {"train": train, "read": read}


if __name__ == "__main__":
    main()
