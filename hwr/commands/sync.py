"""The command sync: deliver what a tracking server missed."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hwr import tracking
from hwr.config.compose import Composed
from hwr.config.roots import SyncConfig
from hwr.errors import InputError

# Kind of record -> one of it, several.
WORDS = {
    "metrics": ("metric value", "metric values"),
    "parameters": ("parameter", "parameters"),
    "tags": ("tag", "tags"),
    "files": ("artifact", "artifacts"),
    "status": ("status", "statuses"),
}


def sync_runs(composed: Composed, *, folders: Sequence[str]) -> int:
    """Deliver what waits in the runs of a folder, print it by run, and return 1 where something is left."""
    config: SyncConfig = composed.root
    folder = Path(folders[0] if folders else config.folder)
    if not folder.is_dir():
        raise InputError(f"sync: no folder {folder}; give the one that trainings write to (their key folder)")
    left = runs = 0
    for synced in tracking.sync(folder, config.tracking.uri):
        runs += 1
        print(f"run {synced.run}: {_in_words(synced.delivered) or 'nothing'} delivered")
        if synced.reason is not None:
            left += 1
            print(f"run {synced.run}: {_in_words(synced.waiting)} still waiting: {synced.reason}")
    if not runs:
        print(f"nothing waits in {folder}")
    return 1 if left else 0


def _in_words(counts: Counter[str]) -> str:
    return ", ".join(
        f"{counts[kind]} {one if counts[kind] == 1 else several}"
        for kind, (one, several) in WORDS.items()
        if counts[kind]
    )
