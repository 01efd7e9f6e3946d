"""Several sets in one: each is read by its own source, and its ids and writers begin with its name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

from hwr import data
from hwr.config.messages import suggestion
from hwr.data.records import Dataset, LeftOut, Page, summed
from hwr.errors import InputError

Node = dict[str, Any]
_NAME = re.compile(r"\w[\w.-]*")  # it stands in ids and in the names of metrics


def read_sets(root: str, *, sets: dict[str, Node | None], only: Sequence[str] | None) -> Dataset:
    """Return `used_sets` one after the other; their roots start from `root`.

    The dataset of a page is the name of its set. Raise InputError as `used_sets` and the sources do.
    """
    read = []
    for name, node in used_sets(sets, only).items():
        placed = {**node, "root": str(Path(root) / node["root"])} if "root" in node else node
        try:
            read.append(_named(data.read_source(**placed), name))
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


def _named(read: Dataset, name: str) -> Dataset:
    """Return the data of the set `name`."""

    def ids(own: Iterable[str]) -> tuple[str, ...]:
        return tuple(f"{name}/{id_}" for id_ in own)

    def rule(own: LeftOut) -> LeftOut:
        units = ({split: ids(names) for split, names in unit.items()} for unit in (own.pages, own.lines))
        return LeftOut(re.sub(r"^data\.", f"data.sets.{name}.", own.rule), ids(own.files), *units)

    return replace(
        read,
        pages=tuple(_named_page(page, name) for page in read.pages),
        findings={key: dict(zip(ids(own), own.values(), strict=True)) for key, own in read.findings.items()},
        left_out=tuple(map(rule, read.left_out)),
        excluded=tuple(map(rule, read.excluded)),
    )


def _named_page(page: Page, name: str) -> Page:
    lines = []
    for line in page.lines:
        words = tuple(replace(word, id=f"{name}/{word.id}") for word in line.words)
        lines.append(replace(line, id=f"{name}/{line.id}", words=words))
    writer = page.writer and f"{name}/{page.writer}"
    return replace(page, id=f"{name}/{page.id}", writer=writer, lines=tuple(lines), dataset=name)
