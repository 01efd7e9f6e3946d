"""Hydra's callback around a sweep (train.py -m) and around each of its jobs, wherever these run."""

import json
import math
import os
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Glob, Override, ValueType
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from hwr import runtime
from hwr.config.compose import parsed
from hwr.config.messages import clear_errors, one_line
from hwr.errors import InputError

if TYPE_CHECKING:
    from hwr.runs.sweep import Sweep

# Late imports below: MLflow takes seconds, and a single training comes through here as well.


class SweepRun(Callback):
    """Keep one parent run around the jobs of a sweep, for conf/train.yaml; a single training has none.

    Launchers send this callback to the processes that run the jobs, and with it what those have to know.
    """

    def __init__(self) -> None:
        self._keys: tuple[str, ...] = ()  # what is swept
        self._environment: dict[str, str] = {}  # of jobs; none in a single training

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Prepare the process of a job, before MXNet is imported."""
        self.__dict__.update(state)
        runtime.secure_output(lossy=True)
        if self._environment:
            threads = {runtime.THREADS: str(runtime.available_cores())}
            os.environ.update(threads | self._environment)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Start the run, or print why that is impossible and exit."""
        from hwr import tracking
        from hwr.runs import sweep

        with clear_errors():  # what Hydra catches here it only warns of
            described, count = _described(config)
            threads = _threads(config, count)
            run = _open.enter_context(sweep.parent(described))
            run.tags({"threads": threads.get(runtime.THREADS, "all")})
            self._keys = tuple(described.keys)
            self._environment = {tracking.PARENT_VARIABLE: run.id, **threads}

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """End the run as finished, or as failed if a job failed; print why if that is impossible."""
        with _told():  # what Hydra catches here it only warns of
            _open.close()

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Set the swept keys for the training."""
        if self._environment:
            from hwr.runs import sweep

            given = parsed(config.hydra.overrides.task)
            swept = {key: given[key].value() for key in self._keys if key in given}
            os.environ[sweep.SWEPT_VARIABLE] = json.dumps(swept, ensure_ascii=False, default=str)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Print and record why a job failed; give the sweeper the worst value, so that others go on."""
        if self._environment and job_return.status == JobStatus.FAILED:
            error = job_return._return_value  # the property writes to standard error, and raises it
            job_return.return_value, job_return.status = math.inf, JobStatus.COMPLETED
            from hwr.runs import sweep

            sweep.record_failure(typing.cast(Exception, error), partial(sweep.opened_store, config))


class JobsCheck(Callback):
    """Refuse a sweep without a job, for conf/evaluate.yaml."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Count the jobs, or print why there is none and exit."""
        with clear_errors():
            _count(config, _swept(config))


@contextmanager
def sweep_ended() -> Iterator[None]:
    """End the open run of a sweep when the block ends, with the same status: finished, failed or killed."""
    with _told(), _open:
        yield


@contextmanager
def _told() -> Iterator[None]:
    """Turn bad input into one line and exit status 2, in the process of a sweep too."""
    try:
        yield
    except InputError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)
        raise SystemExit(2) from None


_open = ExitStack()  # the run of the sweep that this process drives


def _described(config: DictConfig) -> tuple["Sweep", int]:
    """Return what tells a sweep from others, and how many jobs it has."""
    from hwr.runs.sweep import NEUTRAL, Sweep, config_hash, hashed

    settings = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    plain = typing.cast("dict[str, Any]", OmegaConf.to_container(settings, resolve=False))
    given = _given(config)
    swept = _swept(config)
    for key in ("resume", *swept):
        if key in given and key.partition(".")[0] in NEUTRAL:
            neutral = "changes nothing of what is learnt, and cannot be swept"
            reason = "a sweep that was killed goes on with its own command" if key == "resume" else neutral
            raise InputError(f"{given[key].input_line}: {reason}; leave {key} out")
    overrides = sorted(f"{o.input_line}" for key, o in given.items() if key.partition(".")[0] not in NEUTRAL)
    launcher = str(config.hydra.launcher["_target_"]).rpartition(".")[2]
    sweep = Sweep(
        name=f"{settings.name} sweep",
        folder=Path(settings.folder),
        uri=settings.tracking.uri,
        experiment=settings.tracking.experiment,
        keys=tuple(swept),
        hash=hashed([overrides, config_hash(plain)]),
        tags={"overrides": " ".join(config.hydra.overrides.task), "launcher": launcher},
    )
    return sweep, _count(config, swept)


def _given(config: DictConfig) -> dict[str, Override]:
    """Return the overrides of a sweep by key, its sweeper's own too."""
    params = config.hydra.sweeper.get("params") or {}
    words = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
    return parsed(words, swept=True)


def _swept(config: DictConfig) -> dict[str, Override]:
    return {key: override for key, override in _given(config).items() if override.is_sweep_override()}


def _count(config: DictConfig, swept: Mapping[str, Override]) -> int:
    """Return how many jobs a sweep has; raise InputError for a swept key without a value."""
    folders = [source.path for source in config.hydra.runtime.config_sources if source.schema == "file"]
    counts = {override.input_line: _choices(override, folders) for override in swept.values()}
    for words, count in counts.items():
        if not count:
            raise InputError(f"{words}: no value, so there is no job; name some that exist")
    return math.prod(counts.values())


def _choices(override: Override, folders: Sequence[str]) -> int:
    """Return how many values a swept key has; 1 where only the sweeper knows."""
    if override.value_type == ValueType.GLOB_CHOICE_SWEEP:
        value = typing.cast(Glob, override.value())
        group = override.get_key_element().lstrip("+~").partition("@")[0]
        names = {path.stem for folder in folders for path in (Path(folder) / group).glob("*.yaml")}
        return len(value.filter(sorted(names)))
    return len(list(override.sweep_string_iterator())) if override.is_discrete_sweep() else 1


def _threads(config: DictConfig, count: int) -> dict[str, str]:
    """Return the threads of a job as its environment: the user's, or a share; none for all that are there."""
    from hwr.runs import sweep

    if runtime.THREADS_GIVEN:
        return {runtime.THREADS: os.environ[runtime.THREADS]}
    launcher = typing.cast("dict[str, Any]", OmegaConf.to_container(config.hydra.launcher, resolve=False))
    share = sweep.threads(launcher, count, cores=runtime.available_cores())
    return {} if share is None else {runtime.THREADS: str(share)}
