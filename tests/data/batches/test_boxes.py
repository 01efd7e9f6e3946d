"""Pages and areas come with the boxes on them, in fractions of the canvas, and in batches."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwr.data.batches import pad_rows
from hwr.data.batches.boxes import (
    BoxBatch,
    BoxSet,
    Unit,
    area_of,
    page_reading_batches,
    page_samples,
    page_training_batches,
)
from hwr.data.records import Line, Page, Word
from hwr.images.boxes import Box, FloatArray
from hwr.images.canvas import PageFit, placement
from hwr.images.load import GreyImage
from hwr.images.page_files import Loading

LOADING = Loading(max_pixels=10**6, working_pixels=10**6)
FIT = PageFit(size=(100, 100), normalise=False)
UPPER, LOWER = (0.2, 0.2, 0.6, 0.3), (0.2, 0.4, 0.8, 0.5)
AREA = (0.2, 0.2, 0.8, 0.5)


def page(folder: Path, name: str = "p0") -> Page:
    """Return a page of 200 x 100 px with two black lines, of two words and of one."""
    image = np.full((200, 100), 255, dtype=np.uint8)
    image[40:60, 20:60] = 0
    image[80:100, 20:80] = 0
    path = folder / f"{name}.png"
    Image.fromarray(image).save(path)
    words = (Word(f"{name}/a", "to", (0.2, 0.2, 0.3, 0.3)), Word(f"{name}/b", "be", (0.4, 0.2, 0.6, 0.3)))
    lines = (
        Line(f"{name}/0", "to be", UPPER, words=words),
        Line(f"{name}/1", "or", LOWER, words=(Word(f"{name}/c", "or", LOWER),)),
    )
    return Page(name, "ann", "train", path, (200, 100), lines)


def wholes(pages: list[Page], folder: Path, growth: float = 0.0) -> BoxSet:
    return page_samples(pages, FIT, growth, None, folder=folder / "cache", loading=LOADING, progress=False)


def areas(
    pages: list[Page], folder: Path, growth: float = 0.0, unit: Unit = "line", least_px: float = 0.0
) -> BoxSet:
    own = {"folder": folder / "cache", "loading": LOADING, "progress": False, "least_px": least_px}
    return page_samples(pages, FIT, growth, unit, **own)


def around_ink(image: GreyImage) -> Box:
    rows, columns = np.nonzero(image < 128)
    height, width = image.shape
    return (
        columns.min() / width,
        rows.min() / height,
        (columns.max() + 1) / width,
        (rows.max() + 1) / height,
    )


def numbered(count: int) -> BoxSet:
    """Return pages 16 x 24 px, shade and first box of which tell their index, with 0 to 3 boxes each."""
    images = [np.full((16, 24), index, np.uint8) for index in range(count)]
    boxes = [np.full((index % 4, 4), index / 100) for index in range(count)]
    spots = [placement((16, 24), (0, 0, 1, 1), PageFit(size=(16, 24), normalise=False))] * count
    return BoxSet([f"p{index}" for index in range(count)], images, boxes, spots)


def same(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
    return image, boxes


def batches(samples: BoxSet, seed: tuple[int, ...] = (0, 0), batch_size: int = 4) -> list[BoxBatch]:
    return list(page_training_batches(samples, batch_size=batch_size, seed=seed, change=same))


# area_of


def test_area_is_what_the_source_gives(tmp_path: Path) -> None:
    assert area_of(replace(page(tmp_path), area=(0.1, 0.1, 0.9, 0.9))) == (0.1, 0.1, 0.9, 0.9)


def test_area_is_around_all_lines_where_the_source_gives_none(tmp_path: Path) -> None:
    assert area_of(page(tmp_path)) == AREA


def test_area_is_none_without_lines(tmp_path: Path) -> None:
    assert area_of(replace(page(tmp_path), lines=())) is None


# whole pages


def test_whole_pages_have_the_area_as_their_one_box(tmp_path: Path) -> None:
    found = wholes([page(tmp_path), page(tmp_path, "p1")], tmp_path)
    assert list(found.ids) == ["p0", "p1"]
    assert found.problems == ()
    for image, boxes in zip(found.images, found.boxes, strict=True):
        assert image.shape == (100, 100)
        assert boxes == pytest.approx(np.array([[0.35, 0.2, 0.65, 0.5]]))  # 50 px wide, from column 25
        assert around_ink(image) == pytest.approx((0.35, 0.2, 0.65, 0.5))


def test_whole_pages_take_the_grown_area_back_to_the_page(tmp_path: Path) -> None:
    found = wholes([page(tmp_path)], tmp_path, growth=0.5)
    grown_area = (0.0, 0.05, 1.0, 0.65)  # 0.6 and 0.3 wide and high, half of it on each side, cut to the page
    assert found.placements[0].to_page(found.boxes[0]) == pytest.approx(np.array([grown_area]))


def test_whole_pages_leave_out_pages_without_an_area(tmp_path: Path) -> None:
    found = wholes([replace(page(tmp_path), lines=()), page(tmp_path, "p1")], tmp_path)
    assert list(found.ids) == ["p1"]
    assert found.problems == ()


def test_whole_pages_are_cached_once_for_every_growth(tmp_path: Path) -> None:
    for growth in (0.0, 0.1):
        wholes([page(tmp_path)], tmp_path, growth)
    assert len(list((tmp_path / "cache").glob("*/pixels.npy"))) == 1


# problems


@pytest.mark.parametrize("build", [wholes, areas])
def test_pages_that_cannot_be_used_are_problems(
    tmp_path: Path, build: Callable[[list[Page], Path], BoxSet]
) -> None:
    pages = [page(tmp_path, f"p{number}") for number in range(5)]
    pages[0].image.unlink()
    pages[1] = replace(pages[1], size=(100, 100))
    pages[2] = replace(pages[2], area=(0.2, 0.3, 0.8, 0.3))
    pages[3] = replace(pages[3], area=(0.2, float("nan"), 0.8, 0.3))
    found = build(pages, tmp_path)
    assert list(found.ids) == ["p4"]
    reasons = dict(found.problems)
    assert sorted(reasons) == ["p0", "p1", "p2", "p3"]
    assert "p0.png: no such image" in reasons["p0"]
    assert "has 100 x 200 pixels and its description says 100 x 100" in reasons["p1"]
    assert "page p2: its handwritten area is less than a pixel" in reasons["p2"]
    assert "page p3: its handwritten area is less than a pixel" in reasons["p3"]


def test_a_page_is_fine_when_its_image_is_a_scaled_copy(tmp_path: Path) -> None:
    found = wholes([replace(page(tmp_path), size=(400, 199))], tmp_path)
    assert found.boxes[0] == pytest.approx(np.array([[0.35, 0.2, 0.65, 0.5]]), abs=0.005)


# areas of pages


def test_area_crops_have_the_boxes_of_all_lines(tmp_path: Path) -> None:
    found = areas([page(tmp_path)], tmp_path)  # 60 x 60 px, scaled to the whole canvas
    expected = np.array([[0, 0, 2 / 3, 1 / 3], [0, 2 / 3, 1, 1]])
    assert found.boxes[0] == pytest.approx(expected)
    assert found.placements[0].to_page(found.boxes[0]) == pytest.approx(np.array([UPPER, LOWER]))
    assert around_ink(found.images[0][:50]) == pytest.approx((0, 0, 0.67, 0.66), abs=0.02)  # of half a canvas


def test_area_crops_have_the_boxes_of_all_words_when_asked(tmp_path: Path) -> None:
    found = areas([page(tmp_path)], tmp_path, unit="word")
    expected = np.array([[0, 0, 1 / 6, 1 / 3], [1 / 3, 0, 2 / 3, 1 / 3], [0, 2 / 3, 1, 1]])
    assert found.boxes[0] == pytest.approx(expected)


def test_area_crops_show_more_when_the_area_is_grown(tmp_path: Path) -> None:
    found = areas([page(tmp_path)], tmp_path, growth=0.25)
    # 0.15 of the width and 0.075 of the height on each side: 90 x 90 px, so each edge by a sixth
    assert found.placements[0].region == pytest.approx((0.05, 0.125, 0.95, 0.575), abs=0.005)
    assert found.boxes[0][1] == pytest.approx([1 / 6, 11 / 18, 5 / 6, 5 / 6], abs=0.01)


def test_an_area_with_low_lines_comes_in_tiles_too(tmp_path: Path) -> None:
    whole = replace(page(tmp_path), dataset="letters")
    assert list(areas([whole], tmp_path, least_px=33.0).ids) == ["p0"]  # 20 of 60 px, 33.3 on the canvas
    found = areas([whole], tmp_path, least_px=34.0)
    assert list(found.ids) == ["p0", "p0#0", "p0#1"]
    assert list(found.datasets) == ["letters"] * 3
    assert found.boxes[0] == pytest.approx(areas([whole], tmp_path).boxes[0])
    on_page = [spot.to_page(own) for own, spot in zip(found.boxes[1:], found.placements[1:], strict=True)]
    assert np.concatenate(on_page) == pytest.approx(np.array([UPPER, LOWER]), abs=0.01)
    assert around_ink(found.images[1]) == pytest.approx(tuple(found.boxes[1][0]), abs=0.02)


def test_an_area_with_low_and_short_boxes_comes_in_columns_too(tmp_path: Path) -> None:
    found = areas([page(tmp_path)], tmp_path, unit="word", least_px=34.0)
    assert list(found.ids) == ["p0", *(f"p0#{place}" for place in range(4))]
    on_page = [spot.to_page(own) for own, spot in zip(found.boxes[1:], found.placements[1:], strict=True)]
    left, right = 0.2 + 0.6 / 1.65, 0.8 - 0.6 / 1.65  # where the left tiles end, and the right ones begin
    above = [(0.2, 0.2, 0.3, 0.3), (0.4, 0.2, left, 0.3), (right, 0.2, 0.6, 0.3)]
    below = [(0.2, 0.4, left, 0.5), (right, 0.4, 0.8, 0.5)]
    assert np.concatenate(on_page) == pytest.approx(np.array([*above, *below]), abs=0.01)


def test_a_page_with_tiles_that_cannot_be_read_is_told_once(tmp_path: Path) -> None:
    whole = page(tmp_path)
    whole.image.unlink()
    found = areas([whole], tmp_path, least_px=34.0)
    assert [name for name, _ in found.problems] == ["p0"]
    assert list(found.missed) == ["p0"]


def test_area_crops_leave_out_lines_mostly_outside_the_area(tmp_path: Path) -> None:
    found = areas([replace(page(tmp_path), area=(0.2, 0.2, 0.8, 0.44))], tmp_path)
    assert found.boxes[0].shape == (1, 4)


def test_area_crops_leave_out_pages_without_lines(tmp_path: Path) -> None:
    found = areas([replace(page(tmp_path), lines=(), area=AREA)], tmp_path)
    assert (list(found.ids), found.problems) == ([], ())


def test_an_area_without_a_line_in_it_is_a_problem(tmp_path: Path) -> None:
    found = areas([replace(page(tmp_path), area=(0.1, 0.6, 0.9, 0.9))], tmp_path)
    assert list(found.ids) == []
    assert found.problems == (("p0", "page p0: no box lies in its handwritten area; correct the outlines"),)


def test_a_line_without_words_is_a_problem_when_words_are_asked_for(tmp_path: Path) -> None:
    whole = page(tmp_path)
    pages = [replace(whole, lines=(whole.lines[0], replace(whole.lines[1], words=())))]
    assert dict(areas(pages, tmp_path, unit="word").problems) == {
        "p0": "page p0: line p0/1 has no words with boxes; add them, or train on lines"
    }
    assert areas(pages, tmp_path).problems == ()


# batches


@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_every_page_comes_once_an_epoch(batch_size: int) -> None:
    found = batches(numbered(10), batch_size=batch_size)
    assert sorted(name for batch in found for name in batch.ids) == [f"p{index}" for index in range(10)]
    assert [len(batch.ids) for batch in found[:-1]] == [batch_size] * (len(found) - 1)


def test_order_is_the_same_for_the_same_seed_and_another_for_another_epoch() -> None:
    orders = [
        [name for batch in batches(numbered(20), seed) for name in batch.ids]
        for seed in ((5, 0), (5, 0), (5, 1))
    ]
    assert orders[0] == orders[1] != orders[2]


def test_images_and_boxes_are_those_of_their_ids() -> None:
    for batch in batches(numbered(10)):
        assert batch.images.shape == (len(batch.ids), 1, 16, 24)
        assert batch.images.dtype == batch.boxes.dtype == np.float32
        for name, image, boxes in zip(batch.ids, batch.images, batch.boxes, strict=True):
            index = int(name[1:])
            np.testing.assert_allclose(image, (255 - index) / 255, atol=1e-6)
            np.testing.assert_allclose(boxes[: index % 4], index / 100, atol=1e-6)
            assert (boxes[index % 4 :] == -1).all()


@pytest.mark.parametrize("start", [0, 1, 2, 3])
def test_batches_from_one_on_come_last_in_a_whole_epoch_and_only_they_are_changed(start: int) -> None:
    seen: list[int] = []

    def change(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
        seen.append(index)
        return image, boxes

    rest = list(page_training_batches(numbered(10), batch_size=4, seed=(0, 0), change=change, start=start))
    whole = batches(numbered(10))[start:]
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole]
    for own, other in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(own.boxes, other.boxes)
    assert len(seen) == max(0, 10 - 4 * start)


def test_change_gets_image_boxes_and_index() -> None:
    def change(image: GreyImage, boxes: FloatArray, index: int) -> tuple[GreyImage, FloatArray]:
        assert image[0, 0] == index
        return np.full_like(image, 255), np.full((1, 4), index)

    (batch,) = page_training_batches(numbered(3), batch_size=3, seed=[0], change=change)
    assert not batch.images.any()
    assert batch.boxes[:, 0, 0].tolist() == [int(name[1:]) for name in batch.ids]


def test_reading_gives_all_images_in_order() -> None:
    found = list(page_reading_batches(numbered(5).images, 2))
    assert [indices for indices, _ in found] == [[0, 1], [2, 3], [4]]
    assert found[2][1].shape == (1, 1, 16, 24)
    assert found[2][1][0, 0, 0, 0] == pytest.approx(251 / 255)


def test_reading_gives_nothing_when_there_are_no_images() -> None:
    assert list(page_reading_batches([], 4)) == []


def test_boxes_are_padded_with_minus_one() -> None:
    one = np.array([[0.0, 0.25, 0.5, 1.0]])
    none = np.zeros((0, 4))
    assert pad_rows([one, none], 4).tolist() == [one.tolist(), [[-1] * 4]]
    assert pad_rows([none], 4).tolist() == [[[-1] * 4]]
