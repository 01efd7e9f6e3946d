"""State of a training: weights, moments, weight average, best weights, progress, metrics of its epochs.

A training resumed from it, also within an epoch, ends bit-identical to one that was never stopped. Random
numbers are drawn from a seed in each step, so the state holds no generator.

On disk a state is `state-N.npz`, its arrays, then `state-N.json`, the rest and the digest of both. Each is
renamed into place, so that a kill at any moment leaves the state before intact. Nothing is ever unpickled.
"""

import contextlib
import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from hwr.errors import InputError, NoRoomError
from hwr.files import as_input_error, parse_json, replacing
from hwr.networks import Arrays, arrays, network_parameters, set_arrays


@dataclass(frozen=True)
class Progress:
    """How far a training is: epochs in all and in the phase, steps in the epoch under way, in all `seconds`.

    `stale` epochs are behind since the lowest error of the phase; the epoch under way `began` at that second.
    """

    phase: int = -1  # none has begun
    phase_epoch: int = 0
    epoch: int = 0
    step: int = 0
    stale: int = 0
    best: float = float("inf")
    seconds: float = 0.0
    began: float = 0.0


@dataclass(frozen=True)
class Generation:
    """What was written as generation `number`, and which newer ones are damaged."""

    number: int
    about: Mapping[str, Any]
    arrays: Arrays
    damaged: tuple[int, ...]


class Checkpoint:
    """The state of the training of the initialised `network`; `folder` holds its newest two generations.

    `losses` are those of the samples of the epoch under way, `history` the metrics of the epochs behind.
    """

    def __init__(self, network: Any, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.progress = Progress()
        self.best: Arrays = {}
        self.losses: list[float] = []
        self.history: dict[int, dict[str, float]] = {}
        self._generation = 0
        self._decay: float | None = None
        self._average: dict[str, Any] = {}
        self._moments: Arrays = {}

    def restore(self) -> str:
        """Go on from what the folder holds, and say so where the newest generation is damaged.

        Raises InputError where both are, or where they are of another network.
        """
        found = newest_state(self.folder)
        if found is None:
            return ""
        stored, progress = found.arrays, _progress(found, self.folder)
        self._refuse_other_network(_under(stored, "weights/"))
        set_arrays(self.network, _under(stored, "weights/"))
        context = next(iter(network_parameters(self.network).values())).list_ctx()[0]
        average = _under(stored, "average/").items()
        self._average = {name: mx.nd.array(value, context, dtype=value.dtype) for name, value in average}
        self._moments, self._decay = _under(stored, "moments/"), found.about["average"]
        self.best, self.progress = _under(stored, "best/"), progress
        self.losses = stored["losses"].tolist()
        self.history = {int(epoch): values for epoch, values in found.about["history"].items()}
        self._generation = found.number
        behind = f"{self.folder}: the newest state is damaged; going on from the one before it"
        return behind if found.damaged else ""

    def begin(self, phase: int, *, average: float | None) -> None:
        """Begin a phase from the best weights so far, with a fresh average of decay `average`, or none."""
        set_arrays(self.network, self.best)
        values = {} if average is None else network_parameters(self.network)
        self._average = {name: parameter.list_data()[0].copy() for name, parameter in values.items()}
        self._decay, self._moments = average, {}
        self.progress = replace(self.progress, phase=phase, phase_epoch=0, stale=0)

    def set_moments(self, trainer: Any) -> None:
        """Give the optimizer of a gluon trainer the moments that were restored."""
        optimizer = trainer._optimizer
        for context, updater in zip(trainer._contexts, trainer._updaters, strict=True):
            optimizer._set_current_context(context.device_id)
            for name, index in self._indices(trainer).items():
                if f"count/{name}" in self._moments:
                    stored = sorted(_under(self._moments, f"{name}/").items())
                    state = tuple(mx.nd.array(value, dtype=value.dtype) for _, value in stored)
                    updater.states[index] = state if len(state) > 1 else next(iter(state), None)
                    updater.states_synced[index] = False  # MXNet moves them to the weights' device
                    optimizer._index_update_count[index] = int(self._moments[f"count/{name}"])

    def average_weights(self, step: int) -> None:
        """Move the average by a step, 0-based in its phase; young averages forget faster."""
        if self._decay is None:
            return
        keep = min(self._decay, (1 + step) / (10 + step))
        current = network_parameters(self.network)
        for name, value in self._average.items():
            value += (1 - keep) * (current[name].list_data()[0] - value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network its averaged weights for a while, where there are some."""
        if not self._average:
            yield
            return
        own = arrays(self.network)
        set_arrays(self.network, self.last())
        try:
            yield
        finally:
            set_arrays(self.network, own)

    def last(self) -> Arrays:
        """Return the averaged weights, or the network's own where none are averaged."""
        averaged = {name: value.asnumpy() for name, value in self._average.items()}
        return averaged or arrays(self.network)

    def finish_step(self, losses: Sequence[float], seconds: float) -> None:
        """Count a step and keep the losses of its samples."""
        self.losses += losses
        self.progress = replace(self.progress, step=self.progress.step + 1, seconds=seconds)

    def finish_epoch(self, error: float, seconds: float) -> None:
        """Count an epoch, and keep the weights of this moment where `error` is the lowest so far."""
        at, better = self.progress, error < self.progress.best
        if better:
            self.best = arrays(self.network)
        self.losses = []
        self.progress = replace(
            at, phase_epoch=at.phase_epoch + 1, epoch=at.epoch + 1, step=0, seconds=seconds, began=seconds,
            stale=0 if better else at.stale + 1, best=error if better else at.best,
        )  # fmt: skip

    def keep_metrics(self, values: Mapping[str, float]) -> None:
        """Keep the metrics of the epoch that has ended."""
        self.history[self.progress.epoch] = {name: float(value) for name, value in values.items()}

    def save(self, trainer: Any) -> None:
        """Write a generation and keep the one before; a kill at any moment leaves one that loads.

        Raises InputError where it cannot be written.
        """
        parts = {
            "weights": arrays(self.network),
            "average": {name: value.asnumpy() for name, value in self._average.items()},
            "best": self.best,
            "moments": self._moments_of(trainer),
        }
        content = {f"{part}/{name}": value for part, own in parts.items() for name, value in own.items()}
        content["losses"] = np.array(self.losses, np.float64)
        about = {
            "progress": asdict(self.progress),
            "average": self._decay,
            "history": {str(epoch): values for epoch, values in self.history.items()},
        }
        self._generation = write_state(self.folder, about, content, before=self._generation)

    def _moments_of(self, trainer: Any) -> Arrays:
        states, counts = trainer._updaters[0].states, trainer._optimizer._index_update_count
        moments: Arrays = {}
        for name, index in self._indices(trainer).items():
            if index in states:
                state = states[index] if isinstance(states[index], tuple) else (states[index],)
                found = [value.asnumpy() for value in state if value is not None]
                moments |= {f"{name}/{number}": value for number, value in enumerate(found)}
                moments[f"count/{name}"] = np.array(counts[index])
        return moments

    def _indices(self, trainer: Any) -> dict[str, int]:
        indices = {parameter.name: index for index, parameter in enumerate(trainer._params)}
        return {name: indices[parameter.name] for name, parameter in network_parameters(self.network).items()}

    def _refuse_other_network(self, stored: Arrays) -> None:
        own = network_parameters(self.network)
        for name in {**own, **stored}:
            if name not in own or name not in stored or own[name].shape != stored[name].shape:
                remedy = "a resumed training keeps its network and alphabet"
                raise InputError(f"{self.folder}: {name} differs; {remedy}")


def stored_progress(folder: Path) -> Progress:
    """Return how far the training is whose state `folder` holds; InputError where all of it is damaged."""
    found = newest_state(folder)
    return Progress() if found is None else _progress(found, folder)


def write_state(folder: Path, about: Mapping[str, Any], arrays: Arrays, *, before: int) -> int:
    """Write the next generation and drop all others but `before`; return its number.

    Raises NoRoomError where it cannot be written; what was there stays.
    """
    content = io.BytesIO()  # in one piece: it can be digested, and fails as a whole
    np.savez(content, **arrays)
    number = 1 + max(_numbers(folder), default=0)
    said = {"sha256": _digest(about, content.getbuffer()), **about}
    write_whole(folder / _file(number, "npz"), content.getbuffer())
    try:
        write_whole(folder / _file(number, "json"), json.dumps(said, indent=1).encode())
    except NoRoomError:
        (folder / _file(number, "npz")).unlink()
        raise
    kept = {_file(one, end) for one in (number, before) for end in ("npz", "json")}
    for path in folder.glob("*state-*"):
        if path.name not in kept:
            path.unlink()
    return number


def newest_state(folder: Path) -> Generation | None:
    """Return the newest whole generation, None before the first; InputError where all are damaged."""
    numbers = _numbers(folder)
    for place, number in enumerate(numbers):
        if (found := _read_state(folder, number)) is not None:
            return Generation(number, *found, tuple(numbers[:place]))
    if numbers:
        raise InputError(f"{folder}: the state of this training is damaged; it cannot be resumed, start anew")
    return None


def write_whole(path: Path, content: bytes | memoryview) -> None:
    """Write a file with all of its content, or leave it as it was and raise NoRoomError."""
    remedy = "make room there, then resume the run"
    with as_input_error(path, remedy, NoRoomError), replacing(path, durable=True) as fresh:
        fresh.write_bytes(content)


def _under(stored: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def _progress(found: Generation, folder: Path) -> Progress:
    try:
        return Progress(**found.about["progress"])
    except (KeyError, TypeError):
        raise InputError(f"{folder}: the state is of another version of this program; start anew") from None


def _numbers(folder: Path) -> list[int]:
    """Return the generations there are, the newest first."""
    ends = (path.stem.removeprefix("state-") for path in folder.glob("state-*.json"))
    return sorted((int(end) for end in ends if end.isdigit()), reverse=True)


def _file(number: int, end: str) -> str:
    return f"state-{number:06d}.{end}"


def _read_state(folder: Path, number: int) -> tuple[dict[str, Any], Arrays] | None:
    try:
        about = dict(parse_json((folder / _file(number, "json")).read_bytes()))
        content = (folder / _file(number, "npz")).read_bytes()
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
