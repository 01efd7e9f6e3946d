"""Run a search: trainings with settings that a study proposes."""

import ctypes
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from hwr import runtime, tracking
from hwr.config.bind import make, target
from hwr.config.compose import Composed, composed, explained
from hwr.config.roots import SearchConfig, TrainConfig
from hwr.errors import InputError, NoRoomError
from hwr.files import held
from hwr.runs import job_table, sweep, train
from hwr.runs.study import Space, Study, least, spaced, written
from hwr.runs.sweep import Pruned, Sweep, SweepRunsError
from hwr.stages.recipe import parse_recipe
from hwr.training.loop import NonFiniteLossError

PREFIX = "search."  # of keys of conf/search.yaml among those of the training
LEADER_VARIABLE = "HWR_LEADER"  # the process whose end ends this one
PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True)
class SettingsSearch:
    """A search: the training's overrides and configuration, the space, a name, and a hash of all of it.

    `config_dir` holds more configuration files.
    """

    config: SearchConfig
    overrides: tuple[str, ...]
    config_dir: str | None
    base: Composed
    space: Space
    name: str
    hash: str

    def training(self, values: Mapping[str, Any]) -> Composed:
        """Return the configuration of a trial."""
        keys = [*self.overrides, *written(values)]
        return composed("train", keys, TrainConfig, config_dir=self.config_dir)

    def words(self, *keys: str) -> list[str]:
        """Return keys as words of a command line that finds the same files."""
        return [*keys, *(["--config-dir", self.config_dir] if self.config_dir else [])]

    def sweep(self) -> Sweep:
        """Return the sweep whose jobs are the trials."""
        settings = self.base.root.tracking
        return Sweep(
            name=self.name,
            folder=Path(self.base.root.folder),
            uri=settings.uri,
            experiment=settings.experiment,
            keys=tuple(self.space),
            hash=sweep.hashed([self.name, self.hash]),
            tags={"study": self.name, "overrides": " ".join(self.overrides), "launcher": "search"},
            again=True,
        )


def search_settings(overrides: Sequence[str], *, config_dir: str | None = None) -> None:
    """Search the best settings of a training; keys of conf/search.yaml begin with `search.`."""
    own = [key for key in overrides if key.lstrip("+~").startswith(PREFIX)]
    keys = [re.sub(rf"^([+~]*){PREFIX}", r"\1", key) for key in own]
    config: SearchConfig = composed("search", keys, SearchConfig, config_dir=config_dir).root
    of_training = [key for key in overrides if key not in own]
    run_search(planned_search(config, of_training, config_dir=config_dir), overrides)


def check_search(config: SearchConfig) -> None:
    """Raise InputError for settings that sampler, pruner or space do not take."""
    _sampler(config, 0)
    _pruner(config)
    spaced(config.space)


def planned_search(
    config: SearchConfig, overrides: Sequence[str], *, config_dir: str | None = None
) -> SettingsSearch:
    """Return the search of a training with `overrides`; raise InputError for what does not fit together."""
    check_search(config)
    space, base = spaced(config.space), composed("train", overrides, TrainConfig, config_dir=config_dir)
    for key in ("monitor", "stage", "experiments"):
        if key in space:
            raise InputError(f"space.{key}: trials with different errors cannot be compared; leave it out")
    for key in (override.lstrip("+~").partition("=")[0] for override in overrides):
        if key in space:
            raise InputError(f"{key}: given and searched; leave {key}=… out, or say '~search.space.{key}'")
    how = [config.space, config.sampler, config.pruner, config.seed]
    digest = sweep.hashed([sweep.config_hash(base.values), how])
    name = config.study or f"{base.root.name}-{digest[:8]}"
    if not re.fullmatch(r"[\w.-]+", name):
        raise InputError(f"study={name}: not a name; use letters, digits, '.', '-' and '_'")
    search = SettingsSearch(config, tuple(overrides), config_dir, base, space, name, digest)
    with explained(base):
        parse_recipe(search.training(least(space)).root)
    return search


def run_search(search: SettingsSearch, overrides: Sequence[str]) -> None:
    """Search until the study has its trials; if another process leads this search, help it.

    `overrides` are those of `hwr search`, for further processes.
    """
    _end_with_leader()
    folder = Path(search.base.root.folder) / "searches" / search.name
    study = Study(folder, search.hash, _pruner(search.config))
    try:
        with sweep.parent(search.sweep()) as parent:
            study.optuna.set_user_attr("parent", parent.id)
            if search.config.jobs > 1:
                helper = [sys.executable, "-m", "hwr", "search", *search.words(*overrides, f"{PREFIX}jobs=1")]
                _start(search.config.jobs, helper)
            _work(search, study)  # also what a process left that was killed
            with held(study.lock("helpers")):
                _tell(search, study)
    except SweepRunsError:
        _help(search, study)


def _help(search: SettingsSearch, study: Study) -> None:
    """Try settings for the process that leads the search."""
    parent = study.optuna.user_attrs.get("parent")
    if parent is None:
        raise InputError(f"study={search.name}: is being started; start this command again in a moment")
    os.environ[tracking.PARENT_VARIABLE] = parent
    with held(study.lock("helpers"), shared=True):
        _work(search, study)


def _work(search: SettingsSearch, study: Study) -> None:
    """Try settings until the study has its trials."""
    while True:
        with ExitStack() as stack:
            most, sampler = search.config.trials, partial(_sampler, search.config)
            trial = study.next_trial(search.space, trials=most, sampler=sampler, stack=stack)
            if trial is None:
                return
            _try(search, study, trial)


def _try(search: SettingsSearch, study: Study, trial: Trial) -> None:
    """Train with the settings of a trial, and tell the study what came of it."""
    values = {key: trial.params[key] for key in search.space}
    os.environ[sweep.SWEPT_VARIABLE] = json.dumps(values, ensure_ascii=False)
    made = search.training(values)
    print(f"trial {trial.number}: {sweep.job_name()}")
    watch = _Watch(study, trial, made.root.monitor)
    try:
        value = train.train_stage(made, watch=watch)
        pruned = watch.pruned if watch.heard else _was_pruned(made)
    except Exception as error:
        diverged = isinstance(error, NonFiniteLossError)  # an answer like others
        state = job_table.DIVERGED if diverged else ""
        sweep.record_failure(error, lambda: sweep.opened_store(made.root), state=state)
        if isinstance(error, NoRoomError):
            raise  # nothing is said of these settings: the next start goes on with them
        study.optuna.tell(trial, state=TrialState.FAIL)
        if not (diverged or study.has_answers()):
            raise  # what is wrong is wrong with all of them
    else:
        if pruned:
            study.optuna.tell(trial, state=TrialState.PRUNED)
        else:
            study.optuna.tell(trial, value)
    finally:
        os.environ.pop(sweep.SWEPT_VARIABLE, None)


class _Watch:
    """Reports the epochs of a training to its trial; tells whether it `heard` of any, and `pruned` it."""

    def __init__(self, study: Study, trial: Trial, monitor: str) -> None:
        self._trial, self._monitor = trial, monitor
        self._reported = set(study.optuna.trials[trial.number].intermediate_values)
        self.heard = self.pruned = False

    def __call__(self, values: Mapping[str, float], step: int) -> None:
        self.heard = True
        if step not in self._reported:  # a resumed training tells all its epochs
            self._trial.report(values[self._monitor], step)
            if self._trial.should_prune():
                self.pruned = True
                raise Pruned


def _was_pruned(made: Composed) -> bool:
    """Tell whether a training that ended before this start was pruned then."""
    job = sweep.job(sweep.opened_store(made.root), sweep.config_hash(made.values))
    return job is not None and job.state == job_table.PRUNED


def _tell(search: SettingsSearch, study: Study) -> None:
    trials = study.optuna.trials
    if any(trial.state == TrialState.COMPLETE for trial in trials):
        command = ["hwr", "train", *search.words(*search.overrides, *written(study.optuna.best_params))]
        print(f"best of {len(trials)} trials: {shlex.join(command)}")


def _start(jobs: int, command: Sequence[str]) -> None:
    """Run a command in `jobs` processes that share the cores, and end them where this one ends before."""
    environment = {**os.environ, LEADER_VARIABLE: str(os.getpid())}
    if not runtime.THREADS_GIVEN:
        environment["OMP_NUM_THREADS"] = str(max(1, runtime.available_cores() // jobs))
    # In sessions of their own: an interrupt typed at the terminal reaches them once, through this process.
    processes = [subprocess.Popen(command, env=environment, start_new_session=True) for _ in range(jobs)]
    try:
        for process in processes:
            process.wait()
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()


def _end_with_leader() -> None:
    """Let the end of the process that started this one, if one did, terminate it."""
    leader = os.environ.get(LEADER_VARIABLE)
    if leader is not None and sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != int(leader):  # it ended before
            raise SystemExit(1)


def _sampler(config: SearchConfig, trial: int) -> BaseSampler:
    """Return the sampler of a trial, whose draws do not depend on how often the search was started."""
    seed = int(np.random.SeedSequence([config.seed, trial]).generate_state(1)[0])
    made: BaseSampler = make(target(config.sampler, "sampler"), config.sampler, "sampler", seed=seed)
    return made


def _pruner(config: SearchConfig) -> BasePruner:
    made: BasePruner = make(target(config.pruner, "pruner"), config.pruner, "pruner")
    return made
