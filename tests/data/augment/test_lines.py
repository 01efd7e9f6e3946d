"""Augmented lines differ by what was asked for, keep their text whole, and repeat to the bit."""

import hashlib
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml

from hwr.config.bind import make
from hwr.data.augment import LineAugmentation
from hwr.errors import InputError
from hwr.images.load import GreyImage

ROOT = Path(__file__).parents[3]
CONF = ROOT / "conf" / "augmentation"
NONE = LineAugmentation(**yaml.safe_load((CONF / "none.yaml").read_text()))
LINE = LineAugmentation(**yaml.safe_load((CONF / "line.yaml").read_text()))
ALWAYS = replace(NONE, probability=1.0)
PARTS = {
    "shift_x": 0.1,
    "shift_y": 0.1,
    "jitter_x": 0.3,
    "jitter_y": 0.3,
    "shear": 0.3,
    "rotate": 0.05,
    "elastic": 0.05,
    "stroke": 0.05,
    "gamma": 1.0,
    "contrast": 0.5,
    "blur": 0.05,
    "noise": 0.2,
    "erase": 5,
    "rules": 1.0,
}
SHADES = ("gamma", "contrast", "blur", "noise")


def written(height: int = 48, width: int = 400) -> GreyImage:
    """Return upright half-tone strokes, 3 px wide, 16 px apart, from a third to two thirds of the height."""
    image = np.full((height, width), 255, dtype=np.uint8)
    for x in range(16, width - 16, 16):
        image[height // 3 : 2 * height // 3, x : x + 3] = 60
    return image


def only(part: str) -> LineAugmentation:
    return replace(ALWAYS, **{part: PARTS[part], "erase_size": 0.2})  # type: ignore[arg-type]


def strokes(image: GreyImage) -> int:
    """Count the dark blobs."""
    return int(cv2.connectedComponents((image < 190).astype(np.uint8))[0]) - 1


def digest(image: GreyImage) -> str:
    return hashlib.sha256(image.tobytes()).hexdigest()


def ink(image: GreyImage) -> float:
    return float((255.0 - image).sum())


@pytest.mark.parametrize("name", ["line", "none"])
def test_configuration_holds_exactly_the_keys(name: str) -> None:
    keys = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    assert sorted(keys) == sorted(field.name for field in fields(LineAugmentation))


def test_augmentation_refuses_a_misspelt_key() -> None:
    with pytest.raises(TypeError, match="shear_x"):
        LineAugmentation(**{**{field.name: 0 for field in fields(LineAugmentation)}, "shear_x": 0.1})


@pytest.mark.parametrize("key", [field.name for field in fields(LineAugmentation)])
@pytest.mark.parametrize("value", [-0.1, 101, float("nan")])
def test_augmentation_refuses_a_value_out_of_range(key: str, value: float) -> None:
    with pytest.raises(InputError, match=f"augmentation.{key}="):
        make(LineAugmentation, {**asdict(NONE), key: value}, "augmentation")


def test_augmentation_of_zeros_changes_nothing() -> None:
    image = written()
    assert np.array_equal(ALWAYS(image, seed=0, epoch=0, index=0), image)


def test_augmentation_returns_a_copy() -> None:
    image = written()
    assert not np.shares_memory(NONE(image, seed=0, epoch=0, index=0), image)


@pytest.mark.parametrize("part", PARTS)
def test_each_part_changes_the_image_and_leaves_the_argument_alone(part: str) -> None:
    image = written()
    before = image.copy()
    changed = only(part)
    seen = [changed(image, seed=0, epoch=0, index=index) for index in range(4)]
    assert any(one.shape != image.shape or not np.array_equal(one, image) for one in seen)
    assert np.array_equal(image, before)


@pytest.mark.parametrize("part", ["shift_x", "shift_y", "jitter_x", "shear", "rotate", "elastic"])
def test_geometry_keeps_every_stroke_and_the_height(part: str) -> None:
    image = written()
    for index in range(20):
        changed = only(part)(image, seed=0, epoch=0, index=index)
        assert changed.shape[0] == 48
        assert strokes(changed) == strokes(image)


@pytest.mark.parametrize("height", [32, 48, 64])
def test_all_geometry_at_once_cuts_no_text_off(height: int) -> None:
    image = written(height, 300)
    for x in (0, 104, 200, 297):  # at the very ends, and from the top row to the bottom row
        image[:, x : x + 3] = 0
    wild = replace(ALWAYS, shift_x=0.2, shift_y=0.3, jitter_x=0.3, jitter_y=0.3, shear=0.4, rotate=0.1)
    for index in range(30):
        changed = wild(np.pad(image, ((0, 0), (2, 2)), constant_values=255), seed=0, epoch=0, index=index)
        border = np.concatenate([changed[0], changed[-1], changed[:, 0], changed[:, -1]])
        inside = 255.0 - changed
        assert (255.0 - border).sum() < 0.1 * inside.sum()
        assert strokes(changed) == strokes(image)


def test_jitter_x_sets_the_width() -> None:
    widths = [only("jitter_x")(written(), seed=0, epoch=0, index=index).shape[1] for index in range(200)]
    assert 280 <= min(widths) < 300  # 400 px ± 30 %
    assert 500 < max(widths) <= 520


def test_shift_x_widens_the_canvas_to_one_side() -> None:
    image = written()
    for index in range(10):
        changed = only("shift_x")(image, seed=0, epoch=0, index=index)
        assert 400 <= changed.shape[1] <= 440
        assert ink(changed) == pytest.approx(ink(image), rel=0.02)


def test_shift_y_moves_up_and_down_by_at_most_its_share() -> None:
    def centre(image: GreyImage) -> float:
        weight = (255.0 - image).sum(axis=1)
        return float((weight * np.arange(len(weight))).sum() / weight.sum())

    moves = [
        centre(only("shift_y")(written(), seed=0, epoch=0, index=index)) - centre(written())
        for index in range(100)
    ]
    assert -4.9 <= min(moves) < -4 and 4 < max(moves) <= 4.9  # 0.1 of 48 px


def test_shear_slants_by_at_most_its_angle() -> None:
    image = np.full((48, 100), 255, dtype=np.uint8)
    image[8:40, 49:52] = 0  # one upright stroke
    slants = []
    for index in range(100):
        dark = 255.0 - only("shear")(image, seed=0, epoch=0, index=index)
        xs = (dark * np.arange(dark.shape[1])).sum(axis=1)[[12, 35]] / dark.sum(axis=1)[[12, 35]]
        slants.append(np.arctan((xs[0] - xs[1]) / 23))
    assert -0.31 < min(slants) < -0.25 and 0.25 < max(slants) < 0.31


def test_stroke_thickens_and_thins() -> None:
    inks = [ink(only("stroke")(written(), seed=0, epoch=0, index=index)) for index in range(30)]
    assert min(inks) < 0.9 * ink(written()) and max(inks) > 1.1 * ink(written())


@pytest.mark.parametrize(
    "part", ["shift_x", "shear", "rotate", "elastic", "stroke", "gamma", "contrast", "erase"]
)
def test_paper_stays_white(part: str) -> None:
    image = written()
    for index in range(5):
        changed = only(part)(image, seed=0, epoch=0, index=index)
        assert np.median(changed) == 255
        assert (changed[0] == 255).all()


def test_an_empty_line_stays_empty() -> None:
    empty = np.full((48, 200), 255, dtype=np.uint8)
    for index in range(10):
        assert (replace(LINE, noise=0.0)(empty, seed=0, epoch=0, index=index) == 255).all()


def test_erase_wipes_out_whole_boxes_and_no_more_than_asked() -> None:
    black = np.zeros((48, 400), dtype=np.uint8)
    shares = [(only("erase")(black, seed=0, epoch=0, index=index) == 255).mean() for index in range(60)]
    assert min(shares) == 0.0  # no box at all is one of the six counts
    assert 0.0 < max(shares) <= 5 * 10 * 10 / black.size  # five boxes of 0.2 * 48 px


def test_probability_is_the_share_of_samples_touched() -> None:
    some = replace(ALWAYS, probability=0.3, jitter_x=0.3)
    image = written(16, 400)
    touched = sum(some(image, seed=0, epoch=0, index=index).shape != image.shape for index in range(500))
    assert touched / 500 == pytest.approx(0.3, abs=0.07)


def test_same_seed_epoch_and_index_give_the_same_bits_whatever_ran_before() -> None:
    first = LINE(written(), seed=1, epoch=2, index=3)
    for index in range(5):
        LINE(written(40, 300), seed=9, epoch=9, index=index)
    assert np.array_equal(LINE(written(), seed=1, epoch=2, index=3), first)


def test_another_process_gives_the_same_bits() -> None:
    program = (
        "from tests.data.augment.test_lines import LINE, digest, written\n"
        "print(*[digest(LINE(written(), seed=1, epoch=2, index=index)) for index in range(8)])"
    )
    seen = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert seen.stdout.split() == [
        digest(LINE(written(), seed=1, epoch=2, index=index)) for index in range(8)
    ]


@pytest.mark.parametrize("other", [(2, 2, 3), (1, 3, 3), (1, 2, 4), (12, 3, 0), (1, 23, 0)])
def test_another_seed_epoch_or_index_gives_another_image(other: tuple[int, int, int]) -> None:
    always = replace(LINE, probability=1.0)
    seed, epoch, index = other
    one, two = (
        always(written(), seed=1, epoch=2, index=3),
        always(written(), seed=seed, epoch=epoch, index=index),
    )
    assert one.shape != two.shape or not np.array_equal(one, two)


def test_threads_do_not_disturb_each_other() -> None:
    expected = [LINE(written(), seed=0, epoch=0, index=index) for index in range(40)]
    with ThreadPoolExecutor(4) as pool:
        seen = list(pool.map(lambda index: LINE(written(), seed=0, epoch=0, index=index), range(40)))
    assert all(np.array_equal(one, two) for one, two in zip(expected, seen, strict=True))


@pytest.mark.parametrize("part", SHADES)
def test_shades_leave_the_size(part: str) -> None:
    assert only(part)(written(), seed=0, epoch=0, index=0).shape == (48, 400)


def test_no_argument_is_misspelt_to_albumentations() -> None:
    unseen = written(37)  # a height no other test has built
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace(LINE, probability=1.0)(unseen, seed=0, epoch=0, index=0)


def test_albumentations_is_imported_only_when_something_is_augmented() -> None:
    program = (
        "import sys; from tests.data.augment.test_lines import NONE, written\n"
        "NONE(written(), seed=0, epoch=0, index=0)\n"
        "sys.exit('albumentations' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_a_line_costs_little_time() -> None:
    image = written(48, 800)
    LINE(image, seed=0, epoch=0, index=0)
    start = time.thread_time()  # OpenBLAS's threads wait on a processor
    for index in range(100):
        LINE(image, seed=0, epoch=1, index=index)
    mean_s = (time.thread_time() - start) / 100
    assert mean_s < 0.005  # 0.7 to 2 ms on an idle core; a slow machine is no failure


def test_views_of_a_line_share_its_geometry_and_differ_in_strokes_and_shades() -> None:
    image = written()
    drawn_up = [LINE(image, seed=1, epoch=2, index=index) for index in range(40)]
    for index, first in enumerate(drawn_up):
        second, again = (LINE(image, seed=1, epoch=2, index=index, view=1) for _ in range(2))
        np.testing.assert_array_equal(second, again)
        assert second.shape == first.shape
        assert (second != first).any() or (first.shape == image.shape and (first == image).all())
    bent = replace(LINE, stroke=0.0, gamma=0.0, contrast=0.0, blur=0.0, noise=0.0, erase=0)
    for index in range(10):
        first, second = (bent(image, seed=1, epoch=2, index=index, view=view) for view in (0, 1))
        np.testing.assert_array_equal(first, second)


def test_rules_are_printed_under_the_writing_across_the_whole_line() -> None:
    image, squared = written(width=800), 0
    for index in range(30):
        printed = only("rules")(image, seed=0, epoch=0, index=index)
        assert printed.shape == image.shape
        assert (printed <= image).all()
        paper = np.where(image == 255, printed, 255)
        assert paper.min() >= 255 * 0.16  # two rules at most cross: lighter than a pen
        level, upright = (paper < 253).any(axis=0).mean(), (paper < 253).any(axis=1).mean()
        assert level > 0.5 or upright > 0.5
        squared += int(upright > 0.95 and level > 0.5)
    assert 5 <= squared <= 25
    assert strokes(np.where(image == 60, printed, 255).astype(np.uint8)) == strokes(image)
