"""Training losses; each names its formula and source, takes NDArrays and returns one value a sample."""

from typing import Any

from mxnet.gluon import loss


class CtcLoss(loss.Loss):
    """Connectionist temporal classification with a shortcut head, one value a line.

    loss = ctc(logits, labels) + shortcut_weight * ctc(shortcut, labels), where ctc is the negative logarithm of the
    probability of all paths that read `labels` (Graves et al., ICML 2006, equation 8); the second head is the "CTC
    shortcut" of Retsinas et al. (DAS 2022, section 3.4). Blank is the last class.

    Inputs: logits and shortcut (T, N, C), labels (N, L) padded with -1. Output: (N,).
    """

    def __init__(self, *, shortcut_weight: float, **kwargs: Any) -> None:
        super().__init__(weight=1.0, batch_axis=1, **kwargs)
        self._shortcut_weight = shortcut_weight
        with self.name_scope():
            self.ctc = loss.CTCLoss(layout="TNC", label_layout="NT")

    def hybrid_forward(self, F: Any, logits: Any, shortcut: Any, labels: Any) -> Any:
        """Return the loss of every line."""
        value = self.ctc(logits, labels)
        if self._shortcut_weight:
            value = value + self._shortcut_weight * self.ctc(shortcut, labels)
        return value
