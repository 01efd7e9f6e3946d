"""Line images are cut once, whole or not at all, whoever asks and however a builder ends."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import hwr.data.cache as cache
from hwr.data.cache import CutImages, line_images
from hwr.data.records import Line, Page, page_image
from hwr.errors import InputError
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.page_files import Loading

LOADING = Loading(max_pixels=10**6, working_pixels=10**6)
CROP = LineCrop(height=16, max_width=500, margin=0.0, mask=False, deskew=False, normalise=False)
SPAWN = multiprocessing.get_context("spawn")  # a fork would copy the threads of other tests


def drawn(folder: Path, count: int = 3) -> list[Page]:
    """Return `count` pages of noise, 100 x 200 px, with two lines each of 160 x 16 and 80 x 16 px."""
    pages = []
    for number in range(count):
        image = folder / f"p{number}.png"
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (100, 200), dtype=np.uint8)).save(
            image
        )
        boxes = ((0.1, 0.2, 0.9, 0.36), (0.1, 0.5, 0.5, 0.66))
        lines = tuple(Line(f"p{number}/{index}", "text", box) for index, box in enumerate(boxes))
        pages.append(Page(f"p{number}", "ann", "train", image, (100, 200), lines))
    return pages


def counted_loads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return a list that every image is added to when the cache loads its page."""
    loaded: list[Path] = []

    def counted(page: Page, loading: Loading) -> np.ndarray:
        loaded.append(page.image)
        return page_image(page, loading)

    monkeypatch.setattr(cache, "page_image", counted)
    return loaded


def built(pages: list[Page], folder: Path, crop: LineCrop = CROP) -> CutImages:
    return line_images(pages, crop, folder=folder, loading=LOADING, progress=False)


def test_line_images_are_the_crops_of_all_lines_in_order(tmp_path: Path) -> None:
    pages = drawn(tmp_path)
    images = built(pages, tmp_path / "cache")
    assert images.ids == ("p0/0", "p0/1", "p1/0", "p1/1", "p2/0", "p2/1")
    assert images.widths.tolist() == [160, 80] * 3
    assert len(images) == 6
    expected = [crop_line(page_image(page, LOADING), line, CROP) for page in pages for line in page.lines]
    assert all(np.array_equal(one, other) for one, other in zip(images.images, expected, strict=True))


def test_line_images_are_cut_from_the_page_of_their_number(tmp_path: Path) -> None:
    one, other, _ = drawn(tmp_path)
    sheets = [Image.open(page.image) for page in (other, one)]
    file = tmp_path / "book.tif"
    sheets[0].save(file, save_all=True, append_images=sheets[1:])
    found = built([replace(one, image=file, number=2), replace(other, image=file)], tmp_path / "cache")
    wanted = built([one, other], tmp_path / "cache")
    assert found.ids == wanted.ids
    for ours, theirs in zip(found.images, wanted.images, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_line_images_are_views_of_a_read_only_memory_map(tmp_path: Path) -> None:
    image = built(drawn(tmp_path), tmp_path / "cache").images[0]
    base = image
    while isinstance(base.base, np.ndarray):
        base = base.base
    assert isinstance(base, np.memmap)
    assert not image.flags.writeable


def test_line_images_keep_plain_arrays_that_numpy_reads_without_pickle(tmp_path: Path) -> None:
    built(drawn(tmp_path), tmp_path / "cache")
    pixels = next((tmp_path / "cache").glob("*/pixels.npy"))
    assert np.load(pixels, allow_pickle=False).shape == (16 * 240 * 3,)


def test_line_images_are_not_cut_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = drawn(tmp_path)
    first = built(pages, tmp_path / "cache")
    monkeypatch.setattr(cache, "crop_line", None)  # calling it would fail
    again = built(pages, tmp_path / "cache")
    assert all(np.array_equal(one, other) for one, other in zip(first.images, again.images, strict=True))


@pytest.mark.parametrize("what", ["settings", "lines", "image", "version"])
def test_line_images_are_cut_again_when_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    pages, crop = drawn(tmp_path), CROP
    built(pages, tmp_path / "cache")
    if what == "settings":
        crop = replace(CROP, margin=0.5)
    elif what == "lines":
        pages[0] = replace(pages[0], lines=pages[0].lines[:1])
    elif what == "image":
        Image.new("L", (200, 100)).save(pages[0].image)
    else:
        monkeypatch.setattr(cache, "_VERSION", -1)
    built(pages, tmp_path / "cache", crop)
    assert len(list((tmp_path / "cache").glob("*/lines.json"))) == 2


@pytest.mark.parametrize(
    ("change", "loads"),
    [
        (lambda line: replace(line, text="corrected"), 0),
        (lambda line: replace(line, box=(0.1, 0.2, 0.8, 0.36)), 1),
        (lambda line: replace(line, id="renamed"), 1),
    ],
    ids=["text", "outline", "id"],
)
def test_line_images_cut_again_only_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Line], Line], loads: int
) -> None:
    pages = drawn(tmp_path)
    built(pages, tmp_path / "cache")
    loaded = counted_loads(monkeypatch)
    pages[1] = replace(pages[1], lines=(change(pages[1].lines[0]), pages[1].lines[1]))
    images = built(pages, tmp_path / "cache")
    assert loaded == [pages[1].image] * loads
    whole = built(pages, tmp_path / "elsewhere")
    assert images.ids == whole.ids
    assert all(np.array_equal(one, other) for one, other in zip(images.images, whole.images, strict=True))


def test_line_images_take_no_page_from_a_damaged_cache(tmp_path: Path) -> None:
    pages = drawn(tmp_path)
    built(pages[:2], tmp_path / "cache")
    (pixels,) = (tmp_path / "cache").glob("*/pixels.npy")
    pixels.write_bytes(pixels.read_bytes()[:500])
    assert len(built(pages, tmp_path / "cache")) == 6


def test_line_images_of_no_line_are_empty(tmp_path: Path) -> None:
    images = built([], tmp_path / "cache")
    assert len(images) == len(images.images) == len(images.widths) == 0


def test_line_images_report_lines_without_area_and_pages_that_cannot_be_read(tmp_path: Path) -> None:
    pages = drawn(tmp_path)
    pages[0] = replace(pages[0], lines=(pages[0].lines[0], Line("p0/flat", "text", (0.1, 0.1, 0.9, 0.1))))
    pages[1].image.write_bytes(pages[1].image.read_bytes()[:3000])
    pages[2].image.unlink()
    for _ in range(2):  # as built, and as read back
        images = built(pages, tmp_path / "cache")
        assert images.ids == ("p0/0",)
        reasons = dict(images.problems)
        assert reasons["p0/flat"] == "line p0/flat of p0.png: the box has no area; correct or drop the line"
        assert "p1.png: truncated or damaged PNG" in reasons["p1/0"] == reasons["p1/1"]
        assert "p2.png: no such image" in reasons["p2/0"]


def test_line_images_load_every_page_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = counted_loads(monkeypatch)
    pages = drawn(tmp_path)
    built(pages, tmp_path / "cache")
    assert sorted(loaded) == [page.image for page in pages]


def test_line_images_give_the_flaws_of_records_as_reasons(tmp_path: Path) -> None:
    first, second, _ = drawn(tmp_path)
    lost = replace(first, flaw="p0.xml: its image is missing")
    lines = (replace(second.lines[0], flaw="half a point"), second.lines[1])
    images = built([lost, replace(second, lines=lines)], tmp_path / "cache")
    assert images.ids == ("p1/1",)
    assert dict(images.problems) == {
        "p0/0": "p0.xml: its image is missing",
        "p0/1": "p0.xml: its image is missing",
        "p1/0": "line p1/0 of p1.png: half a point",
    }


def test_line_images_refuse_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"file/.* cannot be written \(.*\); choose another folder"):
        built(drawn(tmp_path, 1), tmp_path / "file")


@pytest.mark.parametrize("name", ["pixels.npy", "widths.npy", "offsets.npy", "lines.json"])
@pytest.mark.parametrize("left", [0, 1, -20, None], ids=["empty", "a byte", "cut", "gone"])
def test_line_images_build_a_damaged_cache_again_and_tell(
    tmp_path: Path, name: str, left: int | None, caplog: pytest.LogCaptureFixture
) -> None:
    pages = drawn(tmp_path, 1)
    before = built(pages, tmp_path / "cache")
    part = next((tmp_path / "cache").glob(f"*/{name}"))
    data = part.read_bytes()
    part.unlink()
    if left is not None:
        part.write_bytes(data[:left])
    again = built(pages, tmp_path / "cache")
    assert again.ids == before.ids
    assert all(map(np.array_equal, again.images, before.images))
    assert "damaged cache" in caplog.text
    assert "built again" in caplog.text
    assert next((tmp_path / "cache").glob(f"*/{name}")).read_bytes() == data


@pytest.mark.parametrize(
    "text", ["null", "[]", "{}", '{"ids": 1, "problems": []}', '{"ids": [], "problems": [1]}']
)
def test_line_images_build_a_cache_with_other_json_again(tmp_path: Path, text: str) -> None:
    pages = drawn(tmp_path, 1)
    built(pages, tmp_path / "cache")
    next((tmp_path / "cache").glob("*/lines.json")).write_text(text)
    assert built(pages, tmp_path / "cache").ids == ("p0/0", "p0/1")


def test_line_images_never_unpickle(tmp_path: Path) -> None:
    pages = drawn(tmp_path, 1)
    built(pages, tmp_path / "cache")
    widths = next((tmp_path / "cache").glob("*/widths.npy"))
    np.save(widths, np.array([Trap(tmp_path / "sprung"), 80], dtype=object), allow_pickle=True)
    assert built(pages, tmp_path / "cache").ids == ("p0/0", "p0/1")
    assert not (tmp_path / "sprung").exists()


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def slow_build(pages: list[Page], folder: Path, log: Path, pause_s: float) -> None:
    """Build in a process of its own, noting every page that is cut, and taking `pause_s` over each."""

    def slow(page: Page, loading: Loading) -> np.ndarray:
        with log.open("a") as file:
            file.write(f"{page.image.name}\n")
        time.sleep(pause_s)
        return page_image(page, loading)

    cache.page_image = slow  # type: ignore[attr-defined]
    built(pages, folder)


def started(*arguments: object) -> "multiprocessing.process.BaseProcess":
    process = SPAWN.Process(target=slow_build, args=arguments)
    process.start()
    return process


def wait_for(path: Path) -> None:
    end = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)


def test_line_images_are_built_once_by_two_processes(tmp_path: Path) -> None:
    pages, log = drawn(tmp_path), tmp_path / "log"
    processes = [started(pages, tmp_path / "cache", log, 0.2) for _ in range(2)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    assert sorted(log.read_text().split()) == ["p0.png", "p1.png", "p2.png"]


def test_line_images_survive_a_killed_builder(tmp_path: Path) -> None:
    pages, log = drawn(tmp_path), tmp_path / "log"
    process = started(pages, tmp_path / "cache", log, 60.0)
    wait_for(log)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    left = list((tmp_path / "cache").glob("*.building"))
    assert len(left) == 1  # else the kill came too late to show anything
    assert built(pages, tmp_path / "cache").widths.tolist() == [160, 80] * 3
    assert not left[0].exists()


def test_line_images_clear_what_a_killed_builder_of_other_data_left(tmp_path: Path) -> None:
    left = tmp_path / "cache" / "0123.building"
    left.mkdir(parents=True)
    built(drawn(tmp_path, 1), tmp_path / "cache")
    assert not left.exists()


def test_line_images_leave_a_running_builder_alone(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    log = tmp_path / "log"
    process = started(drawn(tmp_path / "other", 2), tmp_path / "cache", log, 0.5)
    wait_for(log)
    built(drawn(tmp_path, 1), tmp_path / "cache")
    process.join(30)
    assert process.exitcode == 0
    sizes = sorted(
        len(json.loads(path.read_text())["ids"]) for path in (tmp_path / "cache").glob("*/lines.json")
    )
    assert sizes == [2, 4]
