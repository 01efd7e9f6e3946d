"""Batches of like width: every line once, the same for the same seed, padded with paper."""

from collections.abc import Iterator

import numpy as np
import pytest

from hwr.data.batches import POOL, pad_rows
from hwr.data.batches.lines import (
    WIDTH_STEP,
    Image,
    LineBatch,
    LineSet,
    line_reading_batches,
    line_training_batches,
    padded_width,
    stack_images,
)

WIDTHS = [40 + 13 * (7 * i % 37) for i in range(53)]  # 40 to 508 px, shuffled


def line_set(widths: list[int] = WIDTHS) -> LineSet:
    images = [np.full((4, width), index % 256, np.uint8) for index, width in enumerate(widths)]
    return LineSet([f"l{i}" for i in range(len(widths))], images, ["x" * (i % 5) for i in range(len(widths))])


def batches(
    lines: LineSet, seed: tuple[int, ...] = (0, 0), batch_size: int = 4, start: int = 0
) -> list[LineBatch]:
    def encode(text: str) -> list[int]:
        return [1] * len(text)

    def change(image: Image, index: int) -> Image:
        return image

    found = line_training_batches(
        lines, batch_size=batch_size, seed=seed, change=change, encode=encode, multiple=8, start=start
    )
    return list(found)


def ids(found: list[LineBatch]) -> Iterator[str]:
    return (name for batch in found for name in batch.ids)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 100])
def test_every_line_comes_once_an_epoch(batch_size: int) -> None:
    lines = line_set()
    found = batches(lines, batch_size=batch_size)
    assert sorted(ids(found)) == sorted(lines.ids)
    assert len(found) == -(-len(lines.ids) // batch_size)
    assert max(len(batch.ids) for batch in found) == min(batch_size, len(lines.ids))


def test_order_is_the_same_for_the_same_seed_and_another_for_another_epoch() -> None:
    lines = line_set()
    first, again, next_epoch = (list(ids(batches(lines, seed))) for seed in ((5, 0), (5, 0), (5, 1)))
    assert first == again
    assert first != next_epoch


def test_images_and_labels_are_those_of_their_ids() -> None:
    lines = line_set()
    for batch in batches(lines):
        for name, image, label in zip(batch.ids, batch.images, batch.labels, strict=True):
            index = int(name[1:])
            width = WIDTHS[index]
            np.testing.assert_allclose(image[0, :, :width], (255 - index) / 255, atol=1e-6)
            assert (label >= 0).sum() == len(lines.texts[index])


def test_widths_in_a_batch_are_alike() -> None:
    lines, size = line_set(), 4
    padded = sum(batch.images.shape[0] * batch.images.shape[3] for batch in batches(lines, batch_size=size))
    order = [int(name[1:]) for name in ids(batches(lines, batch_size=size))]
    unsorted = np.random.default_rng(0).permutation(order)
    mixed = sum(
        len(part) * max(padded_width(WIDTHS[i], 8) for i in part)
        for part in (unsorted[at : at + size] for at in range(0, len(order), size))
    )
    written = sum(WIDTHS)
    assert padded - written < 0.35 * (mixed - written)


def test_lines_are_mixed_within_pools_and_batches_come_in_any_order() -> None:
    lines = line_set(WIDTHS[: 4 * POOL])
    widths = [batch.images.shape[3] for batch in batches(lines)]
    assert widths != sorted(widths)
    assert len(widths) == POOL


@pytest.mark.parametrize("start", [0, 1, 7, 8, 9, 13, 14, 20])
def test_batches_from_one_on_are_those_that_come_last_in_a_whole_epoch(start: int) -> None:
    lines = line_set()  # 14 batches, 8 of them in the first pool
    whole, rest = batches(lines), batches(lines, start=start)
    assert [batch.ids for batch in rest] == [batch.ids for batch in whole[start:]]
    for own, other in zip(rest, whole[start:], strict=True):
        np.testing.assert_array_equal(own.images, other.images)
        np.testing.assert_array_equal(own.labels, other.labels)


def test_lines_of_pools_that_are_left_out_are_not_changed() -> None:
    lines, seen = line_set(), []

    def change(image: Image, index: int) -> Image:
        seen.append(index)
        return image

    found = line_training_batches(
        lines, batch_size=4, seed=(0, 0), change=change, encode=lambda _: [], multiple=8, start=POOL
    )
    assert len(list(ids(list(found)))) == len(seen) == len(lines.ids) - 4 * POOL


def test_change_gets_the_image_and_its_index_and_sets_the_width() -> None:
    lines, seen = line_set([40, 50]), []

    def change(image: Image, index: int) -> Image:
        seen.append((index, image.shape[1]))
        return np.repeat(image, 2, axis=1)

    (batch,) = line_training_batches(
        lines, batch_size=2, seed=[0], change=change, encode=lambda text: [], multiple=8
    )
    assert sorted(seen) == [(0, 40), (1, 50)]
    assert batch.images.shape == (2, 1, 4, padded_width(100, 8))


def test_reading_gives_every_image_its_own_padded_width() -> None:
    lines = line_set()
    found: dict[int, int] = {}
    for indices, images in line_reading_batches(lines.images, 4, 8):
        assert len(indices) == len(images) <= 4
        found |= dict.fromkeys(indices, images.shape[3])
    assert found == {index: padded_width(width, 8) for index, width in enumerate(WIDTHS)}


def test_reading_gives_nothing_when_there_are_no_images() -> None:
    assert list(line_reading_batches([], 4, 8)) == []


@pytest.mark.parametrize(
    ("width", "multiple", "padded"),
    [(1, 4, 32), (32, 8, 32), (33, 8, 64), (800, 4, 800), (33, 64, 64), (33, 12, 96)],
)
def test_padded_width_is_the_next_multiple_of_the_step_and_of_the_network_s(
    width: int, multiple: int, padded: int
) -> None:
    assert WIDTH_STEP == 32
    assert padded_width(width, multiple) == padded


def test_stack_turns_paper_to_zero_and_ink_to_one_and_pads_with_paper() -> None:
    stacked = stack_images([np.array([[0, 255, 51]], np.uint8), np.array([[0]], np.uint8)], 5)
    assert stacked.dtype == np.float32
    np.testing.assert_allclose(stacked[:, 0, 0], [[1, 0, 0.8, 0, 0], [1, 0, 0, 0, 0]], atol=1e-6)


@pytest.mark.parametrize(
    ("labels", "padded"),
    [
        ([[1, 2], [3]], [[1, 2], [3, -1]]),
        ([[], [3]], [[-1], [3]]),
        ([[]], [[-1]]),  # MXNet wants a column even when no line has a text
    ],
)
def test_labels_are_padded_with_minus_one(labels: list[list[int]], padded: list[list[int]]) -> None:
    found = pad_rows(labels)
    assert (found.dtype, found.tolist()) == (np.float32, padded)
