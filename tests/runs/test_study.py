from contextlib import ExitStack
from pathlib import Path

import pytest
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from hwr.errors import InputError
from hwr.runs.search_space import random, spaced
from hwr.runs.study import Study

SPACE = spaced({"lr": {"low": 0.0, "high": 1.0}, "depth": {"low": 1, "high": 9}})


def sampler(number: int) -> BaseSampler:
    return random(seed=number)


def opened(folder: Path, hash: str = "h") -> Study:
    return Study(folder, hash, NopPruner())


def taken(study: Study, stack: ExitStack, trials: int = 3) -> Trial | None:
    return study.next(SPACE, trials=trials, sampler=sampler, stack=stack)


def numbers(study: Study) -> list[int]:
    """Take trials until there are no more, and return their numbers."""
    found = []
    with ExitStack() as stack:
        while (trial := taken(study, stack)) is not None:
            found.append(trial.number)
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "searches" / "line"


def test_study_has_as_many_trials_as_asked_for(folder: Path) -> None:
    assert numbers(opened(folder)) == [0, 1, 2]


def test_two_processes_share_the_trials(folder: Path) -> None:
    one, other = opened(folder), opened(folder)
    with ExitStack() as stack, ExitStack() as other_stack:
        found = [taken(one, stack), taken(other, other_stack), taken(one, stack), taken(other, other_stack)]
        assert [trial and trial.number for trial in found] == [0, 1, 2, None]


def test_trial_whose_process_ended_without_telling_is_taken_again(folder: Path) -> None:
    with ExitStack() as stack:
        first = taken(opened(folder), stack)
        assert first is not None
        first.report(0.5, 1)
    with ExitStack() as stack:
        again = taken(opened(folder), stack)
        assert again is not None
        assert (again.number, again.params) == (0, first.params)


def test_settings_do_not_depend_on_how_often_the_search_was_started(folder: Path, tmp_path: Path) -> None:
    whole = opened(folder)
    numbers(whole)
    interrupted = tmp_path / "searches" / "again"
    for _ in range(3):
        with ExitStack() as stack:
            study = opened(interrupted)
            trial = taken(study, stack)
            assert trial is not None
            study.optuna.tell(trial, 1.0)
    assert [one.params for one in opened(interrupted).optuna.trials] == [
        one.params for one in whole.optuna.trials
    ]


def test_trials_that_failed_count(folder: Path) -> None:
    study = opened(folder)
    with ExitStack() as stack:
        trial = taken(study, stack)
        assert trial is not None
        study.optuna.tell(trial, state=TrialState.FAIL)
        assert not study.has_answers()
    assert numbers(study) == [1, 2]


def test_study_that_searches_something_else_is_refused(folder: Path) -> None:
    opened(folder, "one")
    with pytest.raises(InputError, match=r"study=line: searches something else in .*; choose another name"):
        opened(folder, "other")


def test_record_that_was_not_written_to_its_end_is_dropped(folder: Path) -> None:
    study = opened(folder)
    with (folder / "journal.jsonl").open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert numbers(opened(folder)) == [0, 1, 2]
    assert len(study.optuna.trials) == 3


def test_damaged_study_is_refused(folder: Path) -> None:
    opened(folder)
    path = folder / "journal.jsonl"
    path.write_bytes(b"no JSON\n" + path.read_bytes())
    with pytest.raises(InputError, match=f"^{folder}: this study cannot be read or written"):
        opened(folder)


def test_study_is_refused_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "searches").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match="this study cannot be read or written"):
        opened(tmp_path / "searches" / "line")
