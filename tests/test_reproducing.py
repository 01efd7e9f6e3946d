"""Recorded results are held to what is made again."""

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mxnet as mx
import pytest

from hwr import assembly, board, evaluation, published, reproducing, runtime, weights
from hwr.config import DecodersConfig, EvaluateConfig, TrainConfig, composed
from hwr.errors import InputError
from hwr.reproducing import ERROR_TOLERANCE, LOSS_TOLERANCE, Outcome
from tests.evaluation.tiny import ALPHABET, LINE, PARAGRAPH, write_pages
from tests.smoke import command

RECORDED_ON = "AMD EPYC"  # the processor of results that do not tell theirs
CURVE: dict[str, Any] = {
    "command": "python -m hwr reproduce line/smoke --train", "environment": {"processor": "A", "mxnet": "1"},
    "data_fingerprint": "f0", "weights_sha256": "a1", "train/loss": [60.0, 2.0], "valid/cer": [1.0, 0.25],
    "test": {"lines": 11, "cer": 0.125},
}  # fmt: skip
SCORES: dict[str, Any] = {
    "target": "line", "data_fingerprint": "f0", "weights_sha256": "a1", "lines": 3,
    "characters": {"reference": 8, "substitutions": 1, "deletions": 0, "insertions": 2},
    "words": {"reference": 4, "substitutions": 1, "deletions": 0, "insertions": 0},
}  # fmt: skip


def differing(figures: Sequence[reproducing.Figure]) -> list[str]:
    return [figure.name for figure in figures if not figure.same]


# trainings


def test_training_is_held_to_every_bit_in_the_recorded_environment() -> None:
    other = copy.deepcopy(CURVE)
    other["train/loss"][-1] *= 1 + 1e-15
    assert differing(reproducing.curve_figures(CURVE, CURVE)) == []
    assert differing(reproducing.curve_figures(CURVE, other)) == ["train/loss"]


@pytest.mark.parametrize("key", [key for key in CURVE if key not in ("command", "environment")])
def test_training_is_held_to_all_that_is_recorded(key: str) -> None:
    assert differing(reproducing.curve_figures(CURVE, {**CURVE, key: None})) == [key]


def test_rounding_is_no_difference_elsewhere() -> None:
    other = elsewhere()
    other["weights_sha256"] = "0" * 64
    other["train/loss"] = [value * (1 + LOSS_TOLERANCE / 2) for value in other["train/loss"]]
    other["test"]["cer"] += ERROR_TOLERANCE / 2
    assert differing(reproducing.curve_figures(CURVE, other)) == []


@pytest.mark.parametrize(
    ("key", "named"),
    [("train/loss", "first epoch's loss"), ("valid/cer", "lowest valid/cer"), ("test", "test error")],
)
def test_more_than_rounding_is_a_difference_elsewhere(key: str, named: str) -> None:
    other = elsewhere()
    if key == "test":
        other["test"]["cer"] += 2 * ERROR_TOLERANCE
    else:
        other[key] = [value + 2 * ERROR_TOLERANCE + LOSS_TOLERANCE * value for value in other[key]]
    assert differing(reproducing.curve_figures(CURVE, other)) == [named]


def test_training_that_learnt_little_is_a_difference_elsewhere() -> None:
    record = {**CURVE, "valid/cer": [0.13, 0.05], "test": {}}
    other = {**record, "environment": {}, "valid/cer": [0.13, 0.1]}
    assert differing(reproducing.curve_figures(record, other)) == ["lowest valid/cer"]
    other["valid/cer"] = [0.13, 0.08]
    assert differing(reproducing.curve_figures(record, other)) == []


def test_environment_that_knows_more_is_another() -> None:
    outcome = reproducing.held(CURVE, {**CURVE, "environment": {**CURVE["environment"], "pillow": "1"}})
    assert outcome.demand.endswith("recorded with other pillow")


def test_areas_are_held_to_their_overlap_elsewhere() -> None:
    record = {**CURVE, "valid/iou_error": [0.5, 0.2], "test": {"pages": 4, "mean_iou": 0.8}}
    del record["valid/cer"]
    other = {**record, "environment": {}, "test": {"pages": 4, "mean_iou": 0.6}}
    (test,) = (own for own in reproducing.curve_figures(record, other) if own.name == "test error")
    assert (test.recorded, test.got, test.same) == (pytest.approx(0.2), pytest.approx(0.4), False)


def elsewhere() -> dict[str, Any]:
    other = copy.deepcopy(CURVE)
    other["environment"]["processor"] = "B"
    return other


# evaluations


def test_counts_are_exact() -> None:
    other = copy.deepcopy(SCORES)
    other["characters"]["insertions"] = 3
    assert differing(reproducing.score_figures(SCORES, SCORES)) == []
    assert differing(reproducing.score_figures(SCORES, other)) == ["characters.insertions"]


@pytest.mark.parametrize(("change", "same"), [(0.00004, True), (0.0001, False)])
def test_rates_are_held_to_four_decimals(change: float, same: bool) -> None:
    area = {"target": "paragraph", "pages": 2, "mean_iou": 0.95, "median_iou": 0.9, "worst_iou": 0.5}
    other = {**area, "mean_iou": area["mean_iou"] + change}
    assert (differing(reproducing.score_figures(area, other)) == []) is same


def test_counts_of_every_part_of_pages_are_exact() -> None:
    page = {**SCORES, "target": "page", "pages": 1}
    page["budget"] = {given: {**SCORES["words"], "missed_lines": 1} for given in ("nothing", "area")}
    page["page_text"] = dict(SCORES["characters"])
    other = copy.deepcopy(page)
    other["budget"]["area"]["missed_lines"] = 0
    other["page_text"]["substitutions"] = 2
    assert differing(reproducing.score_figures(page, other)) == [
        "page_text.substitutions",
        "budget.area.missed_lines",
    ]


def test_counts_of_every_decoder_are_exact() -> None:
    board = {"target": "decoders", "lines": 3, "decoders": {"greedy": SCORES, "beam": copy.deepcopy(SCORES)}}
    other = copy.deepcopy(board)
    other["decoders"]["beam"]["words"]["insertions"] += 1
    assert differing(reproducing.score_figures(board, other)) == ["decoders.beam.words.insertions"]


@pytest.mark.parametrize("key", ["data_fingerprint", "weights_sha256", "lines"])
def test_other_data_or_weights_are_a_difference(key: str) -> None:
    assert differing(reproducing.score_figures(SCORES, {**SCORES, key: "other"})) == [key]


def test_table_shows_both_values_and_what_differs() -> None:
    figures = reproducing.score_figures(SCORES, {**SCORES, "lines": 4})
    rows = [row.split() for row in Outcome("the recorded counts", figures).table().splitlines()]
    assert ["lines", "3", "4", "differs"] in rows
    assert ["characters.reference", "8", "8"] in rows
    assert rows[-1] == ["not", "reproduced:", "1", "of", "11", "differ"]


def test_table_shows_the_first_epoch_that_differs() -> None:
    figures = reproducing.curve_figures(CURVE, {**CURVE, "train/loss": [60.0, 2.5]})
    said = Outcome("every bit", figures).table()
    assert "epoch 2 of 2: 2" in said
    assert "epoch 2 of 2: 2.5" in said


def test_table_shows_the_beginnings_of_several_digests() -> None:
    page = {**SCORES, "target": "page", "weights_sha256": ["a" * 64, "b" * 64]}
    figures = reproducing.score_figures(page, {**page, "weights_sha256": ["a" * 64, "c" * 64]})
    said = Outcome("the recorded counts", figures).table()
    assert f"{'a' * 12} {'b' * 12}  {'a' * 12} {'c' * 12}  differs" in said


# which experiment


@pytest.mark.parametrize(
    "given", ["line/smoke", "experiments/line/smoke", "experiments/line/smoke.yaml", "line/smoke/"]
)
def test_experiment_is_named_in_any_way(given: str) -> None:
    assert reproducing.name_of(given) == "line/smoke"


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: reproducing.name_of("line/smok"),
            r"line/smok: no such experiment; results are recorded of .*line/",
        ),
        (
            lambda: reproducing.recorded("line/published_iam"),
            "line/published_iam: no result is recorded of it",
        ),
        (
            lambda: reproducing.evaluate("line/smoke", []),
            "line/smoke: no weights are published of it; train it",
        ),
        (lambda: reproducing.evaluate("line/copiste", []), "its data are not at hand; give data.root=DIR"),
        (lambda: reproducing.train("line/copiste", []), "line/copiste: no curve is recorded of its training"),
        (lambda: reproducing.evaluate("page/copiste", []), "its data are not at hand; give data.root=DIR"),
        (lambda: reproducing.evaluate("line/copiste", ["data.rot=x"]), r"data\.rot: no such key"),
        (
            lambda: reproducing.evaluate("decoders/copiste", ["decoders.beam.width=1"]),
            "decoders.beam.width=1: decoders/copiste is evaluated as it was recorded; keys of data, device, ",
        ),
    ],
)
def test_what_cannot_be_reproduced_is_refused(call: Callable[[], object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        call()


# the whole way, with weights that were not trained


@pytest.fixture
def experiments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Publish a reader of lines and a finder of areas, of data in a folder of this machine."""
    folder = tmp_path / "experiments"
    monkeypatch.setattr(published, "EXPERIMENTS", folder)
    for kind, overrides in (("line", LINE), ("paragraph", PARAGRAPH)):
        (folder / kind).mkdir(parents=True)
        (folder / kind / "mine.yaml").touch()
        made = composed("train", [*overrides, "data=alto", f"data.root={tmp_path / 'data'}"], TrainConfig)
        network = (
            assembly.line_network(made.root, ALPHABET, mx.cpu())
            if kind == "line"
            else assembly.paragraph_network(made.root, mx.cpu())
        )
        alphabet = ALPHABET if kind == "line" else None
        weights.save(tmp_path / "weights" / kind, network, made.yaml, alphabet, about={})
    write_pages(tmp_path / "data")
    for kind in ("line", "paragraph"):
        places = [
            f"weights.{kind}={tmp_path / 'weights' / kind}",
            "data=alto",
            f"data.root={tmp_path / 'data'}",
        ]
        own = [f"target={kind}", "scorer=edit_distance", f"publish={kind}/mine", "batch_size=7"]
        folders = [f"folder={tmp_path / 'outputs'}", f"output={tmp_path / 'scores'}"]
        evaluation.run(composed("evaluate", [*places, *own, *folders], EvaluateConfig))
    return folder


def test_published_comparison_of_decoders_is_reproduced(experiments: Path, tmp_path: Path) -> None:
    data = ["data=alto", f"data.root={tmp_path / 'data'}"]
    places = [f"folder={tmp_path / 'outputs'}", f"output={tmp_path / 'board'}", "scorer=edit_distance"]
    nodes = [f"~decoders.{name}" for name in ("lexicon", "beam", "denoise", "lexicon_beam", "greedy")]
    own = [f"weights.line={experiments / 'line' / 'mine' / 'weights'}", "+decoder@decoders.plain=greedy"]
    settings = [*data, *places, *nodes, *own, "baseline=plain", "publish=decoders/mine"]
    board.run(composed("decoders", settings, DecodersConfig))
    outcome = reproducing.evaluate(
        "decoders/mine", [f"data.root={tmp_path / 'data'}", f"folder={tmp_path / 'again'}"]
    )
    assert outcome.kept, outcome.table()
    assert "decoders.plain.characters.substitutions" in outcome.table()


@pytest.mark.parametrize("name", ["line/mine", "paragraph/mine"])
def test_published_weights_score_as_recorded(experiments: Path, tmp_path: Path, name: str) -> None:
    moved = (tmp_path / "data").rename(tmp_path / "elsewhere")
    overrides = [f"data.root={moved}", f"folder={tmp_path / 'again'}"]
    outcome = reproducing.evaluate(name, overrides)
    assert differing(outcome.figures) == []
    assert outcome.kept
    assert reproducing.recorded(name)["settings"]["batch_size"] == 7
    assert str(tmp_path) not in (experiments / name / "result.json").read_text(encoding="utf-8")


def test_other_counts_are_told(experiments: Path, tmp_path: Path) -> None:
    path = experiments / "line" / "mine" / "result.json"
    result = json.loads(path.read_text(encoding="utf-8"))
    result["words"]["substitutions"] += 1
    path.write_text(json.dumps(result), encoding="utf-8")
    outcome = reproducing.evaluate(
        "line/mine", [f"data.root={tmp_path / 'data'}", f"folder={tmp_path / 'again'}"]
    )
    assert differing(outcome.figures) == ["words.substitutions"]
    assert not outcome.kept


def test_damaged_result_is_refused(experiments: Path) -> None:
    (experiments / "line" / "mine" / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"line/mine/result\.json: damaged; fetch it again"):
        reproducing.recorded("line/mine")


# what is published here; the curves of smoke experiments: tests/test_experiments.py

DATA = {"copiste": "copiste"}  # experiments of data that are not drawn -> their folder in shared/data
# Rounding differs between processors: a line in some hundreds then reads otherwise in a character.
NEAR = {int: (0.02, 2), float: (0.0, 0.002)}  # what a count and a rate may be off: share of it, and more


@pytest.mark.slow
@pytest.mark.parametrize("name", published.results())
def test_published_result_is_reproduced(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    places = [f"folder={tmp_path / 'outputs'}", "scorer=edit_distance"]  # which counts as SClite does
    own = DATA.get(name.partition("/")[2])
    if own is not None:
        places.append(f"data.root={request.getfixturevalue('shared') / 'data' / own}")
    done = command("reproduce", name, *places)
    result = reproducing.recorded(name)
    processor = result.get("environment", {}).get("processor", RECORDED_ON)
    if done.returncode == 1 and runtime.describe()["processor"] != processor:
        written = board.NAME if result["target"] == board.TARGET else "scores.json"
        text = (tmp_path / "outputs" / "evaluation" / written).read_text(encoding="utf-8")
        figures = reproducing.score_figures(result, json.loads(text))
        assert [figure.name for figure in figures if not near(figure)] == [], done.stdout
        return
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("recorded", "got", "expected"),
    [(100, 104, True), (100, 105, False), (0.95, 0.9515, True), (0.95, 0.9525, False), ("a1", "b2", False)],
)
def test_figures_are_near_when_rounding_explains_them(recorded: Any, got: Any, expected: bool) -> None:
    assert near(reproducing.Figure("x", recorded, got, False)) is expected


def near(figure: reproducing.Figure) -> bool:
    """Tell whether rounding on another processor explains a figure."""
    if figure.same or type(figure.recorded) not in NEAR:
        return figure.same
    share, more = NEAR[type(figure.recorded)]
    return bool(abs(figure.got - figure.recorded) <= share * figure.recorded + more)
