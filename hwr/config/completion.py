"""Completion of command lines: commands, flags, keys and their values. It imports nothing slow."""

from collections.abc import Iterator, Sequence

from hwr.config import CONF, EXPERIMENTS
from hwr.config.command_table import COMMANDS, Command
from hwr.config.keys import Key, file_keys
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
