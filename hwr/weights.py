"""Weights folders: network.params, config.yaml, alphabet.json (if text is read), SHA-256 manifest.

Loading refuses a folder whose files changed. Nothing is unpickled.
"""

import contextlib
import errno
import gzip
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError
from hwr.files import parse_json, read_text, recovered, replacing_folder, sha256
from hwr.networks import Arrays, network_parameters, read_params, set_arrays
from hwr.text import Alphabet

PARAMS, CONFIG, ALPHABET, MANIFEST = "network.params", "config.yaml", "alphabet.json", "manifest.json"
FILES = {PARAMS, CONFIG, ALPHABET}  # that a manifest has digests of
FORMAT = 1
_INNER = ("weights", "weights/best", "best")  # where a run, an adaptation or a publication keeps them
STEP = ".step"  # ends the name of what the int8 rows of a parameter are multiples of
STEPS = 47  # to the largest number of a row: 127 take a fifth more bytes, and lines are read no better


@dataclass(frozen=True)
class Weights:
    """A checked weights folder: the configuration (YAML) that made it, alphabet if any, digest of params."""

    folder: Path
    config: str
    alphabet: Alphabet | None
    sha256: str
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Transfer:
    """What fine-tuning took over: layers, output rows of shared characters; and what stays as drawn."""

    layers: tuple[str, ...]
    characters: str
    other_layers: tuple[str, ...] = ()
    other_characters: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        rows = f", output rows of {len(self.characters)} characters" if self.characters else ""
        others = [f"characters {self.other_characters!r}"] if self.other_characters else []
        left = ", ".join([*self.other_layers, *others])
        return f"took {len(self.layers)} layers{rows}" + (f"; not taken: {left}" if left else "")


def save(
    folder: Path, network: Any, config: str, alphabet: Alphabet | None, *, about: Mapping[str, Any]
) -> Weights:
    """Write a weights folder; an older one is replaced as a whole, whenever the process is killed.

    Raises OSError where it cannot be written.
    """
    with _replacing(folder, config, alphabet, about) as params:
        try:
            network.save_parameters(str(params))
        except mx.MXNetError:  # it tells of a full disk in its own way
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(params)) from None
    return load(folder)


def copy(weights: Weights, folder: Path, config: str) -> Weights:
    """Write the parameters and alphabet of `weights` to another folder, with another configuration."""
    with _replacing(folder, config, weights.alphabet, weights.about) as params:
        shutil.copyfile(weights.folder / PARAMS, params)
    return load(folder)


def copy_smaller(weights: Weights, folder: Path, form: str) -> Weights:
    """Write `weights` to a new folder with parameters as `half` or `int8`: half the bytes, or a fifth.

    Raises InputError where the folder holds other things, and for a parameter that is too large for it or
    no number.
    """
    if folder.exists() and not (folder / MANIFEST).is_file():
        raise InputError(f"{folder}: is there, and no weights folder; choose another --output")
    stored: Arrays = {}
    raw, values = _raw(weights), _stored(weights)
    for name in raw:
        if name.endswith(STEP) or (form == "int8" and name + STEP in raw):
            smaller = {name: raw[name]} if form == "int8" else {}  # in whole steps already
        elif form == "int8" and raw[name].ndim > 1:
            smaller = _rounded(name, values[name])
        else:
            smaller = _halved(name, values[name])
        if not all(np.isfinite(own).all() for own in smaller.values()):
            raise InputError(
                f"weights {weights.folder}: {name} is too large or no number; keep them as they are"
            )
        stored |= smaller
    with _replacing(folder, weights.config, weights.alphabet, weights.about) as params:
        kept = {name: mx.nd.array(value, dtype=value.dtype) for name, value in stored.items()}
        mx.nd.save(str(params), kept)
        if form == "int8":
            params.write_bytes(gzip.compress(params.read_bytes(), mtime=0))
    return load(folder)


def load(folder: Path) -> Weights:
    """Check a weights folder and return its contents; parameters stay on disk.

    Raises InputError when a file is missing or changed.
    """
    manifest = _manifest(recovered(folder))
    for name in {PARAMS: 0, CONFIG: 0, **manifest["sha256"]}:
        path = folder / name
        if not path.is_file():
            raise InputError(f"weights {folder}: {name} is missing; fetch or train them again")
        if sha256(path) != manifest["sha256"].get(name):
            raise InputError(f"weights {folder}: {name} was changed since; fetch or train them again")
    reads = ALPHABET in manifest["sha256"]
    alphabet = Alphabet.from_json(read_text(folder / ALPHABET)) if reads else None
    config = read_text(folder / CONFIG)
    return Weights(folder, config, alphabet, manifest["sha256"][PARAMS], manifest.get("about", {}))


def fill(network: Any, weights: Weights) -> None:
    """Load every parameter of the initialised `network`; raise InputError where a name or shape differs."""
    fill_arrays(network, _stored(weights), f"weights {weights.folder}")


def fill_arrays(network: Any, stored: Arrays, source: str) -> None:
    """Set every parameter of the initialised `network` to the arrays of a `source`; InputError as `fill`."""
    wanted = network_parameters(network)
    for name in {**wanted, **stored}:
        if name not in wanted or name not in stored:
            where = "the network" if name in stored else "the file"
            raise InputError(f"{source}: of another network, {where} has no {name}")
        if stored[name].shape != wanted[name].shape:
            own, other = (" x ".join(map(str, held[name].shape)) for held in (stored, wanted))
            raise InputError(
                f"{source}: of another network, {name} has shape {own}, the network wants {other}"
            )
    set_arrays(network, stored)


def transfer(network: Any, weights: Weights, alphabet: Alphabet | None, *, heads: Sequence[str]) -> Transfer:
    """Start the initialised `network`, which reads `alphabet`, from `weights` that may read another one.

    Every layer of the same name and shapes is taken; of the `heads`, layers with one row a class, the rows of
    the characters that both alphabets share, and of blank. A network that can be wider than the weights are
    (it has `widened`) takes narrower layers too.
    """
    stored, wanted = _stored(weights), network_parameters(network)
    stored = network.widened(stored) if hasattr(network, "widened") else stored
    classes = {name: int(name.partition(".")[0] in heads) for name in wanted}  # leading axes that may differ
    unfit = {_layer(n) for n, first in classes.items() if not _alike(stored.get(n), wanted[n], first)}
    shared, rows, stored_rows = _shared(alphabet, weights.alphabet)
    taken = [name for name in wanted if _layer(name) not in unfit]
    for name in taken:
        value = wanted[name].list_data()[0].asnumpy()
        value[rows if classes[name] else ...] = stored[name][stored_rows if classes[name] else ...]
        wanted[name].set_data(mx.nd.array(value, dtype=value.dtype))
    read = shared if any(classes[name] for name in taken) else ""
    missing = "".join(s for s in alphabet.symbols if s not in read) if alphabet else ""
    return Transfer(tuple(dict.fromkeys(map(_layer, taken))), read, tuple(sorted(unfit)), missing)


@contextlib.contextmanager
def _replacing(
    folder: Path, config: str, alphabet: Alphabet | None, about: Mapping[str, Any]
) -> Iterator[Path]:
    """Give the path for the parameters; the folder then takes its place, with all else that belongs to it."""
    with replacing_folder(folder) as fresh:
        yield fresh / PARAMS
        (fresh / CONFIG).write_text(config, encoding="utf-8")
        if alphabet is not None:
            (fresh / ALPHABET).write_text(alphabet.to_json(), encoding="utf-8")
        digests = {path.name: sha256(path) for path in sorted(fresh.iterdir())}
        manifest = {"format": FORMAT, "sha256": digests, "about": dict(about)}
        text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        (fresh / MANIFEST).write_text(text, encoding="utf-8")


def _shared(wanted: Alphabet | None, other: Alphabet | None) -> tuple[str, list[int], list[int]]:
    """Return the characters that two alphabets share, and their classes and blank in either."""
    if wanted is None or other is None:
        return "", [], []
    shared = "".join(s for s in wanted.symbols if s in other.symbols)
    return shared, [*wanted.encode(shared), wanted.blank], [*other.encode(shared), other.blank]


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        remedy = "use a weights folder, a published name or runs:/ID"
        raise InputError(f"weights {folder}: no such folder; {remedy}")
    if not (folder / MANIFEST).exists():
        inner = [folder / name for name in _INNER if (folder / name / MANIFEST).is_file()]
        if inner:
            raise InputError(f"weights {folder}: holds its weights in a folder of its own; name {inner[0]}")
    try:
        manifest = parse_json((folder / MANIFEST).read_text(encoding="utf-8"))
        digests = manifest["sha256"]  # of these files and no others: a name may lead anywhere
        if manifest["format"] == FORMAT and isinstance(digests, dict) and {*digests} <= FILES:
            return dict(manifest)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"weights {folder}: {MANIFEST} is missing or damaged; fetch or train them again")


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _alike(stored: Any, wanted: Any, first: int) -> bool:
    """Tell whether two parameters have the same shape from axis `first` on."""
    own, other = () if stored is None else stored.shape, wanted.shape
    return stored is not None and len(own) == len(other) and own[first:] == other[first:]


def _stored(weights: Weights) -> Arrays:
    """Return the parameters by name, in the precision in which they are kept; of int8 as float32."""
    arrays = _raw(weights)
    steps = {name.removesuffix(STEP): arrays.pop(name) for name in list(arrays) if name.endswith(STEP)}
    return arrays | {name: arrays[name] * _by_row(step, arrays[name]) for name, step in steps.items()}


def _raw(weights: Weights) -> Arrays:
    """Return the arrays of the file: parameters, and of those in int8 the steps."""
    try:
        arrays = read_params(weights.folder / PARAMS)
        if all(name.removesuffix(STEP) in arrays for name in arrays):
            return arrays
        raise ValueError("steps of nothing")
    except (OSError, ValueError):
        said = f"{PARAMS} holds no parameters; fetch or train them again"
        raise InputError(f"weights {weights.folder}: {said}") from None


def _halved(name: str, value: NDArray[Any]) -> Arrays:
    with np.errstate(over="ignore"):
        return {name: value.astype(np.float16)}


def _rounded(name: str, value: NDArray[Any]) -> Arrays:
    """Return a parameter as whole steps, int8, and the step of each row, float32."""
    step = np.abs(value).reshape(len(value), -1).max(axis=1).astype(np.float32) / STEPS
    step[step == 0] = 1
    with np.errstate(invalid="ignore"):  # no number: the step tells
        return {name: np.rint(value / _by_row(step, value)).astype(np.int8), name + STEP: step}


def _by_row(step: NDArray[Any], value: NDArray[Any]) -> NDArray[Any]:
    return step.reshape(-1, *[1] * (value.ndim - 1))
