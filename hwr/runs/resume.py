"""Resume a run: find it, check that changed settings are allowed, skip what is already recorded."""

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from hwr.config import EXPERIMENTS
from hwr.config.bind import current_targets, texts
from hwr.config.compose import (
    DATA_PATHS,
    Composed,
    as_of_one_set,
    changed,
    chosen,
    is_choice,
    parsed,
    stored,
)
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.files import held, parse_json, read_text, sha256
from hwr.training.checkpoint import newest_state, write_whole

CONFIG, START, STATE = "config.yaml", "start.json", "state"  # in the folder of a run
OVERRIDES, FILE = "overrides", "file "  # in START: the first command line, and before keys that name files
LAST = "last"  # names the run that was started last

# What may be given anew when a run is resumed: a key, or all keys of a node; of data, also that of one of
# several sets. Any other that differs is refused, since what was trained so far was trained with it.
FREE = {
    "max_epochs": "when the training ends",
    "max_minutes": "when the training ends",
    "patience": "when a phase ends",
    "save_every": "how often the state is kept; the bits do not depend on it",
    "few_shapes": "how much memory is kept; the bits do not depend on it",
    "system_metrics": "what is recorded beside the training",
    "device": "where it is computed; the bits depend on it, as on the machine",
    "folder": "where the run lies; it may have been moved",
    "tracking": "where the run is recorded; the server may have been moved",
    "max_pixels": "which images are refused",
    "inspect.examples": "how many findings are shown",
    **{f"data.{name}": "where the data lie; their fingerprint is compared" for name in DATA_PATHS},
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
        started_runs = [path.parent for path in runs.glob(f"*/{START}") if (path.parent / CONFIG).is_file()]
        started = {_read(run_folder)["started"]: run_folder for run_folder in started_runs}
        if not started:
            raise InputError(f"resume={LAST}: no training in {runs}; start one, or name its folder=…")
        return started[max(started)]
    if not (runs / name / CONFIG).is_file():
        remedy = f"give the id of a run made in this folder, or {LAST}"
        raise InputError(f"resume={name}: no training in {runs / name}; {remedy}")
    return runs / name


def has_state(run_folder: Path) -> bool:
    """Tell whether the run in `run_folder` has stored a state."""
    return newest_state(run_folder / STATE) is not None


@contextlib.contextmanager
def alone(run_folder: Path) -> Iterator[None]:
    """Lock the run in `run_folder` for this process; raise InputError if another process trains it.

    A process that is killed lets go of it.
    """
    with held(run_folder / "lock", wait=False) as ours:
        if not ours:
            raise InputError(f"resume={run_folder.name}: this run is still going on; wait for it or end it")
        yield


def configuration(run_folder: Path, now: Composed) -> Composed:
    """Return the configuration of the run in `run_folder`, with the keys of FREE from the command line `now`.

    Files that keys name may lie elsewhere too, as their digests are compared. A command line may be given
    again as a whole. Raises InputError for a key that has another value than the run was trained with, and
    for another experiment file.
    """
    start, given = _read(run_folder), parsed(now.overrides)
    first = parse_json(start.get(OVERRIDES, "[]"))
    trained = stored(read_text(run_folder / CONFIG), (), TrainConfig)
    changes: dict[str, Any] = {"folder": now.root.folder}  # it was found there
    for name in sorted(given, key=lambda name: name.count("."), reverse=True):  # a key before its whole node
        override = str(given[name].input_line)
        if override in first and is_choice(name):
            continue
        if name == EXPERIMENTS.name:
            reason = f"{override}, and the run was started with {' '.join(first) or 'no overrides'}"
            raise InputError(f"resume={run_folder.name}: {reason}; leave it out, or start another run")
        for key, (before, after) in _changes(name, given, trained).items():
            if not _is_free(key, start):
                raise InputError(
                    f"resume={run_folder.name}: {key}={after}, and the run was trained with {before}; "
                    f"leave {override} out, or start another run"
                )
            if key == name:  # not what comes along with data=alto
                changes[key] = after
    return changed(trained.yaml, changes, TrainConfig)


def describe(run_folder: Path, config: str, start: Mapping[str, str]) -> None:
    """Store what a start of the run in `run_folder` depends on, to compare it when the run is resumed.

    That is when it `started` (UTC, ISO 8601), the `fingerprint` of its data, digests of the files that keys
    name, the overrides, and what its bits depend on. Overrides of an earlier start stay.
    """
    if (run_folder / START).is_file():
        start = {**start, **{key: own for key, own in _read(run_folder).items() if key == OVERRIDES}}
    write_whole(run_folder / START, (json.dumps(start, indent=1) + "\n").encode())
    write_whole(run_folder / CONFIG, config.encode())  # last: with it the run can be resumed


def compare(run_folder: Path, start: Mapping[str, str]) -> list[str]:
    """Return what affects exact results and differs from the last start; raise InputError for other data.

    Those are pages of another fingerprint, and files that keys name with another content.
    """
    before = _read(run_folder)
    files = {key: key.removeprefix(FILE) for key in before if key.startswith(FILE)}
    for key, name in {"fingerprint": "the data", **files}.items():
        if before[key] != (now := start.get(key, "none")):
            digests = f"({before[key][:12]}, now {now[:12]})"
            raise InputError(
                f"resume={run_folder.name}: {name} changed since {digests}; bring back what was there, "
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
        candidates = [Path(text), EXPERIMENTS / text] if "/" in text else [Path(text)]
        for named in [own for own in candidates if own.is_file() or ("/" in text and own.is_dir())][:1]:
            files = sorted(path for path in (named, *named.rglob("*")) if path.is_file())
            found[FILE + key] = hashlib.sha256("".join(map(sha256, files)).encode()).hexdigest()
    return found


def _read(run_folder: Path) -> dict[str, str]:
    try:
        found = parse_json((run_folder / START).read_text(encoding="utf-8"))
        if not {"fingerprint", "started"} <= found.keys() or {type(value) for value in found.values()} != {
            str
        }:
            raise ValueError(found)
        parse_json(found.get(OVERRIDES, "[]"))
        return dict(found)
    except (OSError, ValueError, AttributeError):
        raise InputError(f"{run_folder / START}: missing or damaged; this run cannot be resumed") from None


def _changes(name: str, given: Mapping[str, Any], trained: Composed) -> dict[str, tuple[Any, Any]]:
    """Return (stored, new) of every key that an override of the command line changes in the run `trained`."""
    override = given[name]
    if name in ("resume", "folder") or name.startswith("hydra."):
        return {}
    if is_choice(name):
        now = chosen("train", [one.input_line for key, one in given.items() if is_choice(key)])
        # A stage sets keys of every node, which may be set again behind it.
        key = "stage.kind" if name == "stage" else name.rpartition("@")[2].replace("/", ".")
        return _differences(key, current_targets(_select(trained.values, key)), _select(now, key))
    before = _select(trained.values, name)
    if override.is_delete():
        return {} if before == _ABSENT else {name: (before, _ABSENT)}
    if before == _ABSENT and override.is_add():
        return {name: (before, override.value())}
    now = changed(trained.yaml, {name: override.value()}, TrainConfig).values
    return _differences(name, before, _select(now, name))


def _differences(key: str, before: Any, now: Any) -> dict[str, tuple[Any, Any]]:
    """Return (stored, new) of the keys in which two nodes differ, by their full names."""
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        differing: dict[str, tuple[Any, Any]] = {}
        for name in {**before, **now}:
            differing |= _differences(f"{key}.{name}", before.get(name, _ABSENT), now.get(name, _ABSENT))
        return differing
    return {} if before == now else {key: (before, now)}


def _select(values: Mapping[str, Any], key: str) -> Any:
    node: Any = values
    for name in key.split("."):
        node = node.get(name, _ABSENT) if isinstance(node, Mapping) else _ABSENT
    return node


def _is_free(key: str, start: Mapping[str, str]) -> bool:
    names_files = any(re.fullmatch(rf"{FILE}{re.escape(key)}(\.\d+)?", name) for name in start)
    return names_files or any(f"{as_of_one_set(key)}.".startswith(f"{free}.") for free in FREE)
