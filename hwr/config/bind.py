"""The settings of a node, bound to the signature of what they configure; knows no file and no key."""

import difflib
import inspect
import types
import typing
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from importlib import import_module
from typing import Any, TypeVar

from hwr.errors import InputError

Made = TypeVar("Made")

# Where parts went that older weights and runs name.
MOVED = {"hwr.denoising.denoise_decoder": "hwr.stages.denoiser.decoder.denoise_decoder"}

_NAMES = {
    float: "a number",
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    types.NoneType: "null",
}


def make(maker: Callable[..., Made], settings: Mapping[str, Any], where: str, **given: Any) -> Made:
    """Call `maker` with the settings of the node `where` and what is `given`; InputError if it refuses."""
    bound = bind(maker, settings, where, given)
    for key, hint in _hints(maker).items():
        if key in bound and inspect.isclass(hint) and is_dataclass(hint) and isinstance(bound[key], Mapping):
            bound[key] = make(hint, bound[key], f"{where}.{key}")
    try:
        return maker(**bound, **given)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def bind(
    maker: Callable[..., Any], settings: Mapping[str, Any], where: str, given: Collection[str] = ()
) -> dict[str, Any]:
    """Return the settings of the node `where` as arguments of `maker`, which the code also hands `given`.

    Raises InputError for a key that is unknown, missing or of another type.
    """
    settings = {key: value for key, value in settings.items() if key != "_target_"}
    parameters = inspect.signature(maker).parameters
    known = [n for n, p in parameters.items() if n not in given and p.kind is not p.VAR_KEYWORD]
    for key in settings:
        if key not in known:
            raise InputError(no_such_key(f"{where}.{key}", known))
    for key in known:
        if key not in settings and parameters[key].default is inspect.Parameter.empty:
            raise InputError(f"{where}.{key} is not set; give it on the command line or in its YAML")
    hints = _hints(maker)
    return {key: _checked(value, hints.get(key, Any), f"{where}.{key}") for key, value in settings.items()}


def texts(settings: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of nested settings with their keys, below `key` ("" for the top)."""
    if isinstance(settings, str):
        yield key, settings
        return
    inner = settings.items() if isinstance(settings, Mapping) else ()
    for name, own in enumerate(settings) if isinstance(settings, list) else inner:
        yield from texts(own, f"{key}.{name}" if key else str(name))


def target(settings: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names, one of this project's."""
    name = settings.get("_target_")
    name = MOVED.get(str(name), name)
    if not isinstance(name, str) or not name.startswith("hwr."):
        raise InputError(f"{where}._target_={name}: not a part of hwr; use one of conf/{where}/*.yaml")
    try:
        module, _, attribute = name.rpartition(".")
        return typing.cast("Callable[..., Any]", getattr(import_module(module), attribute))
    except (ImportError, AttributeError):
        raise InputError(f"{where}._target_={name}: there is no such thing") from None


def no_such_key(key: str, known: Sequence[str]) -> str:
    """Return the line that refuses `key` (a.b.c), with the keys `known` in its node."""
    parent, _, name = key.rpartition(".")
    remedy = f"known are {', '.join(known)}" if parent else "see --cfg job for all keys"
    return f"{key}: no such key{suggestion(name, known)}; {remedy}"


def suggestion(key: str, known: Sequence[str]) -> str:
    """Return which of the `known` names `key` may mean, to follow it in a message; nothing where none is."""
    close = difflib.get_close_matches(key, list(dict.fromkeys(known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    function = maker if not inspect.isclass(maker) or is_dataclass(maker) else maker.__init__
    try:
        return typing.get_type_hints(function)
    except NameError:
        return {}


def _checked(value: Any, hint: Any, name: str) -> Any:
    """Return `value` as the type that `hint` asks for; raise InputError where it is of another."""
    if not _fits(value, hint):
        raise InputError(f"{name}={value!r} is not {_named(hint)}")
    options = _options(hint)
    return float(value) if type(value) is int and float in options and int not in options else value


def _fits(value: Any, hint: Any) -> bool:
    """Tell whether a value of a YAML file is of the type `hint`; what no YAML file can hold fits anything."""
    kind, inner = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in inner)
    if kind in _NAMES:
        return type(value) is kind or (kind is float and type(value) is int)
    if not inspect.isclass(kind) or not inner:
        return True
    if issubclass(kind, Mapping):
        return isinstance(value, Mapping) and all(_fits(v, inner[1]) for v in value.values())
    if issubclass(kind, Collection):
        return isinstance(value, list | tuple) and all(_fits(item, inner[0]) for item in value)
    return True


def _named(hint: Any) -> str:
    """Return how a user would call a type."""
    inner = typing.get_args(hint)
    if len(_options(hint)) > 1:
        return " or ".join(_named(option) for option in inner)
    if inner and issubclass(typing.get_origin(hint), Mapping):
        return f"a mapping to {_named(inner[1])} each"
    return (
        f"a list with {_named(inner[0])} each"
        if inner
        else _NAMES.get(hint, getattr(hint, "__name__", str(hint)))
    )


def _options(hint: Any) -> tuple[Any, ...]:
    return typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
