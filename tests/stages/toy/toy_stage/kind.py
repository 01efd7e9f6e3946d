"""Stage `toy`: pages to a gauge of their darkness."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from toy_stage.stage import METRICS, Images, ToyStage

from hwr import pictures
from hwr.data.records import Page, page_image
from hwr.errors import InputError
from hwr.images.canvas import PageFit, fit_to_canvas
from hwr.losses import MseLoss
from hwr.networks.paragraph import Extent
from hwr.stages import boxes
from hwr.stages.kind import Built, Kind, Model, Recipe


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """How pages come to the network: `side` px high and wide."""

    side: int

    def __post_init__(self) -> None:
        if self.side < 16:
            raise InputError(f"stage.side={self.side} is too small; use 16 or more")


@dataclass(frozen=True, kw_only=True)
class Nothing:
    """Changes no sample."""


def build_toy(recipe: Recipe[ToySettings], pages: Sequence[Page], progress: bool) -> Built:
    """Bring the pages to the canvas, and build the stage that is trained on them."""
    side = recipe.settings.side

    def image(page: Page) -> Images:
        canvas, _ = fit_to_canvas(
            page_image(page, recipe.loading),
            (0.0, 0.0, 1.0, 1.0),
            PageFit(size=(side, side), normalise=False),
        )
        return (255 - canvas[None]).astype(np.float32) / 255

    images = {
        split: {page.id: image(page) for page in pages if page.split == split} for split in ("train", "valid")
    }
    network = recipe.model.draw((1, 1, side, side), context=recipe.context)
    stage = ToyStage(network, images, recipe.losses, batch_size=recipe.batch_size, seed=recipe.seed)

    def picture(split: str, count: int) -> pictures.Picture:
        shown = list(images[split].items())[:count]
        return pictures.sheet(
            [(255 - 255 * own[0]).astype(np.uint8) for _, own in shown],
            [name for name, _ in shown],
            columns=4,
        )

    return Built(
        stage=stage,
        alphabet=None,
        size=f"{len(images['train'])} training and {len(images['valid'])} validation pages",
        augmented=lambda seed: picture("train", 12),
        predicted=lambda count: picture("valid", count),
    )


KIND = Kind(
    model=Model(name="toy", settings=ToySettings, networks=(Extent,)),
    losses=(MseLoss,),
    augmentation=Nothing,
    metrics=METRICS,
    heads=(),
    learns_text=False,
    limits=boxes.limits,
    build=build_toy,
)
