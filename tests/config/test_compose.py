"""What a user types becomes plain values, or one clear line."""

import os
import re

import pytest
from omegaconf import OmegaConf

from hwr.config.compose import at_home, composed, data_words, explained, portable, seeded, stored
from hwr.config.messages import clear_errors
from hwr.config.roots import EvaluateConfig, InspectConfig, TrainConfig
from hwr.errors import InputError
from hwr.stages.recipe import parse_recipe
from tests.refusal import refused, tells


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("lrr=1", "lrr: no such key (did you mean lr?); see --help for all keys"),
        ("+lrr=1", "lrr: no such key (did you mean lr?); see --help for all keys"),
        ("lr=fast", "lr='fast' is not a number"),
        ("lr=", "lr='' is not a number"),
        ("seed=1.5", "seed=1.5 is not a whole number"),
        ("lr=-1", "lr=-1 is not possible; it must be greater than 0"),
        ("lr=0", "lr=0 is not possible; it must be greater than 0"),
        ("lr=nan", "lr=nan is not a finite number"),
        ("lr=inf", "lr=inf is not a finite number"),
        ("batch_size=0", "batch_size=0 is not possible; it must be 1 or more"),
        ("seed=-1", "seed=-1 is not possible; it must be 0 or more"),
        ("average=1", "average=1 is not possible; it must be less than 1"),
        ("max_epochs=0", "max_epochs=0 is not possible; it must be 1 or more"),
        ("max_minutes=0", "max_minutes=0 is not possible; it must be greater than 0"),
        ("patience=0", "patience=0 is not possible; it must be 1 or more"),
        ("clip=0", "clip=0 is not possible; it must be greater than 0"),
        ("max_pixels=0", "max_pixels=0 is not possible; it must be 1 or more"),
        ("unknown=drop", "unknown='drop' is not possible; it must be one of keep, error"),
        ("name=null", "name=None is not a text"),
        ("stage=lien", "stage=lien: no such choice (did you mean line?); use one of denoiser, line"),
        (
            "experiments=line/smok",
            "experiments=line/smok: no such choice (did you mean line/smoke?); use one of ",
        ),
        (
            "data=/some/folder",
            "data=/some/folder: no such choice; use one of alto, hands, iam, latin, line_list",
        ),
        ("data=1", "data=1: no such choice; use one of alto, hands"),
        ("optimizer=null", "optimizer=null: no such choice; use one of adam"),
        ("experiments=1e-3", "experiments=1e-3: no such choice"),
        ("data=[latin, 1]", "data=[latin, 1]: no such choice"),
        ("stage=int(1)", "stage=int(1): no such choice"),
        ("decoder@decoder.base=1", "decoder=1: no such choice"),
        ("hydra/launcher=1", "hydra/launcher=1: no such choice; give the name of a file"),
        ("=1", "=1: no such choice"),
        ("~stage=1", "stage=1: no such choice"),
        ("~stage=[line]", "stage=[line]: no such choice"),
        (f"data.{'x' * 300}=1", f"data.{'x' * 55}…: no such key; see --help"),
        ("data=alto", "data.root is not set; give data.root=… on the command line"),
        ("lr", "lr: not understood; write KEY=VALUE"),
        ("~nothing", "nothing"),
        (
            "lr=1e-3,3e-3",
            "lr=1e-3,3e-3: several values; add -m to sweep over them (train, evaluate), or write lr=[",
        ),
        ("seed=range(0,3)", "seed=range(0,3): several values; add -m"),
        ("+lr=1", "Either remove + prefix: 'lr=1'"),
        ("lr=${nothing", "not understood; write KEY=VALUE"),
        ("name='${nothing}'", "name: Interpolation key 'nothing' not found"),
    ],
)
def test_override_is_refused_with_what_is_wrong(
    capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert said in refused(capsys, lambda: composed("train", [override], TrainConfig))


def test_nested_key_is_refused_with_those_beside_it(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, lambda: composed("train", ["augmentation.shiftx=1"], TrainConfig))
    assert said.startswith(
        "augmentation.shiftx: no such key (did you mean shift_x?); known are probability, shift_x,"
    )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("split=tset", "split='tset' is not possible; it must be one of train, valid, test"),
        ("pictures=-1", "pictures=-1 is not possible; it must be 0 or more"),
        (
            "weights.lin=x",
            "weights.lin: no such key (did you mean line?); known are paragraph, segmentation, line",
        ),
    ],
)
def test_evaluation_is_refused_with_what_is_wrong(
    capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    overrides = ["weights.line=anywhere", override]
    assert refused(capsys, lambda: composed("evaluate", overrides, EvaluateConfig)) == said


def test_inspection_takes_the_keys_of_a_training_and_its_own() -> None:
    root = composed("inspect", ["experiments=line/copiste", "data.root=DIR", "full=true"], InspectConfig).root
    assert (root.name, root.data["source"], root.full, root.output) == ("line-copiste", "alto", True, None)


def test_composition_holds_typed_root_yaml_values_and_overrides() -> None:
    made = composed("train", ["lr=1e-4", "stage.crop.height=64"], TrainConfig)
    assert (made.root.lr, made.root.stage["crop"]["height"]) == (1e-4, 64)
    assert made.values["stage"]["crop"]["height"] == 64
    assert made.overrides == ("lr=1e-4", "stage.crop.height=64")
    assert stored(made.yaml, (), TrainConfig).root == made.root


def test_whole_number_becomes_a_float_where_one_is_asked_for() -> None:
    assert type(composed("train", ["lr=1"], TrainConfig).root.lr) is float


def test_stored_configuration_yields_to_the_command_line() -> None:
    text = composed("train", [], TrainConfig).yaml
    made = stored(
        text, ["lr=1e-5", "+name=other", "stage.crop={height: 64}", "patience=null"], TrainConfig
    ).root
    assert (made.lr, made.name, made.stage["crop"]["height"], made.patience) == (1e-5, "other", 64, None)
    assert made.stage["crop"]["margin"] == 0.05


def test_stored_configuration_refuses_an_unknown_key() -> None:
    text = composed("train", [], TrainConfig).yaml
    with pytest.raises(InputError, match=r"lrr: no such key"):
        stored(text, ["lrr=1"], TrainConfig)


def test_damaged_stored_configuration_is_refused() -> None:
    with pytest.raises(InputError):
        stored("lr: [1", (), TrainConfig)


def test_interrupt_ends_with_its_usual_status() -> None:
    with pytest.raises(SystemExit) as ended, clear_errors():
        raise KeyboardInterrupt
    assert ended.value.code == 130


def test_defect_of_the_program_is_not_taken_for_bad_input() -> None:
    with pytest.raises(ZeroDivisionError), clear_errors():
        raise ZeroDivisionError


def test_tracking_server_of_the_environment_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert composed("train", [], TrainConfig).root.tracking.uri == "http://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("~/a", "/home/me/a"),
        ("~", "~"),
        ("a/~/b", "a/~/b"),
        ("~no body/", "~no body/"),
        (["~/a", 1], ["/home/me/a", 1]),
    ],
)
def test_home_is_expanded_where_a_value_begins_with_it(
    monkeypatch: pytest.MonkeyPatch, given: object, read: object
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert at_home({"data": {"root": given}}) == {"data": {"root": read}}


def test_portable_configuration_names_no_folder_of_the_machine() -> None:
    text = "data: {root: /d, replace: [[/, a]], sets: {a: {root: /e}, b: {root: b}}}\nfolder: /f\n"
    text += "stage: {confusions: /g/c.json, texts: [/h, line/i]}\n"
    assert OmegaConf.to_container(OmegaConf.create(portable(text))) == {
        "data": {"root": "DIR", "replace": [["/", "a"]], "sets": {"a": {"root": "DIR"}, "b": {"root": "b"}}},
        "folder": "outputs",
        "stage": {"confusions": "DIR", "texts": ["DIR", "line/i"]},
    }


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["lr=1", "repeat=3"], ["-m", "lr=1", "seed=0,1,2"]),
        (["repeat=2", "seed=7", "-m", "lr=1,2"], ["-m", "lr=1,2", "seed=7,8"]),
        (["repeat=1", "seed=7"], ["seed=7"]),
        (["seed=1,2"], ["seed=1,2"]),
    ],
)
def test_repeated_training_is_a_sweep_over_seeds(words: list[str], expected: list[str]) -> None:
    assert sorted(seeded(words)) == sorted(expected)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["repeat=0"], "repeat=0 is not possible; it must be a whole number"),
        (["repeat=many"], "repeat=many is not possible"),
        (["repeat=2", "seed=1,2"], "repeat=2: counts from one seed on, not seed=1,2; leave one of them out"),
        (["repeat=2", "resume=last"], "leave resume out"),
    ],
)
def test_repetition_that_cannot_be_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        seeded(words)


@pytest.mark.parametrize(
    ("experiment", "key", "source", "others"),
    [
        ("line/smoke", "data.processes", "synthetic", "'~data.pages' '~data.writers'"),
        ("line/published_iam", "data.images", "iam", "leave out what it sets: '~data.images'"),
    ],
)
def test_key_that_only_the_experiment_sets_is_told_with_it(
    capsys: pytest.CaptureFixture[str], experiment: str, key: str, source: str, others: str
) -> None:
    chosen = [f"experiments={experiment}", "data=alto", "data.root=DIR"]

    def parse(*more: str) -> object:
        made = composed("train", [*chosen, *more], TrainConfig)
        with explained(made):
            return parse_recipe(made.root)

    said = refused(capsys, parse)
    tells(said, f"{key}: no such key of data=alto; experiments={experiment} sets it for data={source}; ")
    tells(said, key, "choose another experiment, or leave out what it sets: '~data.", others)
    parse(*re.findall(r"'(~[\w.]+)'", said))
    said = refused(capsys, lambda: parse(f"{key}=1"))
    tells(said, f"{key}: no such key here, but with data=", f"data={source}", "known are root, splits")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=hands"], ["data=hands"]),
        (["data=synthetic", "data.pages.train=7"], ["data=synthetic", "data.pages.train=7"]),
        (["data=latin", "data.root=x y", "data.sets.copiste=null"],
         ["data=latin", "data.sets.copiste=null", "data.root=x y"]),
        (["data=sets", "+data@data.sets.a=alto", "data.sets.a.root=A"], None),
        (["data=alto", "data.root='1'", r"data.replace=[['’','\''],['[\\',''],[',','~/x'],['a:b','é']]"],
         None),
    ],
)  # fmt: skip
def test_data_are_told_as_the_words_that_make_them(words: list[str], said: list[str] | None) -> None:
    data = composed("train", words, TrainConfig).root.data
    made = data_words(data)
    assert composed("evaluate", made, EvaluateConfig).root.data == data
    assert said is None or made == said
