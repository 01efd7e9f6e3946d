"""The command line: hwr COMMAND, or python -m hwr COMMAND."""

import argparse
import io
import os
import re
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from hwr import __version__, runtime
from hwr.config.command_table import COMMANDS, Command, Flag
from hwr.config.keys import keys_table
from hwr.errors import MAKE_ROOM, NO_ROOM, InputError, tell, usable_paths
from hwr.files import path_exists

NAMES = [command.name for command in COMMANDS]
_DEVICES = re.compile(r"device=[a-z]+:\d+(,\d+)+")  # several that share a training, no sweep over them
_HOME = re.compile(r"(?:(?<=[=,\[{:'\" ])~[\w.-]*|^~)(?=/)")  # ~/ and ~user/ where a value begins


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; bad input is one line on standard error and exit status 2."""
    runtime.secure_output(lossy=False)
    if isinstance(sys.stdout, io.TextIOWrapper):  # like standard error: no character stops it
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        words = sys.argv[1:] if arguments is None else arguments
        words = [_HOME.sub(lambda home: str(Path(home[0]).expanduser()), word) for word in words]
        _run(list(map(_without_login, words)))
        sys.stdout.flush()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except OSError as error:
        if not isinstance(error, BrokenPipeError) and error.errno not in NO_ROOM:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno in NO_ROOM:  # else who reads the output has left: head, less
            tell(f"error: {error.filename or 'standard output'}: {error.strerror}; {MAKE_ROOM}")
        raise SystemExit(1) from None
    finally:
        runtime.finish()


def usage() -> str:
    """Return what `hwr --help` prints."""
    width = max(map(len, NAMES))
    rows = "\n".join(f"  {command.name:{width}}  {command.help}" for command in COMMANDS)
    return (
        f"usage: hwr COMMAND [OPTION …] [KEY=VALUE …]\n\ncommands:\n{rows}\n\n"
        "hwr COMMAND --help lists the flags and keys of a command. Where a key names weights, give a\n"
        "weights folder, a published name (line/copiste), runs:/ID or models:/NAME@ALIAS."
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
    end = words.index("--") if "--" in words else len(words)  # what follows are no flags
    parser = _parser(command)
    arguments, unknown = parser.parse_known_intermixed_args(words[:end])
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}{_as_file(unknown)}")
    given = vars(arguments)
    for flag in command.all_flags:  # of a variable of the shell that is not set
        if given[_dest(flag.names)] in ("", [""]):
            raise InputError(f"{flag.names[-1]}: empty; give {flag.metavar}, or leave the flag out")
    positional, others = command.positional, [*given.pop("rest"), *words[end + 1 :]]
    takes_files = positional is not None and positional.files
    keys = [word for word in others if _is_key(word) and not (takes_files and path_exists(word))]
    overrides = [] if command.plain else keys
    rest = [word for word in others if word not in overrides]
    for flag in command.flags:
        if flag.key is not None and (value := given.pop(_dest(flag.names)) or _default(flag, overrides)):
            overrides.append(f"{flag.key}={value}")
    for word in (*overrides, *map(str, given.values())):
        if any("\ud800" <= character <= "\udfff" for character in word):  # no record of a run can hold it
            raise InputError(f"{word!a}: not UTF-8; rename that file or folder, or use a UTF-8 locale")
    if (folder := given.get("config_dir")) is not None and not Path(folder).is_dir():
        raise InputError(f"--config-dir {folder}: no such folder; give one that holds configuration files")
    remedy = f"see hwr {command.name} --help"
    if not (command.takes_keys or command.plain) and others:
        raise InputError(f"{command.name} takes no keys, not {others[0]}; {remedy}")
    if positional is None:
        if rest:
            raise InputError(f"{rest[0]}: not understood; write KEY=VALUE, or {remedy}")
        return overrides, given
    if len(rest) < positional.least:
        raise InputError(f"{command.name}: {positional.metavar} is missing: {positional.help}; {remedy}")
    if positional.most is not None and len(rest) > positional.most:
        once = f"{command.name} takes {positional.metavar} once"
        raise InputError(f"{rest[positional.most]}: not understood; {once}")
    if positional.key is not None:
        return [*(f"{positional.key}={word}" for word in rest), *overrides], given
    return overrides, given | {positional.name: rest}


def _as_file(unknown: Sequence[str]) -> str:
    """Return how to write the first of the unknown flags that is a file here, or nothing."""
    return next((f" (for the file write ./{word})" for word in unknown if path_exists(word)), "")


def _default(flag: Flag, overrides: Sequence[str]) -> str | None:
    """Return what a flag is without being given."""
    instead = (f"{flag.key}=", *flag.unless)
    return None if any(override.startswith(instead) for override in overrides) else flag.default


def run_command(
    command: Command, words: Sequence[str], overrides: Sequence[str], given: dict[str, Any]
) -> None:
    """Compose the configuration of a command and run its function."""
    runtime.secure_output(lossy=not command.prints)
    sys.argv = [f"hwr {command.name}", *words]  # what runs are recorded as
    if command.pinned and any(os.environ.get(name) != value for name, value in runtime.PINNED.items()):
        again = [sys.executable, "-m", "hwr", command.name, *words]  # libraries read them at their import
        os.execve(sys.executable, again, {**os.environ, **runtime.PINNED})
    from hwr.config import compose  # Hydra takes half a second: --help and unknown flags need it not
    from hwr.config.messages import clear_errors

    with clear_errors():
        if command.hydra:
            from hwr.runs.hydra_callback import sweep_ended

            with sweep_ended():
                compose.run_hydra(command.name, command.load_root(), command, list(map(_quoted, words)))
            return
        keys = [*command.preset, *map(_quoted, overrides)]
        configuration: Any = keys
        if command.root is not None:
            folder = given.pop("config_dir")
            configuration = compose.composed(str(command.conf), keys, command.load_root(), config_dir=folder)
        if command.computes:
            runtime.start()  # before MXNet is imported, which then takes half as long
        with compose.explained(configuration) if command.root is not None else nullcontext():
            status = command.load()(configuration, **given)
        if isinstance(status, int) and status:
            raise SystemExit(status)


def _run(words: list[str]) -> None:
    try:
        if problem := runtime.problem():
            raise InputError(problem)
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
        with usable_paths():
            overrides, given = parse(command, words[1:])
            if command.plain:
                command.load()(**given)
                return
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    run_command(command, words[1:], overrides, given)


class _Parser(argparse.ArgumentParser):
    """A parser whose refusals are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise InputError with the message and where help is."""
        raise InputError(f"{message}; see {self.prog} --help")


def _without_login(word: str) -> str:
    """Return a word of the command line without the password of a tracking server, which is shown nowhere."""
    key, equals, uri = word.partition("=")
    return f"{key}={runtime.without_login(uri)}" if equals and key.lstrip("+") == "tracking.uri" else word


def _named(name: str) -> Command:
    if name in NAMES:
        return COMMANDS[NAMES.index(name)]
    close = "".join(f" (did you mean {near}?)" for near in get_close_matches(name, NAMES, n=1))
    raise InputError(f"{name}: no such command{close}; use {', '.join(NAMES)}")


def _parser(command: Command) -> _Parser:
    parser = _Parser(f"hwr {command.name}", add_help=False, allow_abbrev=False)
    positional = command.positional
    rest = parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    if positional is not None:
        rest.metavar, rest.help = positional.metavar, positional.help
    for flag in command.all_flags:
        options: dict[str, Any] = {"help": flag.help, "required": flag.required, "dest": _dest(flag.names)}
        options |= {"action": "store_true"} if flag.metavar is None else {"metavar": flag.metavar}
        options |= {"action": "append", "default": []} if flag.repeated else {}
        parser.add_argument(*flag.names, **options)
    return parser


def _usage(command: Command) -> tuple[str, ...]:
    required = " ".join(f"{flag.names[-1]} {flag.metavar}" for flag in command.flags if flag.required)
    keys = "[KEY=VALUE …]" if command.takes_keys else ""
    positional = command.positional.metavar if command.positional else ""
    script = Path(sys.argv[0]).name
    program = f"python {script}" if script == f"{command.name}.py" else f"hwr {command.name}"
    return (program, positional, required, "[OPTION …]" if command.all_flags else "", keys)


def _quoted(word: str) -> str:
    """Return KEY=VALUE with the value in quotes where Hydra reads it only so: é, and the devices gpu:0,1."""
    key, _, value = word.partition("=")
    if _DEVICES.fullmatch(word):
        return f"{key}='{value}'"
    plain = value.isascii() or word.startswith("-") or set(value) & set("'\"[]{}(),=\\$")
    return word if plain else f"{key}='{value}'"


def _dest(names: Sequence[str]) -> str:
    return names[-1].lstrip("-").replace("-", "_")


def _is_key(word: str) -> bool:
    """Tell whether a word is an override: KEY=VALUE, or ~KEY which leaves one out; a URL is none."""
    key, equals, _ = word.partition("=")
    return not word.startswith("-") and "://" not in key and (bool(equals) or word.startswith("~"))


if __name__ == "__main__":
    main()
