"""Data sets: sources that yield pages with lines and words, loaded by name."""

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from hwr.data.records import Page
from hwr.data.sources.splits import check_split
from hwr.errors import InputError

SOURCES = {
    "synthetic": "hwr.data.synthetic",
    "alto": "hwr.data.sources.alto",
    "pagexml": "hwr.data.sources.pagexml",
    "iam": "hwr.data.sources.iam",
    "line_list": "hwr.data.sources.line_list",
}


def load_pages(source: str, exclude: Mapping[str, Any] | None = None, **settings: Any) -> list[Page]:
    """Return the pages of a source, a name in SOURCES, read with its own `settings`, without excluded lines.

    `exclude` holds the arguments of `exclude_lines`. Raise InputError for an unknown source or setting,
    for an id that occurs twice, and for whatever the source itself refuses.
    """
    read = source_reader(source)
    _check_arguments(read, settings, f"data={source}")
    _check_arguments(exclude_lines, {"pages": (), **(exclude or {})}, "data.exclude")
    pages: list[Page] = read(**settings)
    _check_ids(pages)
    for page in pages:
        check_split(page.split, f"page {page.id}")
    return exclude_lines(pages, **(exclude or {}))


def source_reader(source: str) -> Callable[..., list[Page]]:
    """Return the function that reads a source; raise InputError for one that is not in SOURCES."""
    if source not in SOURCES:
        raise InputError(f"data source {source!r} is unknown; use one of {', '.join(SOURCES)}")
    read: Callable[..., list[Page]] = getattr(import_module(SOURCES[source]), f"read_{source}")
    return read


def exclude_lines(pages: Iterable[Page], types: Sequence[str] = (), pattern: str = "") -> list[Page]:
    """Return the pages without lines of one of the `types` and without lines whose text holds `pattern`.

    An empty `pattern` excludes nothing. Raise InputError when it is not a regular expression.
    """
    try:
        marks = re.compile(pattern) if pattern else None
    except re.error as error:
        raise InputError(f"data.exclude.pattern={pattern!r} is not a regular expression ({error})") from None
    return [
        replace(
            page,
            lines=tuple(
                line
                for line in page.lines
                if line.kind not in types and not (marks is not None and marks.search(line.text))
            ),
        )
        for page in pages
    ]


def _check_arguments(function: Any, arguments: Mapping[str, Any], name: str) -> None:
    try:
        inspect.signature(function).bind(**arguments)
    except TypeError as error:
        known = ", ".join(inspect.signature(function).parameters)
        raise InputError(f"{name}: {error}; its settings are {known}") from None


def _check_ids(pages: Sequence[Page]) -> None:
    names = {"page": [p.id for p in pages], "line": [line.id for p in pages for line in p.lines]}
    for what, ids in names.items():
        twice = [entry for entry, count in Counter(ids).items() if count > 1]
        if twice:
            raise InputError(f"{what} id {twice[0]} occurs twice; give every {what} an id of its own")
