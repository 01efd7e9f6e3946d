"""The state of a training as plain arrays and JSON: weights, moments, weight average, best weights, progress.

It is what a resumed training needs to end with the bits of one that was never stopped. Random numbers are
drawn from a seed in each epoch, and need no place in it.
"""

import contextlib
import hashlib
import json
import os
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError

STATE = "state.json"
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Progress:
    """How far a training is: epochs in all, in the phase, and since the lowest error of the phase."""

    phase: int = -1  # none has begun
    phase_epoch: int = 0
    epoch: int = 0
    stale: int = 0
    best: float = float("inf")
    seconds: float = 0.0

    def next_epoch(self, error: float, seconds: float) -> "Progress":
        """Count an epoch that ended with the monitored `error`, `seconds` after the training started."""
        better = error < self.best
        return replace(
            self,
            phase_epoch=self.phase_epoch + 1,
            epoch=self.epoch + 1,
            stale=0 if better else self.stale + 1,
            best=error if better else self.best,
            seconds=seconds,
        )


class Checkpoint:
    """The state of the training of the initialised `network`; `folder` holds its newest generation."""

    def __init__(self, network: Any, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.progress = Progress()
        self.best: Arrays = {}
        self._decay: float | None = None
        self._average: dict[str, Any] = {}
        self._moments: Arrays = {}

    def restore(self) -> None:
        """Go on from what the folder holds; raise InputError where it is damaged or of another network."""
        if not (self.folder / STATE).exists():
            return
        progress, decay, stored = _read(self.folder)
        self._refuse_other_network(_under(stored, "weights/"))
        set_arrays(self.network, _under(stored, "weights/"))
        context = next(iter(parameters(self.network).values())).list_ctx()[0]
        average = _under(stored, "average/").items()
        self._average = {name: mx.nd.array(value, context, dtype=value.dtype) for name, value in average}
        self._moments, self._decay = _under(stored, "moments/"), decay
        self.best, self.progress = _under(stored, "best/"), progress

    def begin(self, phase: int, *, average: float | None) -> None:
        """Begin a phase from the best weights so far, with a fresh average of decay `average`, or none."""
        set_arrays(self.network, self.best)
        values = {} if average is None else parameters(self.network)
        self._average = {name: parameter.data().copy() for name, parameter in values.items()}
        self._decay, self._moments = average, {}
        self.progress = replace(self.progress, phase=phase, phase_epoch=0, stale=0)

    def set_moments(self, trainer: Any) -> None:
        """Give the optimizer of a gluon trainer the moments that were restored."""
        optimizer, updater = trainer._optimizer, trainer._updaters[0]
        optimizer._set_current_context(trainer._contexts[0].device_id)
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
        current = parameters(self.network)
        for name, value in self._average.items():
            value += (1 - keep) * (current[name].data() - value)

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

    def finish_epoch(self, error: float, seconds: float) -> None:
        """Count an epoch, and keep the weights of this moment where `error` is the lowest so far."""
        if error < self.progress.best:
            self.best = arrays(self.network)
        self.progress = self.progress.next_epoch(error, seconds)

    def save(self, trainer: Any) -> None:
        """Write a generation and drop the one before; a kill at any moment leaves one that loads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        parts = {
            "weights": arrays(self.network),
            "average": {name: value.asnumpy() for name, value in self._average.items()},
            "best": self.best,
            "moments": self._moments_of(trainer),
        }
        content = {
            f"{part}/{name}": value for part, values in parts.items() for name, value in values.items()
        }
        path = self.folder / f"state-{self.progress.epoch:05d}.npz"
        with path.open("wb") as file:
            np.savez(file, **content)
            _to_disk(file)
        about = {"arrays": path.name, "sha256": sha256(path), "average": self._decay}
        fresh = self.folder / (STATE + ".new")
        with fresh.open("w", encoding="utf-8") as file:
            json.dump({"progress": asdict(self.progress), **about}, file, indent=1)
            _to_disk(file)
        fresh.replace(self.folder / STATE)
        for old in self.folder.glob("state-*.npz"):
            if old != path:
                old.unlink()

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
        return {name: indices[parameter.name] for name, parameter in parameters(self.network).items()}

    def _refuse_other_network(self, stored: Arrays) -> None:
        own = parameters(self.network)
        for name in {**own, **stored}:
            if name not in own or name not in stored or own[name].shape != stored[name].shape:
                raise InputError(
                    f"{self.folder}: {name} differs; a resumed training keeps its network and alphabet"
                )


def parameters(network: Any) -> dict[str, Any]:
    """Return the network's parameters by their place in it (`trunk.0.0.weight`), not by counted names."""
    return dict(network._collect_params_with_prefix())


def arrays(network: Any) -> Arrays:
    """Return a copy of the network's parameters as NumPy arrays."""
    return {name: parameter.data().asnumpy() for name, parameter in parameters(network).items()}


def set_arrays(network: Any, values: Arrays) -> None:
    """Set every parameter of the network that `values` names."""
    for name, parameter in parameters(network).items():
        if name in values:
            parameter.set_data(mx.nd.array(values[name], dtype=values[name].dtype))


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def _read(folder: Path) -> tuple[Progress, float | None, Arrays]:
    """Return the progress, the decay of the average, and the arrays."""
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        path = folder / Path(state["arrays"]).name
        if sha256(path) == state["sha256"]:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            return Progress(**state["progress"]), state["average"], arrays
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        pass
    raise InputError(f"{folder}: the state of this training is damaged or not whole; it cannot be resumed")


def _under(stored: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in stored.items() if name.startswith(prefix)}


def _to_disk(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
