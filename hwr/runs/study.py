"""A study as several processes share it: a journal of JSON lines, and locks that fall with their holders."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import Trial, TrialState

from hwr.config.messages import one_line
from hwr.errors import InputError
from hwr.files import held
from hwr.runs.search_space import Space, suggested

ANSWERS = (TrialState.COMPLETE, TrialState.PRUNED)

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Study:
    """The study in `folder`, made where there is none; `hash` tells what it searches.

    Raises InputError where the folder holds a study that searches something else, or a damaged one.
    """

    def __init__(self, folder: Path, hash: str, pruner: BasePruner) -> None:
        self.folder, self.name = folder, folder.name
        try:
            with held(self.lock("next")):
                self.optuna = self._opened(hash, pruner)
        except (OSError, KeyError, ValueError) as error:
            reason = one_line(error)
            raise InputError(
                f"{folder}: this study cannot be read or written ({reason}); move it away"
            ) from None

    def lock(self, name: str) -> Path:
        """Return a lock of the study."""
        return self.folder / "locks" / f"{name}.lock"

    def next(
        self, space: Space, *, trials: int, sampler: Callable[[int], BaseSampler], stack: ExitStack
    ) -> Trial | None:
        """Return a trial whose process was killed, or a fresh one, which `stack` holds; None after `trials`.

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
            raise InputError(
                f"study={self.name}: searches something else in {self.folder}; choose another name"
            )
        study.set_user_attr("search", hash)
        return study

    def _hold(self, number: int, stack: ExitStack) -> bool:
        with ExitStack() as tried:
            ours = tried.enter_context(held(self.lock(f"trial-{number}"), wait=False))
            if ours:
                stack.push(tried.pop_all())
            return ours


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
