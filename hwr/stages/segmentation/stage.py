"""Training and validation of a detector: MultiBox loss, F1."""

from collections.abc import Iterator, Sequence
from typing import Any

import mxnet as mx
import numpy as np

from hwr.data.batches.boxes import BoxBatch
from hwr.scoring import detection
from hwr.stages.boxes import BoxTask
from hwr.stages.segmentation.model import BoxDetector
from hwr.training.plan import Phase

METRICS = ("valid/f1_error", "valid/f1_75_error", "valid/iou_error")  # what `validate` returns, errors all


class SegmentationStage:
    """Train and validate a detector; `phase.name` picks loss and augmentation."""

    metrics: Sequence[str] = METRICS

    def __init__(self, detector: BoxDetector, task: BoxTask, *, batch_size: int, seed: int) -> None:
        self.network, self.detector, self.task = detector.network, detector, task
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return self.task.steps(self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        return self.task.batches(phase, epoch, batch_size=self.batch_size, seed=self.seed, start=start)

    def loss(self, phase: Phase, batch: BoxBatch) -> Any:
        """Return the loss of every image, (N,)."""
        context = self.detector.context
        scores, offsets = self.network(mx.nd.array(batch.images, ctx=context))
        boxes = mx.nd.array(batch.boxes, ctx=context)
        return self.task.losses[phase.name](self.detector.anchors, scores, offsets, boxes)

    def validate(self) -> dict[str, float]:
        """Return one minus F1 at IoU 0.5 and 0.75, and one minus the mean IoU, of the validation images."""
        found, valid = self.detector.boxes(self.task.valid.images), self.task.valid
        total = detection.Detection.total(
            detection.count_boxes(boxes, true, np.zeros((0, 4)))
            for boxes, true in zip(found, valid.boxes, strict=True)
        )
        return {
            "valid/f1_error": 1.0 - total.f1_50,
            "valid/f1_75_error": 1.0 - total.f1_75,
            "valid/iou_error": 1.0 - total.mean_iou,
        }
