"""Cache of images cut out of pages: plain arrays, keyed by fingerprint of the data and settings.

A cache is a folder `KEY/` of `pixels.npy` (all images, flat uint8), `offsets.npy`, `widths.npy` and
`lines.json`. It is built beside its place as `KEY.building/` under a lock and renamed when complete: `KEY/`
is whole or absent.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr.data.records import Page, fingerprint
from hwr.errors import InputError
from hwr.files import as_input_error, built, parse_json
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading, load_page

_VERSION = 2  # raise it whenever hwr.images loads pages or cuts lines differently

Cut = tuple[str, GreyImage | str]  # an id, and its image or the reason why it has none


class Cutter(Protocol):
    """What cuts images of one `height` in px out of pages.

    `unit` is what a user calls that which has an image; `settings` are plain values, and with the page all
    that an image depends on.
    """

    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, object]: ...  # noqa: D102

    def ids(self, page: Page) -> Sequence[str]:
        """Return the ids of all that has an image on `page`."""

    def cut(self, page: Page, image: GreyImage) -> Sequence[Cut]:
        """Cut them out of the page's `image` (h, w), in the same order."""


@dataclass(frozen=True)
class CutImages:
    """Images in the order of their pages; `problems` are the (id, reason) of what has none.

    `images[i]` is a read-only view (height, widths[i]) of a memory map, and belongs to `ids[i]`.
    """

    ids: tuple[str, ...]
    images: Sequence[GreyImage]
    widths: NDArray[np.int64]  # (N,) px
    problems: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)


def line_images(
    pages: Sequence[Page], settings: LineCrop, *, folder: Path, loading: Loading, progress: bool
) -> CutImages:
    """Return the images of all lines of `pages`, as `cached` does."""
    return cached(pages, _LineCutter(settings), folder=folder, loading=loading, progress=progress)


def cached(
    pages: Sequence[Page], cutter: Cutter, *, folder: Path, loading: Loading, progress: bool
) -> CutImages:
    """Return what `cutter` cuts out of `pages` from the cache under `folder`, built when not there yet.

    What cannot be cut and pages that cannot be read are reported in `problems`. Raise InputError when the
    cache cannot be written. Processes that ask for one cache at once build it once; a damaged one is built
    again.
    """
    named = json.dumps([_VERSION, fingerprint(pages), cutter.settings, asdict(loading)], sort_keys=True)
    home = folder / hashlib.sha256(named.encode()).hexdigest()[:32]
    with as_input_error(home, "choose another folder"):
        build = partial(_build, _Work(pages, cutter, loading, progress))
        return built(home, build, lambda folder: _opened(folder, cutter.height))


@dataclass(frozen=True)
class _LineCutter:
    crop: LineCrop
    unit: str = "line"

    @property
    def height(self) -> int:
        return self.crop.height

    @property
    def settings(self) -> Mapping[str, object]:
        return asdict(self.crop)

    def ids(self, page: Page) -> Sequence[str]:
        return [line.id for line in page.lines]

    def cut(self, page: Page, image: GreyImage) -> Sequence[Cut]:
        cuts: list[Cut] = []
        for line in page.lines:
            try:
                if line.flaw:
                    raise InputError(line.flaw)
                cuts.append((line.id, crop_line(image, line, self.crop)))
            except InputError as error:
                cuts.append((line.id, f"line {line.id} of {page.image.name}: {error}"))
        return cuts


@dataclass(frozen=True)
class _Work:
    pages: Sequence[Page]
    cutter: Cutter
    loading: Loading
    progress: bool


def _build(work: _Work, building: Path) -> None:
    ids: list[str] = []
    widths: list[int] = []
    problems: list[tuple[str, str]] = []
    with (building / "pixels.npy").open("wb") as file:
        room = _write_header(file, 0)
        for name, cut in _cuts(work):
            if isinstance(cut, str):
                problems.append((name, cut))
            else:
                ids.append(name)
                widths.append(cut.shape[1])
                file.write(np.ascontiguousarray(cut).tobytes())
        file.seek(0)
        if _write_header(file, sum(widths) * work.cutter.height) != room:
            raise RuntimeError("the header of pixels.npy changed its length")
    ends = np.cumsum(np.array(widths, dtype=np.int64)) * work.cutter.height
    np.save(building / "widths.npy", np.array(widths, dtype=np.int64))
    np.save(building / "offsets.npy", np.concatenate([np.zeros(1, dtype=np.int64), ends]))
    about = {"version": _VERSION, "settings": work.cutter.settings, "ids": ids, "problems": problems}
    (building / "lines.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_header(file: BinaryIO, length: int) -> int:
    """Write the header of a flat uint8 array, with NumPy's room for any length; return where it ends."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
    return file.tell()


def _cuts(work: _Work) -> Iterator[Cut]:
    """Yield every image in order; pages are cut in threads, as decoding and resampling release the GIL."""
    threads = len(os.sched_getaffinity(0))
    few = 8 * threads  # pages at a time: their crops wait in memory
    title, hidden = f"{work.cutter.unit} images", None if work.progress else True
    bar = tqdm(total=len(work.pages), desc=title, unit="page", disable=hidden)
    with ThreadPoolExecutor(threads) as pool, bar:
        for start in range(0, len(work.pages), few):
            for cuts in pool.map(lambda page: _cut_page(page, work), work.pages[start : start + few]):
                bar.update()
                yield from cuts


def _cut_page(page: Page, work: _Work) -> Sequence[Cut]:
    ids = work.cutter.ids(page)
    if not ids:
        return []
    try:
        if page.flaw:
            raise InputError(page.flaw)
        image = load_page(page.image, work.loading)
    except InputError as error:
        return [(name, str(error)) for name in ids]
    return work.cutter.cut(page, image)


def _opened(folder: Path, height: int) -> CutImages:
    try:
        widths = np.load(folder / "widths.npy", allow_pickle=False)
        offsets = np.load(folder / "offsets.npy", allow_pickle=False)
        pixels = np.load(folder / "pixels.npy", mmap_mode="r", allow_pickle=False).view(np.ndarray)
        about = parse_json((folder / "lines.json").read_text(encoding="utf-8"))
        ids, problems = tuple(about["ids"]), tuple((name, reason) for name, reason in about["problems"])
        if not len(ids) == len(widths) == len(offsets) - 1 or len(pixels) != offsets[-1]:
            raise ValueError("its parts do not fit together")
        images = [pixels[start:end].reshape(height, -1) for start, end in pairwise(offsets.tolist())]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{folder}: damaged cache ({error}); delete this folder") from None
    return CutImages(ids, images, widths, problems)
