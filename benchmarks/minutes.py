"""Plot validation error against minutes of training: `python benchmarks/minutes.py FOLDER RUN[=LABEL] …`.

RUN is the id of a training with folder=FOLDER; LABEL stands for it in the table and the plot. Printed is the
lowest error of each run after so many minutes. minutes.png has the curves and, in black, the lowest error
that any of them had reached.
"""

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numpy.typing import NDArray

from hwr.tracking.store import client_of, embedded

AFTER = (5, 10, 15, 20, 30, 45, 60)  # minutes
Curve = NDArray[np.float64]  # (epochs, 2): minutes, and the lowest error until then in percent


def main(folder: str, *named: str) -> None:
    """Print the table and draw the plot."""
    runs = {label or run: run for run, _, label in (own.partition("=") for own in named)}
    curves = {label: curve(Path(folder), run) for label, run in runs.items()}
    widest = max(map(len, curves))
    print(f"{'minutes':{widest}}", *(f"{minutes:6}" for minutes in AFTER))
    for label, own in curves.items():
        print(f"{label:{widest}}", *(f"{lowest(own, minutes):>6}" for minutes in AFTER))
    draw(curves)


def curve(folder: Path, run: str) -> Curve:
    """Return the curve of a run."""
    client = client_of(embedded(folder))
    minutes, errors = (
        {own.step: own.value for own in client.get_metric_history(run, metric)}
        for metric in ("time/minutes", "valid/cer")
    )
    epochs = sorted(minutes.keys() & errors.keys())
    best = np.minimum.accumulate([100 * errors[epoch] for epoch in epochs])
    return np.column_stack([[minutes[epoch] for epoch in epochs], best])


def lowest(own: Curve, minutes: float) -> str:
    """Return the lowest error after so many minutes; "" before the first epoch ends, and after the run."""
    done = own[own[:, 0] <= minutes]
    over = minutes > own[-1, 0] + 1
    return "" if over or not len(done) else f"{done[-1, 1]:.1f}"


def draw(curves: dict[str, Curve]) -> None:
    """Draw the curves and the lowest of them."""
    figure, pane = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for label, own in curves.items():
        pane.plot(*own.T, marker=".", label=label)
    ends = np.concatenate(list(curves.values()))
    minutes, errors = ends[np.argsort(ends[:, 0])].T
    front = np.minimum.accumulate(errors)
    pane.step(minutes, front, where="post", color="black", lw=1, label="lowest")
    pane.set(xlabel="minutes of training", ylabel="CER of the validation lines, %", yscale="log")
    ticks = [10, 12, 15, 20, 30, 40]
    pane.set_yticks(ticks, [str(own) for own in ticks])
    pane.minorticks_off()
    pane.grid(alpha=0.3)
    pane.legend(fontsize=8)
    figure.savefig("minutes.png", dpi=100)


if __name__ == "__main__":
    main(*sys.argv[1:])
