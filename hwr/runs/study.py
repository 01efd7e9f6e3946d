"""An Optuna study: search space, sampler, pruner, and trials that several processes share.

Trials are kept in a journal of JSON lines. A process holds a lock on the trial it runs until
it ends or is killed.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import Trial, TrialState

from hwr.config.bind import leaves, make
from hwr.config.messages import one_line
from hwr.errors import InputError
from hwr.files import held

Drawn = CategoricalDistribution | FloatDistribution | IntDistribution
Space = Mapping[str, Drawn]  # key of a training -> what is drawn for it
KEYS = ("choices", "low", "high", "log", "step")  # of what is drawn for a key
ANSWERS = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """The study in `folder`, created if there is none; `hash` identifies what it searches.

    Raises InputError where the folder holds a study that searches something else, or a damaged one.
    """

    def __init__(self, folder: Path, hash: str, pruner: BasePruner) -> None:
        self.folder, self.name = folder, folder.name
        try:
            with held(self.lock("next")):
                self.optuna = self._opened(hash, pruner)
        except InputError:
            raise
        except (OSError, KeyError, ValueError) as error:
            reason = f"this study cannot be read or written ({one_line(error)})"
            raise InputError(f"{folder}: {reason}; move it away") from None

    def lock(self, name: str) -> Path:
        """Return a lock of the study."""
        return self.folder / "locks" / f"{name}.lock"

    def next_trial(
        self, space: Space, *, trials: int, sampler: Callable[[int], BaseSampler], stack: ExitStack
    ) -> Trial | None:
        """Return a trial whose process was killed, or a new one, locked by `stack`; None after `trials`.

        `sampler` returns that of a trial's number.
        """
        with held(self.lock("next")):
            known = self.optuna.get_trials(deepcopy=False)
            for old in known:
                if old.state == TrialState.RUNNING and self._hold(old.number, stack):
                    self.optuna.sampler = sampler(old.number)  # it may not have drawn all of its settings
                    return suggested(Trial(self.optuna, old._trial_id), space)
            if len(known) >= trials:
                return None
            self.optuna.sampler = sampler(len(known))
            self._hold(len(known), stack)
            return suggested(self.optuna.ask(), space)

    def has_answers(self) -> bool:
        """Tell whether any trial went well, to its end or until it was pruned."""
        return any(trial.state in ANSWERS for trial in self.optuna.trials)

    def _opened(self, hash: str, pruner: BasePruner) -> optuna.Study:
        journal = self.folder / "journal.jsonl"
        lock = _JournalLock(journal, self.lock("journal"))
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        study = optuna.create_study(study_name=self.name, storage=storage, pruner=pruner, load_if_exists=True)
        if study.user_attrs.get("search", hash) != hash:
            other = f"searches something else in {self.folder}"
            raise InputError(f"study={self.name}: {other}; choose another name")
        study.set_user_attr("search", hash)
        return study

    def _hold(self, number: int, stack: ExitStack) -> bool:
        with ExitStack() as tried:
            ours = tried.enter_context(held(self.lock(f"trial-{number}"), wait=False))
            if ours:
                stack.push(tried.pop_all())
            return ours


def tpe(*, startup: int, seed: int) -> BaseSampler:
    """Draw settings near those that were good (Bergstra et al. 2011), `startup` at random before."""
    return TPESampler(n_startup_trials=startup, seed=seed)


def random(*, seed: int) -> BaseSampler:
    """Draw settings at random."""
    return RandomSampler(seed=seed)


def median(*, startup: int, warmup: int) -> BasePruner:
    """End a trial that is worse than the median of others at its epoch.

    The first `startup` trials go to their end, and each has `warmup` epochs.
    """
    return MedianPruner(n_startup_trials=startup, n_warmup_steps=warmup)


def hyperband(*, least: int, factor: int) -> BasePruner:
    """Give many trials `least` epochs, and one in `factor` of them that many times more (Li et al. 2018)."""
    return HyperbandPruner(min_resource=least, reduction_factor=factor)


def unpruned() -> BasePruner:
    """End no trial early."""
    return NopPruner()


def spaced(settings: Mapping[str, Any]) -> dict[str, Drawn]:
    """Return the distributions of a space, nested or with dots in its keys, by key of the training."""
    wanted = "not a range; write {low: 0.1, high: 0.5} or {choices: [1, 2]}"
    nodes = leaves(settings, lambda node: isinstance(node, Mapping) and bool(set(node) & set(KEYS)), wanted)
    space = {k: make(_choice if "choices" in node else _range, node, f"space.{k}") for k, node in nodes}
    if not space:
        raise InputError("space is empty; give what is searched: +search.space.lr='{low: 1e-4, high: 1e-2}'")
    return space


def written(values: Mapping[str, Any]) -> list[str]:
    """Return values as overrides of a training; a text is passed as YAML."""
    return [f"{k}={v if isinstance(v, str) else json.dumps(v)}" for k, v in values.items()]


def least(space: Space) -> dict[str, Any]:
    """Return a value of each key that may be drawn."""
    return {
        key: drawn.choices[0] if isinstance(drawn, CategoricalDistribution) else drawn.low
        for key, drawn in space.items()
    }


def suggested(trial: Trial, space: Space) -> Trial:
    """Let the sampler choose the values that the trial does not have yet."""
    for name, drawn in space.items():
        if isinstance(drawn, CategoricalDistribution):
            trial.suggest_categorical(name, drawn.choices)
        elif isinstance(drawn, IntDistribution):
            trial.suggest_int(name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
        else:
            trial.suggest_float(name, drawn.low, drawn.high, step=drawn.step, log=drawn.log)
    return trial


def _choice(*, choices: list[Any]) -> Drawn:
    if any(isinstance(value, list | dict) for value in choices):
        raise ValueError(f"choices={choices} holds a list or mapping; write it as a text: '[1, 2]'")
    return CategoricalDistribution(choices)


def _range(
    *, low: int | float, high: int | float, log: bool = False, step: int | float | None = None
) -> Drawn:
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, int | None):
        return IntDistribution(low, high, log=log, step=step or 1)
    return FloatDistribution(low, high, log=log, step=step)


class _JournalLock(JournalFileOpenLock):
    """The lock of a journal, which cuts off what a process that was killed did not write to its end."""

    def __init__(self, journal: Path, lock: Path) -> None:
        super().__init__(str(journal))
        self._journal, self._lock = journal, lock
        self._held = ExitStack()

    def acquire(self) -> bool:
        """Wait for the lock."""
        self._held.enter_context(held(self._lock))
        content = self._journal.read_bytes()
        if not content.endswith(b"\n"):
            os.truncate(self._journal, content.rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Let others have the lock."""
        self._held.close()
