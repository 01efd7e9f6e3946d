"""What networks cost, and that what is said of the configured ones is true."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from mxnet.gluon import nn, rnn

from hwr.config.bind import make, target
from tests.networks.cost import Cost, cost

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "conf" / "network").glob("*.yaml"))
STATED = re.compile(
    r"# ([\d.]+) M parameters, ([\d.]+) G multiply-adds for "
    r"(?:a line|a page|an area|a text) of ([\d x]+) (?:px|characters)(?: and 80 classes)?\n"
)
CLASSES = 80


def settings(path: Path) -> dict[str, Any]:
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(OmegaConf.load(path))
    return values


def measured(path: Path, size: str) -> tuple[str, str]:
    """Return M parameters and G multiply-adds of a configured network, as documents say them.

    `size` is that of an image, 48 x 640, or the length of a text.
    """
    values = settings(path)
    maker = target(values, "network")
    given = {"classes": CLASSES} if "classes" in inspect.signature(maker).parameters else {}
    network = make(maker, values, "network", **given)
    sides = tuple(map(int, size.split(" x ")))
    spent = cost(network, (1, 1, *sides)) if len(sides) > 1 else cost(network, (1, *sides), (1, *sides))
    return f"{spent.parameters / 1e6:.2f}", f"{spent.macs / 1e9:.2f}"


def test_cost_counts_a_convolution() -> None:
    layer = nn.Conv2D(8, 3, padding=1, in_channels=2)
    # 8 kernels of 2 x 3 x 3 and 8 biases; every kernel at each of 5 x 7 places
    assert cost(layer, (1, 2, 5, 7)) == Cost(8 * 18 + 8, 35 * 8 * 18)


def test_cost_counts_a_strided_convolution_and_normalisation_of_unknown_width() -> None:
    layers = nn.HybridSequential()
    layers.add(nn.Conv2D(4, 3, strides=2, padding=1, use_bias=False), nn.BatchNorm())
    # 4 kernels of 3 x 3 x 3, at 3 x 4 places; scale and shift are trained, running statistics not
    assert cost(layers, (1, 3, 6, 8)) == Cost(4 * 27 + 2 * 4, 12 * 4 * 27)


def test_cost_counts_a_dense_layer_at_every_step() -> None:
    assert cost(nn.Dense(5, flatten=False, in_units=3), (7, 2, 3)) == Cost(5 * 3 + 5, 7 * 2 * 15)


def test_cost_counts_stacked_bidirectional_lstms() -> None:
    layer = rnn.LSTM(4, 2, bidirectional=True, input_size=3)
    first, second = 4 * 4 * (3 + 4), 4 * 4 * (8 + 4)  # 4 gates, 4 units; the second reads both directions
    biases = 4 * 4 * 2
    assert cost(layer, (6, 1, 3)) == Cost(2 * (first + second + 2 * biases), 6 * 2 * (first + second))


def test_cost_counts_products_of_matrices() -> None:
    product = nn.HybridLambda(lambda ops, a, b: ops.batch_dot(a, ops.batch_dot(a, b, transpose_a=True)))
    # (2, 3, 4) turned and (2, 3, 5): 4 x 5 values of 3 products; (2, 3, 4) and those: 3 x 5 values of 4
    assert cost(product, (2, 3, 4), (2, 3, 5)) == Cost(0, 2 * (4 * 5 * 3 + 3 * 5 * 4))


def test_cost_grows_with_the_width() -> None:
    values = settings(ROOT / "conf" / "network" / "crnn_small.yaml")
    network = make(target(values, "network"), values, "network", classes=CLASSES)
    one, two = (cost(network, (1, 1, 48, width)) for width in (320, 640))
    assert (two.parameters, two.macs) == (one.parameters, 2 * one.macs)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_network_costs_what_its_file_says(path: Path) -> None:
    stated = STATED.search(path.read_text())
    assert stated, f"{path.name} does not say what the network costs"
    parameters, macs, size = stated.groups()
    assert measured(path, size) == (parameters, macs)


def test_documented_table_holds_every_network_and_what_it_costs() -> None:
    row = r"\| `(\w+)`[^|]*\| ([\d.]+) M \| ([\d.]+) G \| ([\d x]+) (?:px|characters) \|"
    rows = re.findall(row, (ROOT / "docs" / "networks.md").read_text())
    assert sorted(row[0] for row in rows) == [path.stem for path in FILES]
    for name, parameters, macs, size in rows:
        path = ROOT / "conf" / "network" / f"{name}.yaml"
        assert measured(path, size) == (parameters, macs)
