"""Assign split and writer to pages: from a table, from lists, or at random by writer; read tables.

Tables are CSV and TSV, as people and office programs write them. No field is guessed: a table whose rows do
not fit its columns is refused, in words that say how to quote.
"""

import csv
import io
import logging
import random
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hwr.data.records import SPLITS, Line, Page
from hwr.errors import InputError
from hwr.files import read_text
from hwr.images.load import IMAGE_SUFFIXES

TABLE = "pages.csv"
_LIST_SUFFIXES = ("", ".txt", ".lst")
_LOG = logging.getLogger(__name__)
_Rows = list[tuple[str, list[str]]]  # (place, fields)
_FIRST_MARK = re.compile(r'\s*(?:"[^"\n]*"|[^",;\t|\n])*([,;\t|])')  # the first one outside quotation marks
_CHOSEN_MARK = re.compile(r"sep=(.)(?=\n)")  # a first line that Excel writes


@dataclass(frozen=True)
class Columns:
    """The columns of a kind of table: their order without a header, and the names a header may give them.

    `names` gives each column other names; the first `required` of them are in every table. `prose` says that
    fields hold running text, so that a comma in one may be taken for the end of it.
    """

    names: Mapping[str, Sequence[str]]
    required: int
    prose: bool


_COLUMNS = Columns(
    {
        "page": ("file", "filename", "file_name", "image", "image_name", "id", "page_id"),
        "writer": (),
        "split": (),
    },
    required=1,
    prose=False,
)


def assign_splits(
    pages: Sequence[Page], root: Path, *, splits: str | None, shares: Sequence[float], seed: int
) -> list[Page]:
    """Return the pages with writer and split.

    `splits`, from `root` when relative, is a table with the columns page, writer, split, or a folder with
    `train.txt`, `valid.txt`, `test.txt` that list page ids; None takes `pages.csv` where `root` has one, and
    "none" takes no table.
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


def share_out_lines(
    pages: Sequence[Page], ids: Collection[str], shares: Sequence[float], seed: int
) -> list[Page]:
    """Return the pages with the lines of `ids` shared out one by one, whatever split the pages had.

    `shares` are the parts of train, valid and test; what is missing of 1 gets no split. Fewer lines for train
    leave those of the other splits the same. A page whose lines are in several splits becomes several pages.
    Raise InputError for shares of more than 1.
    """
    if len(shares) != len(SPLITS) or min(shares) < 0 or sum(shares) > 1 + 1e-6:
        remedy = "give shares of train, valid and test, at most 1 in all"
        raise InputError(f"data.line_shares={list(shares)}: {remedy}")
    ids = sorted(ids)
    random.Random(seed).shuffle(ids)
    train, *others = (round(share * len(ids)) for share in shares)
    split_of = dict.fromkeys(ids[:train], SPLITS[0])
    for split, number in zip(SPLITS[1:], others, strict=True):
        ids, own = ids[: len(ids) - number], ids[len(ids) - number :]
        split_of |= dict.fromkeys(own, split)
    return [part for page in pages for part in _parts(page, split_of)]


def _parts(page: Page, split_of: Mapping[str, str]) -> list[Page]:
    lines: dict[str, list[Line]] = {}
    for line in page.lines:
        lines.setdefault(split_of.get(line.id, ""), []).append(line)
    return [
        replace(page, id=f"{page.id} {split}".strip(), split=split, lines=tuple(own), part=True)
        for split, own in lines.items()
    ] or [replace(page, split="")]


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


def table_rows(path: Path, columns: Columns) -> list[tuple[str, dict[str, str]]]:
    """Return (place, row) for every row, place being the file and line for messages.

    A first row that names the required columns is a header, in any order and beside others. Without one the
    columns stand in order: the required ones alone where prose is parted by anything but tabs. Fields are
    stripped. Tabs part a `.tsv`; else the first of , ; | and tab does. A `.csv` may quote its fields, and so
    may others, but not where tabs part them. Raise InputError for a file that is no such table, has no row,
    or a row that does not fit the columns.
    """
    mark, rows = _cells(path)
    header = _header(*rows[0], columns) if rows else []
    if header:
        del rows[0]
    if not rows:
        names = ", ".join(columns.names)
        raise InputError(f"{path} holds no row; write {path.suffix[1:].upper()} with {names}")
    header = header or _assumed(rows, mark, columns)
    for place, cells in rows:
        if len(cells) != len(header):
            quoted = f'a field that holds {mark!r} stands in double quotes: "Dear Sir{mark} thank you"'
            remedy = "a field must not hold a tab" if mark == "\t" else quoted
            raise InputError(
                f"{place}: {len(cells)} field(s) for the columns {', '.join(header)}; {remedy}; "
                f"a first row {mark.join(columns.names)} names more columns"
            )
    return [(place, dict(zip(header, cells, strict=True))) for place, cells in rows]


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
    if splits == "none":
        return None
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


def _cells(path: Path) -> tuple[str, _Rows]:
    """Return what parts the fields, and the rows that hold any."""
    text = _CHOSEN_MARK.sub("", (whole := read_text(path)), count=1)
    chosen = (_CHOSEN_MARK if text != whole else _FIRST_MARK).match(whole)
    mark = "\t" if path.suffix.lower() == ".tsv" or chosen is None else chosen[1]
    bare = mark == "\t" and path.suffix.lower() != ".csv"
    reader = csv.reader(
        io.StringIO(text, newline=""),
        delimiter=mark,
        quoting=csv.QUOTE_NONE if bare else csv.QUOTE_MINIMAL,
        skipinitialspace=not bare,
        strict=True,
    )
    try:
        rows = [(f"{path}, line {reader.line_num}", [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise InputError(
            f"{path}, line {reader.line_num}: {error}; a field with quotation marks stands in double quotes, "
            'each mark within doubled: "He said ""yes"" to me"'
        ) from None
    for place, cells in rows:
        if broken := next((cell for cell in cells if "\n" in cell), ""):
            raise InputError(
                f"{place}: a field holds a line break: {broken[:40]!r}; close its quotation mark, "
                "and write each line as a row"
            )
    return mark, [(place, cells) for place, cells in rows if any(cells)]


def _header(place: str, cells: Sequence[str], columns: Columns) -> list[str]:
    """Return the names of the columns; none where the first row is no header."""
    names = [re.sub(r"\W+", "_", cell.lower()) for cell in cells]
    for name, others in columns.names.items():
        called = [other for other in others if other in names]
        if name in names or not called:
            continue
        if len(called) > 1:
            either = " and ".join(called)
            raise InputError(f"{place}: {either} may each be the column {name}; call one {name}")
        names[names.index(called[0])] = name
    lacking = [name for name in list(columns.names)[: columns.required] if name not in names]
    if lacking and names[0] in columns.names:
        remedy = f"no column {lacking[0]}; name it {lacking[0]}"
        raise InputError(f"{place}: names {', '.join(cells)}, but {remedy}")
    return [] if lacking else names


def _assumed(rows: _Rows, mark: str, columns: Columns) -> list[str]:
    """Return the columns of a table without header, as many as its first row has where that is no guess."""
    most = columns.required if columns.prose and mark != "\t" else len(columns.names)
    width = min(max(len(rows[0][1]), columns.required), most)
    names = list(columns.names)[:width]
    if width > columns.required and names[-1] != "split" and {cells[-1] for _, cells in rows} <= set(SPLITS):
        raise InputError(
            f"{rows[0][0]}: {rows[0][1][-1]} stands in the place of a {names[-1]}; "
            f"name the columns in a first row, as {mark.join((*names[:-1], 'split'))}"
        )
    return names
