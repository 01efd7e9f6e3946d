"""Whole pages or handwritten areas on a canvas with their boxes, and batches of them."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hwr.data.batches import pad_rows
from hwr.data.batches.lines import stack_images
from hwr.data.cache import Cut, cached
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.images.boxes import WHOLE, Box, FloatArray, clip, union
from hwr.images.canvas import PageFit, Placement, fit_to_canvas, grown, placement, visible_boxes
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading
from hwr.images.tiles import pieces, tile_grid, tiles

Unit = Literal["line", "word"]

_VERSION = 1  # raise it whenever hwr.images.canvas brings pages to the canvas differently
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


def page_samples(
    pages: Sequence[Page], fit: PageFit, growth: float, unit: Unit | None, *, folder: Path, loading: Loading,
    progress: bool, least_px: float = 0.0,
) -> BoxSet:  # fmt: skip
    """Return pages with the boxes that are to be found on them; the area is grown by a share of its sides.

    Where `unit` is None they are whole, and have one box: the area, grown. Else they are the grown area of
    each page that has lines, with the boxes of lines or words that lie at least half inside, cut to it. Where
    these are lower on the canvas than `least_px`, tiles of the area are samples, too: see `tile_grid`.
    `folder` holds the cache. Raise InputError as `cached` does.
    """
    samples: dict[str, dict[str, _Sample]] = {}
    problems: list[tuple[str, str]] = []
    for page in pages if unit is None else [page for page in pages if page.lines]:
        try:
            own = _samples(page, fit, growth, unit, least_px)
        except InputError as error:
            problems.append((page.id, f"page {page.id}: {error}"))
        else:
            samples |= {page.id: own} if own else {}
    cutter = _PageCutter(fit, None if unit is None else growth, samples)
    used = [page for page in pages if page.id in samples]
    images = cached(used, cutter, folder=folder, loading=loading, progress=progress)
    made = {name: sample for own in samples.values() for name, sample in own.items()}
    unread = [(name, reason) for name, reason in images.problems if name in samples]  # each page once
    sets = {name: page.dataset for page in used for name in samples[page.id]}
    return BoxSet(
        list(images.ids), images.images, [made[name].boxes for name in images.ids],
        [made[name].spot for name in images.ids], (*problems, *unread),
        {name: made[name].boxes for name, _ in unread}, [sets[name] for name in images.ids],
    )  # fmt: skip


def sample_flaw(page: Page, settings: PageFit, growth: float, unit: Unit | None) -> str:
    """Return why `page_samples` cannot use a page that has an area; "" where it can."""
    try:
        _samples(page, settings, growth, unit, 0.0)
    except InputError as error:
        return str(error)
    return ""


def page_training_batches(
    samples: BoxSet, *, batch_size: int, seed: Sequence[int],
    change: Callable[[GreyImage, FloatArray, int], tuple[GreyImage, FloatArray]], start: int = 0,
) -> Iterator[BoxBatch]:  # fmt: skip
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
class _Sample:
    """A `region` of a page, the boxes (K, 4) on its canvas, and where it lies there."""

    region: Box
    boxes: FloatArray
    spot: Placement


@dataclass(frozen=True)
class _PageCutter:
    """Brings `samples` of pages to the canvas: whole where `growth` is None, else the area grown by it."""

    fit: PageFit
    growth: float | None
    samples: Mapping[str, Mapping[str, _Sample]]
    unit: str = "page"

    @property
    def height(self) -> int:
        return self.fit.size[0]

    @property
    def settings(self) -> Mapping[str, object]:
        return {"page": _VERSION, "fit": asdict(self.fit), "growth": self.growth}

    def ids(self, page: Page) -> Sequence[str]:
        return list(self.samples[page.id])

    def basis(self, page: Page) -> object:
        _, *parts = (sample.region for sample in self.samples[page.id].values())
        return [page.size, None if self.growth is None else area_of(page), *parts]

    def cut(self, page: Page, image: GreyImage) -> Sequence[Cut]:
        (height, width), (own_height, own_width) = page.size, image.shape
        if abs(width * own_height / (own_width * height) - 1) > _SAME_ASPECT:
            sizes = f"{own_width} x {own_height} pixels and its description says {width} x {height}"
            flaw = f"page {page.id}: {page.image} has {sizes}; restore one of them"
            return [(name, flaw) for name in self.samples[page.id]]
        own = self.samples[page.id].items()
        return [(name, fit_to_canvas(image, sample.region, self.fit)[0]) for name, sample in own]


def _samples(
    page: Page, settings: PageFit, growth: float, unit: Unit | None, least_px: float
) -> dict[str, _Sample]:
    """Return what a page makes, by id: itself, and its tiles; nothing of one without an area.

    Raise InputError where there is nothing to find, or nothing to find it by.
    """
    area = area_of(page)
    if area is None:
        return {}
    x1, y1, x2, y2 = clip(area)
    height, width = page.size
    if not ((x2 - x1) * width >= 1 and (y2 - y1) * height >= 1):  # so put, numbers that are none fail too
        raise InputError("its handwritten area is less than a pixel high or wide; correct the outlines")
    without = next((line.id for line in page.lines if not line.words), None)
    if unit == "word" and without is not None:
        raise InputError(f"line {without} has no words with boxes; add them, or train on lines")
    whole = grown((x1, y1, x2, y2), growth)
    region = WHOLE if unit is None else whole
    found = {
        None: [whole],
        "line": [line.box for line in page.lines],
        "word": [word.box for line in page.lines for word in line.words],
    }
    boxes = np.array(found[unit]).reshape(-1, 4)
    spot = placement(page.size, region, settings)
    visible, _ = visible_boxes(spot.to_canvas(boxes), spot.place)
    if not len(visible):
        raise InputError("no box lies in its handwritten area; correct the outlines")
    samples = {page.id: _Sample(region, visible, spot)}
    grid = tile_grid(visible, settings.size[0], least_px)
    parts = [part for row in tiles(region, *grid) for part in row] if grid != (1, 1) else []
    for place, part in enumerate(parts):
        spot = placement(page.size, part, settings)
        visible = pieces(spot.to_canvas(boxes), spot.place)
        samples |= {f"{page.id}#{place}": _Sample(part, visible, spot)} if len(visible) else {}
    return samples
