"""The typed roots of conf/ and their validation: what a user typed becomes plain values, or one clear line.

Beside the two scripts this is the only importer of Hydra and OmegaConf.
"""

import difflib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.utils import get_object
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hwr.errors import InputError

ROOT = Path(__file__).parent.parent
Made = TypeVar("Made")


@dataclass
class TrainConfig:
    """A training, as conf/train.yaml and a stage file give it; the nodes are checked against what they construct."""

    name: str = MISSING
    lr: float = MISSING
    batch_size: int = MISSING
    monitor: str = MISSING
    seed: int = MISSING
    device: str = MISSING
    unknown: str = MISSING
    init: str | None = MISSING
    resume: str | None = MISSING
    max_epochs: int | None = MISSING
    max_minutes: float | None = MISSING
    patience: int | None = MISSING
    clip: float | None = MISSING
    average: float | None = MISSING
    folder: str = MISSING
    max_pixels: int = MISSING
    stage: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    inspect: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateConfig:
    """An evaluation, as conf/evaluate.yaml gives it."""

    target: str = MISSING
    weights: dict[str, Any] = field(default_factory=dict)
    split: str = MISSING
    output: str = MISSING
    batch_size: int = MISSING
    device: str = MISSING
    unknown: str = MISSING
    pictures: int = MISSING
    folder: str = MISSING
    max_pixels: int = MISSING
    data: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    scorer: dict[str, Any] = field(default_factory=dict)
    resampling: dict[str, Any] = field(default_factory=dict)
    tracking: dict[str, Any] = field(default_factory=dict)


@dataclass
class InspectConfig(TrainConfig):
    """A look at data, as conf/inspect.yaml gives it: a training's keys and where the report goes."""

    full: bool = MISSING
    output: str | None = MISSING


@dataclass(frozen=True)
class Composed:
    """A composed configuration: the typed root, its YAML, its plain nested values, and what the user overrode."""

    root: Any
    yaml: str
    values: dict[str, Any]
    overrides: tuple[str, ...]


def typed(cfg: DictConfig, root: type) -> Composed:
    """Check a composed configuration against a typed root and convert it once; raise InputError for what is wrong."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        merged = OmegaConf.merge(OmegaConf.structured(root), plain)
        values = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(_plain(error)) from None
    assert isinstance(values, dict)
    overrides = tuple(HydraConfig.get().overrides.task) if HydraConfig.initialized() else ()
    return Composed(root(**values), OmegaConf.to_yaml(OmegaConf.create(values)), typing.cast("dict[str, Any]", values), overrides)


def composed(name: str, overrides: Sequence[str], root: type) -> Composed:
    """Compose conf/NAME.yaml with overrides, outside of Hydra's own entry point."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return typed(compose(name, list(overrides)), root)


def stored(text: str, overrides: Sequence[str], root: type) -> Composed:
    """Read a configuration that a run stored; `overrides` (key=value) of the command line still win."""
    try:
        cfg = OmegaConf.create(text)
        OmegaConf.set_struct(cfg, True)
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            OmegaConf.update(cfg, key, yaml.safe_load(value), merge=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(_plain(error)) from None
    return typed(typing.cast(DictConfig, cfg), root)


def make(maker: Callable[..., Made], settings: Mapping[str, Any], where: str, **given: Any) -> Made:
    """Call `maker` with the settings of the node `where` and what the code gives; unknown, missing or ill-typed keys raise InputError."""
    settings = {key: value for key, value in settings.items() if key != "_target_"}
    parameters = inspect.signature(maker).parameters
    known = [n for n, p in parameters.items() if n not in given and p.kind is not p.VAR_KEYWORD and n != "self"]
    for key in settings:
        if key not in known:
            raise InputError(f"{where}.{key}: no such key{_suggestion(key, known)}; known are {', '.join(known)}")
    for key in known:
        if key not in settings and parameters[key].default is inspect.Parameter.empty:
            raise InputError(f"{where}.{key} is not set; give it on the command line or in its YAML")
    hints = _hints(maker)
    checked = {key: _checked(value, hints.get(key, Any), f"{where}.{key}") for key, value in settings.items()}
    return maker(**checked, **given)


def target(settings: Mapping[str, Any], where: str) -> Callable[..., Any]:
    """Return the class or function that a node's `_target_` names, one of this project's."""
    name = settings.get("_target_")
    if not isinstance(name, str) or not name.startswith("hwr."):
        raise InputError(f"{where}._target_={name}: not a part of hwr; use one of conf/{where}/*.yaml")
    try:
        return typing.cast("Callable[..., Any]", get_object(name))
    except (ImportError, AttributeError, ValueError):
        raise InputError(f"{where}._target_={name}: there is no such thing") from None


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn bad input into one line on standard error and exit status 2; interrupts into their usual status."""
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    try:
        yield
    except (InputError, HydraException, OmegaConfBaseException) as error:
        print(f"error: {_plain(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _plain(error: BaseException) -> str:
    """Return the message of a Hydra or OmegaConf error as one line that names the key."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = getattr(error, "full_key", None) or ""
    text = lines[0] if lines else type(error).__name__
    if "Could not override" in text:
        name = text.split("'")[1]
        known = [f.name for root in (TrainConfig, EvaluateConfig, InspectConfig) for f in fields(root)]
        return f"{name}: no such key{_suggestion(name.rpartition('.')[2], known)}; see --cfg job for all keys"
    if "not in" in text and key:
        known = [f.name for root in (TrainConfig, EvaluateConfig, InspectConfig) for f in fields(root)]
        return f"{key}: no such key{_suggestion(key.rpartition('.')[2], known)}; see --cfg job for all keys"
    if key and "MISSING" in type(error).__name__.upper():
        return f"{key} is not set; give {key}=… on the command line"
    if "Could not find" in text or "In '" in text:
        return " ".join(lines[:2] + [", ".join(line for line in lines[2:] if "file" not in line and "://" not in line)])
    return f"{key}: {text}" if key and key not in text else text


def _suggestion(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, list(dict.fromkeys(known)), n=1)
    return f" (did you mean {close[0]}?)" if close else ""


def _hints(maker: Callable[..., Any]) -> dict[str, Any]:
    function = maker if not inspect.isclass(maker) or is_dataclass(maker) else maker.__init__
    try:
        return typing.get_type_hints(function)
    except NameError:
        return {}


def _checked(value: Any, hint: Any, name: str) -> Any:
    """Return `value` as the plain type that `hint` asks for; containers and objects pass as they are."""
    options = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    plain = [option for option in options if option in (int, float, bool, str, type(None))]
    if len(plain) < len(options):
        return value
    for kind in plain:
        if type(value) is kind:
            return value
    if float in plain and type(value) is int:
        return float(value)
    wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in plain)
    raise InputError(f"{name}={value!r} is not of type {wanted}")
