"""A folder of line images with a table of their texts, or a text file for each; each line becomes a page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hwr.data.records import Dataset, Line, Page
from hwr.data.sources import (
    PageImages,
    entries_below,
    existing_folder,
    images_beside,
    is_of_macos,
    size_or_flaw,
    tried,
)
from hwr.data.sources.splits import Columns, check_split, share_out, table_rows
from hwr.errors import InputError
from hwr.files import read_text
from hwr.text import nfc

_COLUMNS = Columns(
    {
        "file": ("filename", "file_name", "image", "image_name", "image_path", "path", "img"),
        "text": ("words", "transcription", "transcript", "label", "sentence", "ground_truth", "gt"),
        "writer": (),
        "split": (),
    },
    required=2,
    prose=True,
)
_PAIRED = ".gt.txt"


def read_line_list(root: str | Path, *, table: str | None, shares: Sequence[float], seed: int) -> Dataset:
    """Return one page a row of `table` (file, text[, writer, split]), a file in `root`: see `table_rows`.

    None takes the only `.tsv` or `.csv` in `root`; else pairs of an image and its text, `NAME.png` and
    `NAME.gt.txt`, in any folder; else the only `.txt`. Images are found as `PageImages` does. Without splits
    the lines are shared out by writer: see `share_out`. Images without a text, and files of text that cannot
    be read, are passed over, and told. Raise InputError for a table that cannot be read.
    """
    root = existing_folder(root)
    images = PageImages(root)
    rows, damaged = _rows(images, table)
    pages = [_page(row, images, place) for place, row in rows]
    images.tell()
    unused = images_beside(root, pages, "an image without a text")
    shared = pages if any(page.split for page in pages) else share_out(pages, shares, seed)
    return Dataset(tuple(shared), {"unused_file": unused, "damaged_file": damaged})


def _page(row: Mapping[str, str], images: PageImages, place: str) -> Page:
    name, split = row["file"], check_split(row.get("split", ""), place)
    try:
        if not name:
            raise InputError("names no image; fill in its file")
        image, flaw = images.find(images.root, name), ""
        name = images.name(image).removesuffix(image.suffix)
    except InputError as error:
        image, flaw = images.root, f"{place}: {error}"
        name = Path(name).with_suffix("").as_posix() if Path(name).name else place
    size, unread = size_or_flaw(image)
    line = Line(id=name, text=nfc(row["text"]), box=(0.0, 0.0, 1.0, 1.0))
    return Page(name, row.get("writer") or name, split, image, size, (line,), flaw=flaw or unread)


def _rows(images: PageImages, table: str | None) -> tuple[list[tuple[str, dict[str, str]]], dict[str, str]]:
    """Return the rows of the table or the files of text with their places, and what is wrong with others."""
    root = images.root
    if table is not None:
        return table_rows(root / Path(table).expanduser(), _COLUMNS), {}
    tables = _tables(root, (".tsv", ".csv"))
    own = [] if tables else [Path(own.path) for own in entries_below(root) if own.name.endswith(_PAIRED)]
    pairs = [path for path in own if not is_of_macos(path.relative_to(root).as_posix())]
    if pairs:
        rows, damaged = tried(pairs, lambda path: _pair(path, images))
        if not rows:
            raise InputError(damaged[pairs[0]])
        return list(rows.values()), {path.relative_to(root).as_posix(): own for path, own in damaged.items()}
    tables = tables or _tables(root, (".txt",))
    if len(tables) != 1:
        names = ", ".join(path.name for path in tables)
        what = f"{len(tables)} tables ({names})" if tables else f"no .tsv or .csv, no {_PAIRED}"
        raise InputError(f"{root} holds {what}; set data.table to the one that lists file and text")
    return table_rows(tables[0], _COLUMNS), {}


def _tables(root: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the files with one of the `suffixes` that lie in a folder itself."""
    named = (path for path in sorted(root.iterdir()) if path.suffix.lower() in suffixes)
    return [path for path in named if path.is_file() and not is_of_macos(path.name)]


def _pair(path: Path, images: PageImages) -> tuple[str, dict[str, str]]:
    texts = list(filter(None, map(nfc, read_text(images.inside(path)).splitlines())))
    if len(texts) > 1:
        raise InputError(f"{path}: holds {len(texts)} lines of text; write that of one line image")
    name = path.relative_to(images.root).as_posix().removesuffix(_PAIRED)
    return str(path), {"file": name, "text": "".join(texts)}
