"""Training and validation of an area network: MSE, then IoU."""

from collections.abc import Iterator, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.data.batches.boxes import BoxBatch
from hwr.images.boxes import FloatArray, iou
from hwr.stages.boxes import BoxTask
from hwr.stages.paragraph.model import AreaFinder
from hwr.training.plan import Phase

METRICS = ("valid/iou_error",)  # what `validate` returns: 1 - mean IoU


class ParagraphStage:
    """Train and validate a network for areas; `phase.name` picks loss and augmentation."""

    metrics: Sequence[str] = METRICS

    def __init__(self, finder: AreaFinder, task: BoxTask, *, batch_size: int, seed: int) -> None:
        self.network, self.finder, self.task = finder.network, finder, task
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return self.task.steps(self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        return self.task.batches(phase, epoch, batch_size=self.batch_size, seed=self.seed, start=start)

    def loss(self, phase: Phase, batch: BoxBatch) -> Any:
        """Return the loss of every page, (N,)."""
        context = self.finder.context
        predicted = self.network(mx.nd.array(batch.images, ctx=context))  # (N, 4)
        return self.task.losses[phase.name](predicted, mx.nd.array(batch.boxes[:, 0], ctx=context))

    def validate(self) -> dict[str, float]:
        """Return one minus the mean IoU of the validation pages."""
        found = self.finder.boxes(self.task.valid.images)
        return {"valid/iou_error": 1.0 - float(overlaps(found, self.task.valid.boxes).mean())}


def overlaps(found: FloatArray, true: Sequence[FloatArray]) -> NDArray[np.float64]:
    """Return the IoU of every found box (N, 4) with the true one of its image, (1, 4) each: (N,)."""
    pairs = zip(found, true, strict=True)
    return np.array([iou(box[None], own)[0, 0] for box, own in pairs], dtype=np.float64)
