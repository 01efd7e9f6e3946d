"""python -m hwr sync: bring to the tracking server what it did not get while runs went on."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from hwr.errors import InputError

URI = "tracking.uri="
# Kind of record -> one of it, several.
WORDS = {
    "metrics": ("metric value", "metric values"),
    "parameters": ("parameter", "parameters"),
    "tags": ("tag", "tags"),
    "files": ("artifact", "artifacts"),
    "status": ("status", "statuses"),
}


def run(arguments: Sequence[str]) -> None:
    """Deliver what waits in the runs of a folder, say it run by run; exit with 1 where something is left."""
    folder, uri = _parse(arguments)
    from hwr import tracking  # takes seconds: bad arguments need not wait

    left = found = 0
    for synced in tracking.sync(folder, uri):
        found += 1
        print(f"run {synced.run}: {_said(synced.delivered) or 'nothing'} delivered")
        if synced.reason is not None:
            left += 1
            print(f"run {synced.run}: {_said(synced.waiting)} still waiting: {synced.reason}")
    if not found:
        print(f"nothing waits in {folder}")
    if left:
        raise SystemExit(1)


def _parse(arguments: Sequence[str]) -> tuple[Path, str | None]:
    """Return folder and tracking server, None for the one that each run was made with."""
    uris = [argument.removeprefix(URI) for argument in arguments if argument.startswith(URI)]
    folders = [argument for argument in arguments if not argument.startswith(URI)]
    if len(folders) > 1 or len(uris) > 1 or any(folder.startswith("-") for folder in folders):
        raise InputError(f"sync: {' '.join(arguments)}: not understood; write sync [FOLDER] [{URI}URI]")
    folder = Path(folders[0] if folders else "outputs")
    if not folder.is_dir():
        raise InputError(f"sync: no folder {folder}; give the one that trainings write to (their key folder)")
    return folder, uris[0] if uris else None


def _said(counts: Counter[str]) -> str:
    said = [f"{counts[kind]} {one if counts[kind] == 1 else many}" for kind, (one, many) in WORDS.items()
            if counts[kind]]  # fmt: skip
    return ", ".join(said)
