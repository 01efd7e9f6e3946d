"""Starts of runs on disk, so that a process that is killed in one leaves no run behind that never ends."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from hwr.errors import NoRoomError
from hwr.files import as_input_error, held, parse_json

START, STARTS = "hwr.start", ".starting"  # tag of a run with the name of its start, and the folder of notes


@contextlib.contextmanager
def starting(folder: Path, uri: str | None, experiment: str) -> Iterator[dict[str, str]]:
    """Note in the block that a run is being started; yield the tag that tells it from others.

    The note stays where the block fails: a server may have started the run, though its answer was lost.
    """
    name = uuid4().hex
    note = folder / STARTS / name
    with held(note):
        with as_input_error(note, "make room there", NoRoomError):
            note.write_text(json.dumps({"uri": uri, "experiment": experiment}), encoding="utf-8")
        yield {START: name}
        note.unlink()


def end_abandoned(folder: Path, client: Callable[[str | None], MlflowClient | None]) -> Iterator[str]:
    """End the runs as killed whose processes were killed while they started them; yield their ids.

    `client` makes a client of the server that a note names, or gives None where it does not answer.
    """
    for note in sorted(folder.glob(f"{STARTS}/*")):
        with held(note, wait=False) as gone, contextlib.suppress(MlflowException):
            if gone and (text := note.read_text(encoding="utf-8")):  # else nothing was asked for yet
                about = parse_json(text)
                if (server := client(about["uri"])) is None:
                    continue
                for run in server.search_runs([about["experiment"]], f"tags.`{START}` = '{note.name}'"):
                    known = (folder / "runs" / run.info.run_id / "spool").is_dir()  # which tells more
                    if run.info.status == "RUNNING" and not known:
                        server.set_terminated(run.info.run_id, "KILLED")
                        yield run.info.run_id
            if gone:
                note.unlink()
