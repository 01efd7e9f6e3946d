"""Stage `paragraph`: its network finds one box around the handwriting of a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from hwr.data.batches.boxes import page_reading_batches
from hwr.images.boxes import FloatArray
from hwr.images.load import GreyImage
from hwr.networks.original import OriginalArea
from hwr.networks.paragraph import Extent, paragraph_resnet34
from hwr.stages.boxes import PageSettings
from hwr.stages.build import model_of
from hwr.stages.engine import MXNET, Engine, Inference, Run
from hwr.stages.kind import Model, ModelRecipe
from hwr.weights import Weights


class AreaFinder:
    """Finds the handwritten area of fitted page images with a network."""

    def __init__(self, network: Any, *, batch_size: int, context: Any, run: Run | None = None) -> None:
        self.network, self.batch_size, self.context = network, batch_size, context
        self._run = run or MXNET.start(network, INFERENCE, (), context)

    def boxes(self, images: Sequence[GreyImage]) -> FloatArray:
        """Return the box of every image (H, W), fractions of it: (N, 4)."""
        boxes = np.zeros((len(images), 4))
        for indices, batch in page_reading_batches(images, self.batch_size):
            boxes[indices] = self._run(batch)[0]
        return boxes


def area_finder(model: ModelRecipe[PageSettings], *, batch_size: int, context: Any) -> AreaFinder:
    """Return a finder whose network's parameters are drawn from the seed."""
    network = model.draw((1, 1, *model.settings.fit.size), context=context)
    return AreaFinder(network, batch_size=batch_size, context=context)


def load_area_finder(loaded: Weights, *, batch_size: int, context: Any, engine: Engine = MXNET) -> AreaFinder:
    """Return a finder of handwritten areas with these weights."""
    model = model_of(loaded, MODEL)
    network = model.load(loaded, (1, 1, *model.settings.fit.size), context=context)
    run = engine.start(network, INFERENCE, model.settings.fit.size, context)
    return AreaFinder(network, batch_size=batch_size, context=context, run=run)


INFERENCE = Inference(
    outputs={"boxes": ("N", 4)},
    compute=lambda functions, network, images: [network(images)],
    load=load_area_finder,
    size=lambda settings: settings.fit.size,
)
MODEL = Model(
    name="paragraph",
    settings=PageSettings,
    networks=(Extent, paragraph_resnet34, OriginalArea),
    inference=INFERENCE,
)
