"""Training losses; each names its formula and source, takes NDArrays and returns one value a sample."""

from typing import Any

from mxnet import gluon, nd


class CtcLoss(gluon.Block):
    """Connectionist temporal classification with a shortcut head, one value a line.

    loss = ctc(logits, labels) + shortcut_weight * ctc(shortcut, labels), where ctc is the negative logarithm
    of the probability of all paths that read `labels` (Graves et al., ICML 2006, equation 8); the second head
    is the "CTC shortcut" of Retsinas et al. (DAS 2022, section 3.4). Blank is the last class. A line that no
    path reads, as it has more characters and repeated neighbours than steps, would cost infinity; it costs 0
    and has no gradient.

    Inputs: logits and shortcut (T, N, C), labels (N, L) padded with -1. Output: (N,).
    """

    def __init__(self, *, shortcut_weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._shortcut_weight = shortcut_weight

    def forward(self, logits: Any, shortcut: Any, labels: Any) -> Any:
        """Return the loss of every line."""
        steps = logits.shape[0]
        fits = _needed_steps(labels) <= steps  # (N,) of 0 and 1
        # MXNet's gradient of a line that does not fit is uninitialised memory: it is shown no text instead.
        shown = nd.where(fits, labels, -nd.ones_like(labels))
        shown = nd.slice_axis(shown, axis=1, begin=0, end=min(steps, labels.shape[1]))  # MXNet refuses L > T
        value = _ctc(logits, shown)
        if self._shortcut_weight:
            value = value + self._shortcut_weight * _ctc(shortcut, shown)
        return value * fits


def _ctc(logits: Any, labels: Any) -> Any:
    if labels.max().asscalar() < 0:  # MXNet computes nothing for a batch without any text, and returns it
        return -nd.sum(nd.log_softmax(logits, axis=2)[:, :, -1], axis=0)  # the one path of blanks alone
    return nd.CTCLoss(logits, labels, blank_label="last")


def _needed_steps(labels: Any) -> Any:
    """Return the length of the shortest path through each label (N, L): a blank parts repeated neighbours."""
    written = labels >= 0
    needed = nd.sum(written, axis=1)
    if labels.shape[1] > 1:
        needed = needed + nd.sum(written[:, 1:] * (labels[:, 1:] == labels[:, :-1]), axis=1)
    return needed
