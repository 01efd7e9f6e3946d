"""Compose configurations with Hydra, or read those stored by runs, as typed roots and plain values."""

import json
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import hydra
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from hwr.config import CONF, EXPERIMENTS, ROOT
from hwr.config.bind import parse_root
from hwr.config.messages import (
    clear_errors,
    no_such_choice,
    no_such_key,
    one_line,
    set_by_experiment,
    several,
)
from hwr.errors import InputError, UnknownKeysError, masked
from hwr.files import path_exists
from hwr.runtime import without_login

OmegaConf.register_new_resolver("hwr.root", lambda: str(ROOT), replace=True)  # ${hwr.root:} in conf/

UNFILLED = "DIR"  # stands for a path of the machine that published
DATA_PATHS = ("root", "splits", "table", "folder", "fonts", "text")  # keys of a data node that name files

_HOME = re.compile(r"~[\w.-]*/")
_OF_A_SET = re.compile(r"^data\.sets\..+\.(?=[^.]+$)")  # what stands before a key of one of several sets


@dataclass(frozen=True)
class Composed:
    """A composed configuration: typed root, plain nested values, and what the user overrode.

    `choices` tells which file each group took (decoder: beam) and `sources` the folders of these files, where
    it was composed of files.
    """

    root: Any
    values: dict[str, Any]
    overrides: tuple[str, ...]
    choices: dict[str, str] = field(default_factory=dict)
    sources: tuple[Path, ...] = ()

    @property
    def yaml(self) -> str:
        """The values as YAML text."""
        return OmegaConf.to_yaml(OmegaConf.create(self.values))


def at_home(value: Any) -> Any:
    """Return plain nested values with `~/` and `~user/` at the beginning of a text as that home folder."""
    if isinstance(value, dict):
        return {key: at_home(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [at_home(inner) for inner in value]
    return str(Path(value).expanduser()) if isinstance(value, str) and _HOME.match(value) else value


OmegaConf.register_new_resolver("hwr.home", at_home, replace=True)  # ${hwr.home:PATH} in conf/


def typed(cfg: DictConfig, root: type, overrides: Sequence[str] = ()) -> Composed:
    """Check a composed configuration against a typed root and convert it once; InputError for a flaw."""
    try:
        plain = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise InputError(one_line(error)) from None
    if isinstance(place := typing.cast("dict[str, Any]", plain).get("tracking"), dict) and place.get("uri"):
        place["uri"] = without_login(str(place["uri"]))  # of MLFLOW_TRACKING_URI
    made: Any = parse_root(root, at_home(plain))
    values = asdict(made)
    given = HydraConfig.get().overrides.task if HydraConfig.initialized() else overrides
    return Composed(made, values, tuple(map(masked, given)))


def composed(
    name: str, overrides: Sequence[str], root: type, *, config_dir: str | Path | None = None
) -> Composed:
    """Compose conf/NAME.yaml with overrides, outside of Hydra's own entry point.

    `config_dir` holds more files of the groups.
    """
    cfg = _composition(name, overrides, config_dir)
    return _with_files(typed(_without_hydra(cfg), root, overrides), cfg.hydra)


def chosen(name: str, choices: Sequence[str]) -> dict[str, Any]:
    """Return the plain values of conf/NAME.yaml with these files of its groups; ??? where one is missing."""
    cfg = _without_hydra(_composition(name, choices, None))
    return typing.cast("dict[str, Any]", OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False))


def data_words(data: Mapping[str, Any]) -> list[str]:
    """Return overrides that make a data node: the nearest of the files of its format, and what differs."""
    source = str(data.get("source"))
    made = []
    for file in sorted((CONF / "data").glob("*.yaml")):
        if typing.cast(DictConfig, OmegaConf.load(file)).get("source", source) == source:
            default = chosen("evaluate", [f"data={file.stem}"])["data"]
            if default["source"] == source:
                made.append([f"data={file.stem}", *_differing(data, default, "data")])
    return min(made, key=lambda words: len(" ".join(words)), default=["data=…"])


@contextmanager
def explained(made: Composed) -> Iterator[None]:
    """Say of keys that nothing takes when an experiment sets them, for another file than was chosen."""
    try:
        yield
    except UnknownKeysError as error:
        group, experiment = error.keys[0].partition(".")[0], made.choices.get("experiments")
        overrides = parsed(made.overrides, swept=True)
        keys = [key for key in error.keys if key not in overrides]
        if experiment is None or group not in overrides or error.keys[0] not in keys:
            raise
        own = _experiment(made.sources, experiment)
        keys = [key for key in keys if OmegaConf.select(own, key) is not None]
        meant = [named[f"override /{group}"] for named in own.get("defaults", ())
                 if OmegaConf.is_dict(named) and f"override /{group}" in named]  # fmt: skip
        if not meant or error.keys[0] not in keys:
            raise
        chosen = f"{group}={made.choices.get(group)}"
        raise InputError(set_by_experiment(experiment, chosen, f"{group}={meant[0]}", keys)) from None


def run_hydra(name: str, root: type, run: Callable[[Composed], float], words: Sequence[str]) -> None:
    """Hand a command line to Hydra, which composes conf/NAME.yaml, for each job of -m, and calls `run`.

    With resume=RUN, the configuration that the run stored stands; the other overrides are only handed on.
    """
    words = seeded(words) if name == "train" else words
    _check_choices(words)
    handed_on = for_resumed(words)

    def job(cfg: DictConfig) -> float:
        with clear_errors():
            _return_to(HydraConfig.get().runtime.cwd)
            _separate_outputs(cfg)
            made = _with_files(typed(cfg, root), HydraConfig.get())
            with explained(made):
                return run(replace(made, overrides=(*made.overrides, *handed_on)))

    sys.argv = [f"hwr {name}", *(word for word in words if word not in handed_on)]
    hydra.main(config_path=str(CONF), config_name=name, version_base="1.3")(job)()


def _return_to(folder: str) -> None:
    """Go where the command was started: relative paths hold with hydra.job.chdir and in other processes."""
    try:
        os.chdir(folder)
    except OSError as error:
        reason = f"a job cannot go there ({error.strerror})"
        raise InputError(f"{folder}: {reason}; start the sweep in a folder that all machines share") from None


def _separate_outputs(cfg: DictConfig) -> None:
    """Give each job of a sweep that writes to `output` a folder there, and say which overrides it has."""
    if "output" not in cfg or OmegaConf.is_missing(HydraConfig.get().job, "num"):
        return
    if cfg.get("publish") is not None:
        raise InputError(f"publish={cfg.publish}: one evaluation is published; leave -m out")
    number = HydraConfig.get().job.num
    cfg.output = f"{cfg.output}/{number}"
    print(f"job {number}: {' '.join(HydraConfig.get().overrides.task)}")


def for_resumed(words: Sequence[str]) -> tuple[str, ...]:
    """Return the overrides of a command line that resumes a run, but those that find it; none of another."""
    resumes = any(re.match(r"resume=(?!null$).", word) for word in words)
    if not resumes or any(re.match(r"-m|--multirun|-c|--cfg|-i|--info", word) for word in words):
        return ()
    return tuple(word for word in words if re.match(r"(?!resume=|folder=|\+*hydra\b)(~|[^-=][^=]*=)", word))


def seeded(words: Sequence[str]) -> list[str]:
    """Return a command line with repeat=N as a sweep over N seeds, from seed=S on or from 0.

    Raises InputError for what is no number, several seeds, and with resume.
    """
    counts, seeds = (
        [word.partition("=")[2] for word in words if word.startswith(key)] for key in ("repeat=", "seed=")
    )
    if not counts:
        return list(words)
    count, first = counts[-1], (seeds or ["0"])[-1]
    if not re.fullmatch(r"[1-9]\d{0,3}", count):
        raise InputError(f"repeat={count} is not possible; it must be a whole number from 1 to 9999")
    if not re.fullmatch(r"\d{1,9}", first):
        raise InputError(f"repeat={count}: counts from one seed on, not seed={first}; leave one of them out")
    if any(word.startswith("resume=") for word in words):
        raise InputError(f"repeat={count}: continues with its own command; leave resume out")
    rest = [word for word in words if not word.startswith(("repeat=", "seed="))]
    numbers = [str(int(first) + n) for n in range(int(count))]
    several = ["-m"] if len(numbers) > 1 and not {"-m", "--multirun"} & set(rest) else []
    return [*several, *rest, f"seed={','.join(numbers)}"]


def stored(text: str, overrides: Sequence[str], root: type) -> Composed:
    """Read a configuration that a run stored; `overrides` (key=value) of the command line still win."""
    return changed(text, {key: override.value() for key, override in parsed(overrides).items()}, root)


def changed(text: str, changes: Mapping[str, Any], root: type) -> Composed:
    """Read a configuration that a run stored, with other values of some keys."""
    try:
        cfg = OmegaConf.create(text)
        OmegaConf.set_struct(cfg, True)
        for key, value in changes.items():
            OmegaConf.update(cfg, key, value, merge=True)
    except (OmegaConfBaseException, yaml.YAMLError) as error:
        raise InputError(one_line(error)) from None
    except RecursionError:
        raise InputError("a configuration that is nested too deeply; restore its file") from None
    return typed(typing.cast(DictConfig, cfg), root)


def with_values(root: Any, changes: Mapping[str, Any]) -> Composed:
    """Return a typed root with other values of some keys, whole nodes among them."""
    return typed(OmegaConf.create({**asdict(root), **changes}), type(root))


def parsed(overrides: Sequence[str], *, swept: bool = False) -> dict[str, Override]:
    """Return overrides by their key, without the sign before it.

    Raises InputError for several values of a key, unless they are `swept`.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    for override in parsed:
        if override.is_sweep_override() and not swept:
            raise InputError(several(*str(override.input_line).split("=", 1)))
    return {override.get_key_element().lstrip("+~"): override for override in parsed}


def is_choice(key: str) -> bool:
    """Tell whether a key chooses a file: stage, decoder@decoder.base, experiments."""
    return "@" in key or (CONF / key).is_dir() or key == EXPERIMENTS.name


def as_of_one_set(key: str) -> str:
    """Return `data.KEY` for `data.sets.NAME.KEY`, and any other key as it is."""
    return _OF_A_SET.sub("data.", key)


def portable(text: str) -> str:
    """Return a stored configuration without the folders of the machine it ran on."""
    cfg = typing.cast(DictConfig, OmegaConf.create(text))
    for key, value in (("folder", "outputs"), ("tracking.uri", None), ("init", None)):
        if OmegaConf.select(cfg, key) is not None:
            OmegaConf.update(cfg, key, value)
    return OmegaConf.to_yaml(OmegaConf.create(without_paths(OmegaConf.to_container(cfg))))


def without_paths(settings: Any, key: str = "") -> Any:
    """Return nested settings, below `key`, with UNFILLED for the paths of this machine.

    These are data.root, other paths of data nodes that are absolute or exist here, and absolute paths in
    other nodes. The root of one of several sets stays where it starts from data.root.
    """
    if isinstance(settings, Mapping):
        return {name: without_paths(own, f"{key}.{name}" if key else name) for name, own in settings.items()}
    if isinstance(settings, list):
        return [without_paths(own, key) for own in settings]
    return UNFILLED if isinstance(settings, str) and _is_path_here(key, settings) else settings


def _differing(values: Mapping[str, Any], default: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the overrides that turn the node `where`, as it is by `default`, into `values`."""
    for name, value in values.items():
        key = f"{where}.{name}"
        if name not in default:
            yield f"+{key}={_as_word(value)}"
        elif isinstance(value, Mapping) and isinstance(default[name], Mapping):
            yield from _differing(value, default[name], key)
        elif value != default[name]:
            yield f"{key}={_as_word(value)}"
    yield from (f"~{where}.{name}" for name in default if name not in values)


def _as_word(value: Any) -> str:
    """Return a value as Hydra reads it; a text in quotes only where it needs them."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{_as_word(own)}" for name, own in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_as_word, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        (override,) = OverridesParser.create().parse_overrides([f"key=[{value}]"])
        plain = override.value() == [value]
    except HydraException:
        plain = False
    return value if plain else QuotedString(value, Quote.single).with_quotes()


def _is_path_here(key: str, text: str) -> bool:
    if not key.startswith("data."):
        return Path(text).is_absolute()
    name = as_of_one_set(key)
    if name.removeprefix("data.") not in DATA_PATHS:
        return False
    return key == "data.root" or Path(text).is_absolute() or (name != "data.root" and path_exists(text))


def _composition(name: str, overrides: Sequence[str], config_dir: str | Path | None) -> DictConfig:
    _check_choices(overrides)
    folders = [] if config_dir is None else [Path(config_dir).absolute()]
    given = dict(word.partition("=")[::2] for word in overrides)
    fetched = Path(given.get("folder", "outputs")) / "models" / given.get("+model", "") / "conf"
    if "+model" in given and os.path.isdir(fetched):  # noqa: PTH112  (that one raises for long names)
        folders.append(fetched.absolute())
    paths = [f"'file://{path}'" for path in (*folders, ROOT)]
    searched = [f"hydra.searchpath=[{','.join(paths)}]"] if folders else []
    running = GlobalHydra.instance().is_initialized()  # by Hydra's own entry point
    with nullcontext() if running else initialize_config_dir(str(CONF), version_base="1.3"):
        return compose(name, [*overrides, *searched], return_hydra_config=True)


def _check_choices(words: Sequence[str]) -> None:
    """Raise InputError for a choice that is no name, and a key longer than paths: Hydra breaks at them."""
    for word in words:
        key, equals, chosen = word.partition("=")
        group = key.lstrip("+~").partition("@")[0]
        try:
            if word.startswith("-") or not (equals or word.startswith("~")):
                continue  # a flag, or what follows one
            if not is_choice(group) and group.partition("/")[0] != "hydra":
                continue
        except OSError:
            raise InputError(no_such_key(f"{key[:60]}…", ())) from None
        (override,) = OverridesParser.create().parse_overrides([word])
        value = override.value()
        names = value.list if isinstance(value, ChoiceSweep) else [value]
        if isinstance(value, list) and not override.is_delete():
            names = value
        if isinstance(value, dict) or (value is None and override.is_delete()):
            continue  # the keys of a group, or a group left out
        if any(name is None or isinstance(name, int | float | list | dict | RangeSweep) for name in names):
            raise InputError(no_such_choice(group, chosen))


def _with_files(made: Composed, hydra: Any) -> Composed:
    """Return a composed configuration with the files that it is made of, which Hydra's node names."""
    choices = {group: str(chosen) for group, chosen in hydra.runtime.choices.items() if chosen}
    sources = tuple(Path(own.path) for own in hydra.runtime.config_sources if own.schema == "file")
    return replace(made, choices=choices, sources=sources)


def _experiment(sources: Sequence[Path], name: str) -> DictConfig:
    """Return what the file of an experiment itself says; nothing where it is not found."""
    files = (folder / EXPERIMENTS.name / f"{name}.yaml" for folder in sources)
    file = next((file for file in files if file.is_file()), None)
    return typing.cast(DictConfig, OmegaConf.create() if file is None else OmegaConf.load(file))


def _without_hydra(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
