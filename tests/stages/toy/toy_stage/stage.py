"""A gauge of darkness being trained, validated by its mean error."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.training.loop import Phase

METRICS = ("valid/darkness_error",)

Images = NDArray[np.float32]  # (N, 1, H, W), ink 1 on paper 0


@dataclass(frozen=True)
class DarknessBatch:
    """Pages: their images (N, 1, H, W)."""

    ids: Sequence[str]
    images: Images


class ToyStage:
    """Train and validate a network that tells how dark pages are; `phase.name` picks the loss."""

    metrics: Sequence[str] = METRICS

    def __init__(
        self,
        network: Any,
        pages: Mapping[str, Mapping[str, Images]],
        losses: Mapping[str, Any],
        *,
        batch_size: int,
        seed: int,
    ) -> None:
        self.network, self.pages, self.losses = network, pages, losses
        self.batch_size, self.seed = batch_size, seed

    def steps(self) -> int:
        """Return the number of batches an epoch has."""
        return -(-len(self.pages["train"]) // self.batch_size)

    def batches(self, phase: Phase, epoch: int, *, start: int = 0) -> Iterator[DarknessBatch]:
        """Yield the training batches of `epoch`, from batch `start` on."""
        train = self.pages["train"]
        ids = np.random.default_rng([self.seed, epoch]).permutation(sorted(train)).tolist()
        for first in range(start * self.batch_size, len(ids), self.batch_size):
            chosen = ids[first : first + self.batch_size]
            yield DarknessBatch(chosen, np.stack([train[name] for name in chosen]))

    def loss(self, phase: Phase, batch: DarknessBatch) -> Any:
        """Return the loss of every page, (N,)."""
        edges = self.network(mx.nd.array(batch.images))  # (N, 4)
        return self.losses[phase.name](edges, mx.nd.array(darkness(batch.images)))

    def validate(self) -> dict[str, float]:
        """Return the mean difference between true and predicted darkness of the validation pages."""
        images = np.stack(list(self.pages["valid"].values()))
        wrong = np.abs(self.network(mx.nd.array(images)).asnumpy() - darkness(images))
        return {METRICS[0]: float(wrong.mean())}


def darkness(images: Images) -> NDArray[np.float32]:
    """Return the mean of each image, four times: (N, 4)."""
    return np.repeat(images.mean(axis=(1, 2, 3))[:, None], 4, axis=1)
