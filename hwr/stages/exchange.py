"""Exchange trained networks with other programs: files for other runtimes, files of the original program.

The command export writes the first, or smaller weights. Parameter files of the original program are imported
for the networks of `hwr.networks.original`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from hwr import weights
from hwr.config import compose
from hwr.config.compose import UNFILLED, Composed
from hwr.config.roots import ExportConfig, TrainConfig
from hwr.errors import InputError
from hwr.files import as_input_error, make_folder, replacing, scratch_folder, sha256
from hwr.networks import Arrays, arrays, read_params, set_arrays
from hwr.stages.build import config_of, find_weights, model_of
from hwr.stages.engine import exported_network
from hwr.stages.kind import kind_named
from hwr.stages.recipe import parse_recipe
from hwr.text import Alphabet
from hwr.weights import Weights

INPUT = "images (N, 1, H, W) float32, (255 - grey) / 255: ink 1 on paper 0"

# A parameter that only the network of this stage has, by stage.
_MARKS = {"paragraph": "cnn.6.5.weight", "segmentation": "box_preds.0.0.weight", "line": "decoder.weight"}
_PREFIXES = ("arg:", "aux:")  # of names in files of MXNet's older formats


def export_weights(composed: Composed) -> None:
    """Write an ONNX model and print what it takes and gives, or the same weights in fewer bytes."""
    config: ExportConfig = composed.root
    loaded = with_settings(find_weights(config.weights, None, config), config.stage)
    others = [find_weights(name, str(config_of(loaded).stage["kind"]), config) for name in config.average]
    with scratch_folder() as scratch:
        _export(averaged(loaded, others, scratch / "mean") if others else loaded, config)


def _export(loaded: Weights, config: ExportConfig) -> None:
    output = Path(config.output)
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


def with_settings(loaded: Weights, changes: Mapping[str, Any]) -> Weights:
    """Return weights with other values of some settings of their stage; their parameters stay.

    Raises InputError for a setting that the stage does not have, or that it does not take.
    """
    if not changes:
        return loaded
    config = config_of(loaded)
    made = compose.with_values(config, {"stage": {**config.stage, **changes}})
    if made.root.stage["kind"] != config.stage["kind"]:
        raise InputError(
            f"stage.kind: weights {loaded.folder} are of stage {config.stage['kind']}; leave it out"
        )
    changed = replace(loaded, config=made.yaml)
    model_of(changed, kind_named(str(config.stage["kind"])).model)  # refuses what does not fit
    return changed


def averaged(loaded: Weights, others: Sequence[Weights], folder: Path) -> Weights:
    """Write weights to `folder` whose parameters are the mean of those of several, and return them.

    Narrower networks and other alphabets take part as they do in fine-tuning: what they lack is that of
    `loaded`. Raises InputError for weights of another network.
    """
    kind = kind_named(str(config_of(loaded).stage["kind"]))
    reader = _inference(loaded, kind).load(loaded, batch_size=1, context=mx.cpu())
    own = arrays(reader.network)
    total = dict(own)
    for other in others:
        set_arrays(reader.network, own)
        taken = weights.transfer(reader.network, other, loaded.alphabet, heads=kind.heads)
        if taken.other_layers:
            raise InputError(
                f"average: weights {other.folder} are of another network than {loaded.folder} "
                f"({taken.other_layers[0]}); choose weights that were trained with its settings"
            )
        total = {name: total[name] + value for name, value in arrays(reader.network).items()}
    count = len(others) + 1
    set_arrays(reader.network, {name: value / count for name, value in total.items()})
    about = {**loaded.about, "mean of": [loaded.sha256, *(other.sha256 for other in others)]}
    return weights.save(folder, reader.network, loaded.config, loaded.alphabet, about=about)


def _inference(loaded: Weights, kind: Any) -> Any:
    """Return how a stage's network reads; InputError for a stage whose network is no single graph."""
    if kind.model.inference is None:
        raise InputError(f"weights {loaded.folder}: no export for stage {kind.name}; choose line or boxes")
    return kind.model.inference


def onnx_of(loaded: Weights) -> Any:
    """Return the network of weights as an ONNX model; its metadata hold alphabet and settings.

    Raises InputError for a stage whose network is no single graph, and where the package onnx is missing.
    """
    stage = config_of(loaded).stage
    kind = kind_named(str(stage["kind"]))
    inference = _inference(loaded, kind)
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


def import_original(file: Path, folder: Path) -> Weights:
    """Write a parameter file of the original program as weights to `folder`/STAGE, as its names tell it.

    Raises InputError for a file that is none, or of other shapes.
    """
    stored = _read(file)
    stage = next((stage for stage, mark in _MARKS.items() if mark in stored), None)
    if stage is None:
        wanted = f"it has none of {', '.join(_MARKS.values())}"
        raise InputError(f"{file}: of none of the original program's networks ({wanted}); name another file")
    made = compose.composed("train", [f"experiments={stage}/original", f"data.root={UNFILLED}"], TrainConfig)
    recipe = parse_recipe(made.root)
    settings: Any = recipe.settings
    alphabet = Alphabet(settings.characters) if stage == "line" else None
    given = {} if alphabet is None else {"classes": len(alphabet)}
    size = settings.fit.size if alphabet is None else (settings.crop.height, settings.crop.max_width)
    network = recipe.model.draw((1, 1, *size), context=recipe.context, **given)
    weights.fill_arrays(network, stored, str(file))
    about = {"original": file.name, "original_sha256": sha256(file)}
    with as_input_error(folder, "choose another folder"):
        return weights.save(folder / stage, network, made.yaml, alphabet, about=about)


def _read(file: Path) -> Arrays:
    """Return the parameters of a file, in single precision."""
    try:
        stored = read_params(file)
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); name another file") from None
    except ValueError:
        reason = "not a parameter file of MXNet, or damaged"
        raise InputError(
            f"{file}: {reason}; name one that save_parameters wrote, or fetch it again"
        ) from None
    if broken := [name for name, values in stored.items() if not np.isfinite(values).all()]:
        raise InputError(f"{file}: {broken[0]} holds numbers that are not finite; name another file")
    return {_name(name): np.asarray(values, np.float32) for name, values in stored.items()}


def _name(name: str) -> str:
    return name[4:] if name.startswith(_PREFIXES) else name
