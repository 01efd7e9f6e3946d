"""A small training of each stage, in a process of its own that can be killed.

It knows no configuration, no data source and no tracking server.

python -m tests.endurance.killing STAGE FOLDER
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from hwr import runtime
from hwr.config import ROOT
from hwr.runs.resume import Once
from hwr.training import checkpoint
from hwr.training.loop import Phase, Plan

SAVE_EVERY = 3e-4  # minutes: a state every few steps
STAGES = ("line", "paragraph", "segmentation", "denoiser")
TIMES = ("seconds", "began")  # of progress
STARTED, METRICS, STATE = "trains", "metrics.jsonl", "state"


@dataclass(frozen=True)
class Journal:
    """A run that keeps metrics in a file, one call a line."""

    path: Path

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        with self.path.open("ab", buffering=0) as file:
            file.write(json.dumps([step, dict(values)]).encode() + b"\n")

    def recorded(self, name: str) -> set[int]:
        return {step for step, values in self.lines() if name in values}

    def lines(self) -> list[tuple[int, dict[str, float]]]:
        """Return (epoch, metrics) of every call, in their order."""
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        return [(step, values) for step, values in map(json.loads, text.splitlines())]


@dataclass(frozen=True)
class Ended:
    """What a training has come to: its metrics, its arrays, and its progress without times."""

    metrics: Sequence[tuple[int, Mapping[str, float]]]
    arrays: Mapping[str, bytes]
    progress: Mapping[str, float]


def start(stage: str, folder: Path) -> "subprocess.Popen[str]":
    """Start or resume the training of a stage in `folder`, and return when its first step is near."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.endurance.killing", stage, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process.stdout as said:
        assert said.readline().strip() == STARTED
    return process


def finished(stage: str, folder: Path) -> float:
    """Train a stage without an interruption; return for how many seconds."""
    process = start(stage, folder)
    begun = time.monotonic()
    assert process.wait(timeout=100) == 0
    return time.monotonic() - begun


def killed(process: "subprocess.Popen[Any]", seconds: float) -> bool:
    """Kill a training after `seconds`; tell whether it was not faster than that."""
    try:
        assert process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return True
    return False


def ended(folder: Path) -> Ended:
    """Return what the training in `folder` has come to."""
    found = checkpoint.newest_state(folder / STATE)
    assert found is not None
    progress = {name: value for name, value in found.about["progress"].items() if name not in TIMES}
    arrays = {name: value.tobytes() for name, value in found.arrays.items()}
    metrics = [
        (step, {name: value for name, value in values.items() if not name.startswith("time/")})
        for step, values in Journal(folder / METRICS).lines()
    ]
    return Ended(metrics, arrays, progress)


def made_for(stage: str) -> Any:
    """Return the stage, ready to train."""
    makers = {"line": _line, "paragraph": _paragraph, "segmentation": _segmentation, "denoiser": _denoiser}
    return makers[stage]()


def _main(stage: str, folder: Path) -> None:
    runtime.start()
    from hwr.training.checkpoint import Checkpoint
    from hwr.training.loop import fit

    made = made_for(stage)
    folder.mkdir(parents=True, exist_ok=True)
    state = Checkpoint(made.network, folder / STATE)
    state.restore()
    print(STARTED, flush=True)
    tracker = Once(Journal(folder / METRICS))
    fit(made, _plan(made.metrics[0]), checkpoint=state, tracker=tracker, report=lambda step: None)


def _plan(monitor: str) -> Plan:
    from hwr.training import optimizers

    def adamw(lr: float) -> Any:
        return optimizers.create("adamw", lr=lr, beta1=0.9, beta2=0.999, weight_decay=0.01)

    one = Phase("one", epochs=5, lr=2e-3, schedule="cosine", warmup=0.1, settings={})
    other = replace(one, name="other", epochs=3, lr=1e-3, schedule="constant")
    return Plan(
        phases=[one, other],
        optimizer=adamw,
        monitor=monitor,
        seed=3,
        max_epochs=None,
        max_minutes=None,
        patience=4,
        save_every=SAVE_EVERY,
        clip=1.0,
        average=0.9,
    )


def _in_both(value: Any) -> dict[str, Any]:
    return {"one": value, "other": value}


def _line() -> Any:
    import mxnet as mx

    from hwr.data.batches.lines import Image, LineSet
    from hwr.decoding.greedy import GreedyDecoder
    from hwr.losses import CtcLoss
    from hwr.networks.crnn import Crnn
    from hwr.stages.kind import draw_parameters
    from hwr.stages.line import LineReader
    from hwr.stages.line.training import LineStage, LineTask
    from hwr.text import Alphabet

    def shaken(image: Image, *, seed: int, epoch: int, index: int, view: int) -> Image:
        generator = np.random.default_rng([seed, epoch, index])
        return np.repeat(image, generator.integers(1, 3), axis=1)  # widths set which lines share a batch

    alphabet, generator = Alphabet(" abc"), np.random.default_rng(0)
    images = [generator.integers(0, 256, (16, 40 + 9 * (7 * i % 11)), dtype=np.uint8) for i in range(18)]
    lines = LineSet([f"l{i}" for i in range(18)], images, ["ab c"[i % 3 :] for i in range(18)])
    network = Crnn(len(alphabet), stem=4, channels=[6, 8], blocks=[1, 1], hidden=6, layers=2, dropout=0.3)
    draw_parameters(network, (1, 1, 16, 32), seed=1, context=mx.cpu())
    task = LineTask(alphabet, lines, lines, _in_both(CtcLoss(shortcut_weight=0.1)), _in_both(shaken))
    reader = LineReader(network, batch_size=6, context=mx.cpu())
    return LineStage(reader, task, GreedyDecoder(alphabet), batch_size=2, seed=3)


def _boxes(size: int, *, lone: bool, loss: Any) -> dict[str, Any]:
    """Return what stages that find boxes are trained on: noise on paper, and boxes around it."""
    from hwr.data.augment import PageAugmentation
    from hwr.data.batches.boxes import BoxSet
    from hwr.images.canvas import PageFit, placement

    generator = np.random.default_rng(1)
    spot = placement((size, size), (0, 0, 1, 1), PageFit(size=(size, size), normalise=False))
    images, boxes = [], []
    for number in range(18):
        image = np.full((size, size), 255, np.uint8)
        top, left = generator.integers(0, size // 3, 2)
        image[top : top + size // 2, left : left + size // 2] = generator.integers(
            0, 200, (size // 2, size // 2)
        )
        images.append(image)
        box = np.array([left, top, left + size // 2, top + size // 2]) / size
        boxes.append(np.stack([box] * (1 if lone else 1 + number % 2)))
    samples = BoxSet([f"p{i}" for i in range(18)], images, boxes, [spot] * 18)
    still = PageAugmentation(**{field.name: 0.0 for field in fields(PageAugmentation)})
    moved = replace(still, probability=0.7, shift_x=0.1, shift_y=0.1)
    parts = {"losses": _in_both(loss), "augmentations": _in_both(moved)}
    return {"train": samples, "valid": samples, **parts, "batch_size": 3, "seed": 3}


def _paragraph() -> Any:
    import mxnet as mx
    from mxnet.gluon import nn

    from hwr.losses import MseLoss
    from hwr.stages.kind import draw_parameters
    from hwr.stages.paragraph import AreaFinder
    from hwr.stages.paragraph.training import area_stage

    network = nn.HybridSequential()
    network.add(nn.Conv2D(4, 3, strides=2), nn.BatchNorm(), nn.Activation("relu"), nn.Dropout(0.3))
    network.add(nn.Dense(4, activation="sigmoid"))
    draw_parameters(network, (1, 1, 32, 32), seed=1, context=mx.cpu())
    finder = AreaFinder(network, batch_size=6, context=mx.cpu())
    return area_stage(finder=finder, network=network, **_boxes(32, lone=True, loss=MseLoss()))


def _segmentation() -> Any:
    import mxnet as mx

    from hwr.losses import MultiBoxLoss
    from hwr.networks.ssd import compact
    from hwr.stages.kind import draw_parameters
    from hwr.stages.segmentation import BoxDetector, DetectionSettings
    from hwr.stages.segmentation.training import detection_stage

    network = compact(
        stem=4, channels=[4, 4], strides=[[2, 2], [2, 2]], blocks=[1, 1], reach=1, anchors=[[[0.5, 0.5]]]
    )
    draw_parameters(network, (1, 1, 64, 64), seed=1, context=mx.cpu())
    keep = DetectionSettings(
        size=(64, 64), normalise=False, growth=0.0, unit="line", min_c=0.01, overlap_thres=0.5, topk=9
    )
    detector = BoxDetector(network, keep, batch_size=6, context=mx.cpu())
    loss = MultiBoxLoss(overlap=0.5, negatives=3.0, box_weight=1.0)
    return detection_stage(finder=detector, network=network, **_boxes(64, lone=False, loss=loss))


def _denoiser() -> Any:
    import mxnet as mx

    from hwr.data.batches.texts import Passage, Sampling
    from hwr.language.confusions import Confusions, CountedLines, Noise, Recogniser
    from hwr.losses import TextLoss
    from hwr.networks.transformer import Transformer
    from hwr.stages.denoiser import TextDenoiser
    from hwr.stages.denoiser.training import DenoiserStage, TextTask
    from hwr.text import Alphabet

    alphabet = Alphabet(" abcde")
    network = Transformer(
        len(alphabet), width=8, heads=2, encoder_layers=1, decoder_layers=1, hidden=8, reach=1, dropout=0.2
    )
    mx.random.seed(1)
    network.initialize(mx.init.Xavier())
    network.hybridize()
    denoiser = TextDenoiser(network, alphabet, longest=20, batch_size=4, context=mx.cpu())
    seen = Confusions({("a", "a"): 2, ("a", "e"): 1, ("b", "b"): 1}, CountedLines("f", "valid", "w", 1))
    noise = Noise(strength=1.0, spread=0.1, bursts=0.1, clean=0.1, most=1.0, smoothing=0.0)
    passages = [Passage((f"t{i}", f"u{i}"), ("a bead cab"[i:], "dab")) for i in range(6)]
    task = TextTask(
        passages,
        [("v0", "abba"), ("v1", "dad a")],
        ["abbe", "dad a"],
        Sampling(repeats=2, windows=0.5, longest=20),
        _in_both(TextLoss()),
        _in_both(Recogniser(seen, noise)),
    )
    return DenoiserStage(denoiser, task, batch_size=3, seed=3)


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]))
