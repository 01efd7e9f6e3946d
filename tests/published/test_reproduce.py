"""Recorded results are held to what is made again."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from hwr import runtime
from hwr.config.compose import composed
from hwr.config.roots import DecodersConfig, EvaluateConfig
from hwr.errors import InputError
from hwr.evaluation import decoders, evaluate, publish
from hwr.published import reproduce
from hwr.published.reproduce import Figure, Reproduction
from tests.conftest import SHARED
from tests.evaluation.tiny import write_pages, write_weights
from tests.smoke import module

PROCESSOR = ("processor", "processor_instruction_set")  # cloud machines with different ones share a name


def differing(outcome: Reproduction) -> list[str]:
    return [figure.name for figure in outcome.figures if not figure.same]


# which experiment


@pytest.mark.parametrize(
    "given", ["line/smoke", "experiments/line/smoke", "experiments/line/smoke.yaml", "line/smoke/"]
)
def test_experiment_is_named_in_any_way(given: str) -> None:
    assert reproduce.experiment_name(given) == "line/smoke"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: reproduce.experiment_name("line/smok"),
            r"line/smok: no such experiment; results are recorded of .*line/",
        ),
        (
            lambda: reproduce.recorded_result("line/published_iam"),
            "line/published_iam: no result is recorded of it",
        ),
        (
            lambda: reproduce.reproduce_evaluation("line/smoke", []),
            "line/smoke: no weights are published of it; train it",
        ),
        (
            lambda: reproduce.reproduce_evaluation("line/copiste", []),
            "not at hand; give data.root=DIR",
        ),
        (lambda: reproduce.reproduce_training("line/copiste", []), "line/copiste: no curve is recorded of"),
        (
            lambda: reproduce.reproduce_evaluation("page/copiste", []),
            "its data are not at hand; give data.root=DIR",
        ),
        (lambda: reproduce.reproduce_evaluation("line/copiste", ["data.rot=x"]), r"data\.rot: no such key"),
        (
            lambda: reproduce.reproduce_evaluation("decoders/copiste", ["decoders.beam.width=1"]),
            "decoders.beam.width=1: decoders/copiste is evaluated as it was recorded; keys of data, device, ",
        ),
    ],
)
def test_what_cannot_be_reproduced_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


def test_every_folder_that_is_not_known_here_is_asked_for_at_once() -> None:
    data = {"root": "DIR", "sets": {"a": {"root": "DIR", "replace": [["/", "-"]]}, "b": {"root": "b"}}}
    with pytest.raises(InputError, match=r"x/y: its .* give data\.root=DIR data\.sets\.a\.root=DIR$"):
        reproduce._filled("x/y", data, [])
    filled = reproduce._filled("x/y", data, ["data.root=/d", "data.sets.a.root=/e"])
    assert (filled["root"], filled["sets"]["a"]["root"], filled["sets"]["b"]["root"]) == ("/d", "/e", "b")


# the whole way, with weights that were not trained


@pytest.fixture(scope="module")
def made(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Publish a reader of lines and a finder of areas, of data in a folder of this machine."""
    root = tmp_path_factory.mktemp("made")
    for folder in ("outputs", "again"):  # of the evaluations here, and of those in tests
        (root / folder).mkdir()
        shutil.copy(database, root / folder / "mlflow.db")
    experiments = root / "experiments"
    data = ["data=alto", f"data.root={write_pages(root / 'data')}"]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(publish, "EXPERIMENTS", experiments)
        for kind in ("line", "paragraph"):
            (experiments / kind).mkdir(parents=True)
            (experiments / kind / "mine.yaml").touch()
            (weights,) = write_weights(root / "weights", kind, data=data)
            own = [f"target={kind}", "scorer=edit_distance", f"publish={kind}/mine", "batch_size=7"]
            folders = [f"folder={root / 'outputs'}", f"output={root / 'scores'}"]
            evaluate(composed("evaluate", [weights, *data, *own, *folders], EvaluateConfig))
    return root


@pytest.fixture
def experiments(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of what is published, its data and its outputs beside it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(publish, "EXPERIMENTS", tmp_path / "experiments")
    return tmp_path / "experiments"


def test_published_comparison_of_decoders_is_reproduced(experiments: Path, tmp_path: Path) -> None:
    data = ["data=alto", f"data.root={tmp_path / 'data'}"]
    places = [f"folder={tmp_path / 'again'}", f"output={tmp_path / 'board'}", "scorer=edit_distance"]
    nodes = [f"~decoders.{name}" for name in ("lexicon", "beam", "denoise", "lexicon_beam", "greedy")]
    own = [f"weights.line={experiments / 'line' / 'mine' / 'weights'}", "+decoder@decoders.plain=greedy"]
    settings = [*data, *places, *nodes, *own, "baseline=plain", "publish=decoders/mine"]
    decoders.compare_decoders(composed("decoders", settings, DecodersConfig))
    outcome = reproduce.reproduce_evaluation(
        "decoders/mine", [f"data.root={tmp_path / 'data'}", f"folder={tmp_path / 'again'}"]
    )
    assert outcome.kept, outcome.table()
    assert "decoders.plain.characters.substitutions" in outcome.table()


@pytest.mark.parametrize("name", ["line/mine", "paragraph/mine"])
def test_published_weights_score_as_recorded(
    experiments: Path, made: Path, tmp_path: Path, name: str
) -> None:
    moved = (tmp_path / "data").rename(tmp_path / "elsewhere")
    overrides = [f"data.root={moved}", f"folder={tmp_path / 'again'}"]
    outcome = reproduce.reproduce_evaluation(name, overrides)
    assert differing(outcome) == []
    assert outcome.kept
    assert reproduce.recorded_result(name)["settings"]["batch_size"] == 7
    assert str(made) not in (experiments / name / "result.json").read_text(encoding="utf-8")


def test_other_counts_are_told(experiments: Path, tmp_path: Path) -> None:
    path = experiments / "line" / "mine" / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["words"]["substitutions"] += 1
    path.write_text(json.dumps(result), encoding="utf-8")
    outcome = reproduce.reproduce_evaluation(
        "line/mine", [f"data.root={tmp_path / 'data'}", f"folder={tmp_path / 'again'}"]
    )
    assert differing(outcome) == ["words.substitutions"]
    assert not outcome.kept


def test_damaged_result_is_refused(experiments: Path) -> None:
    (experiments / "line" / "mine" / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"line/mine/result\.json: damaged; fetch it again"):
        reproduce.recorded_result("line/mine")


# what is published here; the curves of smoke experiments: tests/test_experiments.py

DATA = {
    "copiste": "copiste",
    "latin": "",
    "latin_cc": "",
}  # experiments of data that are not drawn -> their folder in shared/data
LONG = ("decoders/latin", "line/latin_cc", "page/latin")  # minutes: tests/endurance/test_published.py
# Rounding differs between processors: a line in some hundreds then reads otherwise in a character.
NEAR = {int: (0.02, 2), float: (0.0, 0.002)}  # what a count and a rate may be off: share of it, and more


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what every published result comes to now: pages are drawn, and lines cut, once for all."""
    return evaluated_again(
        [name for name in publish.published_results() if name not in LONG], tmp_path_factory
    )


def evaluated_again(names: Sequence[str], folders: pytest.TempPathFactory) -> dict[str, Any]:
    roots = [f"{name}.root={SHARED / 'data' / folder}" for name, folder in DATA.items()]
    done = module("tests.published.again", str(folders.mktemp("outputs")), *names, *roots)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"name"')]
    return {line["name"]: line for line in lines}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in publish.published_results() if name not in LONG])
def test_published_result_is_reproduced(
    name: str, again: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    if name.partition("/")[2] in DATA:
        request.getfixturevalue("shared")
    check_reproduced(name, again)


def check_reproduced(name: str, again: dict[str, Any]) -> None:
    assert "error" not in again[name], again[name]["error"]
    if not again[name]["kept"] and not recorded_on(reproduce.recorded_result(name), runtime.describe()):
        figures = [Figure(*figure) for figure in again[name]["figures"]]
        assert [figure.name for figure in figures if not near(figure)] == [], again[name]["table"]
        return
    assert again[name]["kept"], again[name]["table"]


def recorded_on(result: dict[str, Any], here: dict[str, str]) -> bool:
    """Tell whether a result was recorded on a processor like this one; older ones do not tell."""
    return all(result.get("environment", {}).get(key) == here[key] for key in PROCESSOR)


@pytest.mark.parametrize(
    ("recorded", "got", "expected"),
    [(100, 104, True), (100, 105, False), (0.95, 0.9515, True), (0.95, 0.9525, False), ("a1", "b2", False)],
)
def test_figures_are_near_when_rounding_explains_them(recorded: Any, got: Any, expected: bool) -> None:
    assert near(Figure("x", recorded, got, False)) is expected


def near(figure: Figure) -> bool:
    """Tell whether rounding on another processor explains a figure."""
    if figure.same or type(figure.recorded) not in NEAR:
        return figure.same
    share, more = NEAR[type(figure.recorded)]
    return bool(abs(figure.got - figure.recorded) <= share * figure.recorded + more)
