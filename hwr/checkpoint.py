"""The state of a training as plain arrays and JSON: weights, optimizer moments, weight average, best weights, progress."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError

STATE = "state.json"
_Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Progress:
    """How far a training is: counters start at 0; `step` and `phase_epoch` count within the phase."""

    phase: int = 0
    phase_epoch: int = 0
    epoch: int = 0
    step: int = 0
    stale: int = 0
    best: float = float("inf")
    seconds: float = 0.0

    def next_step(self) -> "Progress":
        """Count a step."""
        return replace(self, step=self.step + 1)

    def next_epoch(self, seconds: float) -> "Progress":
        """Count an epoch, `seconds` after the training started."""
        return replace(self, phase_epoch=self.phase_epoch + 1, epoch=self.epoch + 1, stale=self.stale + 1, seconds=seconds)

    def next_phase(self, phase: int) -> "Progress":
        """Begin `phase`."""
        return replace(self, phase=phase, phase_epoch=0, step=0, stale=0)

    def improved(self, error: float) -> "Progress":
        """Take `error` as the best so far."""
        return replace(self, best=error, stale=-1)


class Checkpoint:
    """Keeps the state of the training of `network` in `folder`, one generation at a time."""

    def __init__(self, network: Any, folder: Path) -> None:
        self.network, self.folder = network, folder
        self.best: _Arrays = {}
        self.average: dict[str, Any] = {}
        self.decay: float | None = None
        self._stored: _Arrays = {}

    def restore_progress(self) -> Progress:
        """Return the progress in the folder and load its arrays, or a fresh one where the folder has none."""
        path = self.folder / STATE
        if not path.exists():
            return Progress()
        state = json.loads(path.read_text(encoding="utf-8"))
        arrays = self.folder / state["arrays"]
        if not arrays.exists() or _sha256(arrays) != state["sha256"]:
            raise InputError(f"{arrays}: missing or damaged; this training cannot be resumed")
        with np.load(arrays, allow_pickle=False) as stored:
            self._stored = {name: stored[name] for name in stored.files}
        self.best = _under(self._stored, "best/")
        self.decay = state["average"]
        return Progress(**state["progress"])

    def restore_weights(self, trainer: Any) -> bool:
        """Put stored weights, moments and average back; return False where nothing is stored."""
        if not self._stored:
            return False
        set_arrays(self.network, _under(self._stored, "weights/"))
        _set_moments(trainer, self._stored)
        self.average = {name: mx.nd.array(value) for name, value in _under(self._stored, "average/").items()}
        self._stored = {}
        return True

    def start_phase(self, trainer: Any, *, average: float | None) -> None:
        """Begin a phase: from the best weights where there are some, with no moments and a fresh average."""
        if self.best:
            set_arrays(self.network, self.best)
        self.decay = average
        self.average = {} if average is None else {n: p.data().copy() for n, p in parameters(self.network).items()}
        self._stored = {}
        trainer._updaters[0].states.clear()

    def average_weights(self, step: int) -> None:
        """Move the weight average by one step; young averages forget faster."""
        if self.decay is None:
            return
        keep = min(self.decay, (1 + step) / (10 + step))
        current = parameters(self.network)
        for name, value in self.average.items():
            value += (1 - keep) * (current[name].data() - value)

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Give the network its averaged weights for a while."""
        if self.decay is None:
            yield
            return
        own = arrays(self.network)
        set_arrays(self.network, self.averaged_arrays())
        try:
            yield
        finally:
            set_arrays(self.network, own)

    def averaged_arrays(self) -> _Arrays:
        """Return the averaged weights, or the network's own where none are averaged."""
        if self.average:
            return {name: value.asnumpy() for name, value in self.average.items()}
        return arrays(self.network)

    def keep_best(self) -> None:
        """Remember the network's weights as they are now as the best."""
        self.best = arrays(self.network)

    def save(self, progress: Progress, trainer: Any) -> None:
        """Write one generation and drop the one before; a kill at any moment leaves one that loads."""
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            **{"weights/" + name: value for name, value in arrays(self.network).items()},
            **{"average/" + name: value.asnumpy() for name, value in self.average.items()},
            **{"best/" + name: value for name, value in self.best.items()},
            **_moments(trainer),
        }
        path = self.folder / f"state-{progress.epoch:05d}.npz"
        with path.open("wb") as file:
            np.savez(file, **content)
            file.flush()
            os.fsync(file.fileno())
        state = {"progress": asdict(progress), "arrays": path.name, "sha256": _sha256(path), "average": self.decay}
        fresh = self.folder / (STATE + ".new")
        fresh.write_text(json.dumps(state, indent=1), encoding="utf-8")
        os.replace(fresh, self.folder / STATE)
        for old in self.folder.glob("state-*.npz"):
            if old != path:
                old.unlink()


def parameters(network: Any) -> dict[str, Any]:
    """Return the network's parameters by their place in it (`trunk.0.0.weight`), which does not depend on name counters."""
    return dict(network._collect_params_with_prefix())


def arrays(network: Any) -> _Arrays:
    """Return a copy of the network's parameters as NumPy arrays."""
    return {name: parameter.data().asnumpy() for name, parameter in parameters(network).items()}


def set_arrays(network: Any, values: _Arrays) -> None:
    """Set every parameter of the network that `values` names."""
    for name, parameter in parameters(network).items():
        if name in values:
            parameter.set_data(mx.nd.array(values[name], dtype=values[name].dtype))


def _moments(trainer: Any) -> _Arrays:
    updater, names = trainer._updaters[0], {index: p.name for index, p in enumerate(trainer._params)}
    moments: _Arrays = {}
    for index, state in updater.states.items():
        counts = trainer._optimizer._index_update_count
        moments[f"count/{index}"] = np.array(counts.get(index, 0))
        for number, value in enumerate(state if isinstance(state, tuple) else (state,)):
            if value is not None and names.get(index):
                moments[f"moment/{index}/{number}"] = value.asnumpy()
    moments["count"] = np.array(trainer._optimizer.num_update)
    return moments


def _set_moments(trainer: Any, stored: _Arrays) -> None:
    updater, optimizer = trainer._updaters[0], trainer._optimizer
    for key in (name for name in stored if name.startswith("count/")):
        index = int(key.partition("/")[2])
        values = tuple(mx.nd.array(stored[name]) for name in sorted(stored) if name.startswith(f"moment/{index}/"))
        updater.states[index] = values if len(values) > 1 else (values[0] if values else None)
        updater.states_synced[index] = True
        optimizer._index_update_count[index] = int(stored[key])
    optimizer.num_update = int(stored["count"])


def _under(stored: _Arrays, prefix: str) -> _Arrays:
    return {name[len(prefix) :]: value for name, value in stored.items() if name.startswith(prefix)}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
