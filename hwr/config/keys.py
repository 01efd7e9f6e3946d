"""The keys of configuration files, with their defaults and meanings, as their YAML tells them."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwr.config import CONF, EXPERIMENTS

WIDTH, COLUMN = 118, 34  # characters of a row, and where meanings begin
GLOBAL = "# @package _global_"  # first line of a file whose keys stand at the top
_LINE = re.compile(r"( *)([\w.]+):(?:\s+([^\s#].*?))?(?:\s+#\s*(.*))?$")
_GROUP = re.compile(r" *- (?:optional )?(/?[\w@./]+): *(\S+)(?:\s+#\s*(.*))?$")


@dataclass(frozen=True)
class Key:
    """A key, its default as YAML writes it, and what its comment says."""

    name: str
    default: str
    meaning: str
    choices: tuple[str, ...] = ()  # files of a group


def keys_table(name: str, overrides: Sequence[str], *, prefix: str = "") -> str:
    """Return the keys of conf/NAME.yaml as rows of text, each below `prefix`.

    A stage's own keys are among them; those of another group where `overrides` choose it (data=alto).
    """
    chosen = dict(override.partition("=")[::2] for override in overrides)
    rows = []
    for key in file_keys(CONF / f"{name}.yaml", chosen):
        first = f"  {prefix}{key.name}={key.default}"
        indent = " " * COLUMN
        meaning = textwrap.fill(key.meaning, WIDTH, initial_indent=indent, subsequent_indent=indent)
        fits = len(first) < COLUMN
        rows.append(f"{first}{meaning[len(first) :]}" if fits and meaning else f"{first}\n{meaning}".rstrip())
    return "\n".join(rows)


def file_keys(path: Path, chosen: dict[str, str], prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a YAML file, below `prefix`, and its groups with their choices."""
    parents: list[tuple[int, str]] = []  # of the line at hand: indentation, key
    heading = ""  # comment of a node, which its first key takes where it has none
    for line in path.read_text(encoding="utf-8").splitlines():
        top = parents[0][1] if parents else ""
        if top == "defaults" and (group := _GROUP.match(line)):
            yield from _group(group[1].lstrip("/"), group[2], group[3] or "", chosen)
            continue
        if (found := _LINE.match(line)) is None:
            continue
        indent, key, value, comment = len(found[1]), found[2], found[3], found[4] or ""
        parents = [*(parent for parent in parents if parent[0] < indent), (indent, key)]
        if parents[0][1] in ("defaults", "hydra"):
            continue
        if value is None:
            heading = comment
            continue
        name = prefix + ".".join(name for _, name in parents)
        yield Key(name, value, "; ".join(filter(None, (heading, comment))))
        heading = ""


def _group(group: str, default: str, comment: str, chosen: dict[str, str]) -> Iterator[Key]:
    """Yield a group with its choices, then the keys of the file chosen where they are told."""
    folder = EXPERIMENTS if group == "experiments" else CONF / group.partition("@")[0]
    if not folder.is_dir():  # of Hydra's own, or known only once composed
        return
    files = folder.glob("*/*.yaml" if group == "experiments" else "*.yaml")
    names = sorted(file.relative_to(folder).with_suffix("").as_posix() for file in files)
    choices = f"one of {', '.join(names)}" if len(names) > 1 else ""
    yield Key(group, chosen.get(group, default), "; ".join(filter(None, (comment, choices))), tuple(names))
    path = folder / f"{chosen.get(group, default)}.yaml"
    if not path.is_file():
        return
    if path.read_text(encoding="utf-8").startswith(GLOBAL):
        yield from file_keys(path, chosen)
    elif group in chosen:
        yield from file_keys(path, chosen, f"{group.partition('@')[2] or group}.")
