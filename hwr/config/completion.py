"""What shells and editors complete: words of command lines, and by JSON Schemas keys of YAML files.

It imports nothing slow, as a shell asks at every tab.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from hwr.config import CONF, EXPERIMENTS
from hwr.config.command_table import COMMANDS, Command
from hwr.config.keys import GLOBAL, Key, file_keys
from hwr.errors import InputError

SCRIPTS = {
    "bash": """_hwr() {
    local IFS=$'\\n'
    COMPREPLY=($(hwr completion bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
}
complete -o default -o nospace -F _hwr hwr""",
    "zsh": """_hwr() {
    local -a found
    found=("${(@f)$(hwr completion zsh "${(j: :)words[1,CURRENT]}" 2>/dev/null)}")
    compadd -S '' -- $found || _files
}
compdef _hwr hwr""",
    "fish": "complete -c hwr -a '(hwr completion fish (commandline -cp) 2>/dev/null)'",
}


def print_completion(words: Sequence[str]) -> None:
    """Print the script of a shell, or with a line what it may go on with; InputError for another shell."""
    shell, *lines = words
    if shell not in SCRIPTS:
        raise InputError(f"completion {shell}: no such shell; use one of {', '.join(SCRIPTS)}")
    if not lines:
        print(SCRIPTS[shell])
        return
    word = lines[0].rpartition(" ")[2]
    given = word.rpartition("=")[0] + "=" if "=" in word and shell == "bash" else ""  # bash parts words at =
    for candidate in candidates(lines[0]):
        print(candidate.removeprefix(given))


def candidates(line: str) -> list[str]:
    """Return the words that the last one of a command line may become."""
    _, *words = line.split(" ") if " " in line else ("hwr", "")
    *before, word = words
    if not before:
        found = [command.name for command in COMMANDS] + ["--help", "--version"]
    elif (command := next((own for own in COMMANDS if own.name == before[0]), None)) is None:
        found = []
    elif word.startswith("-"):
        found = [name for flag in command.all_flags for name in flag.names] + ["--help"]
    else:
        found = list(_words(command, [*command.preset, *before[1:]], word.partition("=")[0]))
    return sorted({own for own in found if own.startswith(word)})


def print_schema(names: Sequence[str]) -> None:
    """Print the schema of a command's configuration; InputError for a command without one."""
    known = {command.name: command for command in COMMANDS if command.root is not None}
    name = names[0] if names else "train"
    if name not in known:
        raise InputError(f"schema {name}: no configuration; use one of {', '.join(known)}")
    command = known[name]
    print(json.dumps(schema(str(command.conf), command.load_root()), indent=1, ensure_ascii=False))


def schema(name: str, root: type) -> dict[str, Any]:
    """Return the schema of conf/NAME.yaml and of experiment files for it, in which no key is required."""
    from pydantic import TypeAdapter  # takes as long as all the rest

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


def _words(command: Command, before: Sequence[str], key: str) -> Iterator[str]:
    """Yield the keys of a command, and those of its words that need no typing: values of the key at hand."""
    if command.conf is None:
        return
    chosen = dict(word.partition("=")[::2] for word in before)
    for own in file_keys(CONF / f"{command.conf}.yaml", chosen):
        name = command.prefix + own.name
        if name == key:
            yield from (f"{name}={value}" for value in _values(own))
        else:
            yield f"{name}="


def _values(key: Key) -> Sequence[str]:
    if key.choices:
        return key.choices
    if key.default in ("true", "false"):
        return ("true", "false")
    if key.name == "init" or key.name.startswith("weights"):
        stage = key.name.partition(".")[2] or "*"
        found = EXPERIMENTS.glob(f"{stage}/*/weights")
        return sorted(folder.parent.relative_to(EXPERIMENTS).as_posix() for folder in found)
    return (key.default,)


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
    import yaml

    try:
        default = yaml.safe_load(key.default)
    except yaml.YAMLError:
        default = key.default
    return {"description": key.meaning, "default": default}
