"""Count a network's trained parameters and multiply-adds on its graph, without running it."""

import json
from dataclasses import dataclass
from math import prod
from typing import Any

import mxnet as mx

_Shape = tuple[int, ...]
_GATES = {"rnn_relu": 1, "rnn_tanh": 1, "lstm": 4, "gru": 3}


@dataclass(frozen=True)
class Cost:
    """Trained parameters, and multiply-adds of one forward pass."""

    parameters: int
    macs: int


def cost(network: Any, *inputs: _Shape) -> Cost:
    """Return the cost of a Gluon `network` for inputs of these shapes; its parameters need no values yet.

    Convolutions, dense and recurrent layers and matrix products are counted. Normalisation, activations,
    pooling and biases are not: they take about one operation a value where those take hundreds.
    """
    names = [f"input{number}" for number in range(len(inputs))]
    outputs = network(*map(mx.sym.var, names))
    outputs = list(outputs) if isinstance(outputs, list | tuple) else [outputs]
    graph = mx.sym.Group(outputs).get_internals()
    argument_shapes, output_shapes, _ = graph.infer_shape(**dict(zip(names, inputs, strict=True)))
    shapes = dict(zip(graph.list_arguments(), argument_shapes, strict=True))
    trained = [p.name for p in network.collect_params().values() if p.grad_req != "null"]
    return Cost(sum(prod(shapes[name]) for name in trained), _macs(json.loads(graph.tojson()), output_shapes))


def _macs(graph: dict[str, Any], output_shapes: list[_Shape]) -> int:
    """Return the multiply-adds of all nodes of a graph, for inputs of these shapes."""
    places = [(node, output) for node, output, *_ in graph["heads"]]
    shapes = dict(zip(places, output_shapes, strict=True))
    total = 0
    for number, node in enumerate(graph["nodes"]):
        if node["op"] in ("Convolution", "FullyConnected"):
            weight = shapes[tuple(node["inputs"][1][:2])]  # (channels, …)
            total += prod(shapes[number, 0]) * prod(weight[1:])
        elif node["op"] == "batch_dot":
            first = shapes[tuple(node["inputs"][0][:2])]
            transposed = node.get("attrs", {}).get("transpose_a", "False") in ("True", "1")
            total += prod(shapes[number, 0]) * first[-2 if transposed else -1]
        elif node["op"] == "RNN":
            steps, batch, _ = shapes[tuple(node["inputs"][0][:2])]  # (T, N, D)
            (values,) = shapes[tuple(node["inputs"][1][:2])]  # all weights and biases in one row
            total += steps * batch * (values - _biases(node["attrs"]))
    return total


def _biases(rnn: dict[str, str]) -> int:
    """Return the number of biases of a recurrent node: two a gate and unit, as cuDNN counts."""
    directions = 2 if rnn.get("bidirectional", "False") in ("True", "1") else 1
    return 2 * directions * int(rnn["num_layers"]) * _GATES[rnn["mode"]] * int(rnn["state_size"])
