"""A network that is told the box of each page."""

from typing import Any

import mxnet as mx
import numpy as np


class Answers:
    """A network that knows the box of each numbered page."""

    def __init__(self, boxes: list[tuple[float, ...]]) -> None:
        self.boxes = np.array(boxes)

    def __call__(self, images: Any) -> Any:
        numbers = (images[:, 0, 0, 0].asnumpy() * 255).round().astype(int)
        return mx.nd.array(self.boxes[numbers])
