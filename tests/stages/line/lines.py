"""Line images of strokes, and small networks that read them."""

from typing import Any

import mxnet as mx
import numpy as np

from hwr.data.batches.lines import Image
from hwr.networks.crnn import Crnn, ResnetBilstm
from hwr.stages.line import LineReader
from hwr.text import Alphabet

HEIGHT = 32
ALPHABET = Alphabet(" abcde")
NETWORKS: dict[str, Any] = {
    "crnn": lambda: Crnn(7, stem=8, channels=[8, 12], blocks=[1, 1], hidden=16, layers=2, dropout=0.2),
    "resnet_bilstm": lambda: ResnetBilstm(7, channels=8, hidden=16, layers=1, dropout=0.5),
}


def line(width: int, seed: int) -> Image:
    """Return a line image with strokes all over it."""
    return np.random.default_rng([seed, width]).integers(0, 256, (HEIGHT, width), dtype=np.uint8)


def network(kind: str = "crnn") -> Any:
    """Return a network that was not trained."""
    made = NETWORKS[kind]()
    mx.random.seed(3)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    made(mx.nd.zeros((1, 1, HEIGHT, HEIGHT)))
    made.hybridize()
    return made


def reader(kind: str = "crnn", batch_size: int = 32) -> LineReader:
    """Return a reader as sure of itself as a trained one."""
    made = network(kind)
    made.output.weight.set_data(30 * made.output.weight.data())
    return LineReader(made, batch_size=batch_size, context=mx.cpu())
