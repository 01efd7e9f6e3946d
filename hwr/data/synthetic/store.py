"""A folder of page images with their records as JSON, built once: whole or not at all, by one process."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwr.data.records import Line, Page, Word
from hwr.files import as_input_error, built_once

RECORDS = "records.json"


def stored_pages(folder: Path, key: str, build: Callable[[Path], list[Page]]) -> list[Page]:
    """Return the pages in `folder`/`key`; where there are none yet, let `build` draw them first.

    `build` writes images into the folder it is given. A build that is killed leaves nothing that a later call
    would take for whole; a second process waits for the first. Raises InputError when `folder` cannot be
    written.
    """
    home = folder / key

    def draw(fresh: Path) -> None:
        records = [{**asdict(page), "image": page.image.name} for page in build(fresh)]
        (fresh / RECORDS).write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")

    with as_input_error(home, "choose another data.folder"):
        built_once(home, draw)
    return _read(home)


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
