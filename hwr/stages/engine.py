"""Engines: what runs a trained network in reading. MXNet itself, or a runtime of ONNX models."""

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.runtime import hidden, refuse_without_bfloat16
from hwr.runtime.termination import own_signal_stack

Array = NDArray[np.float32]
Shape = Sequence[int | str]  # a name is an axis of any length
Run = Callable[..., list[Array]]  # arrays, as the inputs of a computation, to what is computed of them

IMAGES = "images"  # the input of an exported network: (N, 1, H, W), ink 1 on paper 0


class EngineSettings(Protocol):
    """What chooses an engine, as configurations hold it."""

    device: str
    engine: Any
    precision: Any


@dataclass(frozen=True, kw_only=True)
class Computation:
    """What a network, or a part of it, computes in reading, whatever runs it.

    Args:
        outputs: names and axes of what is computed.
        compute: computes it of the inputs, by the `functions` of arrays (mx.nd) or symbols (mx.sym).
        inputs: names and axes of what it is computed of, for images of a size (H, W).
    """

    outputs: Mapping[str, Shape]
    compute: Callable[..., Sequence[Any]]
    inputs: Callable[[Shape], Mapping[str, Shape]] = lambda size: {IMAGES: ("N", 1, *size)}


@dataclass(frozen=True, kw_only=True)
class Inference(Computation):
    """What a whole network computes of images, and what an exported file holds besides.

    Args:
        load: loads weights as an object that has the `network`.
        size: (H, W) of the images, by the settings of the stage.
        constants: further outputs of an exported file, which no image changes, by what `load` returns.
        about: what a reader of the file has to know besides, by the same.
    """

    load: Callable[..., Any]
    size: Callable[[Any], Shape]
    constants: Callable[[Any], Mapping[str, Array]] = lambda loaded: {}
    about: Callable[[Any], Mapping[str, str]] = lambda loaded: {}


@dataclass(frozen=True)
class Engine:
    """What computes: its name, and the type of the numbers that it computes with."""

    name: str = "mxnet"
    precision: str = "float32"

    @classmethod
    def of(cls, config: EngineSettings) -> "Engine":
        """Return the engine that is configured; raise InputError for one that is not possible here."""
        if config.engine == "onnx" and config.precision != "float32":
            raise InputError(f"engine=onnx computes in float32; leave precision={config.precision} out")
        if config.engine == "mxnet" and config.precision == "bfloat16":
            refuse_without_bfloat16()
        if config.engine != "mxnet" and not config.device.startswith("cpu"):
            raise InputError(f"engine={config.engine} computes on the processor; set device=cpu")
        for package in _PACKAGES[config.engine]:
            _imported(package, config.engine)
        return cls(config.engine, config.precision)

    def start(self, network: Any, computation: Computation, size: Shape, context: Any) -> Run:
        """Return what computes `computation` for images of a size (H, W) with an initialised network.

        MXNet computes in the context, with the parameters as they are at each call; the others with those of
        now. In bfloat16 it computes the networks that can (Crnn), and the others in float32.
        """
        if self.name == "mxnet":
            if self.precision == "bfloat16" and hasattr(network, "compute_in_bfloat16"):
                network.compute_in_bfloat16()
            return lambda *given: [
                own.asnumpy()
                for own in computation.compute(mx.nd, network, *(mx.nd.array(x, ctx=context) for x in given))
            ]
        model = exported_network(network, computation, size).SerializeToString()
        inputs, outputs = list(computation.inputs(size)), computation.outputs
        run = _STARTS[self.name](model, inputs, list(outputs), self.precision)
        alone = self.name == "openvino" and inputs == [IMAGES]  # it compiles for each shape
        return _one_by_one(run, [list(axes).index("N") for axes in outputs.values()]) if alone else run


MXNET = Engine()


def exported_network(
    network: Any, computation: Computation, size: Shape, *, constants: Mapping[str, Array] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:  # fmt: skip
    """Return what a network computes for images of a size as an ONNX model.

    Raises InputError where the package onnx is missing.
    """
    _imported("onnx", "onnx")
    from hwr.networks.onnx_graph import onnx_model

    inputs = computation.inputs(size)
    symbols = computation.compute(mx.sym, network, *(mx.sym.var(name) for name in inputs))
    parameters = {own.name: own.data().asnumpy() for own in network.collect_params().values()}
    shapes = inputs, computation.outputs
    return onnx_model(symbols, parameters, *shapes, constants=constants or {}, metadata=metadata or {})


def _one_by_one(run: Run, axes: Sequence[int]) -> Run:
    """Return what computes images one after the other, and joins each output along its axis of `axes`."""

    def each(images: Array) -> list[Array]:
        found = zip(*(run(image[None]) for image in images), strict=True)
        return [np.concatenate(own, axis) for own, axis in zip(found, axes, strict=True)]

    return each


def _onnx_runtime(model: bytes, inputs: Sequence[str], outputs: Sequence[str], precision: str) -> Run:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = _threads()
    # Threads that wait for work would take the cores from the next network, which has threads of its own.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it keeps memory for the largest shapes, and gains no time
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda *given: list(session.run(outputs, dict(zip(inputs, given, strict=True))))


def _openvino(model: bytes, inputs: Sequence[str], outputs: Sequence[str], precision: str) -> Run:
    _imported("openvino", "openvino")
    with own_signal_stack():
        return _openvino_run(model, inputs, outputs, precision)


def _openvino_run(model: bytes, inputs: Sequence[str], outputs: Sequence[str], precision: str) -> Run:
    from openvino import Core

    core = Core()
    if precision == "bfloat16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise InputError("precision=bfloat16: this processor computes without it; set precision=float32")
    settings = {
        "INFERENCE_PRECISION_HINT": {"float32": "f32", "bfloat16": "bf16"}[precision],
        "INFERENCE_NUM_THREADS": _threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "CPU_RUNTIME_CACHE_CAPACITY": 512,  # compiled layers that are kept, each for a shape
    }
    request = core.compile_model(core.read_model(io.BytesIO(model)), "CPU", settings).create_infer_request()

    def run(*given: Array) -> list[Array]:
        found = request.infer(dict(zip(inputs, given, strict=True)), share_inputs=True)
        return [np.array(found[name]) for name in outputs]

    return run


def _threads() -> int:
    return int(os.environ["OMP_NUM_THREADS"])


def _imported(package: str, engine: str) -> None:
    try:
        with hidden("openvino_telemetry"):  # OpenVINO tells its makers of every import, where it finds this
            import_module(package)
    except ImportError:
        remedy = f"pip install 'hwr[{engine}]'"
        raise InputError(
            f"{package} is not installed, which engine={engine} and export need; {remedy}"
        ) from None


_STARTS = {"onnx": _onnx_runtime, "openvino": _openvino}
_PACKAGES = {"mxnet": (), "onnx": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}
