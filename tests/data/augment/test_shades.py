"""Seeds are apart, the map does what its parts say, and shades leave paper white."""

import numpy as np
import pytest

from hwr.data.augment import Shade, linear, sample_seed

OFF = {"gamma": 0.0, "contrast": 0.0, "blur_px": 0.0, "noise": 0.0, "holes": 0, "hole_px": 1}


def test_sample_seed_is_the_same_for_the_same_sample_and_differs_for_any_other() -> None:
    samples = [(seed, epoch, index) for seed in range(13) for epoch in range(13) for index in range(13)]
    assert len({sample_seed(*sample) for sample in samples}) == len(samples)
    assert sample_seed(1, 2, 3) == sample_seed(1, 2, 3) < 2**64


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((0.0, 0.0, 0.0, 0.0), [2.0, 1.0]),
        ((0.5, -0.5, 0.0, 0.0), [3.0, 0.5]),
        ((0.0, 0.0, np.pi / 4, 0.0), [1.0, 1.0]),  # y to the left by as much as it is low
        ((0.0, 0.0, 0.0, np.pi / 2), [-1.0, 2.0]),
        ((0.5, 0.0, np.pi / 4, np.pi / 2), [-1.0, 2.0]),  # scaled (3, 1), sheared (2, 1), turned (-1, 2)
    ],
)
def test_linear_scales_then_shears_then_rotates(
    changes: tuple[float, float, float, float], expected: list[float]
) -> None:
    assert linear(*changes) @ (2.0, 1.0) == pytest.approx(expected)


def test_shade_with_all_off_is_the_image_itself() -> None:
    ink = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert Shade(**OFF)(ink, 0) is ink  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "part", [{"gamma": 1.0}, {"blur_px": 2.0}, {"noise": 0.2}, {"holes": 5, "hole_px": 6}]
)
def test_shade_changes_ink_and_repeats(part: dict[str, float]) -> None:
    ink = np.zeros((32, 32), np.uint8)
    ink[8:24, 8:24] = 128
    changed = Shade(**{**OFF, **part})  # type: ignore[arg-type]
    seen = [changed(ink, seed) for seed in range(4)]
    assert any(not np.array_equal(one, ink) for one in seen)
    assert all(np.array_equal(one, changed(ink, seed)) for seed, one in enumerate(seen))
