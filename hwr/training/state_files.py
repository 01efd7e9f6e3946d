"""State files: arrays in an .npz, the rest in JSON; the two newest states, each complete or absent.

A state is `state-N.npz` and then `state-N.json`, which holds the digest of both. Each is renamed into place,
so that a kill at any moment leaves the previous state intact. Nothing is ever unpickled.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwr.errors import InputError, NoRoomError
from hwr.files import as_input_error, parse_json, replacing
from hwr.networks import Arrays


@dataclass(frozen=True)
class Generation:
    """What was written as generation `number`, and which newer ones are damaged."""

    number: int
    about: Mapping[str, Any]
    arrays: Arrays
    damaged: tuple[int, ...]


def write(folder: Path, about: Mapping[str, Any], arrays: Arrays, *, before: int) -> int:
    """Write the next generation and drop all others but `before`; return its number.

    Raises NoRoomError where it cannot be written; what was there stays.
    """
    content = io.BytesIO()  # in one piece: it can be digested, and fails as a whole
    np.savez(content, **arrays)
    number = 1 + max(_numbers(folder), default=0)
    said = {"sha256": _digest(about, content.getbuffer()), **about}
    write_whole(folder / _name(number, "npz"), content.getbuffer())
    try:
        write_whole(folder / _name(number, "json"), json.dumps(said, indent=1).encode())
    except NoRoomError:
        (folder / _name(number, "npz")).unlink()
        raise
    kept = {_name(one, end) for one in (number, before) for end in ("npz", "json")}
    for path in folder.glob("*state-*"):
        if path.name not in kept:
            path.unlink()
    return number


def newest(folder: Path) -> Generation | None:
    """Return the newest whole generation, None before the first; InputError where all are damaged."""
    numbers = _numbers(folder)
    for place, number in enumerate(numbers):
        if (found := _read(folder, number)) is not None:
            return Generation(number, *found, tuple(numbers[:place]))
    if numbers:
        raise InputError(f"{folder}: the state of this training is damaged; it cannot be resumed, start anew")
    return None


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file with all of its content, or leave it as it was and raise NoRoomError."""
    remedy = "make room there, then resume the run"
    with as_input_error(path, remedy, NoRoomError), replacing(path, durable=True) as fresh:
        fresh.write_bytes(content)


def _numbers(folder: Path) -> list[int]:
    """Return the generations there are, the newest first."""
    ends = (path.stem.removeprefix("state-") for path in folder.glob("state-*.json"))
    return sorted((int(end) for end in ends if end.isdigit()), reverse=True)


def _name(number: int, end: str) -> str:
    return f"state-{number:06d}.{end}"


def _read(folder: Path, number: int) -> tuple[dict[str, Any], Arrays] | None:
    try:
        about = dict(parse_json((folder / _name(number, "json")).read_bytes()))
        content = (folder / _name(number, "npz")).read_bytes()
        if about.pop("sha256") == _digest(about, content):
            with np.load(io.BytesIO(content), allow_pickle=False) as stored:
                return about, {name: stored[name] for name in stored.files}
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        pass
    return None


def _digest(about: Mapping[str, Any], arrays: bytes | memoryview) -> str:
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(arrays)
    return digest.hexdigest()
