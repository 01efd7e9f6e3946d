"""The network of stage `line`, and the reader that turns line images into class probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr import weights
from hwr.data.batches.lines import Image, line_reading_batches, padded_width
from hwr.images.line_crop import LineCrop
from hwr.networks.crnn import Crnn
from hwr.networks.original import OriginalLine
from hwr.networks.resnet_bilstm import ResnetBilstm
from hwr.stages.build import alphabet_of, model_of
from hwr.stages.engine import MXNET, Engine, Inference, Run
from hwr.stages.kind import Model, ModelRecipe
from hwr.text import Alphabet
from hwr.weights import Weights


@dataclass(frozen=True, kw_only=True)
class LineSettings:
    """How lines are cut out of their pages, and the characters read besides those of the training lines."""

    crop: LineCrop
    characters: str = ""  # older weights lack it


class LineReader:
    """Reads line images with a network; a line reads the same alone and in any batch."""

    def __init__(self, network: Any, *, batch_size: int, context: Any, run: Run | None = None) -> None:
        self.network, self.batch_size, self.context = network, batch_size, context
        self._run = run or MXNET.start(network, INFERENCE, (), context)

    def probs(self, images: Sequence[Image]) -> list[NDArray[np.float32]]:
        """Return the class probabilities (T, C) of every line image (H, w) uint8."""
        probs: dict[int, NDArray[np.float32]] = {}
        for indices, batch in line_reading_batches(images, self.batch_size, self.network.width_multiple):
            (rows,) = self._run(batch)  # (N, T, C)
            probs.update(zip(indices, rows, strict=True))
        return [probs[index] for index in range(len(images))]

    def padded_width(self, width: int) -> int:
        """Return the px that a line image of `width` px is padded to before it is read."""
        return padded_width(width, self.network.width_multiple)


def line_network(model: ModelRecipe[LineSettings], alphabet: Alphabet, context: Any) -> Any:
    """Return the network of a recipe for the classes of `alphabet`, its parameters drawn from the seed."""
    height = model.settings.crop.height
    width = padded_width(height, model.maker.width_multiple)
    return model.draw((1, 1, height, width), context=context, classes=len(alphabet))


def load_line_reader(loaded: Weights, *, batch_size: int, context: Any, engine: Engine = MXNET) -> LineReader:
    """Return a reader of line images with these weights."""
    model = model_of(loaded, MODEL)
    network = line_network(model, alphabet_of(loaded), context)
    weights.fill(network, loaded)
    run = engine.start(network, INFERENCE, INFERENCE.size(model.settings), context)
    return LineReader(network, batch_size=batch_size, context=context, run=run)


def line_crop(loaded: Weights) -> LineCrop:
    """Return how lines must be cut for these weights."""
    return model_of(loaded, MODEL).settings.crop


def line_steps(model: ModelRecipe[LineSettings]) -> Callable[[int], int]:
    """Return a function from the width of a line image in px to its time steps T."""
    maker = model.maker
    return lambda width: padded_width(width, maker.width_multiple) // int(maker.stride)


def _probs(functions: Any, network: Any, images: Any) -> list[Any]:
    logits, _ = network(images)  # (T, N, C)
    return [functions.transpose(functions.softmax(logits, axis=2), axes=(1, 0, 2))]


INFERENCE = Inference(
    outputs={"probs": ("N", "T", "C")},
    compute=_probs,
    load=load_line_reader,
    size=lambda settings: (settings.crop.height, "W"),
    about=lambda reader: {
        "width_multiple": str(reader.padded_width(1)), "stride": str(reader.network.stride),
    },
)  # fmt: skip
MODEL = Model(
    name="line", settings=LineSettings, networks=(Crnn, ResnetBilstm, OriginalLine), inference=INFERENCE
)
