from contextlib import ExitStack
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.pruners import NopPruner
from optuna.samplers import BaseSampler
from optuna.trial import Trial, TrialState

from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.runs.study import Study, hyperband, least, median, random, spaced, suggested, tpe, unpruned, written

SPACE = spaced({"lr": {"low": 0.0, "high": 1.0}, "depth": {"low": 1, "high": 9}})


def sampler(number: int) -> BaseSampler:
    return random(seed=number)


def opened(folder: Path, hash: str = "h") -> Study:
    return Study(folder, hash, NopPruner())


def taken(study: Study, stack: ExitStack, trials: int = 3) -> Trial | None:
    return study.next_trial(SPACE, trials=trials, sampler=sampler, stack=stack)


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
    with pytest.raises(InputError) as refused:
        opened(folder, "other")
    assert str(refused.value) == f"study=line: searches something else in {folder}; choose another name"


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
    with pytest.raises(
        InputError, match=r"next\.lock: cannot be written \(Not a directory\); choose another"
    ):
        opened(tmp_path / "searches" / "line")


# what is searched and how


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        ({"low": 1e-4, "high": 1e-2, "log": True}, FloatDistribution(1e-4, 1e-2, log=True)),
        ({"low": 0, "high": 0.5}, FloatDistribution(0, 0.5)),
        ({"low": 0.0, "high": 0.5, "step": 0.1}, FloatDistribution(0, 0.5, step=0.1)),
        ({"low": 1, "high": 4}, IntDistribution(1, 4)),
        ({"low": 16, "high": 64, "step": 16}, IntDistribution(16, 64, step=16)),
        ({"low": 1, "high": 64, "log": True}, IntDistribution(1, 64, log=True)),
        ({"choices": ["crnn", None, 3, "[1, 2]"]}, CategoricalDistribution(["crnn", None, 3, "[1, 2]"])),
    ],
)
def test_node_becomes_what_is_drawn(node: dict[str, Any], expected: Any) -> None:
    assert spaced({"lr": node}) == {"lr": expected}


def test_keys_may_be_nested_or_dotted() -> None:
    node = {"low": 0.0, "high": 1.0}
    found = spaced({"lr": node, "network": {"dropout": node}, "stage.crop": {"margin": node}})
    assert list(found) == ["lr", "network.dropout", "stage.crop.margin"]


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({}, "space is empty; give what is searched"),
        ({"lr": 3}, "space.lr=3: not a range; write"),
        ({"lr": {}}, "space.lr={}: not a range; write"),
        ({"network": {"dropout": 0.5}}, "space.network.dropout=0.5: not a range"),
        ({"lr": {"low": 1.0}}, "space.lr.high is not set"),
        ({"lr": {"low": 2.0, "high": 1.0}}, "space.lr: "),
        ({"lr": {"low": 0.0, "high": 1.0, "log": True}}, "space.lr: "),
        (
            {"lr": {"low": 1.0, "high": 2.0, "steps": 1}},
            r"space.lr.steps: no such key \(did you mean step\?\)",
        ),
        ({"lr": {"low": "a", "high": 2.0}}, "space.lr.low='a' is not a whole number"),
        ({"lr": {"low": 1.0, "high": 2.0, "log": 1}}, "space.lr.log=1 is not true or false"),
        ({"lr": {"choices": []}}, "space.lr: "),
        ({"lr": {"choices": 3}}, "space.lr.choices=3 is not a list"),
        (
            {"lr": {"choices": [[1, 2]]}},
            r"space.lr: choices=\[\[1, 2\]\] holds a list or mapping; write it as",
        ),
        ({"lr": {"choices": [1], "low": 1}}, "space.lr.low: no such key"),
    ],
)
def test_space_is_refused_with_what_is_wrong(space: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        spaced(space)


values = (
    st.none()
    | st.booleans()
    | st.integers(-(10**9), 10**9)
    | st.floats(-1e9, 1e9)
    | st.sampled_from(["line", "crnn_small"])
)


@given(values)
@settings(max_examples=20, deadline=None)
def test_value_reaches_the_training_as_it_is(value: Any) -> None:
    (override,) = written({"+stage.planted": value})
    assert composed("train", [override], TrainConfig).root.stage["planted"] == value


def test_text_reaches_the_training_as_yaml() -> None:
    overrides = written({"network.channels": "[1, 2, 3]"})
    assert composed("train", overrides, TrainConfig).root.network["channels"] == [1, 2, 3]


def test_least_values_may_be_drawn() -> None:
    space = spaced({"a": {"low": 2, "high": 4}, "b": {"choices": ["x", "y"]}, "c": {"low": 0.5, "high": 1}})
    assert least(space) == {"a": 2, "b": "x", "c": 0.5}


@pytest.mark.parametrize("sampler", [tpe(startup=2, seed=1), random(seed=1)])
def test_all_keys_are_drawn_within_their_ranges(sampler: optuna.samplers.BaseSampler) -> None:
    space = spaced({"a": {"low": 2, "high": 4}, "b": {"choices": ["x", "y"]}, "c": {"low": 0.5, "high": 1}})
    study = optuna.create_study(sampler=sampler)
    for _ in range(6):
        trial = suggested(study.ask(), space)
        study.tell(trial, trial.params["c"])
        assert list(trial.params) == ["a", "b", "c"]
        assert all(
            space[key]._contains(space[key].to_internal_repr(value)) for key, value in trial.params.items()
        )


def test_what_a_trial_has_drawn_is_kept() -> None:
    space = spaced({"a": {"low": 2, "high": 400}})
    study = optuna.create_study(sampler=random(seed=1))
    trial = suggested(study.ask(), space)
    study.sampler = random(seed=2)
    first = trial.params["a"]
    assert suggested(trial, space).params["a"] == first


def ended_early(pruner: optuna.pruners.BasePruner) -> list[int | None]:
    """Return at which step each of nine trials ends that reports 1, 2, … 9 at each of its nine epochs."""
    study = optuna.create_study(pruner=pruner, study_name="same")  # Hyperband's brackets depend on the name
    ends: list[int | None] = []
    for error in range(1, 10):
        trial, end = study.ask(), None
        for step in range(1, 10):
            trial.report(float(error), step)
            if trial.should_prune():
                end = step
                break
        study.tell(trial, None if end else error, state=optuna.trial.TrialState.PRUNED if end else None)
        ends.append(end)
    return ends


def test_median_ends_what_is_worse_than_half_when_it_is_warm() -> None:
    # 1 and 2 go to their end; 3 is worse than their median 1.5, as are all that follow
    assert ended_early(median(startup=2, warmup=3)) == [None, None, 3, 3, 3, 3, 3, 3, 3]


def test_hyperband_gives_each_trial_its_least_epochs() -> None:
    ends = [end for end in ended_early(hyperband(least=3, factor=3)) if end is not None]
    assert ends
    assert min(ends) >= 3


def test_no_trial_ends_early_without_a_pruner() -> None:
    assert ended_early(unpruned()) == [None] * 9
