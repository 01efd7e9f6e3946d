"""Import parameter files of the published program, for the networks of `hwr.networks.original`."""

from pathlib import Path
from typing import Any

import numpy as np

from hwr import weights
from hwr.config.compose import UNFILLED, composed
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.files import as_input_error, sha256
from hwr.networks import Arrays, read_params
from hwr.stages.recipe import parse_recipe
from hwr.text import Alphabet
from hwr.weights import Weights

# A parameter that only the network of this stage has, by stage.
_MARKS = {"paragraph": "cnn.6.5.weight", "segmentation": "box_preds.0.0.weight", "line": "decoder.weight"}
_PREFIXES = ("arg:", "aux:")  # of names in files of MXNet's older formats


def import_original(file: Path, folder: Path) -> Weights:
    """Write a parameter file of the published program as weights to `folder`/STAGE, as its names tell it.

    Raises InputError for a file that is none, or of other shapes.
    """
    stored = _read(file)
    stage = next((stage for stage, mark in _MARKS.items() if mark in stored), None)
    if stage is None:
        wanted = f"it has none of {', '.join(_MARKS.values())}"
        raise InputError(f"{file}: of none of the published program's networks ({wanted}); name another file")
    made = composed("train", [f"experiments={stage}/original", f"data.root={UNFILLED}"], TrainConfig)
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
