"""Assign split and writer to pages: from a table, from lists, or at random by writer."""

import logging
import random
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hwr.data.records import SPLITS, Page
from hwr.data.sources.table import Columns, table_rows
from hwr.errors import InputError
from hwr.files import read_text
from hwr.images.load import IMAGE_SUFFIXES

TABLE = "pages.csv"
_LIST_SUFFIXES = ("", ".txt", ".lst")
_COLUMNS = Columns(
    {
        "page": ("file", "filename", "file_name", "image", "image_name", "id", "page_id"),
        "writer": (),
        "split": (),
    },
    required=1,
    prose=False,
)
_LOG = logging.getLogger(__name__)


def assign_splits(
    pages: Sequence[Page], root: Path, *, splits: str | None, shares: Sequence[float], seed: int
) -> list[Page]:
    """Return the pages with writer and split.

    `splits`, from `root` when relative, is a table with the columns page, writer, split, or a folder with
    `train.txt`, `valid.txt`, `test.txt` that list page ids; None takes `pages.csv` where `root` has one.
    Without a table, or when it has no column split, pages are shared out by writer (see `share_out`). A page
    whose writer is not known is its own writer. Raise InputError for a table or list that cannot be read.
    """
    where = _source(root, splits)
    if where is not None and where.is_dir():
        lists = read_lists(where, {split: [split] for split in SPLITS})
        split_of = {_without_suffix(page): split for page, split in lists.items()}
        warn_of_missing(split_of, {page.id for page in pages}, where)
        return [replace(p, split=split_of.get(p.id, ""), writer=p.writer or p.id) for p in pages]
    table = {} if where is None else _read_table(where)
    if where is not None:
        warn_of_missing(table, {page.id for page in pages}, where)
    written = [replace(p, writer=table.get(p.id, {}).get("writer") or p.writer or p.id) for p in pages]
    if not any("split" in row for row in table.values()):
        return share_out(written, shares, seed)
    return [replace(page, split=table.get(page.id, {}).get("split", "")) for page in written]


def share_out(pages: Sequence[Page], shares: Sequence[float], seed: int) -> list[Page]:
    """Return the pages shared out by writer, no writer in two splits.

    `shares` are the parts of train, valid and test, of 1; each split with a share gets a writer while writers
    last. Raise InputError when they do not add up.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise InputError(f"data.shares={list(shares)}: give shares of train, valid and test that add up to 1")
    writers = sorted({page.writer for page in pages})
    random.Random(seed).shuffle(writers)
    split_of = dict(zip(writers, _cut(len(writers), shares), strict=True))
    return [replace(page, split=split_of[page.writer]) for page in pages]


def read_lists(folder: Path, names: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return id -> split from id lists, one id a line and no header: the first line counts.

    `names` gives the lists of each split, `.txt` and `.lst` left out or not. Raise InputError for a list that
    is missing or empty, and for an id in two splits.
    """
    split_of: dict[str, str] = {}
    for split, lists in names.items():
        for entry in (entry for name in lists for entry in _read_list(folder, name)):
            if split_of.setdefault(entry, check_split(split, folder)) != split:
                raise InputError(f"{folder}: {entry} is in {split_of[entry]} and in {split}; keep it in one")
    return split_of


def check_split(split: str, source: str | Path) -> str:
    """Return `split` when it is train, valid, test or empty; raise InputError otherwise."""
    if split and split not in SPLITS:
        raise InputError(f"{source}: split {split!r} is unknown; use {', '.join(SPLITS)} or leave it empty")
    return split


def warn_of_missing(listed: Collection[str], present: Collection[str], source: Path) -> None:
    """Log what `source` lists and the data lacks: a part of it may be read with the lists of the whole."""
    lost = sorted(set(listed) - set(present))
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        _LOG.warning("%s lists %s%s, not in the data", source, lost[0], more)


def _source(root: Path, splits: str | None) -> Path | None:
    if splits is None:
        return root / TABLE if (root / TABLE).is_file() else None
    path = root / Path(splits).expanduser()
    if not path.exists():
        raise InputError(f"data.splits: {path} does not exist; give a {TABLE} or a folder of id lists")
    return path


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    for place, row in table_rows(path, _COLUMNS):
        page = _without_suffix(row["page"])
        if page in table:
            raise InputError(f"{place}: page {page} is listed twice; remove one of the two")
        check_split(row.get("split", ""), place)
        table[page] = row
    return table


def _read_list(folder: Path, name: str) -> list[str]:
    files = (folder / f"{name}{suffix}" for suffix in _LIST_SUFFIXES)
    path = next((file for file in files if file.is_file()), None)
    if path is None:
        raise InputError(f"{folder} holds no id list {name}.txt; set data.splits to the folder of the lists")
    entries = [entry for line in read_text(path).splitlines() if (entry := line.strip())]
    if not entries:
        raise InputError(f"{path} is empty; list one id a line")
    return entries


def _cut(count: int, shares: Sequence[float]) -> list[str]:
    """Return the split of each of `count` writers: one a split with a share, then by what is missing."""
    used = {split: share for split, share in zip(SPLITS, shares, strict=True) if share > 0}
    given = dict.fromkeys(list(used)[:count], 1)
    for _ in range(count - len(given)):
        neediest = max(given, key=lambda split: used[split] * count - given[split])
        given[neediest] += 1
    return [split for split, number in given.items() for _ in range(number)]


def _without_suffix(page: str) -> str:
    stem, dot, suffix = page.rpartition(".")
    return stem if dot and f".{suffix.lower()}" in (*IMAGE_SUFFIXES, ".xml") else page
