"""A weights folder: network.params, config.yaml, alphabet.json and a manifest with the SHA-256 of each.

Loading refuses a folder whose files changed; nothing in it is ever unpickled.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mxnet as mx

from hwr.checkpoint import parameters
from hwr.errors import InputError
from hwr.text import Alphabet

PARAMS, CONFIG, ALPHABET, MANIFEST = "network.params", "config.yaml", "alphabet.json", "manifest.json"


@dataclass(frozen=True)
class Weights:
    """A checked weights folder: the configuration that made it (YAML text), its alphabet, and the digest of its params."""

    folder: Path
    config: str
    alphabet: Alphabet
    sha256: str
    about: Mapping[str, Any]


@dataclass(frozen=True)
class Transfer:
    """What fine-tuning took: whole layers, the characters whose output rows were shared, and what it could not take."""

    layers: tuple[str, ...]
    characters: str
    left: tuple[str, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        left = f"; not taken: {', '.join(self.left)}" if self.left else ""
        return f"took {len(self.layers)} parameters and the output rows of {len(self.characters)} characters{left}"


def save(folder: Path, network: Any, config: str, alphabet: Alphabet, *, about: Mapping[str, Any]) -> Weights:
    """Write a weights folder in one move; an older one at the same place is replaced only when the new one is complete."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    network.save_parameters(str(fresh / PARAMS))
    (fresh / CONFIG).write_text(config, encoding="utf-8")
    (fresh / ALPHABET).write_text(alphabet.to_json(), encoding="utf-8")
    digests = {name: sha256(fresh / name) for name in (PARAMS, CONFIG, ALPHABET)}
    manifest = {"format": 1, "sha256": digests, "about": dict(about)}
    (fresh / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fresh.chmod(0o755)
    if folder.exists():
        shutil.rmtree(folder)
    os.replace(fresh, folder)
    return load(folder)


def load(folder: Path, *, alphabet: Alphabet | None = None) -> Weights:
    """Check a weights folder and return what it holds, parameters left on disk.

    Raises InputError when a file is missing or changed, or when `alphabet` is given and differs.
    """
    manifest = _manifest(folder)
    for name in (PARAMS, CONFIG, ALPHABET):
        path, expected = folder / name, manifest["sha256"].get(name)
        if not path.is_file():
            raise InputError(f"weights {folder}: {name} is missing; fetch or train the weights again")
        if sha256(path) != expected:
            raise InputError(f"weights {folder}: {name} has changed since it was written; fetch or train the weights again")
    own = Alphabet.from_json((folder / ALPHABET).read_text(encoding="utf-8"))
    if alphabet is not None and alphabet != own:
        raise InputError(f"weights {folder}: {_difference(own, alphabet)}; use init= to fine-tune to another alphabet")
    config = (folder / CONFIG).read_text(encoding="utf-8")
    return Weights(folder, config, own, manifest["sha256"][PARAMS], manifest.get("about", {}))


def fill(network: Any, weights: Weights) -> None:
    """Load every parameter of the initialised `network` from `weights`; raise InputError where a name or a shape does not fit."""
    stored = _stored(weights)
    for name, parameter in parameters(network).items():
        if name not in stored:
            raise InputError(f"weights {weights.folder}: no parameter {name}; they were made by another network")
        if stored[name].shape != parameter.shape:
            raise InputError(
                f"weights {weights.folder}: {name} has shape {stored[name].shape}, the network wants {parameter.shape}"
            )
        parameter.set_data(stored[name])


def transfer(network: Any, weights: Weights, alphabet: Alphabet, *, heads: Sequence[str]) -> Transfer:
    """Start the initialised `network`, which reads `alphabet`, from `weights` that may read another one.

    Every parameter of the same name and shape is taken; of the `heads`, layers with one row a class, the rows of the
    characters that both alphabets share, and of blank.
    """
    stored, shared = _stored(weights), [s for s in alphabet.symbols if s in weights.alphabet.symbols]
    into = [*alphabet.encode("".join(shared)), alphabet.blank]
    out_of = [*weights.alphabet.encode("".join(shared)), weights.alphabet.blank]
    layers, left = [], []
    for name, parameter in parameters(network).items():
        source = stored.get(name)
        head = name.partition(".")[0] in heads
        if source is None or source.shape[head:] != parameter.shape[head:]:
            left.append(name)
            continue
        if head:
            value = parameter.data().asnumpy()
            value[into] = source.asnumpy()[out_of]
            source = mx.nd.array(value)
        parameter.set_data(source)
        layers.append(name)
    missing = [s for s in alphabet.symbols if s not in shared]
    left += [f"characters {''.join(missing)!r}"] if missing else []
    return Transfer(tuple(layers), "".join(shared), tuple(left))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _manifest(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise InputError(f"weights {folder}: no such folder; give a weights folder, a published name or runs:/ID")
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if isinstance(manifest["sha256"], dict):
            return dict(manifest)
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise InputError(f"weights {folder}: {MANIFEST} is missing or damaged; this is not a whole weights folder")


def _difference(own: Alphabet, other: Alphabet) -> str:
    lacks, extra = own.unknown(other.symbols), other.unknown(own.symbols)
    if not lacks and not extra:
        return "its alphabet has the same characters in another order"
    parts = [f"lacks {lacks!r}"] * bool(lacks) + [f"has {extra!r} besides"] * bool(extra)
    return "its alphabet " + " and ".join(parts)


def _stored(weights: Weights) -> dict[str, Any]:
    stored = mx.nd.load(str(weights.folder / PARAMS))
    if not isinstance(stored, dict):
        raise InputError(f"weights {weights.folder}: {PARAMS} holds no named parameters")
    return dict(stored)
