"""Stage `segmentation`: the handwritten area to boxes of its lines or words, with a single-shot detector."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.data.batches.boxes import BoxBatch, page_reading_batches
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.images.load import GreyImage
from hwr.losses import VARIANCES
from hwr.networks import anchors
from hwr.scoring import detection
from hwr.stages.paragraph.stage import BoxTask

METRICS = ("valid/f1_error", "valid/f1_75_error", "valid/iou_error")  # what `validate` returns, errors all


@dataclass(frozen=True, kw_only=True)
class Detecting:
    """Which detections are kept: those of at least probability `min_c`, `topk` of them at most.

    Of two that overlap with an IoU above `overlap_thres` the better one stays; what is dropped so takes no
    place among the `topk`.
    """

    min_c: float
    overlap_thres: float
    topk: int

    def __post_init__(self) -> None:
        for name, value in (("min_c", self.min_c), ("overlap_thres", self.overlap_thres)):
            if not 0 < value < 1:
                raise InputError(f"stage.{name}={value} is not between 0 and 1; it is a share")
        if self.topk < 1:
            raise InputError(f"stage.topk={self.topk}: no detection would be kept; use 1 or more")


class BoxDetector:
    """Finds line or word boxes in fitted area images with a detector for images of one `size` (H, W)."""

    def __init__(
        self, network: Any, keep: Detecting, *, size: tuple[int, int], batch_size: int, context: Any
    ) -> None:
        self.network, self.keep, self.batch_size, self.context = network, keep, batch_size, context
        shapes = network.shapes(mx.nd.zeros((1, 1, *size), ctx=context))
        self.grid = anchors.grid(shapes, network.anchors)  # (A, 4)
        self.anchors = mx.nd.array(self.grid[None], ctx=context)

    def boxes(self, images: Sequence[GreyImage]) -> list[FloatArray]:
        """Return the boxes found in every image (H, W), fractions of it, best first: (K, 4) each."""
        return [rows[:, 1:] for rows in self.detections(images)]

    def detections(self, images: Sequence[GreyImage]) -> list[NDArray[np.float64]]:
        """Return probability x1 y1 x2 y2 of every box found, best first: (K, 5) each."""
        found: dict[int, NDArray[np.float64]] = {}
        for indices, batch in page_reading_batches(images, self.batch_size):
            scores, offsets = self.network(mx.nd.array(batch, ctx=self.context))
            rows = mx.nd.contrib.MultiBoxDetection(
                mx.nd.softmax(scores, axis=1),
                offsets,
                self.anchors,
                threshold=self.keep.min_c,
                nms_threshold=self.keep.overlap_thres,
                nms_topk=-1,  # of all: on a CPU, MXNet's choice among them loses boxes and keeps worse ones
                variances=VARIANCES,
                clip=True,
            ).asnumpy()  # (N, A, 6): class or -1, probability, box
            found.update(
                {index: _kept(own, self.keep.topk) for index, own in zip(indices, rows, strict=True)}
            )
        return [found[index] for index in range(len(images))]


class SegmentationStage:
    """Train and validate a detector; `phase.name` picks loss and augmentation."""

    metrics: Sequence[str] = METRICS

    def __init__(self, detector: BoxDetector, task: BoxTask, *, batch_size: int, seed: int) -> None:
        self.network, self.detector, self.task = detector.network, detector, task
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.task.train.ids) // self.batch_size)

    def batches(self, phase: Any, epoch: int, *, start: int = 0) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        return self.task.batches(phase, epoch, batch_size=self.batch_size, seed=self.seed, start=start)

    def loss(self, phase: Any, batch: BoxBatch) -> Any:
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


def _kept(rows: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """Return probability and box of the rows that are no ground and have an area."""
    real = (rows[:, 0] >= 0) & (rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])
    kept = rows[real][:, 1:].astype(np.float64)
    return np.asarray(kept[np.argsort(-kept[:, 0], kind="stable")][:most])
