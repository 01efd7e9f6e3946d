"""Data sets: sources that yield pages with lines and words, loaded by name, and several of them in one."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace as replaced
from functools import reduce
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import Any

from hwr.config.messages import suggestion
from hwr.config.roots import Node, Text
from hwr.data.records import Dataset, LeftOut, Line, Page, Replacements, summed
from hwr.data.sources.splits import check_split, share_out_lines
from hwr.errors import InputError
from hwr.text import nfc

SOURCES = {
    "synthetic": "hwr.data.synthetic",
    "alto": "hwr.data.sources.alto",
    "pagexml": "hwr.data.sources.pagexml",
    "iam": "hwr.data.sources.iam",
    "line_list": "hwr.data.sources.line_list",
    "sets": "hwr.data",
}
# Of every source, beside its own.
SHARED_SETTINGS = ("source", "exclude", "soft_hyphens", "replace", "line_shares")
DRAWN = ("share", "same_text")  # further ones, for `Drawing`
_SPLIT = ("splits", "task", "table", "shares", "pages", "sets", "only")  # keys that make the splits
_SOFT = "\u00ad"
_NAME = re.compile(r"\w[\w.-]*")  # of a set: it stands in ids and in the names of metrics
SOFT_HYPHENS: dict[str, Callable[[str], str]] = {
    "keep": str,
    "drop": lambda text: text.replace(_SOFT, ""),
    # It is seen at the end of a line alone.
    "hyphen": lambda text: re.sub(f"{_SOFT}$", "-", text).replace(_SOFT, ""),
}


def load_pages(source: str, exclude: Mapping[str, Any] | None = None, **settings: Any) -> Dataset:
    """Return what `read_source` does; what is left out holds also files and texts that no line is made of."""
    dataset = read_source(source, exclude, **settings)
    names = ("unused_file", "damaged_file")
    files = [LeftOut(name, files=tuple(dataset.findings.get(name, ()))) for name in names]
    pages = [(page.split, page.id) for page in dataset.pages if page.unlined]
    unlined = LeftOut.of("region_text, text in no line", pages=pages)
    return replaced(dataset, left_out=tuple(filter(None, (*files, *dataset.left_out, unlined))))


def read_source(
    source: str, exclude: Mapping[str, Any] | None = None, soft_hyphens: str = "keep",
    replace: Sequence[tuple[str, str]] = (), line_shares: Sequence[float] | None = None, **settings: Any,
) -> Dataset:  # fmt: skip
    """Return what a source, a name in SOURCES, yields with its own `settings`.

    `soft_hyphens` is a name in SOFT_HYPHENS, `exclude` holds the arguments of `exclude_lines`, and `replace`
    those of `replace_texts`, which comes last. With `line_shares` lines are shared out one by one (see
    `share_out_lines`), by the seed of the source's splits. Ids that occur twice are made unique, and
    told. Raise InputError for an unknown source or setting, and for whatever the source itself refuses.
    """
    read, settings = source_reader(source), {key: own for key, own in settings.items() if key not in DRAWN}
    _check_arguments(read, settings, f"data={source}")
    _check_arguments(exclude_lines, {"pages": (), **(exclude or {})}, "data.exclude")
    dataset: Dataset = read(**settings)
    for page in dataset.pages:
        check_split(page.split, f"page {page.id}")
    pages, repeated = _with_unique_ids(_with_hyphens(dataset.pages, soft_hyphens))
    found = {**dataset.findings, "duplicate_id": {**dataset.findings.get("duplicate_id", {}), **repeated}}
    dataset = replaced(dataset, pages=tuple(pages), findings=found)
    kept, excluded = exclude_lines(dataset.for_reading().pages, **(exclude or {}))
    if line_shares is not None:
        ids = [line.id for page in kept for line in page.lines if line.text]
        pages = share_out_lines(pages, ids, line_shares, settings.get("seed", 0))
        dataset = replaced(dataset, pages=tuple(pages))
        kept, excluded = exclude_lines(dataset.for_reading().pages, **(exclude or {}))
    return replaced(
        dataset,
        pages=tuple(replace_texts(pages, replace)),
        excluded=(*dataset.excluded, *excluded),
        replacements=summed(dataset.replacements, _replacements(kept, dict(replace))),
    )


def read_sets(root: str, *, sets: dict[str, Node | None], only: Sequence[str] | None) -> Dataset:
    """Return `used_sets` one after the other; their roots start from `root`.

    The dataset of a page is the name of its set. Raise InputError as `used_sets` and the sources do.
    """
    read = []
    for name, node in used_sets(sets, only).items():
        placed = {**node, "root": str(Path(root) / node["root"])} if "root" in node else node
        try:
            read.append(_of_set(read_source(**placed), name))
        except InputError as error:
            named = re.sub(r"(?<!\S)data\.(?=[a-z])", f"data.sets.{name}.", str(error))
            raise InputError(f"data.sets.{name}: {named}") from None
    names = dict.fromkeys(name for own in read for name in own.findings)
    return Dataset(
        tuple(page for own in read for page in own.pages),
        {
            name: {id_: note for own in read for id_, note in own.findings.get(name, {}).items()}
            for name in names
        },
        tuple(rule for own in read for rule in own.left_out),
        tuple(rule for own in read for rule in own.excluded),
        reduce(summed, (own.replacements for own in read)),
    )


def used_sets(sets: Mapping[str, Node | None], only: Sequence[str] | None) -> dict[str, Node]:
    """Return the data nodes that are not null by name, of the names in `only` where it is given.

    Raise InputError for a name of `only` that none of them has, for names that no metric may bear, for a set
    of sets, and where no set is left.
    """
    used = {name: node for name, node in sets.items() if node is not None}
    for name, node in used.items():
        if not _NAME.fullmatch(name):
            raise InputError(f"data.sets.{name}: use letters, digits, _ . - in the name of a set")
        if node.get("source") == "sets":
            raise InputError(f"data.sets.{name} is made of sets; name these beside the others")
    for name in only or ():
        if name not in used:
            close = suggestion(name, list(used))
            raise InputError(f"data.only={name}: no such set{close}; known are {', '.join(used)}")
    used = {name: node for name, node in used.items() if only is None or name in only}
    if not used:
        remedy = "add one, +data@data.sets.NAME=alto data.sets.NAME.root=DIR"
        raise InputError(f"data.sets: no set is left; {remedy}")
    return used


def source_reader(source: str) -> Callable[..., Dataset]:
    """Return the function that reads a source; raise InputError for one that is not in SOURCES."""
    if source not in SOURCES:
        raise InputError(f"data source {source!r} is unknown; use one of {', '.join(SOURCES)}")
    read: Callable[..., Dataset] = getattr(import_module(SOURCES[source]), f"read_{source}")
    return read


def split_keys(settings: Mapping[str, Any], split: str) -> str:
    """Return the keys of a data node that decide what a split holds, for messages."""
    keys = ["line_shares"] if settings.get("line_shares") else [key for key in _SPLIT if key in settings]
    return " and ".join(f"data.{key}.{split}" if key == "pages" else f"data.{key}" for key in keys)


def exclude_lines(
    pages: Sequence[Page], types: Sequence[str] = (), pattern: str = ""
) -> tuple[list[Page], list[LeftOut]]:
    """Return the pages without lines of one of the `types` or whose text holds `pattern`, and those by rule.

    An empty `pattern` excludes nothing. Raise InputError when it is not a regular expression.
    """
    try:
        marks = re.compile(pattern)
    except re.error as error:
        raise InputError(f"data.exclude.pattern={pattern!r} is not a regular expression ({error})") from None
    rules = [("types", kind) for kind in types] + ([("pattern", pattern)] if pattern else [])
    left_out = []
    for key, value in rules:

        def stays(line: Line, key: str = key, value: str = value) -> bool:
            return line.kind != value if key == "types" else not marks.search(line.text)

        kept = [replaced(page, lines=tuple(filter(stays, page.lines))) for page in pages]
        left_out.append(LeftOut.between(f"data.exclude.{key}={value}", pages, kept))
        pages = kept
    return list(pages), list(filter(None, left_out))


def replace_texts(pages: Sequence[Page], replace: Sequence[tuple[Text, str]]) -> list[Page]:
    """Return the pages with the first of each pair replaced by the second in all texts, longer ones first."""
    if not replace:
        return list(pages)
    table, keys = dict(replace), _any_of(dict(replace))

    def changed(text: str) -> str:
        return nfc(keys.sub(lambda match: table[match[0]], text))

    def changed_line(line: Line) -> Line:
        words = tuple(replaced(word, text=changed(word.text)) for word in line.words)
        return replaced(line, text=changed(line.text), words=words)

    return [replaced(page, lines=tuple(map(changed_line, page.lines))) for page in pages]


def _replacements(pages: Sequence[Page], table: Mapping[str, str]) -> Replacements:
    """Return how often `replace_texts` replaces each key in the lines of each split."""
    counts: dict[str, Counter[str]] = {}
    for page in pages if table else ():
        keys = [key for line in page.lines for key in _any_of(table).findall(line.text)]
        counts.setdefault(page.split, Counter()).update(f"{key} → {table[key] or 'nothing'}" for key in keys)
    return {split: dict(own) for split, own in counts.items()}


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))


def _check_arguments(function: Any, arguments: Mapping[str, Any], name: str) -> None:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        known = ", ".join(inspect.signature(function).parameters)
        raise InputError(f"{name}: {error}; its settings are {known}") from None


def _with_hyphens(pages: Sequence[Page], soft_hyphens: str) -> Sequence[Page]:
    """Return pages with the soft hyphens of lines and words written as they are to be learnt."""
    if soft_hyphens not in SOFT_HYPHENS:
        raise InputError(f"data.soft_hyphens={soft_hyphens} is unknown; use one of {', '.join(SOFT_HYPHENS)}")
    write = SOFT_HYPHENS[soft_hyphens]

    def written(line: Line) -> Line:
        words = tuple(replaced(word, text=write(word.text)) for word in line.words)
        return replaced(line, text=write(line.text), words=words) if _SOFT in line.text else line

    soft = [any(_SOFT in line.text for line in page.lines) for page in pages]
    return [
        replaced(page, lines=tuple(map(written, page.lines))) if own else page
        for page, own in zip(pages, soft, strict=True)
    ]


def _with_unique_ids(pages: Sequence[Page]) -> tuple[list[Page], dict[str, str]]:
    """Return pages whose ids, and those of their lines, occur once; repeated ones get a number."""
    page_ids, line_ids, repeated = set[str](), set[str](), dict[str, str]()
    renamed = []
    for page in pages:
        lines = []
        for line in page.lines:
            name = _unique(line.id, line_ids)
            if name != line.id:
                repeated[name] = f"{line.id} again"
            lines.append(line if name == line.id else replaced(line, id=name))
        if (name := _unique(page.id, page_ids)) != page.id or repeated:
            page = replaced(page, id=name, lines=tuple(lines))
        renamed.append(page)
    return renamed, repeated


def _unique(name: str, taken: set[str]) -> str:
    """Return a name, with a number where it is taken, and take it."""
    numbered = (f"{name}-{number}" for number in count(2))
    free = name if name not in taken else next(own for own in numbered if own not in taken)
    taken.add(free)
    return free


def _of_set(read: Dataset, name: str) -> Dataset:
    """Return the data of the set `name`."""

    def ids(own: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{name}/{id_}" for id_ in own)

    def rule(own: LeftOut) -> LeftOut:
        units = ({split: ids(names) for split, names in unit.items()} for unit in (own.pages, own.lines))
        return LeftOut(re.sub(r"^data\.", f"data.sets.{name}.", own.rule), ids(own.files), *units)

    return replaced(
        read,
        pages=tuple(_page_of_set(page, name) for page in read.pages),
        findings={key: dict(zip(ids(own), own.values(), strict=True)) for key, own in read.findings.items()},
        left_out=tuple(map(rule, read.left_out)),
        excluded=tuple(map(rule, read.excluded)),
    )


def _page_of_set(page: Page, name: str) -> Page:
    lines = []
    for line in page.lines:
        words = tuple(replaced(word, id=f"{name}/{word.id}") for word in line.words)
        lines.append(replaced(line, id=f"{name}/{line.id}", words=words))
    writer = page.writer and f"{name}/{page.writer}"
    return replaced(page, id=f"{name}/{page.id}", writer=writer, lines=tuple(lines), dataset=name)
