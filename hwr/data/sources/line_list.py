"""A folder of line images with one TSV or CSV table of their texts; each line becomes a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hwr.data.records import Line, Page
from hwr.data.sources.files import IMAGE_SUFFIXES, existing_folder, image_size, path_inside, table_rows
from hwr.data.sources.splits import check_split, share_out
from hwr.errors import InputError
from hwr.text import nfc

_COLUMNS = ("file", "text", "writer", "split")
_REQUIRED = _COLUMNS[:2]
_SUFFIXES = (".tsv", ".csv")


def read_line_list(root: str | Path, *, table: str | None, shares: Sequence[float], seed: int) -> list[Page]:
    """Return one page a row of `table` (file, text[, writer, split]), a file in `root`.

    None takes the only `.tsv` or `.csv` in `root`. A first row that names the columns is a header; without
    one they stand in that order. A CSV may quote its fields, a TSV does not. Images lie in `root`, their
    suffix may be left out. Without splits the lines are shared out by writer: see
    `share_out`. Raise InputError for a table that cannot be read and for an image that is
    missing, damaged or outside `root`.
    """
    root = existing_folder(root)
    pages = [_page(row, root, place) for place, row in table_rows(_table(root, table), _COLUMNS, _REQUIRED)]
    return pages if any(page.split for page in pages) else share_out(pages, shares, seed)


def _page(row: Mapping[str, str], root: Path, place: str) -> Page:
    image = _image(root, row["file"], place)
    name = image.relative_to(root.resolve()).with_suffix("").as_posix()
    line = Line(id=name, text=nfc(row["text"]), box=(0.0, 0.0, 1.0, 1.0))
    split = check_split(row.get("split", ""), place)
    return Page(name, row.get("writer") or name, split, image, image_size(image), (line,))


def _image(root: Path, name: str, place: str) -> Path:
    for suffix in ("", *IMAGE_SUFFIXES):
        try:
            image = path_inside(root, f"{name}{suffix}")
        except InputError as error:
            raise InputError(f"{place}: {error}") from None
        if image.is_file():
            return image
    raise InputError(f"{place}: image {name} is not in {root}; add it or remove the row")


def _table(root: Path, table: str | None) -> Path:
    if table is not None:
        return root / Path(table).expanduser()
    found = sorted(path for path in root.iterdir() if path.suffix.lower() in _SUFFIXES)
    if len(found) != 1:
        what = (
            f"{len(found)} tables ({', '.join(path.name for path in found)})" if found else "no .tsv or .csv"
        )
        raise InputError(f"{root} holds {what}; set data.table to the one that lists file and text")
    return found[0]
