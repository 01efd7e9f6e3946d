"""Stage `paragraph`: page images to one box around their handwriting, trained with MSE, then IoU."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.data.batches.boxes import BoxBatch, BoxSet, page_reading_batches, page_training_batches
from hwr.images.boxes import FloatArray, iou
from hwr.images.load import GreyImage

METRICS = ("valid/iou_error",)  # what `validate` returns: 1 - mean IoU


class AreaFinder:
    """Finds the handwritten area of fitted page images with a network."""

    def __init__(self, network: Any, *, batch_size: int, context: Any) -> None:
        self.network, self.batch_size, self.context = network, batch_size, context

    def boxes(self, images: Sequence[GreyImage]) -> FloatArray:
        """Return the box of every image (H, W), fractions of it: (N, 4)."""
        found = np.zeros((len(images), 4))
        for indices, batch in page_reading_batches(images, self.batch_size):
            found[indices] = self.network(mx.nd.array(batch, ctx=self.context)).asnumpy()
        return found


@dataclass(frozen=True)
class BoxTask:
    """What is trained: images with boxes to train and validate on, losses and augmentations by phase name.

    `lone` boxes are never moved off their image: a sample whose box would leave it stays as it is.
    """

    train: BoxSet
    valid: BoxSet
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Any]
    lone: bool

    def batches(
        self, phase: Any, epoch: int, *, batch_size: int, seed: int, start: int = 0
    ) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        augmentation = self.augmentations[phase.name]

        def change(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
            moved, places, _ = augmentation(image, boxes, seed=seed, epoch=epoch, index=index)
            return (moved, places) if len(places) or not self.lone else (image, boxes)

        return page_training_batches(
            self.train, batch_size=batch_size, seed=(seed, epoch), change=change, start=start
        )


class ParagraphStage:
    """Train and validate a network for areas; `phase.name` picks loss and augmentation."""

    metrics: Sequence[str] = METRICS

    def __init__(self, finder: AreaFinder, task: BoxTask, *, batch_size: int, seed: int) -> None:
        self.network, self.finder, self.task = finder.network, finder, task
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.task.train.ids) // self.batch_size)

    def batches(self, phase: Any, epoch: int, *, start: int = 0) -> Iterator[BoxBatch]:
        """Yield the augmented training batches of `epoch`, from batch `start` on."""
        return self.task.batches(phase, epoch, batch_size=self.batch_size, seed=self.seed, start=start)

    def loss(self, phase: Any, batch: BoxBatch) -> Any:
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
