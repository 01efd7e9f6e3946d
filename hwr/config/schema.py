"""JSON Schema of configurations, by which editors complete and check YAML files."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import TypeAdapter

from hwr.config import CONF
from hwr.config.command_table import COMMANDS
from hwr.config.keys import GLOBAL, Key, file_keys
from hwr.errors import InputError


def print_schema(names: Sequence[str]) -> None:
    """Print the schema of a command's configuration; InputError for a command without one."""
    known = {command.name: command for command in COMMANDS if command.root is not None}
    name = names[0] if names else "train"
    if name not in known:
        raise InputError(f"schema {name}: no configuration; use one of {', '.join(known)}")
    command = known[name]
    print(json.dumps(schema(str(command.conf), command.load_root()), indent=1, ensure_ascii=False))


def schema(name: str, root: type) -> dict[str, Any]:
    """Return the schema of conf/NAME.yaml and of overlays of it, in which no key is required."""
    made = TypeAdapter(root).json_schema()
    for own in (made, *made.get("$defs", {}).values()):
        own.pop("required", None)
    properties = made["properties"]
    properties["defaults"] = {"type": "array", "description": "files of groups, and what they override"}
    for key, own in _described(_keys(name)).items():
        if key in properties:
            known = properties[key]
            properties[key] = {**known, **own} if "properties" not in own else own
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made, "title": f"hwr {name}"}


def _keys(name: str) -> Iterator[Key]:
    """Yield the keys of conf/NAME.yaml, and those of all files of groups by their place in it."""
    yield from (key for key in file_keys(CONF / f"{name}.yaml", {}) if not key.choices)
    for path in sorted(CONF.glob("*/*.yaml")):
        whole = path.read_text(encoding="utf-8").startswith(GLOBAL)
        yield from file_keys(path, {}, "" if whole else f"{path.parent.name}.")


def _described(keys: Iterator[Key]) -> dict[str, Any]:
    """Return properties for keys, nodes within nodes."""
    properties: dict[str, Any] = {}
    for key in keys:
        *nodes, last = key.name.split(".")
        inner = properties
        for node in nodes:
            inner = inner.setdefault(node, {"type": "object"}).setdefault("properties", {})
        inner.setdefault(last, _description(key))
    return properties


def _description(key: Key) -> dict[str, Any]:
    return {"description": key.meaning, "default": _default(key.default)}


def _default(text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
