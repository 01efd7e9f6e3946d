"""The command line: hwr COMMAND, or python -m hwr COMMAND."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from hwr import __version__, runtime
from hwr.commands import COMMANDS, Command
from hwr.commands.keys import keys_table
from hwr.errors import InputError

NAMES = [command.name for command in COMMANDS]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one line on standard error and exit status 2."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if not words or words[0] in ("-h", "--help"):
            print(usage())
            return
        if words[0] == "--version":
            print(f"hwr {__version__}")
            return
        command = _named(words[0])
        if {"-h", "--help"} & set(words[1:]):  # wherever it stands, and whatever is missing
            print(help_text(command, [word for word in words[1:] if _is_key(word)]))
            return
        overrides, given = parse(command, words[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    run_command(command, words[1:], overrides, given)


def usage() -> str:
    """Return what `hwr --help` prints."""
    width = max(map(len, NAMES))
    rows = "\n".join(f"  {command.name:{width}}  {command.help}" for command in COMMANDS)
    return (
        f"usage: hwr COMMAND [OPTION …] [KEY=VALUE …]\n\ncommands:\n{rows}\n\n"
        "hwr COMMAND --help tells the flags and keys of one. Where a key names weights, give a weights\n"
        "folder, a published name (line/copiste), runs:/ID or models:/NAME@ALIAS."
    )


def help_text(command: Command, overrides: Sequence[str] = ()) -> str:
    """Return what `hwr COMMAND --help` prints; of groups chosen by `overrides`, their keys as well."""
    parser = _parser(command)
    parser.usage = " ".join(filter(None, _usage(command)))
    parser.description = f"{command.help[0].upper()}{command.help[1:]}. {command.note}".rstrip()
    parts = [parser.format_help().rstrip()]
    if command.conf is not None:
        table = keys_table(command.conf, [*command.preset, *overrides], prefix=command.prefix)
        parts.append(f"keys, of conf/{command.conf}.yaml:\n{table}")
    parts.append(f"example: {command.example}")
    return "\n\n".join(parts)


def parse(command: Command, words: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
    """Return the overrides of a command line, and the command's other arguments by name.

    Raises InputError for a flag that is unknown, and for too few or too many words.
    """
    given = vars(_parser(command).parse_intermixed_args(words))
    positional, others = command.positional, given.pop("rest")
    takes_files = positional is not None and positional.files
    overrides = [word for word in others if _is_key(word) and not (takes_files and Path(word).exists())]
    rest = [word for word in others if word not in overrides]
    for flag in command.flags:
        if flag.key is not None and (value := given.pop(_dest(flag.names))) is not None:
            overrides.append(f"{flag.key}={value}")
    remedy = f"see hwr {command.name} --help"
    if command.conf is None and command.positional is None and others:
        raise InputError(f"{command.name} takes no keys, not {others[0]}; {remedy}")
    if positional is None:
        if rest:
            raise InputError(f"{rest[0]}: not understood; write KEY=VALUE, or {remedy}")
        return overrides, given
    if len(rest) < positional.least:
        raise InputError(f"{command.name}: {positional.metavar} is missing: {positional.help}; {remedy}")
    if positional.most is not None and len(rest) > positional.most:
        raise InputError(
            f"{rest[positional.most]}: not understood; {command.name} takes {positional.metavar} once"
        )
    return overrides, given | {positional.name: rest}


def run_command(
    command: Command, words: Sequence[str], overrides: Sequence[str], given: dict[str, Any]
) -> None:
    """Compose the configuration of a command and run its function."""
    if command.pinned and any(os.environ.get(name) != value for name, value in runtime.PINNED.items()):
        again = [sys.executable, "-m", "hwr", command.name, *words]  # libraries read them at their import
        raise SystemExit(subprocess.run(again, env={**os.environ, **runtime.PINNED}, check=False).returncode)
    from hwr.config import compose
    from hwr.config.messages import (
        clear_errors,  # Hydra takes half a second: --help and unknown flags need it not
    )

    with clear_errors():
        if command.hydra:
            from hwr.runs.hydra_callback import sweep_ended

            with sweep_ended():
                compose.run_hydra(command.name, command.load_root(), command, words)
            return
        folder = given.pop("config_dir", None)
        keys = [*command.preset, *overrides]
        configuration: Any = keys
        if command.root is not None:
            configuration = compose.composed(str(command.conf), keys, command.load_root(), config_dir=folder)
        if command.computes:
            runtime.start()  # before MXNet is imported, which then takes half as long
        status = command.load()(configuration, **given)
        if isinstance(status, int) and status:
            raise SystemExit(status)


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError with the message and where help is."""
        raise InputError(f"{message}; see {self.prog} --help")


def _named(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command
    close = "".join(f" (did you mean {near}?)" for near in get_close_matches(name, NAMES, n=1))
    raise InputError(f"{name}: no such command{close}; use {', '.join(NAMES)}")


def _parser(command: Command) -> _Parser:
    parser = _Parser(f"hwr {command.name}", add_help=False, allow_abbrev=False)
    positional = command.positional
    rest = parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    if positional is not None:
        rest.metavar, rest.help = positional.metavar, positional.help
    for flag in command.flags:
        options: dict[str, Any] = {"help": flag.help, "required": flag.required, "dest": _dest(flag.names)}
        if flag.metavar is None:
            options["action"] = "store_true"
        else:
            options |= {"metavar": flag.metavar} | (
                {"action": "append", "default": []} if flag.repeated else {}
            )
        parser.add_argument(*flag.names, **options)
    return parser


def _usage(command: Command) -> tuple[str, ...]:
    required = " ".join(f"{flag.names[-1]} {flag.metavar}" for flag in command.flags if flag.required)
    keys = "" if command.conf is None and command.positional is None else "[KEY=VALUE …]"
    positional = command.positional.metavar if command.positional else ""
    return (f"hwr {command.name}", positional, required, "[OPTION …]" if command.flags else "", keys)


def _dest(names: Sequence[str]) -> str:
    return names[-1].lstrip("-").replace("-", "_")


def _is_key(word: str) -> bool:
    """Tell whether a word is an override: KEY=VALUE, or ~KEY which leaves one out."""
    return not word.startswith("-") and ("=" in word or word.startswith("~"))


if __name__ == "__main__":
    main()
