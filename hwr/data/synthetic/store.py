"""A folder of page images with their records as JSON, built once: whole or not at all, by one process."""

import fcntl
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwr.data.records import Line, Page, Word
from hwr.errors import InputError

RECORDS = "records.json"


def built_once(folder: Path, key: str, build: Callable[[Path], list[Page]]) -> list[Page]:
    """Return the pages in `folder`/`key`; where there are none yet, let `build` draw them first.

    `build` writes images into the folder it is given. A build that is killed leaves nothing that a later call
    would take for whole; a second process waits for the first. Raises InputError when `folder` cannot be
    written.
    """
    home = folder / key
    if not (home / RECORDS).exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / f"{key}.lock"):
                if not (home / RECORDS).exists():
                    _build(home, build)
        except OSError as error:
            raise InputError(f"cannot write synthetic pages to {folder}: {error.strerror or error}") from None
    return _read(home)


def _build(home: Path, build: Callable[[Path], list[Page]]) -> None:
    for left_over in home.parent.glob(f"{home.name}.*.part"):
        shutil.rmtree(left_over)
    part = Path(tempfile.mkdtemp(prefix=f"{home.name}.", suffix=".part", dir=home.parent))
    try:
        records = [{**asdict(page), "image": page.image.name} for page in build(part)]
        (part / RECORDS).write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
        part.chmod(0o755)
        part.rename(home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _read(home: Path) -> list[Page]:
    records = json.loads((home / RECORDS).read_text(encoding="utf-8"))
    return [_page(record, home.resolve()) for record in records]


def _page(record: dict[str, Any], home: Path) -> Page:
    lines = tuple(_line(line) for line in record["lines"])
    area = tuple(record["area"]) if record["area"] else None
    image = home / record["image"]
    return Page(**{**record, "image": image, "size": tuple(record["size"]), "lines": lines, "area": area})


def _line(record: dict[str, Any]) -> Line:
    words = tuple(Word(word["id"], word["text"], tuple(word["box"])) for word in record["words"])
    points = {key: tuple(tuple(point) for point in record[key]) for key in ("polygon", "baseline")}
    return Line(**{**record, **points, "box": tuple(record["box"]), "words": words})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
