"""Resume a run: find it, check that changed settings are allowed, skip what is already recorded."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hwr.config import EXPERIMENTS
from hwr.config.bind import texts
from hwr.config.compose import Composed, stored
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.files import held, parse_json, sha256
from hwr.training.state_files import newest, write_whole

CONFIG, START, STATE = "config.yaml", "start.json", "state"  # in the folder of a run
OVERRIDES, FILE = "overrides", "file "  # in START: the first command line, and before keys that name files
LAST = "last"  # names the run that was started last

# What may be given anew when a run is resumed: a key, or all keys of a node. Any other that differs is
# refused, since what was trained so far was trained with it.
FREE = {
    "max_epochs": "when the training ends",
    "max_minutes": "when the training ends",
    "patience": "when a phase ends",
    "save_every": "how often the state is kept; the bits do not depend on it",
    "device": "where it is computed; the bits depend on it, as on the machine",
    "folder": "where the run lies; it may have been moved",
    "tracking": "where the run is recorded; the server may have been moved",
    "max_pixels": "which images are refused",
    "inspect.examples": "how many findings are shown",
    "data.root": "where the data lie; their fingerprint is compared",
    "data.splits": "as data.root",
    "data.table": "as data.root",
    "data.folder": "as data.root",
    "data.fonts": "as data.root",
    "data.text": "as data.root",
    "data.processes": "how many draw at once",
}
_ABSENT = "nothing"


class RecordedRun(Protocol):
    """A run that tells which metrics it has."""

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take metrics."""

    def recorded(self, name: str) -> set[int]:
        """Return the steps for which it has a metric."""


class Once:
    """Passes on the metrics of a resumed training that the run does not have yet."""

    def __init__(self, run: RecordedRun) -> None:
        self._run = run
        self._recorded: dict[str, set[int]] = {}

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Take metrics, perhaps again."""
        for name in values:
            if name not in self._recorded:
                self._recorded[name] = set(self._run.recorded(name))
        fresh = {name: value for name, value in values.items() if step not in self._recorded[name]}
        for name in fresh:
            self._recorded[name].add(step)
        if fresh:
            self._run.metrics(fresh, step)


def find(folder: Path, name: str) -> Path:
    """Return the folder of the run `name` in `folder`: an id, or `last` for the one started last.

    Raises InputError where there is none.
    """
    runs = folder / "runs"
    if name == LAST:
        places = [path.parent for path in runs.glob(f"*/{START}") if (path.parent / CONFIG).is_file()]
        started = {_read(place)["started"]: place for place in places}
        if not started:
            raise InputError(f"resume={LAST}: no training in {runs}; start one, or name its folder=…")
        return started[max(started)]
    if not (runs / name / CONFIG).is_file():
        remedy = f"give the id of a run made in this folder, or {LAST}"
        raise InputError(f"resume={name}: no training in {runs / name}; {remedy}")
    return runs / name


def has_state(place: Path) -> bool:
    """Tell whether the run in `place` has stored a state."""
    return newest(place / STATE) is not None


@contextlib.contextmanager
def alone(place: Path) -> Iterator[None]:
    """Lock the run in `place` for this process; raise InputError if another process trains it.

    A process that is killed lets go of it.
    """
    with held(place / "lock", wait=False) as ours:
        if not ours:
            raise InputError(f"resume={place.name}: this run is still going on; wait for it or end it")
        yield


def configuration(place: Path, now: Composed) -> Composed:
    """Return the configuration of the run in `place`, with the keys of FREE from the command line `now`.

    A command line may be given again as a whole. Raises InputError for a key that has another value than the
    run was trained with, and for another overlay.
    """
    given = parse_json(_read(place).get(OVERRIDES, "null"))
    for override in now.overrides:
        if given is not None and _name(override) == "experiments" and override not in given:
            reason = f"{override}, and the run was started with {' '.join(given) or 'no overrides'}"
            raise InputError(f"resume={place.name}: {reason}; leave it out, or start another run")
    own = stored((place / CONFIG).read_text(encoding="utf-8"), (), TrainConfig)
    changed: dict[str, Any] = {"folder": now.root.folder}  # it was found there
    for override in sorted(now.overrides, key=_depth, reverse=True):  # a single key before its whole node
        for key, (before, after) in _changes(override, own, now).items():
            if not _is_free(key):
                raise InputError(
                    f"resume={place.name}: {key}={after}, and the run was trained with {before}; "
                    f"leave {override} out, or start another run"
                )
            if key == _name(override):  # not what comes along with data=alto
                changed[key] = after
    single = [f"{key}={json.dumps(value)}" for key, value in changed.items()]
    return stored(own.yaml, single, TrainConfig)


def describe(place: Path, config: str, start: Mapping[str, str]) -> None:
    """Store what a start of the run in `place` depends on, to compare it when the run is resumed.

    That is when it `started` (UTC, ISO 8601), the `fingerprint` of its data, digests of the files that keys
    name, the overrides, and what its bits depend on. Overrides of an earlier start stay.
    """
    if (place / START).is_file():
        start = {**start, **{key: own for key, own in _read(place).items() if key == OVERRIDES}}
    write_whole(place / START, (json.dumps(start, indent=1) + "\n").encode())
    write_whole(place / CONFIG, config.encode())  # last: with it the run can be resumed


def compare(place: Path, start: Mapping[str, str]) -> list[str]:
    """Return what affects exact results and differs from the last start; raise InputError for other data.

    Those are pages of another fingerprint, and files that keys name with another content.
    """
    before = _read(place)
    files = {key: key.removeprefix(FILE) for key in start if key.startswith(FILE) and key in before}
    for key, name in {"fingerprint": "the data", **files}.items():
        if before[key] != start[key]:
            digests = f"({before[key][:12]}, now {start[key][:12]})"
            raise InputError(
                f"resume={place.name}: {name} changed since {digests}; bring back what was there, "
                "or start another run"
            )
    keys = [key for key in start if key not in ("started", "fingerprint", OVERRIDES, *files)]
    return [f"{key} {before.get(key)}, now {start[key]}" for key in keys if before.get(key) != start[key]]


def digests(config: TrainConfig) -> dict[str, str]:
    """Return the SHA-256 of the files that keys of stage and decoder name, by FILE and the key.

    Names of published models count too; of a folder, all its files are one.
    """
    found = {}
    for key, text in [*texts(config.stage, "stage"), *texts(config.decoder, "decoder")]:
        places = [Path(text), EXPERIMENTS / text] if "/" in text else [Path(text)]
        for place in [place for place in places if place.is_file() or ("/" in text and place.is_dir())][:1]:
            files = sorted(path for path in (place, *place.rglob("*")) if path.is_file())
            found[FILE + key] = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    return found


def _read(place: Path) -> dict[str, str]:
    try:
        found = parse_json((place / START).read_text(encoding="utf-8"))
        return {"fingerprint": found["fingerprint"], "started": found["started"], **found}
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{place / START}: missing or damaged; this run cannot be resumed") from None


def _changes(override: str, own: Composed, now: Composed) -> dict[str, tuple[Any, Any]]:
    """Return (stored, new) of every key that an override of the command line changes in the run `own`."""
    name = _name(override)
    if name == "resume":
        return {}
    if name in ("stage", "experiments"):  # they set keys of every node, which may be set again behind them
        key = "stage.kind" if name == "stage" else "name"
        return _differences(key, _select(own.values, key), _select(now.values, key))
    key = name.rpartition("@")[2].replace("/", ".")  # decoder@decoder.base=beam
    return _differences(key, _select(own.values, key), _select(now.values, key))


def _name(override: str) -> str:
    """Return what an override sets: lr of lr=1e-3, +lr=1e-3 and ~lr."""
    return override.lstrip("+~").partition("=")[0]


def _depth(override: str) -> int:
    return _name(override).count(".")


def _differences(key: str, own: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """Return (stored, new) of the keys in which two nodes differ, by their full names."""
    if isinstance(own, Mapping) and isinstance(now, Mapping):
        found: dict[str, tuple[Any, Any]] = {}
        for name in {**own, **now}:
            found |= _differences(f"{key}.{name}", own.get(name, _ABSENT), now.get(name, _ABSENT))
        return found
    return {} if own == now else {key: (own, now)}


def _select(values: Mapping[str, Any], key: str) -> Any:
    node: Any = values
    for name in key.split("."):
        node = node.get(name, _ABSENT) if isinstance(node, Mapping) else _ABSENT
    return node


def _is_free(key: str) -> bool:
    return any(key == free or key.startswith(f"{free}.") for free in FREE)
