"""Augmented pages and their boxes move as one, repeat to the bit, and lose ink and box together."""

from dataclasses import asdict, fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.config.bind import make
from hwr.data.augment import PageAugmentation
from hwr.errors import InputError
from hwr.images.boxes import FloatArray
from hwr.images.load import GreyImage

QUICK = settings(max_examples=50, deadline=None)
NONE = PageAugmentation(**{field.name: 0.0 for field in fields(PageAugmentation)})
ALWAYS = replace(NONE, probability=1.0)
SIZE = np.array([160, 120, 160, 120])  # px: width and height, twice
BOX = np.array([[40, 30, 100, 70]]) / SIZE
PARTS = [
    "shift_x",
    "shift_y",
    "jitter_x",
    "jitter_y",
    "shear",
    "rotate",
    "gamma",
    "contrast",
    "blur",
    "noise",
]
STRAIGHT = st.fixed_dictionaries(
    {name: st.floats(0, 0.4) for name in ("shift_x", "shift_y", "jitter_x", "jitter_y")}
)
INDICES = st.integers(0, 10**6)


def painted(*boxes: tuple[int, int, int, int], shade: int = 0) -> tuple[GreyImage, FloatArray]:
    """Return a canvas 120 x 160 with dark boxes, given in px, and their fractions (N, 4)."""
    image = np.full((120, 160), 255, dtype=np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = shade
    return image, np.array(boxes, dtype=np.float64).reshape(-1, 4) / SIZE


def around_ink(image: GreyImage) -> FloatArray:
    rows, columns = np.nonzero(image < 128)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)


@pytest.mark.parametrize("key", [field.name for field in fields(PageAugmentation)])
@pytest.mark.parametrize("value", [-0.1, 4.1, float("nan")])
def test_augmentation_refuses_a_value_out_of_range(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"augmentation.{key}="):
        make(PageAugmentation, {**asdict(NONE), key: value}, "augmentation")


@pytest.mark.parametrize("by", [NONE, ALWAYS])
def test_augmentation_of_zeros_returns_copies(by: PageAugmentation) -> None:
    image, boxes = painted((40, 30, 100, 70))
    changed, moved, kept = by(image, boxes, seed=0, epoch=0, index=0)
    assert np.array_equal(changed, image) and not np.shares_memory(changed, image)
    assert np.array_equal(moved, boxes) and not np.shares_memory(moved, boxes)
    assert kept.tolist() == [0]


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_the_image_and_leaves_the_arguments_alone(part: str) -> None:
    image, boxes = painted((40, 30, 100, 70), shade=100)
    before = image.copy(), boxes.copy()
    by = replace(ALWAYS, **{part: 0.3})
    seen = [by(image, boxes, seed=0, epoch=0, index=index)[0] for index in range(4)]
    assert any(not np.array_equal(one, image) for one in seen)
    assert np.array_equal(image, before[0]) and np.array_equal(boxes, before[1])


@QUICK
@given(changes=STRAIGHT, index=INDICES)
def test_boxes_follow_the_ink_when_it_is_moved_and_scaled(changes: dict[str, float], index: int) -> None:
    image, boxes = painted((40, 30, 100, 70))
    changed, moved, kept = replace(ALWAYS, **changes)(image, boxes, seed=0, epoch=0, index=index)
    assert changed.shape == image.shape
    assert len(moved) == len(kept)
    for box in moved:  # none where most of it left the canvas
        assert np.abs(around_ink(changed) - box * SIZE).max() <= 1.5


@QUICK
@given(rotate=st.floats(0, 0.5), shear=st.floats(0, 0.5), index=INDICES)
def test_boxes_hold_the_ink_when_it_is_rotated_and_sheared(rotate: float, shear: float, index: int) -> None:
    image, boxes = painted((40, 30, 100, 70))
    changed, moved, _ = replace(ALWAYS, rotate=rotate, shear=shear)(
        image, boxes, seed=0, epoch=0, index=index
    )
    more = (around_ink(changed) - moved[0] * SIZE) * (1, 1, -1, -1)  # px from the box's edges inwards
    assert more.min() >= -0.75 and more.max() <= 3  # the sharp corners of the ink fade


def test_changes_go_both_ways_and_no_farther_than_asked() -> None:
    image, boxes = painted((60, 50, 100, 70))
    by = replace(ALWAYS, shift_x=0.1)
    lefts = [by(image, boxes, seed=0, epoch=0, index=index)[1][0, 0] for index in range(100)]
    assert 0.275 <= min(lefts) < 0.3 and 0.45 < max(lefts) <= 0.475  # 60 of 160 px is 0.375


def test_boxes_are_cut_to_the_canvas_and_left_out_when_mostly_gone() -> None:
    image, boxes = painted((0, 0, 40, 40), (60, 40, 100, 80), (120, 80, 160, 120))
    by = replace(ALWAYS, shift_x=0.25, shift_y=0.25)
    counts = set()
    for index in range(40):
        _, moved, kept = by(image, boxes, seed=0, epoch=0, index=index)
        assert moved.min(initial=0) >= 0 and moved.max(initial=1) <= 1
        sides = (moved[:, 2:] - moved[:, :2]) * (160, 120)
        assert (sides.prod(axis=1) >= 0.5 * 40 * 40 - 1e-6).all()
        assert len(moved) == len(kept)
        counts.add(len(kept))
    assert min(counts) < max(counts) == 3


def test_erase_removes_ink_and_box() -> None:
    image, boxes = painted((10, 10, 50, 30), (10, 50, 50, 70), (90, 50, 150, 100))
    by = replace(ALWAYS, erase=0.5)
    counts = set()
    for index in range(20):
        changed, left, kept = by(image, boxes, seed=0, epoch=0, index=index)
        expected, _ = painted(*((boxes * SIZE).round().astype(int)[kept].tolist()))
        assert np.array_equal(changed, expected)
        assert np.array_equal(left, boxes[kept])
        counts.add(len(kept))
    assert counts == {0, 1, 2, 3}


def test_erase_leaves_ink_that_another_box_holds_too() -> None:
    image, boxes = painted((10, 10, 50, 40), (10, 30, 50, 60))
    by = replace(ALWAYS, erase=0.5)
    for index in range(20):
        changed, _, kept = by(image, boxes, seed=0, epoch=0, index=index)
        assert int((changed == 0).sum()) == {0: 0, 1: 1200, 2: 2000}[len(kept)]


def test_erase_of_one_leaves_no_box() -> None:
    image, boxes = painted((10, 10, 50, 30))
    changed, left, kept = replace(ALWAYS, erase=1.0)(image, boxes, seed=0, epoch=0, index=0)
    assert (changed == 255).all()
    assert (left.shape, kept.shape) == ((0, 4), (0,))


def test_a_page_without_boxes_is_changed_too() -> None:
    image, boxes = painted()
    changed, left, kept = replace(ALWAYS, rotate=0.2)(image, boxes, seed=0, epoch=0, index=0)
    assert (changed == 255).all()
    assert (left.shape, kept.shape) == ((0, 4), (0,))


def test_what_comes_in_from_outside_is_paper() -> None:
    grey, boxes = np.full((120, 160), 200, np.uint8), BOX
    changed, _, _ = replace(ALWAYS, shift_x=0.5)(grey, boxes, seed=0, epoch=0, index=0)
    assert set(np.unique(changed[:, [0, -1]]).tolist()) == {200, 255}


def test_probability_is_the_share_of_samples_touched() -> None:
    image, boxes = painted((40, 30, 100, 70))
    some = replace(NONE, probability=0.3, shift_x=0.2)
    touched = sum(
        not np.array_equal(some(image, boxes, seed=0, epoch=0, index=index)[1], boxes) for index in range(500)
    )
    assert touched / 500 == pytest.approx(0.3, abs=0.07)


def test_same_seed_epoch_and_index_give_the_same_bits_and_others_do_not() -> None:
    image, boxes = painted((40, 30, 100, 70), shade=100)
    by = replace(ALWAYS, **dict.fromkeys(PARTS, 0.1))
    first, box, _ = by(image, boxes, seed=1, epoch=2, index=3)
    for sample in ((2, 2, 3), (1, 3, 3), (1, 2, 4)):
        seed, epoch, index = sample
        assert not np.array_equal(by(image, boxes, seed=seed, epoch=epoch, index=index)[0], first)
    again, same_box, _ = by(image, boxes, seed=1, epoch=2, index=3)
    assert np.array_equal(again, first) and np.array_equal(same_box, box)


def test_switching_a_part_on_leaves_the_others_alone() -> None:
    image, boxes = painted((60, 50, 100, 70))
    one = replace(ALWAYS, shift_x=0.1)(image, boxes, seed=0, epoch=0, index=7)[1]
    both = replace(ALWAYS, shift_x=0.1, shift_y=0.1)(image, boxes, seed=0, epoch=0, index=7)[1]
    assert np.array_equal(one[:, [0, 2]], both[:, [0, 2]])
