"""Compose configurations with Hydra, or read those stored by runs, as typed roots and plain values."""

import re
import sys
import typing
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hwr.config import CONF, ROOT
from hwr.config.bind import parse_root
from hwr.config.messages import clear_errors, one_line
from hwr.errors import InputError

OmegaConf.register_new_resolver("hwr.root", lambda: str(ROOT), replace=True)  # ${hwr.root:} in conf/
OmegaConf.register_new_resolver(
    "hwr.home", lambda path: at_home(path), replace=True
)  # ${hwr.home:PATH} likewise

_HOME = re.compile(r"~[\w.-]*/")


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


def at_home(value: Any) -> Any:
    """Return plain nested values with `~/` and `~user/` at the beginning of a text as that home folder."""
    if isinstance(value, dict):
        return {key: at_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [at_home(inner) for inner in value]
    return str(Path(value).expanduser()) if isinstance(value, str) and _HOME.match(value) else value


def typed(cfg: DictConfig, root: type, overrides: Sequence[str] = ()) -> Composed:
    """Check a composed configuration against a typed root and convert it once; InputError for a flaw."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from None
    made: Any = parse_root(root, at_home(plain))
    values = asdict(made)
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else overrides
    return Composed(made, OmegaConf.to_yaml(OmegaConf.create(values)), values, tuple(given))


def composed(
    name: str, overrides: Sequence[str], root: type, *, config_dir: str | Path | None = None
) -> Composed:
    """Compose conf/NAME.yaml with overrides, outside of Hydra's own entry point.

    `config_dir` holds more files of the groups.
    """
    paths = [] if config_dir is None else [f"'file://{path}'" for path in (Path(config_dir).absolute(), ROOT)]
    searched = [f"hydra.searchpath=[{','.join(paths)}]"] if paths else []
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, [*overrides, *searched], return_hydra_config=True)
    choices = {group: str(chosen) for group, chosen in cfg.hydra.runtime.choices.items() if chosen}
    own = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return replace(typed(own, root, overrides), choices=choices)


def run_hydra(name: str, root: type, run: Callable[[Composed], float], words: Sequence[str]) -> None:
    """Hand a command line to Hydra, which composes conf/NAME.yaml, for each job of -m, and calls `run`."""

    def job(cfg: DictConfig) -> float:
        with clear_errors():
            return run(typed(cfg, root))

    sys.argv = [f"hwr {name}", *words]
    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(job)()


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
    except RecursionError:
        raise InputError("a configuration that is nested too deeply; restore its file") from None
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
