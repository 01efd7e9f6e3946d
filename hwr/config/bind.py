"""Bind settings to the callable they configure: pydantic checks them against its signature."""

import inspect
import json
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from importlib import import_module, metadata
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, Required, TypedDict

from hwr.config.messages import refusal
from hwr.errors import InputError

Made = TypeVar("Made")

STAGES = "hwr.stages"  # the group of entry points by which packages add stages

# Where parts went that older weights, runs and configuration files name; of a module, all of it.
MOVED = {
    "hwr.decoding.languages": "hwr.decoding.beam",
    "hwr.networks.resnet_bilstm": "hwr.networks.crnn",
    "hwr.runs.search_space": "hwr.runs.study",
    "hwr.searching.proposals": "hwr.runs.study",
    "hwr.stages.denoiser.model.denoise_decoder": "hwr.stages.denoiser.denoise_decoder",
    "hwr.stages.denoiser.decoder.denoise_decoder": "hwr.stages.denoiser.denoise_decoder",
    "hwr.denoising.denoise_decoder": "hwr.stages.denoiser.denoise_decoder",
    "hwr.networks.paragraph.resnet34": "hwr.networks.paragraph.paragraph_resnet34",
    "hwr.networks.ssd.resnet34": "hwr.networks.ssd.ssd_resnet34",
}


def parse_root(root: type[Made], values: Mapping[str, Any]) -> Made:
    """Return a typed root; raise InputError for a key that is unknown, missing or out of range."""
    try:
        return TypeAdapter(root).validate_json(json.dumps(values), strict=True)
    except ValidationError as error:
        known = [field.name for field in fields(root)]  # type: ignore[arg-type]  # every root is a dataclass
        raise refusal(error, values, "", known) from None


def make(maker: Callable[..., Made], settings: Mapping[str, Any], where: str, **given: Any) -> Made:
    """Call `maker` with the settings of the node `where` and what is `given`; InputError if it refuses."""
    bound = bind(maker, settings, where, given)
    for key, hint in _hints(maker).items():
        if key in bound and _is_node(hint):
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

    Raises InputError for a key that is unknown or missing, and for a value of another type or out of range.
    """
    own = {key: value for key, value in mapping(settings, where).items() if key != "_target_"}
    known, adapter = _signature(maker, frozenset(given))
    try:
        bound: dict[str, Any] = adapter.validate_json(json.dumps(own), strict=True)
    except ValidationError as error:
        raise refusal(error, own, where, known) from None
    return bound


def mapping(settings: Any, where: str) -> Mapping[str, Any]:
    """Return the settings of the node `where`; raise InputError where they are no mapping."""
    if isinstance(settings, Mapping):
        return settings
    raise InputError(f"{where}={settings} is not a mapping; give its keys, or leave it out")


def texts(settings: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the texts of nested settings with their keys, below `key` ("" for the top)."""
    if isinstance(settings, str):
        yield key, settings
        return
    inner = settings.items() if isinstance(settings, Mapping) else ()
    for name, own in enumerate(settings) if isinstance(settings, list) else inner:
        yield from texts(own, f"{key}.{name}" if key else str(name))


def leaves(
    space: Mapping[str, Any], is_leaf: Callable[[Any], bool], wanted: str, prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Yield what is tried by dotted key of a nested node `space`; InputError for what is not `wanted`."""
    for name, own in space.items():
        if is_leaf(own):
            yield f"{prefix}{name}", own
        elif isinstance(own, Mapping) and own:
            yield from leaves(own, is_leaf, wanted, f"{prefix}{name}.")
        else:
            raise InputError(f"space.{prefix}{name}={own!r}: {wanted}")


def target(settings: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names.

    It is one of this project, or of an installed package that adds a stage by an entry point of STAGES.
    """
    name = mapping(settings, where).get("_target_")
    name = current_target(name) if isinstance(name, str) else name
    packages = {"hwr", *(entry.module.partition(".")[0] for entry in metadata.entry_points(group=STAGES))}
    if not isinstance(name, str) or name.partition(".")[0] not in packages:
        raise InputError(f"{where}._target_={name}: not a part of hwr; use one of conf/{where}/*.yaml")
    try:
        module, _, attribute = name.rpartition(".")
        return typing.cast("Callable[..., Any]", getattr(import_module(module), attribute))
    except (ImportError, AttributeError):
        raise InputError(f"{where}._target_={name}: there is no such thing") from None


def current_target(name: str) -> str:
    """Return a `_target_` as it is named today: an older name is looked up in MOVED."""
    module, dot, attribute = MOVED.get(name, name).rpartition(".")
    return f"{MOVED.get(module, module)}{dot}{attribute}"


def current_targets(settings: Any) -> Any:
    """Return the settings of a node with every `_target_` in it as it is named today."""
    if not isinstance(settings, Mapping):
        return settings
    return {
        key: current_target(own) if key == "_target_" and isinstance(own, str) else current_targets(own)
        for key, own in settings.items()
    }


@lru_cache(maxsize=256)
def _signature(maker: Callable[..., Any], given: frozenset[str]) -> tuple[list[str], TypeAdapter[Any]]:
    """Return the keys that a node of `maker` has, and what checks their values."""
    parameters, hints = inspect.signature(maker).parameters, _hints(maker)
    keys: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name not in given and parameter.kind is not parameter.VAR_KEYWORD:
            hint = hints.get(name, Any)
            hint = dict[str, Any] if _is_node(hint) else hint
            keys[name] = Required[hint] if parameter.default is parameter.empty else NotRequired[hint]
    node = TypedDict("node", keys)  # type: ignore[misc]  # its keys are known at run time alone
    strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return list(keys), TypeAdapter(with_config(strict)(node))


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    function = maker if not inspect.isclass(maker) or is_dataclass(maker) else maker.__init__
    try:
        return typing.get_type_hints(function, include_extras=True)
    except NameError:
        return {}


def _is_node(hint: Any) -> bool:
    """Tell whether a parameter is constructed from a node of its own."""
    return inspect.isclass(hint) and is_dataclass(hint)
