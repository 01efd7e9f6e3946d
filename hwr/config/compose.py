"""The typed roots of conf/ and their validation: what a user typed becomes plain values, or one clear line.

Beside the two scripts and `multirun` this is the only importer of Hydra and OmegaConf.
"""

import math
import operator
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from hwr.config.bind import no_such_key, suggestion
from hwr.config.locations import CONF, ROOT
from hwr.errors import InputError

OmegaConf.register_new_resolver("hwr.root", lambda: str(ROOT), replace=True)  # ${hwr.root:} in conf/


def _ranged(**limits: Any) -> Any:
    """Declare a key whose values keep to `limits`, names of _LIMITS."""
    return field(default=MISSING, metadata=limits)


@dataclass
class InspectionConfig:
    """What is done about findings in the data."""

    examples: int = MISSING
    policy: dict[str, str] = field(default_factory=dict)


@dataclass
class TrackingConfig:
    """Where runs are recorded."""

    uri: str | None = MISSING
    experiment: str = MISSING


@dataclass
class StoreConfig:
    """The folder of runs and caches, and the tracking store in or beside it."""

    folder: str = MISSING
    tracking: TrackingConfig = field(default_factory=TrackingConfig)


@dataclass
class LineWeightsConfig:
    """The weights that read lines."""

    line: str = MISSING


@dataclass
class WeightsConfig(LineWeightsConfig):
    """The weights of each stage."""

    paragraph: str = MISSING
    segmentation: str = MISSING


@dataclass
class TrainConfig(StoreConfig):
    """A training, as conf/train.yaml and a stage file give it; its nodes are bound to what they construct."""

    name: str = MISSING
    lr: float = _ranged(above=0)
    batch_size: int = _ranged(least=1)
    monitor: str = MISSING
    seed: int = _ranged(least=0, below=2**31)
    device: str = MISSING
    unknown: str = field(default="keep", metadata={"one_of": ("keep", "error")})  # of stages that read text
    init: str | None = MISSING
    resume: str | None = MISSING
    max_epochs: int | None = _ranged(least=1)
    max_minutes: float | None = _ranged(above=0)
    patience: int | None = _ranged(least=1)
    save_every: float | None = field(default=None, metadata={"above": 0})  # min; older configurations lack it
    clip: float | None = _ranged(above=0)
    average: float | None = _ranged(least=0, below=1)
    max_pixels: int = _ranged(least=1)
    stage: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    loss: dict[str, Any] = field(default_factory=dict)
    decoder: dict[str, Any] = field(default_factory=dict)
    inspect: InspectionConfig = field(default_factory=InspectionConfig)
    data: dict[str, Any] = field(default_factory=dict)
    phases: dict[str, Any] = field(default_factory=dict)


@dataclass
class LinesConfig(StoreConfig):
    """The keys of whatever reads the lines of a split."""

    weights: LineWeightsConfig = field(default_factory=LineWeightsConfig)
    split: str = _ranged(one_of=("train", "valid", "test"))
    batch_size: int = _ranged(least=1)
    device: str = MISSING
    unknown: str = _ranged(one_of=("keep", "error"))
    max_pixels: int = _ranged(least=1)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluateConfig(LinesConfig):
    """An evaluation, as conf/evaluate.yaml gives it."""

    target: str = MISSING
    weights: dict[str, str] = field(default_factory=dict)  # type: ignore[assignment]  # of any stage
    output: str = MISSING
    seams: bool = MISSING
    working_pixels: int = _ranged(least=1)
    pdf_dpi: int = _ranged(least=1)
    pictures: int = _ranged(least=0)
    kept_height: int = _ranged(least=0)
    publish: str | None = MISSING
    decoder: dict[str, Any] = field(default_factory=dict)
    scorer: dict[str, Any] = field(default_factory=dict)
    resampling: dict[str, Any] = field(default_factory=dict)


@dataclass
class TuneConfig(LinesConfig):
    """A choice of a decoder's numbers, as conf/tune.yaml gives it."""

    decoder: dict[str, Any] = field(default_factory=dict)
    search: str = _ranged(one_of=("coordinate", "grid"))
    rounds: int = _ranged(least=1)
    monitor: str = _ranged(one_of=("cer", "wer"))
    tolerance: float = _ranged(least=0)
    space: dict[str, Any] = field(default_factory=dict)
    cheap: list[str] = field(default_factory=list)
    output: str | None = MISSING


@dataclass
class DecodersConfig(LinesConfig):
    """A comparison of decoders, as conf/decoders.yaml gives it."""

    decoders: dict[str, Any] = field(default_factory=dict)
    baseline: str = MISSING
    repeats: int = _ranged(least=1)
    pictures: int = _ranged(least=0)
    seed: int = _ranged(least=0)
    output: str = MISSING
    publish: str | None = MISSING
    scorer: dict[str, Any] = field(default_factory=dict)
    resampling: dict[str, Any] = field(default_factory=dict)


@dataclass
class ConfusionConfig(LinesConfig):
    """A count of what is misread, as conf/confusion.yaml gives it."""

    decoder: dict[str, Any] = field(default_factory=dict)
    output: str = MISSING
    published: str | None = MISSING
    shown: int = _ranged(least=0)


@dataclass
class CompareConfig(StoreConfig):
    """A comparison of runs, as conf/compare.yaml gives it."""

    split: str = _ranged(one_of=("train", "valid", "test"))
    output: str = MISSING
    level: float = _ranged(above=0, below=1)
    resampling: dict[str, Any] = field(default_factory=dict)
    scorer: dict[str, Any] = field(default_factory=dict)
    pictures: int = _ranged(least=0)


@dataclass
class SearchConfig:
    """A search for the settings of a training, as conf/search.yaml gives it."""

    study: str | None = MISSING
    trials: int = _ranged(least=1)
    jobs: int = _ranged(least=1)
    seed: int = _ranged(least=0, below=2**31)
    space: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    pruner: dict[str, Any] = field(default_factory=dict)


@dataclass
class InspectConfig(TrainConfig):
    """A look at data, as conf/inspect.yaml gives it: a training's keys and where the report goes."""

    full: bool = MISSING
    output: str | None = MISSING


@dataclass
class TranscribeConfig(StoreConfig):
    """How pages are read from the command line, as conf/transcribe.yaml gives it."""

    weights: WeightsConfig = field(default_factory=WeightsConfig)
    decoder: dict[str, Any] = field(default_factory=dict)
    seams: bool = MISSING
    batch_size: int = _ranged(least=1)
    device: str = MISSING
    max_pixels: int = _ranged(least=1)
    working_pixels: int = _ranged(least=1)
    pdf_dpi: int = _ranged(least=1)
    overlay_width: int = _ranged(least=100)


@dataclass
class AlphabetConfig:
    """The weights whose alphabet is taken."""

    line: str | None = MISSING


@dataclass
class LanguageModelConfig(StoreConfig):
    """How a language model is made, as conf/language_model.yaml gives it."""

    order: int = MISSING
    unit: str = MISSING
    min_count: int = _ranged(least=1)
    weights: AlphabetConfig = field(default_factory=AlphabetConfig)
    split: str = _ranged(one_of=("train", "valid", "test"))
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Composed:
    """A composed configuration: typed root, YAML text, plain nested values, and what the user overrode.

    `choices` tells which file each group took (decoder: beam), where `composed` made it.
    """

    root: Any
    yaml: str
    values: dict[str, Any]
    overrides: tuple[str, ...]
    choices: dict[str, str] = field(default_factory=dict)


def typed(cfg: DictConfig, root: type, overrides: Sequence[str] = ()) -> Composed:
    """Check a composed configuration against a typed root and convert it once; InputError for a flaw."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        merged = OmegaConf.merge(OmegaConf.structured(root), plain)
        values = OmegaConf.to_container(merged, resolve=True, throw_on_missing=True)
        made = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from None
    _check_ranges(made)
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else overrides
    text = OmegaConf.to_yaml(OmegaConf.create(values))
    return Composed(made, text, typing.cast("dict[str, Any]", values), tuple(given))


def composed(name: str, overrides: Sequence[str], root: type) -> Composed:
    """Compose conf/NAME.yaml with overrides, outside of Hydra's own entry point."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, list(overrides), return_hydra_config=True)
    choices = {group: str(chosen) for group, chosen in cfg.hydra.runtime.choices.items() if chosen}
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return replace(typed(own, root, overrides), choices=choices)


def stored(text: str, overrides: Sequence[str], root: type) -> Composed:
    """Read a configuration that a run stored; `overrides` (key=value) of the command line still win."""
    try:
        cfg = OmegaConf.create(text)
        OmegaConf.set_struct(cfg, True)
        for override in overrides:
            key, _, value = override.lstrip("+").partition("=")
            OmegaConf.update(cfg, key, OmegaConf.create(f"value: {value}").value, merge=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(one_line(error)) from None
    return typed(typing.cast(DictConfig, cfg), root, overrides)


def portable(text: str) -> str:
    """Return a stored configuration without the folders of the machine it ran on."""
    cfg = typing.cast(DictConfig, OmegaConf.create(text))
    for key, value in (("data.root", "DIR"), ("folder", "outputs"), ("tracking.uri", None), ("init", None)):
        if OmegaConf.select(cfg, key) is not None:
            OmegaConf.update(cfg, key, value)
    for key, value in (cfg.get("data") or {}).items():
        if isinstance(value, str) and Path(value).is_absolute():
            OmegaConf.update(cfg, f"data.{key}", "DIR")
    return OmegaConf.to_yaml(cfg)


@contextmanager
def clear_errors() -> Iterator[None]:
    """Turn bad input into one line on standard error and exit status 2; interrupts into their usual status.

    In a job of a sweep bad input stays an exception, so that the other jobs go on.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises instead of printing and exiting with 1
    try:
        yield
    except (InputError, HydraException, OmegaConfBaseException) as error:
        if _in_sweep():
            raise
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def one_line(error: BaseException) -> str:
    """Return the message of an error, of Hydra or OmegaConf say, as one line that names key and remedy."""
    key = getattr(error, "full_key", None) or ""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    if isinstance(error, MissingConfigException) and isinstance(error.missing_cfg_file, str):
        return _no_such_choice(error.missing_cfg_file, error.options or ())
    if isinstance(error, OverrideParseException):
        return f"{error.override}: not understood; write KEY=VALUE, a value with special characters in quotes"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is not set; give {key}=… on the command line"
    for cause in (error, error.__cause__):  # Hydra wraps what OmegaConf says
        if isinstance(cause, ConfigKeyError | ConfigAttributeError) and isinstance(
            cause.parent_node, DictConfig
        ):
            return no_such_key(str(cause.full_key), [str(name) for name in cause.parent_node])
    refusal = r"Value '(.*)' (?:of type '\w+' could not be converted to|is not a valid) (\w+)"
    if converted := re.match(refusal, text):
        return f"{key}={converted[1]} is not {_CONVERTED.get(converted[2], converted[2])}"
    return f"{key}: {text}" if key and key not in text else text


def _in_sweep() -> bool:
    return HydraConfig.initialized() and not OmegaConf.is_missing(HydraConfig.get().job, "num")


_CONVERTED = {
    "Float": "a number",
    "Integer": "a whole number",
    "bool": "true or false",
}  # names of OmegaConf's
_LIMITS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "above": (operator.gt, "greater than {}"),
    "least": (operator.ge, "{} or more"),
    "below": (operator.lt, "less than {}"),
    "one_of": (lambda value, choices: value in choices, "one of {}"),
}


def _check_ranges(root: Any) -> None:
    """Raise InputError for the first value outside what its key declares; null is inside."""
    for key in fields(root):
        value = getattr(root, key.name)
        wrong = [
            name
            for name, limit in key.metadata.items()
            if value is not None and not _LIMITS[name][0](value, limit)
        ]
        if wrong or (isinstance(value, float) and not math.isfinite(value)):
            shown = {n: ", ".join(limit) if n == "one_of" else limit for n, limit in key.metadata.items()}
            wanted = " and ".join(_LIMITS[name][1].format(limit) for name, limit in shown.items())
            raise InputError(f"{key.name}={value} is not possible; it must be {wanted}")


def _no_such_choice(file: str, options: Sequence[str]) -> str:
    group, _, name = file.partition("/")
    folder = ROOT / group  # experiments; for a group in conf/ Hydra gives the options
    known = options or sorted(
        p.relative_to(folder).with_suffix("").as_posix() for p in folder.glob("*/*.yaml")
    )
    return f"{group}={name}: no such choice{suggestion(name, known)}; use one of {', '.join(known)}"
