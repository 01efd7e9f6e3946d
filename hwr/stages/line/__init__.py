"""Stage `line`: its network, and the reader that turns line images into class probabilities."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwr.data.batches.lines import Image, line_reading_batches, padded_width
from hwr.images.line_crop import LineCrop
from hwr.networks.crnn import Crnn, ResnetBilstm
from hwr.networks.original import OriginalLine
from hwr.stages.build import alphabet_of, model_of
from hwr.stages.engine import MXNET, Computation, Engine, Inference, Shape
from hwr.stages.kind import Model, ModelRecipe
from hwr.text import Alphabet
from hwr.weights import Weights

TOGETHER = 16  # lines that an LSTM reads side by side: twice as many gain nothing more

Batch = tuple[list[int], NDArray[np.float32]]  # indices of lines, and their images (N, 1, H, W)
Probs = NDArray[np.float32]  # (T, C)


@dataclass(frozen=True, kw_only=True)
class LineSettings:
    """How lines are cut out of their pages, and the characters read besides those of the training lines."""

    crop: LineCrop
    characters: str = ""  # older weights lack it


class LineReader:
    """Reads line images with a network; a line reads the same alone and in any batch.

    `engine` computes what the network does of images of a size (H, W); MXNet needs no size. Where the network
    can (Crnn), the columns of lines of different widths are read together.
    """

    def __init__(
        self, network: Any, *, batch_size: int, context: Any, engine: Engine = MXNET, size: Shape = ()
    ) -> None:
        self.network, self.batch_size, self.context = network, batch_size, context
        parts = (_COLUMNS, _OF_COLUMNS) if hasattr(network, "read_columns") else (INFERENCE,)
        self._runs = [engine.start(network, part, size, context) for part in parts]

    def probs(self, images: Sequence[Image]) -> list[NDArray[np.float32]]:
        """Return the class probabilities (T, C) of every line image (H, w) uint8."""
        probs: dict[int, NDArray[np.float32]] = {}
        batches = line_reading_batches(images, self.batch_size, self.network.width_multiple)
        for indices, rows in self.read_batches(batches):
            probs.update(zip(indices, rows, strict=True))
        return [probs[index] for index in range(len(images))]

    def read_batches(self, batches: Iterable[Batch]) -> Iterator[tuple[list[int], Sequence[Probs]]]:
        """Yield indices of lines and their class probabilities (T, C), of batches from narrow to wide."""
        return self._apart(batches) if len(self._runs) == 1 else self._together(batches)

    def _apart(self, batches: Iterable[Batch]) -> Iterator[tuple[list[int], Sequence[Probs]]]:
        (run,) = self._runs
        for indices, batch in batches:
            yield indices, list(run(batch)[0])  # of (N, T, C)

    def _together(self, batches: Iterable[Batch]) -> Iterator[tuple[list[int], Sequence[Probs]]]:
        """Read columns of lines of different widths together."""
        run, _ = self._runs
        indices, columns = list[int](), list[NDArray[np.float32]]()
        for own, batch in batches:
            indices += own
            columns += list(run(batch)[0].swapaxes(0, 1))  # of (T, N, D)
            while len(columns) >= TOGETHER:
                yield indices[:TOGETHER], self._read(columns[:TOGETHER])
                indices, columns = indices[TOGETHER:], columns[TOGETHER:]
        if columns:
            yield indices, self._read(columns)

    def _read(self, columns: Sequence[NDArray[np.float32]]) -> list[Probs]:
        """Return the class probabilities (T, C) of the columns (T, D) of each line."""
        steps = [len(own) for own in columns]
        stacked = np.zeros((max(steps), len(steps), columns[0].shape[1]), np.float32)
        for place, own in enumerate(columns):
            stacked[: len(own), place] = own
        _, run = self._runs
        (found,) = run(stacked, np.array(steps, np.float32))  # (T, N, C)
        return [found[:count, place] for place, count in enumerate(steps)]

    def padded_width(self, width: int) -> int:
        """Return the px that a line image of `width` px is padded to before it is read."""
        return padded_width(width, self.network.width_multiple)


def line_network(model: ModelRecipe[LineSettings], alphabet: Alphabet, context: Any) -> Any:
    """Return the network of a recipe for the classes of `alphabet`, its parameters drawn from the seed."""
    return model.draw(_square(model), context=context, classes=len(alphabet))


def load_line_reader(loaded: Weights, *, batch_size: int, context: Any, engine: Engine = MXNET) -> LineReader:
    """Return a reader of line images with these weights."""
    model = model_of(loaded, MODEL)
    network = model.load(loaded, _square(model), context=context, classes=len(alphabet_of(loaded)))
    size = INFERENCE.size(model.settings)
    return LineReader(network, batch_size=batch_size, context=context, engine=engine, size=size)


def _square(model: ModelRecipe[LineSettings]) -> tuple[int, ...]:
    """Return the shape (1, 1, H, W) of an image about as wide as high."""
    height = model.settings.crop.height
    return 1, 1, height, padded_width(height, model.maker.width_multiple)


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


def _columns(functions: Any, network: Any, images: Any) -> list[Any]:
    return [network.columns(images, functions)]


def _probs_of_columns(functions: Any, network: Any, columns: Any, steps: Any) -> list[Any]:
    return [functions.softmax(network.read_columns(columns, steps, functions), axis=2)]


_COLUMNS = Computation(outputs={"columns": ("T", "N", "D")}, compute=_columns)
_OF_COLUMNS = Computation(
    inputs=lambda size: {"columns": ("T", "N", "D"), "steps": ("N",)},
    outputs={"probs": ("T", "N", "C")},
    compute=_probs_of_columns,
)
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
