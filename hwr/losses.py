"""Training losses; each names its formula and source, takes NDArrays and returns one value a sample."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from mxnet import autograd, gluon, nd
from numpy.typing import NDArray

from hwr.images.boxes import FloatArray, iou
from hwr.ranges import NonNegative, Positive, Probability

# units of the MultiBox offsets, of centre x y and of log width, height; as in Caffe's SSD
VARIANCES = (0.1, 0.1, 0.2, 0.2)
_NO_OVERLAP = 1e-6  # IoU


class CtcLoss(gluon.Block):
    """Connectionist temporal classification with a shortcut head, one value a line.

    loss = ctc(logits, labels) + shortcut_weight * ctc(shortcut, labels), where ctc is the negative logarithm
    of the probability of all paths that read `labels` (Graves et al., ICML 2006, equation 8); the second head
    is the "CTC shortcut" of Retsinas et al. (DAS 2022, section 3.4). Blank is the last class. If a line has
    more characters and repeated neighbours than steps, no path reads it: its loss is 0 instead of infinity,
    and it has no gradient.

    With `consistency` above 0 it wants two views of each line, whose steps show the same places and whose
    strokes, shades and dropout differ. The loss is the mean of both, plus `consistency` times half the sum
    over steps of KL(a || b) + KL(b || a), where what is learnt from counts as constant ("CR-CTC", Yao et
    al., ICLR 2025).

    Inputs: logits and shortcut (T, N * views, C), the views of a line side by side; labels (N, L) padded with
    -1. Output: (N,).
    """

    def __init__(
        self, *, shortcut_weight: NonNegative,
        consistency: NonNegative = 0.0,  # older trainings lack it
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        self._shortcut_weight, self._consistency = shortcut_weight, consistency

    @property
    def views(self) -> int:
        """How many views of a line it compares."""
        return 2 if self._consistency else 1

    def forward(self, logits: Any, shortcut: Any, labels: Any) -> Any:
        """Return the loss of every line."""
        steps = logits.shape[0]
        labels = nd.repeat(labels, repeats=self.views, axis=0)
        fits = _needed_steps(labels) <= steps  # (N * views,) of 0 and 1
        # MXNet's gradient of a line that does not fit is uninitialised memory: it is shown no text instead.
        shown = nd.where(fits, labels, -nd.ones_like(labels))
        shown = nd.slice_axis(shown, axis=1, begin=0, end=min(steps, labels.shape[1]))  # MXNet refuses L > T
        value = _ctc(logits, shown)
        if self._shortcut_weight:
            value = value + self._shortcut_weight * _ctc(shortcut, shown)
        if self._consistency:
            value = value + self._consistency * _disagreement(logits)
        return nd.mean((value * fits).reshape((-1, self.views)), axis=1)


class TextLoss(gluon.HybridBlock):
    """Cross-entropy of a text's characters, one value a text: mean over its characters of -log p(character).

    Inputs: log-probabilities (N, T, C), labels (N, T) padded with -1 on the right, each with one or more.
    Output: (N,).
    """

    def hybrid_forward(self, F: Any, log_probs: Any, labels: Any) -> Any:
        """Return the loss of every text."""
        counted = labels >= 0
        chosen = F.pick(log_probs, F.maximum(labels, 0), axis=2) * counted
        return -F.sum(chosen, axis=1) / F.sum(counted, axis=1)


class MseLoss(gluon.HybridBlock):
    """Mean squared error of box edges, one value a box: mean over x1 y1 x2 y2 of (predicted - true)^2.

    Inputs: predicted and true (N, 4). Output: (N,).
    """

    def hybrid_forward(self, F: Any, predicted: Any, true: Any) -> Any:
        """Return the loss of every box."""
        return F.mean(F.square(predicted - true), axis=1)


class IouLoss(gluon.HybridBlock):
    """One minus the intersection over union, one value a box ("UnitBox", Yu et al. 2016, without the log).

    loss = 1 - I / U, I = w h of the shared part, U = A + A' - I; sides below 0 count as 0, and `epsilon`
    keeps U above 0. If the boxes are disjoint, or the predicted one has a negative side, the loss is 1 and
    its gradient is **zero**: train with MSE first, until boxes overlap.

    Inputs: predicted and true (N, 4). Output: (N,), in [0, 1].
    """

    def __init__(self, *, epsilon: Positive, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._epsilon = epsilon

    def hybrid_forward(self, F: Any, predicted: Any, true: Any) -> Any:
        """Return the loss of every box."""
        low = F.maximum(_half(F, predicted, 0), _half(F, true, 0))  # (N, 2)
        high = F.minimum(_half(F, predicted, 2), _half(F, true, 2))
        shared = _area(F, low, high)  # (N,)
        own = _area(F, _half(F, predicted, 0), _half(F, predicted, 2))
        other = _area(F, _half(F, true, 0), _half(F, true, 2))
        union = own + other - shared
        overlap = shared / (union + self._epsilon)
        # A disjoint pair has no gradient at all.
        return F.where(shared > 0, 1 - overlap, F.ones_like(overlap))


class MultiBoxLoss(gluon.Block):
    """Softmax cross-entropy of anchors and smooth L1 of their offsets, one value an image.

    loss = (sum over positives and mined negatives of -log p(class) + box_weight * sum over positives of
    smooth_l1(offset - target)) / number of positives (Liu et al., "SSD", ECCV 2016, equations 1 to 3).
    An anchor is positive if its IoU with a box is above `overlap`, or if it is the best anchor of a box; for
    each positive, the `negatives` hardest others are negatives. An image without boxes has loss 0 and no
    gradient. These are the rules of MXNet's MultiBoxTarget, whose time grows with the square of the boxes.

    Inputs: anchors (1, A, 4), scores (N, 2, A), offsets (N, 4 A), boxes (N, K, 4) padded with -1.
    Output: (N,).
    """

    def __init__(
        self, *, overlap: Probability, negatives: NonNegative, box_weight: NonNegative, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._overlap, self._negatives, self._box_weight = overlap, negatives, box_weight

    def forward(self, anchors: Any, scores: Any, offsets: Any, boxes: Any) -> Any:
        """Return the loss of every image."""
        grid, surplus = anchors[0].asnumpy().astype(np.float64), scores.asnumpy()
        drawn = zip(boxes.asnumpy().astype(np.float64), surplus[:, 1] - surplus[:, 0], strict=True)
        settings = self._overlap, self._negatives
        made = [box_targets(grid, own[own[:, 0] >= 0], hardness, *settings) for own, hardness in drawn]
        classes, wanted = (nd.array(np.stack(part), ctx=scores.context) for part in zip(*made, strict=True))
        positive = classes > 0  # (N, A)
        chosen = nd.pick(nd.log_softmax(scores, axis=1), nd.maximum(classes, 0), axis=1)
        wrong = -nd.sum(chosen * (classes >= 0), axis=1)
        mask = nd.expand_dims(positive, axis=2)  # (N, A, 1)
        away = nd.smooth_l1((offsets.reshape((0, -1, 4)) - wanted) * mask, scalar=1.0)
        lost = wrong + self._box_weight * nd.sum(away, axis=(1, 2))
        return lost / nd.maximum(nd.sum(positive, axis=1), 1)


def box_targets(
    anchors: FloatArray, boxes: FloatArray, hardness: NDArray[np.float32], overlap: float, negatives: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return what anchors (A, 4) are to say of boxes (K, 4): classes (A,) and offsets (A, 4).

    A class is 1 for a box, 0 for the ground, -1 where neither counts. The ground is the hardest anchors, of
    the largest `hardness` (A,), `negatives` of them for each with a box.
    """
    classes = np.full(len(anchors), -1, dtype=np.float32)
    offsets = np.zeros((len(anchors), 4), dtype=np.float32)
    if not len(boxes):
        return classes, offsets
    overlaps = iou(boxes, anchors)  # (K, A)
    owner, most = overlaps.argmax(axis=0), overlaps.max(axis=0)
    positive = most > overlap
    for box, anchor in _best_anchors(overlaps):
        owner[anchor], positive[anchor] = box, True
    others = np.flatnonzero(~positive & (most < overlap))
    hardest = others[np.argsort(-hardness[others], kind="stable")]
    classes[hardest[: int(negatives * positive.sum())]] = 0
    classes[positive] = 1
    offsets[positive] = _offsets(boxes[owner[positive]], anchors[positive])
    return classes, offsets


def _best_anchors(overlaps: FloatArray) -> Iterator[tuple[int, int]]:
    """Yield pairs of one box and one anchor, (K, A) by descending IoU, each in one pair at most."""
    best, left = overlaps.argmax(axis=1), list(range(len(overlaps)))
    taken = np.zeros(overlaps.shape[1], dtype=np.bool_)
    while left:
        box = max(left, key=lambda one: (overlaps[one, best[one]], -best[one]))
        if taken[best[box]]:  # by a box nearer to it
            best[box] = np.where(taken, 0.0, overlaps[box]).argmax()
            continue
        if overlaps[box, best[box]] <= _NO_OVERLAP:
            return
        yield box, int(best[box])
        taken[best[box]] = True
        left.remove(box)


def _offsets(boxes: FloatArray, anchors: FloatArray) -> FloatArray:
    """Return the offsets (N, 4) of boxes (N, 4) from their anchors: of centres, and of the logs of sides."""
    sides, own = boxes[:, 2:] - boxes[:, :2], anchors[:, 2:] - anchors[:, :2]
    centres = (boxes[:, :2] + boxes[:, 2:] - anchors[:, :2] - anchors[:, 2:]) / 2
    return np.hstack([centres / own, np.log(sides / own)]) / VARIANCES


def _ctc(logits: Any, labels: Any) -> Any:
    if labels.max().asscalar() < 0:  # MXNet computes nothing for a batch without any text, and returns it
        return -nd.sum(nd.log_softmax(logits, axis=2)[:, :, -1], axis=0)  # the one path of blanks alone
    return nd.CTCLoss(logits, labels, blank_label="last")


def _disagreement(logits: Any) -> Any:
    """Return the sum over steps of KL(other view || own) of logits (T, 2 N, C): (2 N,).

    The other view is a constant, so each learns from what the other one reads.
    """
    own = nd.log_softmax(logits, axis=2)
    with autograd.pause():
        pairs = own.reshape((0, -4, -1, 2, 0))  # (T, N, 2, C)
        other = nd.flip(pairs, axis=2).reshape((0, -3, 0))
        probs = nd.exp(other)
        known = nd.sum(probs * other, axis=(0, 2))
    return known - nd.sum(probs * own, axis=(0, 2))


def _needed_steps(labels: Any) -> Any:
    """Return the length of the shortest path through each label (N, L): a blank parts repeated neighbours."""
    written = labels >= 0
    needed = nd.sum(written, axis=1)
    if labels.shape[1] > 1:
        needed = needed + nd.sum(written[:, 1:] * (labels[:, 1:] == labels[:, :-1]), axis=1)
    return needed


def _half(F: Any, boxes: Any, begin: int) -> Any:
    """Return one corner of boxes (N, 4): (N, 2)."""
    return F.slice_axis(boxes, axis=1, begin=begin, end=begin + 2)


def _area(F: Any, low: Any, high: Any) -> Any:
    """Return the area (N,) between corners (N, 2); 0 where a side is negative."""
    sides = F.maximum(high - low, 0)
    width, height = (F.sum(F.slice_axis(sides, axis=1, begin=i, end=i + 1), axis=1) for i in (0, 1))
    return width * height
