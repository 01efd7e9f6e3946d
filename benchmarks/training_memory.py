"""Measure the memory of a long training: `python benchmarks/training_memory.py [KEY=VALUE …]`.

Trains a small line network for some 10,000 steps on drawn lines of many widths, prints what the process takes
after every thousandth, in MiB, and plots it into training_memory.png. KEY=VALUE are keys of hwr train.
"""

import sys
import tempfile

import matplotlib.pyplot as plt
from memory import mib

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.runs import train
from hwr.training.loop import Step

EVERY, OFTEN = 100, 1000  # steps
DATA = ["data.pages={train: 60, valid: 2, test: 1}", "data.writers={train: 30, valid: 2, test: 1}"]


def main(overrides: list[str]) -> None:
    """Train, print the table, and draw the plot."""
    taken: dict[int, float] = {}

    def note(bar: train.Bar, step: Step) -> None:
        if (count := len(steps)) % EVERY == 0:
            taken[count] = mib()
        if count % OFTEN == 0:
            print(f"{count:6} steps {taken[count]:6.0f} MiB", flush=True)
        steps.append(step.loss)

    steps: list[float] = []
    train.Bar.__call__ = note  # type: ignore[assignment, method-assign]
    own = ["experiments=line/smoke", *DATA, "~phases.plain", "phases.ctc.epochs=130", *overrides]
    with tempfile.TemporaryDirectory() as folder:
        train.train_stage(composed("train", [f"folder={folder}", *own], TrainConfig))
    figure, pane = plt.subplots(figsize=(7, 3), layout="constrained")
    pane.plot(list(taken), list(taken.values()))
    pane.set(xlabel="steps", ylabel="memory of the process, MiB", ylim=(0, 1.1 * max(taken.values())))
    figure.savefig("training_memory.png", dpi=120)


if __name__ == "__main__":
    main(sys.argv[1:])
