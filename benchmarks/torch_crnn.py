"""The network of `hwr.networks.crnn` in PyTorch, layer by layer, for the benchmark alone."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Crnn(nn.Module):
    """Read line images (N, 1, H, W) to logits and shortcut logits, (T, N, C) each, with T = W / 4."""

    def __init__(
        self, classes: int, *, stem: int, channels: Sequence[int], blocks: Sequence[int], hidden: int,
        layers: int, dropout: float,
    ) -> None:  # fmt: skip
        super().__init__()
        parts: list[nn.Module] = [_convolution(1, stem, 5, 2)]
        width = stem
        for stage, (depth, count) in enumerate(zip(channels, blocks, strict=True)):
            parts.append(nn.MaxPool2d((2, 2) if stage == 0 else (2, 1)))
            for _ in range(count):
                parts.append(_Residual(width, depth))
                width = depth
        self.trunk = nn.Sequential(*parts)
        self.drop = nn.Dropout(dropout)
        self.lstm = nn.LSTM(width, hidden, layers, bidirectional=True, dropout=dropout if layers > 1 else 0.0)
        self.output = nn.Linear(2 * hidden, classes)
        self.shortcut = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return both heads' logits."""
        columns = self.trunk(images).amax(dim=2).permute(2, 0, 1)  # (T, N, D)
        hidden, _ = self.lstm(self.drop(columns))
        return self.output(self.drop(hidden)), self.shortcut(columns)


def ctc(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean CTC loss of logits (T, N, C) for labels (N, L) padded with -1; blank comes last."""
    steps, lines, classes = logits.shape
    lengths = (labels >= 0).sum(dim=1)
    inputs = torch.full((lines,), steps, dtype=torch.long)
    targets = labels.clamp(min=0).long()
    losses = nn.functional.ctc_loss(
        logits.log_softmax(dim=2), targets, inputs, lengths, blank=classes - 1, reduction="none"
    )
    return losses.mean()


class _Residual(nn.Module):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        second = nn.Sequential(nn.Conv2d(depth, depth, 3, padding=1, bias=False), nn.BatchNorm2d(depth))
        self.body = nn.Sequential(_convolution(width, depth, 3, 1), second)
        self.shortcut = nn.Conv2d(width, depth, 1, bias=False) if width != depth else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def _convolution(width: int, depth: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, depth, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(depth),
        nn.ReLU(),
    )
