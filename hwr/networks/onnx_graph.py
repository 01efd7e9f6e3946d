"""Networks as ONNX models: a traced MXNet graph, operator by operator, with batch normalisation folded.

It knows the operators that networks of lines and boxes use; another one is refused.
"""

import ast
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, checker, helper, numpy_helper

from hwr.errors import InputError

OPSET, IR_VERSION = 17, 8  # of ONNX 1.12, 2022: every runtime since reads it
_END = np.iinfo(np.int64).max

Shape = Sequence[int | str]  # a name is an axis of any length
Array = NDArray[Any]
Attributes = dict[str, Any]


def onnx_model(
    traced: Sequence[Any], parameters: Mapping[str, Array], inputs: Mapping[str, Shape],
    outputs: Mapping[str, Shape], *, constants: Mapping[str, Array], metadata: Mapping[str, str],
) -> ModelProto:  # fmt: skip
    """Return traced symbols, one for each of the `outputs`, as a model; arrays are float32.

    `parameters` and `inputs` are the symbols' variables by name, `constants` further outputs. Raises
    InputError for an operator that has no counterpart here.
    """
    graph = _Graph()
    names = graph.converted(json.loads(mx.sym.Group(list(traced)).tojson()), parameters)
    names += [graph.number(value) for value in constants.values()]
    outputs = {**outputs, **{name: value.shape for name, value in constants.items()}}
    for output, name in zip(outputs, names, strict=True):
        graph.nodes.append(helper.make_node("Identity", [name], [output]))
    taken, given = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in own.items()]
        for own in (inputs, outputs)
    )
    made = helper.make_graph(
        graph.nodes,
        "hwr",
        taken,
        given,
        [numpy_helper.from_array(value, name) for name, value in graph.constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(made, producer_name="hwr", ir_version=IR_VERSION, opset_imports=[opset])
    helper.set_model_props(model, dict(metadata))
    checker.check_model(model)
    return model


class _Graph:
    """A graph that grows node by node; nodes and constants are known by name."""

    def __init__(self) -> None:
        self.nodes, self.constants = list[Any](), dict[str, Array]()
        self.convolutions: dict[str, tuple[str, str]] = {}  # weight and bias, by the name of the output

    def converted(self, traced: Mapping[str, Any], parameters: Mapping[str, Array]) -> list[str]:
        """Convert the nodes of a traced graph, and return the names of its outputs."""
        done: list[Any] = []  # of each node: the name of its output, or the parameter that it is
        for node in traced["nodes"]:
            name, operator = node["name"], node["op"]
            given = [done[source] for source, *_ in node["inputs"]]
            settings = {key: _value(text) for key, text in node.get("attrs", {}).items()}
            if operator == "null":
                done.append(parameters.get(name, name))
            elif operator in _OPERATORS:
                done.append(_OPERATORS[operator](self, settings, *given))
            else:
                raise InputError(f"{name}: MXNet's operator {operator} cannot be exported; use engine=mxnet")
        return [done[source] for source, *_ in traced["heads"]]

    def add(self, operator: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> str:
        """Add a node with inputs by name, or whole numbers; return the name of its first output."""
        name = f"{operator}{len(self.nodes)}"
        given = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, given, names, name=name, **attributes))
        return name

    def constant(self, value: Any, kind: Any = np.int64) -> str:
        """Return the name of a constant."""
        name = f"constant{len(self.constants)}"
        self.constants[name] = np.array(value, dtype=kind)  # a copy: normalisation changes weights
        return name

    def number(self, value: Any) -> str:
        """Return the name of a constant float32."""
        return self.constant(value, np.float32)

    def reshape(self, x: str, codes: Sequence[int]) -> str:
        """Reshape as MXNet does: 0 keeps an axis, -1 is what is left, -2 all others, -3 two as one."""
        if min(codes) >= -1:
            return self.add("Reshape", x, codes)
        shape, at, sizes = self.add("Shape", x), 0, []
        for code in codes:
            end = _END if code == -2 else at + 1 + (code == -3)
            own = self.add("Slice", shape, [at], [end], [0])
            sizes.append(self.add("ReduceProd", own, keepdims=1) if code == -3 else own)
            at = end
        return self.add("Reshape", x, self.add("Concat", *sizes, axis=0))


def _convolution(graph: _Graph, settings: Any, x: str, weight: Array, bias: Any = None) -> str:
    names = graph.number(weight), graph.number(np.zeros(len(weight)) if bias is None else bias)
    attributes = {"kernel_shape": settings["kernel"], "strides": settings["stride"],
                  "pads": settings["pad"] * 2, "dilations": settings["dilate"],
                  "group": settings["num_group"]}  # fmt: skip
    made = graph.add("Conv", x, *names, **attributes)
    graph.convolutions[made] = names
    return made


def _normalisation(
    graph: _Graph, settings: Any, x: str, gamma: Array, beta: Array, mean: Array, variance: Array
) -> str:
    """Fold a normalisation into the convolution before it, which nothing else reads."""
    weight, bias = graph.convolutions.pop(x)
    scale = (1.0 if settings["fix_gamma"] else gamma) / np.sqrt(variance.astype(np.float64) + settings["eps"])
    graph.constants[weight] *= scale[:, None, None, None].astype(np.float32)
    graph.constants[bias] = ((graph.constants[bias] - mean) * scale + beta).astype(np.float32)
    return x


def _pooling(graph: _Graph, settings: Any, x: str) -> str:
    if settings.get("global_pool"):
        return graph.add("GlobalMaxPool", x)
    attributes = {"kernel_shape": settings["kernel"], "strides": settings["stride"],
                  "pads": settings.get("pad", (0, 0)) * 2,
                  "ceil_mode": int(settings.get("pooling_convention") == "full")}  # fmt: skip
    return graph.add("MaxPool", x, **attributes)


def _dense(graph: _Graph, settings: Any, x: str, weight: Array, bias: Array) -> str:
    rows = graph.add("Flatten", x) if settings.get("flatten", True) else x
    return graph.add("Add", graph.add("MatMul", rows, graph.number(weight.T)), graph.number(bias))


def _lstm(graph: _Graph, settings: Any, x: str, parameters: list[Array], *states: None) -> str:
    """Stack LSTMs (T, N, width) to (T, N, ways * hidden); `parameters` are all weights, then all biases."""
    hidden, layers = settings["state_size"], settings["num_layers"]
    ways = 1 + settings.get("bidirectional", False)
    pairs = [parameters[at : at + 2] for at in range(0, len(parameters), 2)]  # of input, of state
    for layer in range(layers):
        weights, biases = (pairs[(own + layer) * ways :][:ways] for own in (0, layers))
        w, r = (graph.number([_gates(pair[own], hidden) for pair in weights]) for own in (0, 1))
        b = graph.number([np.concatenate([_gates(own, hidden) for own in pair]) for pair in biases])
        way = "bidirectional" if ways == 2 else "forward"
        columns = graph.add("LSTM", x, w, r, b, hidden_size=hidden, direction=way)  # (T, ways, N, hidden)
        x = graph.reshape(graph.add("Transpose", columns, perm=(0, 2, 1, 3)), (0, 0, -1))
    return x


def _gates(values: Array, hidden: int) -> Array:
    """Order gates as ONNX does, input output forget cell; MXNet's are input forget cell output."""
    values = values.reshape(4, hidden, *values.shape[1:])[[0, 3, 1, 2]]
    return values.reshape(4 * hidden, *values.shape[2:])


def _reversed(graph: _Graph, settings: Any, x: str, steps: str) -> str:
    """Reverse the first `steps[n]` of (T, N, D); those behind them stay.

    It gathers rows: OpenVINO takes as long for ONNX's ReverseSequence as for an LSTM.
    """
    shape, count = graph.add("Shape", x), graph.add("Cast", steps, to=TensorProto.INT64)
    length, lines = (graph.add("Gather", shape, axis) for axis in (0, 1))
    step = graph.add("Unsqueeze", graph.add("Range", 0, length, 1), [1])  # (T, 1)
    mirrored = graph.add("Sub", graph.add("Sub", count, 1), step)
    place = graph.add("Where", graph.add("Less", step, count), mirrored, step)  # (T, N)
    rows = graph.add("Add", graph.add("Mul", place, lines), graph.add("Range", 0, lines, 1))
    return graph.add("Gather", graph.reshape(x, (-3, -2)), rows)


def _slice_like(graph: _Graph, settings: Any, x: str, like: str) -> str:
    axes = settings["axes"]
    ends = graph.add("Gather", graph.add("Shape", like), axes)
    return graph.add("Slice", x, [0] * len(axes), ends, axes)


def _repeat(graph: _Graph, settings: Any, x: str) -> str:
    axis, copies = settings["axis"], settings["repeats"]
    single = graph.add("Unsqueeze", x, [axis + 1])
    return graph.reshape(graph.add("Concat", *[single] * copies, axis=axis + 1), (*[0] * axis, -3, -2))


def _upsampling(graph: _Graph, settings: Any, x: str) -> str:
    scales = graph.number([1, 1, settings["scale"], settings["scale"]])
    attributes: Attributes = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    return graph.add("Resize", x, "", scales, **attributes)


def _axes(settings: Any) -> dict[str, Any]:
    axis = settings["axis"]
    return {"axes": axis if isinstance(axis, tuple) else [axis], "keepdims": int(settings.get("keepdims", 0))}


def _same(name: str) -> Callable[..., Any]:
    """Return the conversion of an operator that ONNX has without settings."""
    return lambda graph, settings, *inputs: graph.add(name, *inputs)


def _with_number(name: str, *, first: bool = False) -> Callable[..., Any]:
    def convert(graph: _Graph, settings: Any, x: str) -> str:
        number = graph.number(settings["scalar"])
        return graph.add(name, *((number, x) if first else (x, number)))

    return convert


_ACTIVATIONS = {"relu": "Relu", "sigmoid": "Sigmoid", "softrelu": "Softplus"}
_OPERATORS: Mapping[str, Callable[..., Any]] = {
    "Convolution": _convolution,
    "BatchNorm": _normalisation,
    "Pooling": _pooling,
    "FullyConnected": _dense,
    "RNN": _lstm,
    "_rnn_param_concat": lambda graph, settings, *parts: list(parts),
    "_zeros": lambda graph, settings: None,  # an LSTM's first states
    "Activation": lambda graph, settings, x: graph.add(_ACTIVATIONS[settings["act_type"]], x),
    "Dropout": lambda graph, settings, x: x,
    "Reshape": lambda graph, settings, x: (
        graph.reshape(x, np.atleast_1d(settings["shape"]).tolist()) if isinstance(x, str) else x
    ),
    "transpose": lambda graph, settings, x: graph.add("Transpose", x, perm=settings["axes"]),
    "SequenceReverse": _reversed,
    "Concat": lambda graph, settings, *parts: graph.add("Concat", *parts, axis=settings["dim"]),
    "softmax": lambda graph, settings, x: graph.add("Softmax", x, axis=settings["axis"]),
    "max": lambda graph, settings, x: graph.add("ReduceMax", x, **_axes(settings)),
    "mean": lambda graph, settings, x: graph.add("ReduceMean", x, **_axes(settings)),
    "_np_cumsum": lambda graph, settings, x: graph.add("CumSum", x, settings["axis"]),
    "reverse": lambda graph, settings, x: graph.add("Slice", x, [-1], [-_END], [settings["axis"]], [-1]),
    "repeat": _repeat,
    "slice_axis": lambda graph, settings, x: graph.add(
        "Slice", x, [settings["begin"]], [settings["end"]], [settings["axis"]]
    ),
    "slice_like": _slice_like,
    "UpSampling": _upsampling,
    "exp": _same("Exp"),
    "negative": _same("Neg"),
    "elemwise_add": _same("Add"),
    "_plus_scalar": _with_number("Add"),
    "_mul_scalar": _with_number("Mul"),
    "_rminus_scalar": _with_number("Sub", first=True),
}


def _value(text: str) -> Any:
    """Return a setting of an operator, which MXNet writes as Python does, or a word."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
