"""Errors of Hydra, OmegaConf and pydantic as one line that names the key and the remedy."""

import difflib
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)
from pydantic import ValidationError

from hwr.config import CONF, ROOT
from hwr.errors import InputError, UnknownKeysError, usable_paths

REGISTERED = "models:/"  # begins the names of weights in MLflow's registry
_UNKNOWN = ("unexpected_keyword_argument", "extra_forbidden")  # pydantic's errors for a key that is none
# What a value should have been, by the type of pydantic's error.
_WANTED = {
    "float_type": "is not a number",
    "finite_number": "is not a finite number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "bool_type": "is not true or false",
    "string_type": "is not a text",
    "list_type": "is not a list",
    "tuple_type": "is not a list",
    "dict_type": "is not a mapping; give its keys: {key}.KEY=…",
    "mapping_type": "is not a mapping; give its keys: {key}.KEY=…",
    "dataclass_type": "is not a mapping; give its keys: {key}.KEY=…",
    "none_required": "is not null",
    "greater_than": "is not possible; it must be greater than {gt:g}",
    "greater_than_equal": "is not possible; it must be {ge:g} or more",
    "less_than": "is not possible; it must be less than {lt:g}",
    "less_than_equal": "is not possible; it must be {le:g} or less",
    "literal_error": "is not possible; it must be one of {expected}",
}


# Hydra's refusals of KEY=A,B where no sweep was asked for.
_SEVERAL = re.compile(
    r"(?:Ambiguous value for argument|Sweep parameters) '(.+?)=(.*)'(?: requires --multirun)?$"
)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn bad input into one line on standard error and exit status 2; interrupts into their usual status.

    In a job of a sweep bad input stays an exception, so that the other jobs go on.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    try:
        with usable_paths():
            yield
    except (InputError, HydraException, OmegaConfBaseException) as error:
        if HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num"):
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def one_line(error: BaseException) -> str:
    """Return an error's message (Hydra's or OmegaConf's too) as one line that names key and remedy."""
    key = getattr(error, "full_key", None) or ""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if values := _SEVERAL.match(lines[0]):
        return several(values[1], values[2])
    text = " ".join(lines) if isinstance(error, HydraException) else lines[0]  # Hydra's remedies follow
    if isinstance(error, MissingConfigException) and isinstance(error.missing_cfg_file, str):
        group, _, name = error.missing_cfg_file.partition("/")
        return no_such_choice(group, name, error.options or ())
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not understood; write KEY=VALUE, a value with special characters in quotes"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set; give {key}=… on the command line"
    for cause in (error, error.__cause__):  # Hydra wraps what OmegaConf says
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(
            cause.parent_node, DictConfig
        ):
            return no_such_key(str(cause.full_key), [str(name) for name in cause.parent_node])
    return f"{key}: {text}" if key and key not in text else text


def refusal(
    error: ValidationError, settings: Mapping[str, Any], where: str, known: Sequence[str]
) -> InputError:
    """Return the error for the first of pydantic's errors about `settings`.

    `where` is their node, "" for the root; `known` are its keys.
    """
    errors = error.errors(include_url=False)
    first = next((one for one in errors if one["type"] in _UNKNOWN), errors[0])
    path = _path(first["loc"], settings)
    key = _dotted(where, path)
    kind, value = first["type"], first["input"]
    if kind in _UNKNOWN:
        beside = known if len(path) == 1 else []
        unknown = [_dotted(where, _path(one["loc"], settings)) for one in errors if one["type"] in _UNKNOWN]
        return UnknownKeysError(no_such_key(key, beside), unknown)
    if kind in ("missing", "missing_keyword_only_argument"):
        key = _dotted(where, first["loc"])
        return InputError(f"{key} is not set; give {key}=… on the command line or in its YAML")
    wanted = _WANTED.get(kind, f"is not possible ({first['msg']})")
    context = {name: text.replace("'", "").replace(" or ", ", ") if isinstance(text, str) else text
               for name, text in first.get("ctx", {}).items()}  # fmt: skip
    return InputError(f"{key}={value!r} {wanted.format(key=key, **context)}")


def no_such_key(key: str, known: Sequence[str]) -> str:
    """Return the line that refuses `key` (a.b.c), with the keys `known` in its node."""
    parent, _, name = key.rpartition(".")
    choices = " or ".join(f"{parent}={choice}" for choice in _choices_with(parent, name))
    elsewhere = f" here, but with {choices}" if choices else suggestion(name, known)
    remedy = f"known are {', '.join(known)}" if parent and known else "see --help for all keys"
    return f"{key}: no such key{elsewhere}; {remedy}"


def _choices_with(group: str, key: str) -> list[str]:
    """Return the files of a group of conf/ that have a key; none where it is no group."""
    folders = [folder for folder in CONF.iterdir() if folder.name == group and folder.is_dir()]
    files = sorted(file for folder in folders for file in folder.glob("*.yaml"))
    return [file.stem for file in files if f"\n{key}:" in f"\n{file.read_text(encoding='utf-8')}"]


def set_by_experiment(experiment: str, chosen: str, meant: str, keys: Sequence[str]) -> str:
    """Return the line that refuses `keys` which `experiment` sets for the file `meant` (data=iam).

    `chosen` is the file that was chosen instead.
    """
    left_out = " ".join(f"'~{key}'" for key in keys)
    remedy = f"choose another experiment, or leave out what it sets: {left_out}"
    return f"{keys[0]}: no such key of {chosen}; experiments={experiment} sets it for {meant}; {remedy}"


def no_such_choice(group: str, name: str, options: Sequence[str] = ()) -> str:
    """Return the line that refuses a file of a group; `options` are found where Hydra does not tell them."""
    folder, files = (CONF / group, "*.yaml") if (CONF / group).is_dir() else (ROOT / group, "*/*.yaml")
    known = options or sorted(p.relative_to(folder).with_suffix("").as_posix() for p in folder.glob(files))
    remedy = f"use one of {', '.join(known)}" if known else "give the name of a file"
    if group == "model" and name.startswith(REGISTERED):
        return registered(name)
    return f"{group}={name}: no such choice{suggestion(name, known)}; {remedy}"


def registered(uri: str) -> str:
    """Return the line that refuses models:/NAME@ALIAS where a model is chosen by its name."""
    name = re.split(r"[@/]", uri.removeprefix(REGISTERED))[0] or "NAME"
    fetch = f"hwr models get {name} +stores.lab=mlflow"
    return f"{uri}: names weights, not a model; {fetch}, then use the name {name}"


def several(key: str, values: str) -> str:
    """Return the line that refuses several values of a key; a sweep of functions has no other meaning."""
    sweep = f"{key}={values}: several values; add -m to sweep over them (train, evaluate)"
    others = f", or write {key}=[{values}] for a list, \"{key}='{values}'\" for a text"
    return sweep if "(" in values else sweep + others


def suggestion(key: str, known: Sequence[str]) -> str:
    """Return which of the `known` names `key` may mean, to follow it in a message; nothing where none is."""
    close = difflib.get_close_matches(key, list(dict.fromkeys(known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _dotted(where: str, path: Sequence[int | str]) -> str:
    return ".".join([*([where] if where else []), *map(str, path)])


def _path(location: Sequence[int | str], settings: Any) -> list[int | str]:
    """Return the keys and places of a location; a union's location ends with the name of one of its types."""
    path: list[int | str] = []
    for step in location:
        inside = step in settings if isinstance(settings, Mapping) else isinstance(step, int)
        if not inside:
            break
        path.append(step)
        settings = settings[step]
    return path
