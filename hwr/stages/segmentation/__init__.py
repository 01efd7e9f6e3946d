"""Stage `segmentation`: its detector finds the lines or words of a handwritten area."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwr.config.roots import Count, Probability
from hwr.data.batches.boxes import BoxSet, Unit, page_reading_batches, page_samples, sample_flaw
from hwr.data.records import Page
from hwr.images.boxes import Box, FloatArray
from hwr.images.canvas import Placement, fit_to_canvas, grown
from hwr.images.load import GreyImage
from hwr.images.tiles import agreed, joined, section_count, tile_grid, tiles
from hwr.losses import VARIANCES
from hwr.networks.original import OriginalWords
from hwr.networks.ssd import anchor_grid, compact, ssd_resnet34
from hwr.stages.boxes import PageSettings
from hwr.stages.build import model_of
from hwr.stages.engine import MXNET, Engine, Inference, Run
from hwr.stages.kind import Model, ModelRecipe
from hwr.weights import Weights

Inside = Annotated[float, Field(gt=0, lt=1)]
_LEAST_SURE = 0.75  # of `min_c`: what a view shows with a lower probability counts as not shown there


@dataclass(frozen=True, kw_only=True)
class DetectionSettings(PageSettings):
    """Settings of stage `segmentation`: what is detected, and which detections are kept.

    Areas whose lines are lower on the canvas than `least_px` (median) are looked at in tiles, and so are
    areas that are far higher than the canvas. With `views` an area is looked at once for each, grown by that
    share; a line has the mean of its probabilities (`hwr.images.tiles.agreed`). A training validates on its
    samples, grown by `growth` and seen once.

    Of two that overlap with an IoU above `overlap_thres` the better one stays; what is dropped so takes no
    place among the `topk`.
    """

    unit: Unit
    min_c: Inside
    overlap_thres: Inside
    topk: Count
    least_px: Annotated[float, Field(ge=0)] = 0.0  # of weights that learnt without tiles
    views: Sequence[Probability] = ()

    def samples(self, pages: Sequence[Page], **reading: Any) -> BoxSet:
        """Return the areas of pages with the boxes of their lines or words."""
        return page_samples(pages, self.fit, self.growth, self.unit, least_px=self.least_px, **reading)

    def tile_grid(self, boxes: FloatArray) -> tuple[int, int]:
        """Return into how many rows and columns of tiles an area is cut in which `boxes` were found."""
        return tile_grid(boxes, self.fit.size[0], self.least_px)

    def sample_flaw(self, page: Page) -> str:
        """Return why the area of a page makes no sample; "" where it makes one, or has no lines."""
        return sample_flaw(page, self.fit, self.growth, self.unit) if page.lines else ""


class BoxDetector:
    """Finds line or word boxes in fitted area images with a detector for images of one `size` (H, W)."""

    def __init__(
        self, network: Any, keep: DetectionSettings, *, batch_size: int, context: Any, run: Run | None = None
    ) -> None:
        self.network, self.keep, self.batch_size, self.context = network, keep, batch_size, context
        self._run = run or MXNET.start(network, INFERENCE, (), context)
        shapes = network.shapes(mx.nd.zeros((1, 1, *keep.fit.size), ctx=context))
        self.grid = anchor_grid(shapes, network.anchors)  # (A, 4)
        self.anchors = mx.nd.array(self.grid[None], ctx=context)

    def boxes(self, images: Sequence[GreyImage]) -> list[FloatArray]:
        """Return the boxes found in every image (H, W), fractions of it, best first: (K, 4) each."""
        return [rows[:, 1:] for rows in self.detections(images)]

    def find(self, page: GreyImage, area: Box) -> FloatArray:
        """Return the boxes (K, 4) in an area of a page (H, W), best first; both in fractions of the page."""
        keep = self.keep
        if not keep.views:
            return self._seen(page, grown(area, keep.growth), keep.min_c)[:, 1:]
        views = [self._seen(page, grown(area, growth), _LEAST_SURE * keep.min_c) for growth in keep.views]
        return agreed(views, keep.min_c, keep.overlap_thres)[:, 1:]

    def _seen(self, page: GreyImage, region: Box, least: float) -> FloatArray:
        """Return probability and box (K, 5) of what one view of a page shows, in fractions of the page."""
        keep = self.keep
        size = (region[3] - region[1]) * page.shape[0], (region[2] - region[0]) * page.shape[1]
        sections = section_count(size, keep.fit.size)
        parts = tiles(region, sections, 1)
        shown = self._shown(page, parts, least)
        grid = keep.tile_grid(np.concatenate([rows[:, 1:] for row in shown for rows, _ in row]))
        if grid != (1, 1):
            parts = tiles(region, sections * grid[0], grid[1])
            shown = self._shown(page, parts, least)
        found = [[_on_page(rows, spot) for rows, spot in row] for row in shown]
        return found[0][0] if (sections, *grid) == (1, 1, 1) else joined(found, parts, keep.overlap_thres)

    def _shown(
        self, page: GreyImage, parts: Sequence[Sequence[Box]], least: float
    ) -> list[list[tuple[FloatArray, Placement]]]:
        """Return what is found on a canvas for each part of a page, and where the part lies on it."""
        fitted = [[fit_to_canvas(page, part, self.keep.fit) for part in row] for row in parts]
        found = iter(self.detections([canvas for row in fitted for canvas, _ in row], least))
        return [[(next(found), spot) for _, spot in row] for row in fitted]

    def detections(
        self, images: Sequence[GreyImage], least: float | None = None
    ) -> list[NDArray[np.float64]]:
        """Return probability x1 y1 x2 y2 of every box found, best first: (K, 5) each.

        `least` is the least probability, `min_c` without it.
        """
        least = self.keep.min_c if least is None else least
        kept: dict[int, NDArray[np.float64]] = {}
        for indices, batch in page_reading_batches(images, self.batch_size):
            rows = mx.nd.contrib.MultiBoxDetection(
                *(mx.nd.array(own, ctx=self.context) for own in self._run(batch)),
                self.anchors,
                threshold=least,
                nms_threshold=self.keep.overlap_thres,
                nms_topk=-1,  # of all: on a CPU, MXNet's choice among them loses boxes and keeps worse ones
                variances=VARIANCES,
                clip=True,
                force_suppress=True,  # whatever their classes
            ).asnumpy()  # (N, A, 6): class or -1, probability, box
            kept.update({index: _kept(own, self.keep.topk) for index, own in zip(indices, rows, strict=True)})
        return [kept[index] for index in range(len(images))]


def box_detector(model: ModelRecipe[DetectionSettings], *, batch_size: int, context: Any) -> BoxDetector:
    """Return a detector whose network's parameters are drawn from the seed."""
    network = model.draw((1, 1, *model.settings.fit.size), context=context)
    return BoxDetector(network, model.settings, batch_size=batch_size, context=context)


def load_box_detector(
    loaded: Weights, *, batch_size: int, context: Any, engine: Engine = MXNET
) -> BoxDetector:
    """Return a detector of lines or words with these weights."""
    model = model_of(loaded, MODEL)
    network = model.load(loaded, (1, 1, *model.settings.fit.size), context=context)
    run = engine.start(network, INFERENCE, model.settings.fit.size, context)
    return BoxDetector(network, model.settings, batch_size=batch_size, context=context, run=run)


def _on_page(rows: FloatArray, spot: Placement) -> FloatArray:
    """Take the boxes of rows (K, 5) from a canvas to its page."""
    return np.hstack([rows[:, :1], spot.to_page(rows[:, 1:])])


def _kept(rows: NDArray[np.float32], most: int) -> NDArray[np.float64]:
    """Return probability and box of the rows that are no ground and have an area."""
    real = (rows[:, 0] >= 0) & (rows[:, 4] > rows[:, 2]) & (rows[:, 5] > rows[:, 3])
    kept = rows[real][:, 1:].astype(np.float64)
    return np.asarray(kept[np.argsort(-kept[:, 0], kind="stable")][:most])


def _scores(functions: Any, network: Any, images: Any) -> tuple[Any, Any]:
    scores, offsets = network(images)
    return functions.softmax(scores, axis=1), offsets


INFERENCE = Inference(
    outputs={"probs": ("N", "C", "A"), "offsets": ("N", "4A")},
    compute=_scores,
    load=load_box_detector,
    size=lambda settings: settings.fit.size,
    constants=lambda detector: {"anchors": detector.grid.astype(np.float32)},
    about=lambda detector: {"variances": json.dumps(VARIANCES)},
)
MODEL = Model(
    name="segmentation",
    settings=DetectionSettings,
    networks=(compact, ssd_resnet34, OriginalWords),
    inference=INFERENCE,
)
