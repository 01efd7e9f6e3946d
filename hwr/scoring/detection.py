"""Score predicted boxes against true ones: counts, which add up over pages, and rates."""

from collections.abc import Iterable
from functools import reduce
from operator import add
from typing import NamedTuple

import numpy as np

from hwr.images.boxes import FloatArray, box_areas, iou, share_of, shared_areas


class Detection(NamedTuple):
    """Numbers of true, predicted and matched boxes, at IoU 0.5 and 0.75, and the summed IoU of pairs at 0.5.

    A rate without boxes, 0 / 0, is 1 where there are neither true nor predicted boxes, else 0.
    """

    true: int = 0
    predicted: int = 0
    matched_50: int = 0
    matched_75: int = 0
    iou_sum: float = 0.0

    @classmethod
    def total(cls, detections: "Iterable[Detection]") -> "Detection":
        """Return the sum of `detections`."""
        columns = zip(cls(), *detections, strict=True)
        return cls(*(reduce(add, column) for column in columns))  # `sum` rounds otherwise since Python 3.12

    @property
    def f1_50(self) -> float:
        """The harmonic mean of precision and recall at IoU 0.5."""
        return self._rate(2 * self.matched_50, self.true + self.predicted)

    @property
    def f1_75(self) -> float:
        """The harmonic mean of precision and recall at IoU 0.75."""
        return self._rate(2 * self.matched_75, self.true + self.predicted)

    @property
    def mean_iou(self) -> float:
        """The mean over true boxes of the IoU with their match at 0.5; a missed box counts 0."""
        return self._rate(self.iou_sum, self.true)

    def as_dict(self) -> dict[str, float]:
        """Return the numbers of boxes and all rates under their names."""
        return {
            **{name: value for name, value in self._asdict().items() if name != "iou_sum"},
            "precision_50": self._rate(self.matched_50, self.predicted),
            "recall_50": self._rate(self.matched_50, self.true),
            "f1_50": self.f1_50,
            "precision_75": self._rate(self.matched_75, self.predicted),
            "recall_75": self._rate(self.matched_75, self.true),
            "f1_75": self.f1_75,
            "mean_iou": self.mean_iou,
        }

    def _rate(self, part: float, whole: int) -> float:
        return part / whole if whole else float(self.true == self.predicted == 0)


def count_boxes(predicted: FloatArray, true: FloatArray, ignored: FloatArray) -> Detection:
    """Count matches of (N, 4) predicted with (M, 4) true boxes on one page.

    A predicted box that lies at least half in one of the (K, 4) `ignored` boxes, and more so than in any true
    box, counts nowhere.
    """
    in_ignored = _largest_share(predicted, ignored)
    predicted = predicted[(in_ignored < 0.5) | (in_ignored <= _largest_share(predicted, true))]
    pairs = match_boxes(predicted, true, 0.5)
    overlap = iou(predicted, true)
    ious = [float(overlap[pair]) for pair in pairs]
    return Detection(len(true), len(predicted), len(pairs), sum(value >= 0.75 for value in ious), sum(ious))


def match_boxes(predicted: FloatArray, true: FloatArray, threshold: float) -> list[tuple[int, int]]:
    """Pair (N, 4) predicted with (M, 4) true boxes one to one, IoU at least `threshold`: (predicted, true).

    Pairs are taken greedily by descending IoU, nearly as in PASCAL VOC (Everingham et al., 2010), which ranks
    by confidence. Equal IoUs are taken in the order of the predicted boxes, then of the true ones. Not always
    the most pairs possible, but those of a higher threshold are always among those of a lower one.
    """
    overlap = iou(predicted, true)  # (N, M)
    rows, columns = np.nonzero(overlap >= threshold)
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for at in np.argsort(-overlap[rows, columns], kind="stable"):
        row, column = int(rows[at]), int(columns[at])
        if row not in pairs and column not in taken:
            pairs[row] = column
            taken.add(column)
    return list(pairs.items())


def _largest_share(boxes: FloatArray, others: FloatArray) -> FloatArray:
    """Return the largest share of each box's area, (N,), that lies in one of `others`; empty boxes give 0."""
    return share_of(shared_areas(boxes, others).max(axis=1, initial=0.0), box_areas(boxes))
