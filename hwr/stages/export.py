"""The command export: a trained network as a file for other runtimes, or as smaller weights."""

import json
from pathlib import Path
from typing import Any

import mxnet as mx

from hwr import weights
from hwr.config.compose import Composed
from hwr.config.roots import ExportConfig
from hwr.errors import InputError
from hwr.files import as_input_error, make_folder, replacing
from hwr.stages.build import config_of, find_weights, model_of
from hwr.stages.engine import exported_network
from hwr.stages.kind import kind_named
from hwr.weights import Weights

INPUT = "images (N, 1, H, W) float32, (255 - grey) / 255: ink 1 on paper 0"


def export_weights(composed: Composed) -> None:
    """Write an ONNX model and print what it takes and gives, or the same weights in fewer bytes."""
    config: ExportConfig = composed.root
    output = Path(config.output)
    loaded = find_weights(config.weights, None, config)
    if config.format != "onnx":
        with as_input_error(output, "choose another --output"):
            weights.copy_smaller(loaded, output, config.format)
        print(f"written to {output}")
        return
    model = onnx_of(loaded)
    make_folder(output.parent)
    with as_input_error(output, "choose another --output"), replacing(output) as fresh:
        fresh.write_bytes(model.SerializeToString())
    for own in (*model.graph.input, *model.graph.output):
        sizes = [axis.dim_param or str(axis.dim_value) for axis in own.type.tensor_type.shape.dim]
        print(f"{own.name} ({', '.join(sizes)})")
    print(f"written to {output}")


def onnx_of(loaded: Weights) -> Any:
    """Return the network of weights as an ONNX model; its metadata hold alphabet and settings.

    Raises InputError for a stage whose network is no single graph, and where the package onnx is missing.
    """
    stage = config_of(loaded).stage
    kind = kind_named(str(stage["kind"]))
    inference = kind.model.inference
    if inference is None:
        raise InputError(f"weights {loaded.folder}: no export for stage {kind.name}; choose line or boxes")
    reader = inference.load(loaded, batch_size=1, context=mx.cpu())
    metadata = {
        "stage": kind.name,
        "input": INPUT,
        "settings": json.dumps(stage, ensure_ascii=False),
        "weights_sha256": loaded.sha256,
        **inference.about(reader),
    }
    if loaded.alphabet is not None:
        metadata |= {"alphabet": json.dumps(list(loaded.alphabet.symbols), ensure_ascii=False),
                     "blank": str(loaded.alphabet.blank)}  # fmt: skip
    size = inference.size(model_of(loaded, kind.model).settings)
    constants = inference.constants(reader)
    return exported_network(reader.network, inference, size, constants=constants, metadata=metadata)
