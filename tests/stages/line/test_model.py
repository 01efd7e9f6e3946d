"""Networks for lines: made for an alphabet and a height; a line reads alike in any company."""

from pathlib import Path

import mxnet as mx
import numpy as np
import pytest

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.data.batches.lines import padded_width, stack_images
from hwr.decoding.greedy import GreedyDecoder
from hwr.images.line_crop import LineCrop
from hwr.stages.line import line_crop, line_network, line_steps
from hwr.stages.recipe import parse_recipe
from tests.stages.line.lines import ALPHABET, NETWORKS, line, reader
from tests.stages.small import ABC, CPU, network_of, recipe_of, save


def test_network_has_a_row_for_every_character_and_blank() -> None:
    assert network_of("line").output.weight.shape == (4, 8)  # of both directions, four units each


def test_network_is_drawn_alike_whatever_the_height_of_its_lines() -> None:
    low, high = (network_of("line", f"stage.crop.height={height}") for height in (32, 48))
    assert np.array_equal(low.output.weight.data().asnumpy(), high.output.weight.data().asnumpy())


@pytest.mark.parametrize("height", [50, 60])
def test_network_takes_any_height(height: int) -> None:
    small = ["network=resnet_bilstm", "network.channels=8", "network.hidden=8", "network.layers=1"]
    config = composed("train", ["stage=line", *small, f"stage.crop.height={height}"], TrainConfig).root
    made = line_network(parse_recipe(config).model, ABC, CPU)
    assert made(mx.nd.zeros((1, 1, height, 64)))[0].shape == (16, 1, 4)  # a step for every 4 px


@pytest.mark.parametrize(("width", "steps"), [(8, 8), (32, 8), (33, 16), (640, 160)])
def test_steps_are_the_columns_of_the_padded_width(width: int, steps: int) -> None:
    assert line_steps(recipe_of("line").model)(width) == steps


def test_crop_of_weights_is_that_of_their_training(tmp_path: Path) -> None:
    crop = {"height": 24, "max_width": 900, "margin": 0.25, "mask": False, "deskew": True, "normalise": False}
    loaded = save(tmp_path / "w", "line", *(f"stage.crop.{name}={value}" for name, value in crop.items()))
    assert line_crop(loaded) == LineCrop(**crop)  # type: ignore[arg-type]


# LineReader


@pytest.mark.parametrize("kind", NETWORKS)
def test_line_reads_the_same_alone_in_a_batch_of_32_and_among_wider_neighbours(kind: str) -> None:
    read = reader(kind)
    target = line(90, 0)
    like = [line(96 - i % 30, i) for i in range(1, 32)]  # all rounded to 96 px
    wider = [line(width, 1) for width in (130, 200, 300)]
    (alone,) = read.probs([target])
    for company in ([target, *like], [*like[:7], target], [wider[0], target, *wider[1:]]):
        place = next(index for index, image in enumerate(company) if image is target)
        together = read.probs(company)[place]
        np.testing.assert_allclose(together, alone, atol=1e-5)
        assert GreedyDecoder(ALPHABET)(together).text == GreedyDecoder(ALPHABET)(alone).text


@pytest.mark.parametrize("kind", NETWORKS)
def test_padding_to_a_wider_neighbour_would_change_a_line(kind: str) -> None:
    """Hold that the test above can fail: it is the line's own width that keeps its neighbours out."""
    read, target = reader(kind), line(90, 0)
    (alone,) = read.probs([target])
    logits, _ = read.network(mx.nd.array(stack_images([target], 320)))
    padded = mx.nd.softmax(logits, axis=2).asnumpy()[: len(alone), 0]
    assert np.abs(padded - alone).max() > 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_probs_come_in_the_order_of_the_images_with_a_step_for_every_stride(kind: str) -> None:
    widths, read = [200, 40, 90, 41, 300], reader(kind, batch_size=2)
    found = read.probs([line(width, 0) for width in widths])
    padded = [padded_width(width, read.network.width_multiple) for width in widths]
    assert [probs.shape for probs in found] == [(width // read.network.stride, 7) for width in padded]
    for probs in found:
        np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-5)


def test_probs_are_none_when_there_are_no_images() -> None:
    assert reader().probs([]) == []


@pytest.mark.parametrize(("width", "padded"), [(8, 32), (32, 32), (33, 64)])
def test_reader_tells_what_a_line_is_padded_to(width: int, padded: int) -> None:
    assert reader().padded_width(width) == padded
