"""What a resumed training takes from its run and what from the command line, and what a tracker hears."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.config.compose import Composed, composed
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.runs import resume
from hwr.runs.resume import FREE, Once, alone, compare, configuration, describe, find

RUN = (
    "stage=line",
    "network=crnn_small",
    "data=alto",
    "data.root=DIR",
    "name=mine",
    "lr=2e-3",
    "max_epochs=3",
)
START = {"started": "2026-01-01T00:00:00", "fingerprint": "abcdef012345678", "threads": "2", "code": "1234"}


@cache
def configured(*overrides: str) -> Composed:
    return composed("train", overrides, TrainConfig)


def started(folder: Path, name: str, *overrides: str, **start: str) -> Path:
    """Return the place of a run that `overrides` began."""
    place = folder / "runs" / name
    place.mkdir(parents=True)
    describe(place, configured(*overrides).yaml, {**START, **start})
    return place


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return the place of a run that RUN began."""
    return started(tmp_path, "0123", *RUN)


def resumed(place: Path, *overrides: str) -> TrainConfig:
    folder = [override for override in overrides if override.startswith("folder=")]  # Hydra composes these
    now = replace(configured(f"resume={place.name}", *folder), overrides=overrides)
    root: TrainConfig = configuration(place, now).root
    return root


# the configuration


def test_other_overlay_is_refused_though_it_has_the_same_name(tmp_path: Path) -> None:
    given = json.dumps(["experiments=line/smoke", "lr=1e-2"])
    place = started(tmp_path, "0123", "experiments=line/smoke", "lr=1e-2", overrides=given)
    assert resumed(place, "experiments=line/smoke").lr == 1e-2
    with pytest.raises(InputError) as refused:
        resumed(place, "experiments=line/synthetic", "name=line-smoke")
    assert str(refused.value) == (
        "resume=0123: experiments=line/synthetic, and the run was started with "
        "experiments=line/smoke lr=1e-2; leave it out, or start another run"
    )


def test_source_given_again_moves_nothing_of_the_data(tmp_path: Path) -> None:
    place = started(tmp_path, "0123", *RUN, "data.splits=[a]")
    assert resumed(place, "data=alto", "data.root=/moved").data == {
        **configured(*RUN).root.data, "splits": ["a"], "root": "/moved",
    }  # fmt: skip


def test_resumed_training_is_that_of_its_run(place: Path) -> None:
    config = resumed(place)
    assert (config.lr, config.max_epochs, config.data["root"], config.resume) == (2e-3, 3, "DIR", None)


def test_whole_command_line_may_be_given_again(place: Path) -> None:
    assert resumed(place, *RUN, "max_minutes=5").max_minutes == 5


def test_part_of_the_command_line_may_be_given_again(place: Path) -> None:
    config = resumed(place, *RUN[2:4], "stage=line", "optimizer.beta2=0.999")
    assert (config.lr, config.network["channels"]) == (2e-3, configured(*RUN).root.network["channels"])


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("max_epochs=9", 9),
        ("max_epochs=null", None),
        ("max_minutes=0.5", 0.5),
        ("patience=4", 4),
        ("save_every=null", None),
        ("save_every=1e-3", 1e-3),
        ("device=gpu:1", "gpu:1"),
        ("folder='other place'", "other place"),
        ("max_pixels=1000", 1000),
        ("tracking.uri=http://there:5000", "http://there:5000"),
        ("tracking.experiment=other", "other"),
        ("inspect.examples=1", 1),
        ("data.root=/moved/to: here", "/moved/to: here"),
        ("data.splits=[a]", ["a"]),
    ],
)
def test_key_that_changes_nothing_that_was_trained_is_taken(
    place: Path, override: str, value: object
) -> None:
    found: object = vars(resumed(place, override))
    for name in override.partition("=")[0].split("."):
        found = found[name] if isinstance(found, dict) else getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lr=1e-3", "lr=0.001, and the run was trained with 0.002; leave lr=1e-3 out"),
        ("batch_size=8", "batch_size=8, and the run was trained with 16"),
        ("seed=1", "seed=1, and the run was trained with 0"),
        ("monitor=valid/wer", "monitor=valid/wer, and the run was trained with valid/cer"),
        ("clip=null", "clip=None, and the run was trained with 5.0"),
        ("average=0.5", "average=0.5, and the run was trained with 0.999"),
        ("unknown=error", "unknown=error, and the run was trained with keep"),
        ("init=line/copiste", "init=line/copiste, and the run was trained with None"),
        ("network.hidden=7", "network.hidden=7, and the run was trained with "),
        ("augmentation.shear=7", "augmentation.shear=7, and the run was trained with "),
        ("optimizer.weight_decay=7", "optimizer.weight_decay=7, and the run was trained with "),
        ("loss.shortcut_weight=7", "loss.shortcut_weight=7, and the run was trained with "),
        ("stage.crop.height=32", "stage.crop.height=32, and the run was trained with 64"),
        ("phases.ctc.epochs=71", "phases.ctc.epochs=71, and the run was trained with 70"),
        ("+phases.more={epochs: 1}", "phases.more={'epochs': 1}, and the run was trained with nothing"),
        ("~phases.ctc.warmup", "phases.ctc.warmup=nothing, and the run was trained with 0.05"),
        ("data.seed=1", "data.seed=1, and the run was trained with 0"),
        ("data.exclude.pattern=x", "data.exclude.pattern=x, and the run was trained with "),
        ("inspect=pages", "inspect.policy."),
        ("network=crnn_large", "network.stem="),
        ("stage=segmentation", "stage.kind=segmentation, and the run was trained with line; leave stage="),
        (
            "experiments=line/smoke",
            "experiments=line/smoke, and the run was started with no overrides; leave ",
        ),
    ],
)
def test_key_that_changes_what_was_trained_is_refused(place: Path, override: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        resumed(place, override)
    assert str(refused.value).startswith(f"resume=0123: {said}")
    out = "it" if override.startswith("experiments") else override
    assert str(refused.value).endswith(f"leave {out} out, or start another run")


@pytest.mark.parametrize(("override", "said"), [
    ("data.rot=x", "data.rot: no such key (did you mean root?)"),
    ("lrr=1", "lrr: no such key (did you mean lr?)"),
    ("max_epochs=many", "max_epochs='many' is not a whole number"),
    ("max_epochs=3,4", "max_epochs=3,4: several values"),
])  # fmt: skip
def test_key_that_the_run_does_not_have_is_refused(place: Path, override: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        resumed(place, override)
    assert str(refused.value).startswith(said)


def test_choice_of_the_first_command_line_may_be_given_again_whatever_its_file_says_now(
    tmp_path: Path,
) -> None:
    place = started(tmp_path, "0123", "network=crnn", overrides=json.dumps(["network=a_file_that_is_gone"]))
    assert resumed(place, "network=a_file_that_is_gone").network == configured("network=crnn").root.network


def test_paths_of_several_sets_may_be_given_anew_and_nothing_else_of_them(tmp_path: Path) -> None:
    sets = ("data=sets", "+data@data.sets.a=alto", "+data@data.sets.b=synthetic", "data.sets.a.root=/a")
    place = started(tmp_path, "0123", *RUN[:2], *sets)
    moved = ("data.sets.a.root=/moved", "data.sets.a.splits=lists", "data.sets.b.processes=1", "data.root=/d")
    data = resumed(place, *sets[:3], *moved).data
    assert (data["root"], data["sets"]["b"]["processes"]) == ("/d", 1)
    assert data["sets"]["a"] == {
        **configured(*RUN[:2], *sets).root.data["sets"]["a"], "root": "/moved", "splits": "lists",
    }  # fmt: skip
    for override in ("data.sets.a.seed=1", "data.sets.a.exclude.pattern=x", "data.sets.a=null"):
        with pytest.raises(InputError, match=r"resume=0123: data\.sets\.a"):
            resumed(place, override)


def test_file_that_a_key_names_may_lie_elsewhere(tmp_path: Path) -> None:
    overrides = ("experiments=denoiser/smoke", "stage.confusions=a.json", "stage.texts=[b.txt]")
    files = {"file stage.confusions": "0", "file stage.texts.0": "1"}
    place = started(tmp_path, "0123", *overrides, **files)
    stage = resumed(place, "stage.confusions=moved.json", "stage.texts=[moved.txt]").stage
    assert (stage["confusions"], stage["texts"]) == ("moved.json", ["moved.txt"])
    with pytest.raises(InputError, match=r"stage\.texts\.0 changed since \(1, now none\)"):
        compare(place, {**START, "file stage.confusions": "0"})


def test_other_source_of_data_is_refused(place: Path) -> None:
    with pytest.raises(InputError, match=r"data.source=synthetic, and the run was trained with alto"):
        resumed(place, "data=synthetic")


def test_phase_that_the_run_left_out_too_is_no_difference(tmp_path: Path) -> None:
    run = ("experiments=line/smoke", "~phases.plain")
    place = started(tmp_path, "0123", *run, overrides=json.dumps(run))
    assert list(resumed(place, *run).phases) == ["ctc"]


def test_nested_choice_is_no_difference_when_it_is_the_same(tmp_path: Path) -> None:
    run = ("decoder=lexicon", "decoder@decoder.base=beam")
    place = started(tmp_path, "0123", *run)
    assert resumed(place, *run).decoder == resumed(place).decoder
    with pytest.raises(InputError, match=r"decoder.base._target_"):
        resumed(place, "decoder=lexicon", "decoder@decoder.base=greedy")


def test_resumed_training_is_of_the_stage_of_its_run(tmp_path: Path) -> None:
    run = ("stage=paragraph", "stage.growth=0.1", "phases.mse.epochs=3")
    place = started(tmp_path, "0123", *run)
    bare, again = resumed(place), resumed(place, *run, "patience=4")
    assert (bare.stage["kind"], bare.stage["growth"], bare.phases["mse"]["epochs"]) == ("paragraph", 0.1, 3)
    assert (again.stage, again.patience) == (bare.stage, 4)


def test_folder_is_where_the_run_was_found(place: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    (tmp_path / "runs").rename(moved)
    now = replace(configured(f"folder={moved}"), overrides=(f"folder={moved}",))
    assert configuration(moved / "0123", now).root.folder == str(moved)
    assert resumed(moved / "0123").folder == "outputs"  # where it was looked for


def test_every_free_key_is_one_of_a_training() -> None:
    everywhere = [configured(f"data={name}", *more) for name, more in (
        ("alto", ["data.root=DIR"]), ("line_list", ["data.root=DIR"]), ("synthetic", [])
    )]  # fmt: skip
    known = [one.values for one in everywhere]
    lacking = [key for key in FREE if not any(resume._select(values, key) != "nothing" for values in known)]
    assert lacking == []


# the run


def test_run_is_found_by_its_id(place: Path, tmp_path: Path) -> None:
    assert find(tmp_path, "0123") == place


def test_last_is_the_run_that_was_started_last_whatever_its_files_say(tmp_path: Path) -> None:
    for name, month in (("aa", "03"), ("bb", "11"), ("cc", "09")):
        started(tmp_path, name, started=f"2026-{month}-01T00:00:00")
    assert find(tmp_path, "last").name == "bb"


def test_last_is_never_a_run_that_was_killed_before_it_could_be_resumed(tmp_path: Path) -> None:
    started(tmp_path, "aa", started="2026-01-01")
    (started(tmp_path, "bb", started="2026-02-01") / "config.yaml").unlink()
    (tmp_path / "runs" / "cc").mkdir()
    assert find(tmp_path, "last").name == "aa"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("45", "resume=45: no training in {runs}/45; give the id of a run made in this folder, or last"),
        ("last", "resume=last: no training in {runs}; start one, or name its folder=…"),
    ],
)
def test_run_is_refused_when_there_is_none(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        find(tmp_path, name)
    assert str(refused.value) == said.format(runs=tmp_path / "runs")


def test_run_is_refused_while_another_process_trains_it(place: Path) -> None:
    with (
        alone(place),
        pytest.raises(InputError, match="resume=0123: this run is still going on; wait for it or end it"),
        alone(place),
    ):
        pass
    with alone(place):
        pass


# what a start depends on


def test_same_start_differs_in_nothing(place: Path) -> None:
    assert compare(place, {**START, "started": "later"}) == []


def test_what_bits_depend_on_is_told_when_it_differs(place: Path) -> None:
    assert compare(place, {**START, "threads": "4", "engine": "Naive"}) == [
        "threads 2, now 4",
        "engine None, now Naive",
    ]


def test_other_data_are_refused(place: Path) -> None:
    said = (
        r"resume=0123: the data changed since \(abcdef012345, now 9876\); bring back what was there, or start"
    )
    with pytest.raises(InputError, match=said):
        compare(place, {**START, "fingerprint": "9876"})


def test_files_that_keys_name_are_part_of_the_data(tmp_path: Path) -> None:
    confusions = tmp_path / "confusions.json"
    confusions.write_text("{}", encoding="utf-8")
    overrides = ("experiments=denoiser/smoke", f"stage.confusions={confusions}")
    config: TrainConfig = configured(*overrides).root
    before = resume.digests(config)
    # not stage.kind, though experiments/denoiser is a folder
    assert set(before) == {"file stage.confusions", "file stage.texts.0"}
    assert "file decoder.model" in resume.digests(configured("stage=line", "decoder=beam").root)
    place = started(tmp_path, "0123", *overrides, **before)
    assert compare(place, {**START, **resume.digests(config)}) == []
    confusions.write_text("{ }", encoding="utf-8")
    with pytest.raises(InputError, match=r"resume=0123: stage\.confusions changed since \("):
        compare(place, {**START, **resume.digests(config)})


def test_first_command_line_stays_known(tmp_path: Path) -> None:
    place = started(tmp_path, "0123", *RUN, overrides=json.dumps(["lr=2e-3"]))
    describe(
        place, configured(*RUN).yaml, {**START, "started": "later", "overrides": json.dumps(["resume=last"])}
    )
    assert json.loads((place / "start.json").read_text("utf-8"))["overrides"] == '["lr=2e-3"]'
    assert compare(place, {**START, "overrides": "[]"}) == []


@pytest.mark.parametrize("content", ["{", "[]", json.dumps({"started": ""})])
def test_damaged_start_is_refused(place: Path, content: str) -> None:
    (place / "start.json").write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=r"start.json: missing or damaged; this run cannot be resumed"):
        compare(place, START)


# what the tracker is told


@dataclass
class Recorder:
    """A run that has recorded (name, step) pairs, in their order."""

    known: list[tuple[str, int]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self.known += [(name, step) for name in values]

    def recorded(self, name: str) -> set[int]:
        self.asked.append(name)
        return {step for own, step in self.known if own == name}


def test_metrics_are_given_once_when_the_run_has_some_of_them() -> None:
    run = Recorder([("a", 1), ("b", 1), ("a", 2)])
    once = Once(run)
    for step in (1, 2, 3):
        once.metrics({"a": 0.0, "b": 0.0}, step)
    assert run.known == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    assert run.asked == ["a", "b"]


@given(
    st.sets(st.tuples(st.sampled_from("abc"), st.integers(0, 5))),
    st.lists(st.tuples(st.sets(st.sampled_from("abc")), st.integers(0, 5))),
)
def test_run_has_every_metric_once_whatever_it_had(
    had: set[tuple[str, int]], told: list[tuple[set[str], int]]
) -> None:
    run = Recorder(sorted(had))
    once = Once(run)
    for names, step in told:
        once.metrics(dict.fromkeys(names, 0.0), step)
    assert sorted(run.known) == sorted(had | {(name, step) for names, step in told for name in names})
