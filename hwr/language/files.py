"""Where the files of a language are: in a published folder (language/copiste), another folder, or a file."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from hwr.config.locations import EXPERIMENTS
from hwr.errors import InputError

MODEL, WORDS, CONFUSIONS = "model.arpa", "words.tsv", "confusions.json"


def find(name: str, file: str) -> Path:
    """Return the file that `name` gives: a file, or a folder or published name that holds `file`.

    Raises InputError where there is none.
    """
    for path in (Path(name) / file, Path(name), EXPERIMENTS / name / file):
        if path.is_file():
            return path
    known = sorted(
        path.parent.relative_to(EXPERIMENTS).as_posix() for path in EXPERIMENTS.glob(f"*/*/{file}")
    )
    published = f", or one of {', '.join(known)}" if known else ""
    raise InputError(f"{name}: no such file, and no folder with {file}; name one{published}")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Give a UTF-8 file beside `path`, in a folder made where missing, that takes its place when written.

    Raises InputError where that is not possible; `path` then stays what it was.
    """
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with fresh.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        fresh.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); name another file") from None
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
