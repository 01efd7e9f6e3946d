"""Finders of areas: boxes come in the order of their pages."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr.stages.paragraph import AreaFinder, area_finder
from tests.stages.paragraph.answers import Answers
from tests.stages.small import CPU, recipe_of


def finder(network: Any) -> AreaFinder:
    return AreaFinder(network, batch_size=2, context=mx.cpu())


def test_finder_takes_pages_of_the_size_that_is_set() -> None:
    made = area_finder(recipe_of("paragraph", "stage.size=[48,32]").model, batch_size=2, context=CPU)
    boxes = made.boxes([np.full((48, 32), 255, np.uint8)] * 3)
    assert boxes.shape == (3, 4)
    assert (boxes == boxes[0]).all()


def test_finder_gives_boxes_in_the_order_of_the_images() -> None:
    boxes = [(i / 10, 0.0, 1.0, 1.0) for i in range(5)]
    images = [np.full((48, 32), 255 - number, np.uint8) for number in range(5)]
    found = finder(Answers(boxes)).boxes([images[i] for i in (3, 0, 4, 1, 2)])
    assert found[:, 0] == pytest.approx([0.3, 0.0, 0.4, 0.1, 0.2])


def test_finder_gives_no_boxes_when_there_are_no_images() -> None:
    assert finder(Answers([])).boxes([]).shape == (0, 4)
