"""Whole pages or handwritten areas on a canvas with their boxes, and batches of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwr.data.batches import pad_rows
from hwr.data.batches.lines import stack_images
from hwr.data.cache import Cut, CutImages, cached
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.boxes import Box, FloatArray, clip, union
from hwr.images.canvas import PageFit, Placement, fit_to_canvas, grown, placement, visible_boxes
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading

Unit = Literal["line", "word"]

_VERSION = 1  # raise it whenever hwr.images.canvas brings pages to the canvas differently
_WHOLE: Box = (0.0, 0.0, 1.0, 1.0)
_SAME_ASPECT = 0.02  # relative: a scan scaled by whole pixels stays within


@dataclass(frozen=True)
class BoxSet:
    """Pages on one canvas: ids, images (H, W), boxes (K, 4) in fractions of the canvas, and placements.

    `problems` are the (id, reason) of pages that could not be used, `missed` the boxes of those among them
    whose boxes are known, by id. `datasets` names the set of every page, empty where there is but one.
    """

    ids: Sequence[str]
    images: Sequence[GreyImage]
    boxes: Sequence[FloatArray]
    placements: Sequence[Placement]
    problems: Sequence[tuple[str, str]] = ()
    missed: Mapping[str, FloatArray] = field(default_factory=dict)
    datasets: Sequence[str] = ()

    def taken(self, indices: Iterable[int]) -> "BoxSet":
        """Return the pages of these indices, in their order."""
        rows = ((self.ids[i], self.images[i], self.boxes[i], self.placements[i]) for i in indices)
        ids, images, boxes, placements = zip(*rows, strict=True)
        return BoxSet(ids, images, boxes, placements)


@dataclass(frozen=True)
class BoxBatch:
    """Pages: images (N, 1, H, W), ink 1 on paper 0; boxes (N, K, 4) padded with rows of -1; float32."""

    ids: Sequence[str]
    images: NDArray[np.float32]
    boxes: NDArray[np.float32]


def area_of(page: Page) -> Box | None:
    """Return the handwritten area of a page: as its source gives it, or around all lines; None without."""
    boxes = [line.box for line in page.lines if not line.flaw]
    return page.area if page.area is not None else union(boxes) if boxes else None


def whole_pages(
    pages: Sequence[Page],
    settings: PageFit,
    growth: float,
    *,
    folder: Path,
    loading: Loading,
    progress: bool,
) -> BoxSet:
    """Return every page that has an area, with one box: its area, grown by a share of its own sides.

    `folder` holds the cache. Raise InputError as `cached` does, and for a growth that is no share.
    """
    _check_growth(growth)
    make = partial(_sample, settings=settings, growth=growth, unit=None)
    cutter = _PageCutter(settings, None)
    cut = partial(cached, cutter=cutter, folder=folder, loading=loading, progress=progress)
    return _box_set(pages, make, cut)


def area_crops(
    pages: Sequence[Page],
    settings: PageFit,
    growth: float,
    unit: Unit,
    *,
    folder: Path,
    loading: Loading,
    progress: bool,
) -> BoxSet:
    """Return the area of every page that has lines, grown by a share of its own sides, with their boxes.

    Boxes of the lines or of their words, at least half inside, cut to the crop. `folder` holds the cache.
    Raise InputError as `cached` does, and for a growth that is no share.
    """
    _check_growth(growth)
    make = partial(_sample, settings=settings, growth=growth, unit=unit)
    cutter = _PageCutter(settings, growth)
    cut = partial(cached, cutter=cutter, folder=folder, loading=loading, progress=progress)
    return _box_set([page for page in pages if page.lines], make, cut)


def sample_flaw(page: Page, settings: PageFit, growth: float, unit: Unit | None) -> str:
    """Return why `area_crops`, or `whole_pages` where `unit` is None, cannot use a page that has an area."""
    try:
        _sample(page, settings, growth, unit)
    except InputError as error:
        return str(error)
    return ""


def page_training_batches(
    samples: BoxSet,
    *,
    batch_size: int,
    seed: Sequence[int],
    change: Callable[[GreyImage, FloatArray, int], tuple[GreyImage, FloatArray]],
    start: int = 0,
) -> Iterator[BoxBatch]:
    """Yield every page once, in an order drawn from `seed`; `change` gets image, boxes and their index.

    Batches before `start` are left out.
    """
    order = np.random.default_rng(list(seed)).permutation(len(samples.ids)).tolist()
    for first in range(start * batch_size, len(order), batch_size):
        chosen = order[first : first + batch_size]
        changed = [change(samples.images[index], samples.boxes[index], index) for index in chosen]
        yield BoxBatch(
            [samples.ids[index] for index in chosen],
            _stacked([image for image, _ in changed]),
            pad_rows([boxes for _, boxes in changed], 4),
        )


def page_reading_batches(
    images: Sequence[GreyImage], batch_size: int
) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
    """Yield (indices, images (N, 1, H, W)) in order, ink 1 on paper 0."""
    for start in range(0, len(images), batch_size):
        chosen = list(range(start, min(start + batch_size, len(images))))
        yield chosen, _stacked([images[index] for index in chosen])


def _stacked(images: Sequence[GreyImage]) -> NDArray[np.float32]:
    return stack_images(images, images[0].shape[1])


@dataclass(frozen=True)
class _PageCutter:
    """Brings pages to the canvas, whole where `growth` is None, else the area grown by it."""

    fit: PageFit
    growth: float | None
    unit: str = "page"

    @property
    def height(self) -> int:
        return self.fit.size[0]

    @property
    def settings(self) -> Mapping[str, object]:
        return {"page": _VERSION, "fit": asdict(self.fit), "growth": self.growth}

    def ids(self, page: Page) -> Sequence[str]:
        return [page.id]

    def cut(self, page: Page, image: GreyImage) -> Sequence[Cut]:
        (height, width), (own_height, own_width) = page.size, image.shape
        if abs(width * own_height / (own_width * height) - 1) > _SAME_ASPECT:
            return [
                (
                    page.id,
                    f"page {page.id}: {page.image} has {own_width} x {own_height} pixels and "
                    f"its description says {width} x {height}; restore one of them",
                )
            ]
        return [(page.id, fit_to_canvas(image, self.region(page), self.fit)[0])]

    def region(self, page: Page) -> Box:
        area = area_of(page)
        if self.growth is None or area is None:
            return _WHOLE
        return grown(clip(area), self.growth)


def _check_growth(growth: float) -> None:
    if not 0 <= growth <= 1:
        raise InputError(f"growth {growth} of the area is not between 0 and 1; it is a share of its sides")


def _sample(
    page: Page, settings: PageFit, growth: float, unit: Unit | None
) -> tuple[FloatArray, Placement] | None:
    """Return the boxes (K, 4) of a page on its canvas, and where it lies there; None for one without an area.

    Raise InputError where there is nothing to find, or nothing to find it by.
    """
    area = area_of(page)
    if area is None:
        return None
    x1, y1, x2, y2 = clip(area)
    height, width = page.size
    if not ((x2 - x1) * width >= 1 and (y2 - y1) * height >= 1):  # so put, numbers that are none fail too
        raise InputError("its handwritten area is less than a pixel high or wide; correct the outlines")
    without = next((line.id for line in page.lines if not line.words), None)
    if unit == "word" and without is not None:
        raise InputError(f"line {without} has no words with boxes; add them, or train on lines")
    whole = grown((x1, y1, x2, y2), growth)
    spot = placement(page.size, _WHOLE if unit is None else whole, settings)
    boxes = np.array([whole] if unit is None else _unit_boxes(page, unit)).reshape(-1, 4)
    visible, _ = visible_boxes(spot.to_canvas(boxes), spot.place)
    if not len(visible):
        raise InputError("no box lies in its handwritten area; correct the outlines")
    return visible, spot


def _unit_boxes(page: Page, unit: Unit) -> list[Box]:
    if unit == "line":
        return [line.box for line in page.lines]
    return [word.box for line in page.lines for word in line.words]


def _box_set(
    pages: Sequence[Page],
    make: Callable[[Page], tuple[FloatArray, Placement] | None],
    cut: Callable[[Sequence[Page]], CutImages],
) -> BoxSet:
    """Return the pages that `make` makes samples of, with the images that `cut` cuts out."""
    samples: dict[str, tuple[FloatArray, Placement]] = {}
    problems: list[tuple[str, str]] = []
    for page in pages:
        try:
            sample = make(page)
        except InputError as error:
            problems.append((page.id, f"page {page.id}: {error}"))
        else:
            samples |= {page.id: sample} if sample else {}
    images = cut([page for page in pages if page.id in samples])
    boxes, placements = [samples[n][0] for n in images.ids], [samples[n][1] for n in images.ids]
    missed, sets = {name: samples[name][0] for name, _ in images.problems}, {p.id: p.dataset for p in pages}
    return BoxSet(
        list(images.ids), images.images, boxes, placements, (*problems, *images.problems), missed,
        [sets[name] for name in images.ids],
    )  # fmt: skip
