"""Cache of images cut out of pages: plain arrays, keyed by the settings and what of the pages they depend on.

A cache is a folder `SETTINGS-PAGES/` of `pixels.npy` (all images, flat uint8), `offsets.npy`, `widths.npy`
and `lines.json`. It is built beside its place, as `SETTINGS-PAGES.building/`, under a lock and renamed when
complete: it is whole or absent. Pages that another cache with the same settings holds are copied from there,
so that a change costs what has changed.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from hwr.data.records import Page, image_sha256, page_image
from hwr.errors import InputError
from hwr.files import as_input_error, built, parse_json
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading

_VERSION = 3  # raise it whenever hwr.images loads pages or cuts lines differently
_DONORS = 8  # newest caches with the same settings that pages are looked for in

_ENCODER = json.JSONEncoder(sort_keys=True)

Cut = tuple[str, GreyImage | str]  # an id, and its image or the reason why it has none


class Cutter(Protocol):
    """What cuts images of one `height` in px out of pages.

    `unit` is what a user calls that which has an image. Images depend on `settings`, the page's image file
    and `basis(page)`, all plain values, and on nothing else.
    """

    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def height(self) -> int: ...  # noqa: D102
    @property
    def settings(self) -> Mapping[str, object]: ...  # noqa: D102

    def ids(self, page: Page) -> Sequence[str]:
        """Return the ids of all that has an image on `page`."""

    def basis(self, page: Page) -> object:
        """Return what of a page its images depend on, beside the image file."""

    def cut(self, page: Page, image: GreyImage) -> Sequence[Cut]:
        """Cut them out of the page's `image` (h, w), in the same order."""


@dataclass(frozen=True)
class CutImages:
    """Images in the order of their pages; `problems` are the (id, reason) of what has none.

    `images[i]` is a read-only view (height, widths[i]) of a memory map, and belongs to `ids[i]`. `pages`
    gives the keys of the pages with the number of images and of problems of each.
    """

    ids: tuple[str, ...]
    images: Sequence[GreyImage]
    widths: NDArray[np.int64]  # (N,) px
    problems: tuple[tuple[str, str], ...]
    pages: tuple[tuple[str, int, int], ...] = ()

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    def by_page(self) -> Iterator[tuple[str, list[Cut]]]:
        """Yield the key of every page with its images and problems."""
        images: Iterator[Cut] = zip(self.ids, self.images, strict=True)
        problems: Iterator[Cut] = iter(self.problems)
        for key, cut, flawed in self.pages:
            yield key, [*islice(images, cut), *islice(problems, flawed)]


def line_images(
    pages: Sequence[Page], settings: LineCrop, *, folder: Path, loading: Loading, progress: bool
) -> CutImages:
    """Return the images of all lines of `pages`, as `cached` does."""
    return cached(pages, _LineCutter(settings), folder=folder, loading=loading, progress=progress)


def cached(
    pages: Sequence[Page], cutter: Cutter, *, folder: Path, loading: Loading, progress: bool
) -> CutImages:
    """Return what `cutter` cuts out of `pages` from the cache under `folder`, built when not there yet.

    What cannot be cut and pages that cannot be read are reported in `problems`. The system is asked to read
    all images ahead: an epoch takes them in a new order. Raise InputError when the cache cannot be written.
    Processes that ask for one cache at once build it once; a damaged one is built again.
    """
    keys = [
        _digest([cutter.ids(page), cutter.basis(page), page.image.name, page.flaw, image_sha256(page)])
        for page in pages
    ]
    settings = _digest([_VERSION, cutter.settings, asdict(loading)])[:16]
    home = folder / f"{settings}-{_digest(keys)[:16]}"
    with as_input_error(home, "choose another folder"):
        build = partial(_build, _Work(pages, keys, cutter, loading, progress))
        images = built(home, build, lambda folder: _opened(folder, cutter.height))
        with (home / "pixels.npy").open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        return images


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

    def basis(self, page: Page) -> object:
        return [[line.box, line.polygon, line.baseline, line.flaw] for line in page.lines]

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


def _digest(values: object) -> str:
    return hashlib.sha256(_ENCODER.encode(values).encode()).hexdigest()


@dataclass(frozen=True)
class _Work:
    pages: Sequence[Page]
    keys: Sequence[str]
    cutter: Cutter
    loading: Loading
    progress: bool


def _build(work: _Work, building: Path) -> None:
    ids: list[str] = []
    widths: list[int] = []
    problems: list[tuple[str, str]] = []
    pages: list[tuple[str, int, int]] = []
    with (building / "pixels.npy").open("wb") as file:
        room = _write_header(file, 0)
        for key, cuts in zip(work.keys, _cuts(work, _donors(building, work)), strict=True):
            images = [(name, cut) for name, cut in cuts if not isinstance(cut, str)]
            flaws = [(name, cut) for name, cut in cuts if isinstance(cut, str)]
            for name, image in images:
                ids.append(name)
                widths.append(image.shape[1])
                file.write(np.ascontiguousarray(image).tobytes())
            problems += flaws
            pages.append((key, len(images), len(flaws)))
        file.seek(0)
        if _write_header(file, sum(widths) * work.cutter.height) != room:
            raise RuntimeError("the header of pixels.npy changed its length")
    ends = np.cumsum(np.array(widths, dtype=np.int64)) * work.cutter.height
    np.save(building / "widths.npy", np.array(widths, dtype=np.int64))
    np.save(building / "offsets.npy", np.concatenate([np.zeros(1, dtype=np.int64), ends]))
    about = {"settings": work.cutter.settings, "ids": ids, "problems": problems, "pages": pages}
    (building / "lines.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), encoding="utf-8")


def _write_header(file: BinaryIO, length: int) -> int:
    """Write the header of a flat uint8 array, with NumPy's room for any length; return where it ends."""
    header = {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(file, header)  # type: ignore[no-untyped-call]
    return file.tell()


def _donors(building: Path, work: _Work) -> dict[str, list[Cut]]:
    """Return what earlier caches with the same settings hold of the pages, by key, memory-mapped."""
    wanted, donated = set(work.keys), dict[str, list[Cut]]()
    settings = building.name.partition("-")[0]
    homes = [path for path in building.parent.glob(f"{settings}-*") if path.is_dir() and path.suffix == ""]
    for home in sorted(homes, key=lambda path: path.stat().st_mtime, reverse=True)[:_DONORS]:
        if not wanted - donated.keys():
            break
        with contextlib.suppress(InputError):  # a damaged one gives nothing
            donated |= {
                key: cuts for key, cuts in _opened(home, work.cutter.height).by_page() if key in wanted
            }
    return donated


def _cuts(work: _Work, donated: Mapping[str, Sequence[Cut]]) -> Iterator[Sequence[Cut]]:
    """Yield what each page gives, in order, cut in threads: decoding and resampling release the GIL."""
    rows = list(zip(work.pages, work.keys, strict=True))
    threads = len(os.sched_getaffinity(0))
    few = 8 * threads  # pages at a time: their crops wait in memory
    title, hidden = f"{work.cutter.unit} images", None if work.progress else True
    bar = tqdm(total=len(work.pages), desc=title, unit="page", disable=hidden)
    with ThreadPoolExecutor(threads) as pool, bar:
        for start in range(0, len(work.pages), few):
            part = rows[start : start + few]
            for cuts in pool.map(lambda row: donated.get(row[1]) or _cut_page(row[0], work), part):
                bar.update()
                yield cuts


def _cut_page(page: Page, work: _Work) -> Sequence[Cut]:
    ids = work.cutter.ids(page)
    if not ids:
        return []
    try:
        image = page_image(page, work.loading)
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
        pages = tuple((str(key), int(cut), int(flawed)) for key, cut, flawed in about["pages"])
        if (sum(own[1] for own in pages), sum(own[2] for own in pages)) != (len(ids), len(problems)):
            raise ValueError("its pages do not fit its images")
        if not len(ids) == len(widths) == len(offsets) - 1 or len(pixels) != offsets[-1]:
            raise ValueError("its parts do not fit together")
        images = [pixels[start:end].reshape(height, -1) for start, end in pairwise(offsets.tolist())]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise InputError(f"{folder}: damaged cache ({error}); delete this folder") from None
    return CutImages(ids, images, widths, problems, pages)
