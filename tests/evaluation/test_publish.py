"""Published results are whole and described, and say nothing of the machine they were made on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mxnet.gluon import nn

from hwr import weights
from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.errors import InputError
from hwr.evaluation import publish
from hwr.text import Alphabet

# The figure of a result that its card states.
HEADLINE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "line": lambda result: f"{100 * result['cer']:.2f} %",
    "paragraph": lambda result: f"{result['mean_iou']:.4f}",
    "segmentation": lambda result: f"{result['f1_50']:.4f}",
    "denoiser": lambda result: f"{100 * result['cer']:.2f} %",
    "page": lambda result: f"{100 * result['cer']:.2f} %",
    "decoders": lambda result: f"{100 * min(own['cer'] for own in result['decoders'].values()):.2f} %",
}
LINE = {"target": "line"}


@pytest.mark.parametrize("name", publish.published_results())
def test_published_results_are_whole_and_described(name: str) -> None:
    result = publish.published_results()[name]
    used = result["weights"] if isinstance(result["weights"], list) else [result["weights"]]
    found = [weights.load(publish.EXPERIMENTS / own / publish.WEIGHTS).sha256 for own in used]
    assert result["weights_sha256"] == (found if len(found) > 1 else found[0])
    assert result["target"] == name.partition("/")[0]
    assert (result["target"] in publish.OF_OTHERS) or used == [name]
    card = (publish.EXPERIMENTS / name / publish.CARD).read_text(encoding="utf-8")
    assert "Licence" in card
    assert HEADLINE[result["target"]](result) in card


@pytest.mark.parametrize(("stage", "alphabet"), [("line", Alphabet("ab")), ("paragraph", None)])
def test_publish_keeps_weights_and_scores_without_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, alphabet: Alphabet | None
) -> None:
    experiments, found = tmp_path / "experiments", dummy(tmp_path / "w", stage, alphabet)
    (experiments / stage).mkdir(parents=True)
    (experiments / stage / "mine.yaml").touch()
    monkeypatch.setattr(publish, "EXPERIMENTS", experiments)
    folder = publish.publish_result(f"{stage}/mine", [found], {"target": stage, "weights": str(found.folder)})
    assert folder == experiments / stage / "mine"
    assert publish.published_results() == {f"{stage}/mine": {"target": stage, "weights": f"{stage}/mine"}}
    kept = weights.load(folder / publish.WEIGHTS)
    assert (kept.alphabet, kept.sha256) == (alphabet, found.sha256)
    for file in (folder / publish.RESULT, folder / publish.WEIGHTS / weights.CONFIG):
        assert str(tmp_path) not in file.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "used"), [("page", ["paragraph/mine", "line/mine"]), ("decoders", "line/mine")]
)
def test_result_of_published_weights_names_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, used: str | list[str]
) -> None:
    monkeypatch.setattr(publish, "EXPERIMENTS", tmp_path)
    names = [used] if isinstance(used, str) else used
    alphabets = {"line": Alphabet("ab"), "paragraph": None}
    found = [
        dummy(tmp_path / name / publish.WEIGHTS, stage, alphabets[stage])
        for name in names
        for stage in [name.partition("/")[0]]
    ]
    publish.publish_result(
        f"{target}/mine", found, {"target": target, "weights": [str(tmp_path)], "cer": 0.5}
    )
    assert publish.published_results() == {f"{target}/mine": {"target": target, "weights": used, "cer": 0.5}}


def test_result_of_weights_that_are_not_published_is_refused(tmp_path: Path) -> None:
    found = dummy(tmp_path / "w", "line", Alphabet("ab"))
    with pytest.raises(InputError, match=f"publish: {tmp_path}/w is not published itself; publish these"):
        publish.check_weights_published("decoders", [found])


def test_places_of_this_machine_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publish, "EXPERIMENTS", tmp_path / "experiments")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    found = dummy(tmp_path / "experiments" / "line" / "mine" / "weights", "line", Alphabet("ab"))
    data = {"root": "elsewhere/data", "splits": "lists", "table": "in_root.tsv", "exclude": {"pattern": "/x"}}
    sets = {"a": {"root": "a", "splits": "lists", "replace": [["/", "-"]]}, "b": {"root": str(tmp_path)}}
    settings = {"data": {**data, "sets": {**sets, "c": None}}, "decoder": {"model": str(tmp_path)}}
    publish.publish_result("decoders/mine", [found], {"target": "decoders", "settings": settings})
    assert publish.published_results()["decoders/mine"]["settings"] == {
        "data": {
            **data, "root": "DIR", "splits": "DIR",
            "sets": {"a": {**sets["a"], "splits": "DIR"}, "b": {"root": "DIR"}, "c": None},
        },
        "decoder": {"model": "DIR"},
    }  # fmt: skip


@pytest.mark.parametrize("name", publish.published_results())
def test_published_results_name_no_place_of_a_machine(name: str) -> None:
    assert publish.published_results()[name].get("settings", {}).get("data", {}).get("root") in (None, "DIR")


def test_publish_without_an_overlay_is_refused() -> None:
    with pytest.raises(InputError, match=r"experiments/line/nowhere\.yaml is missing"):
        publish.check_publishable("line/nowhere", "line", {})


@pytest.mark.parametrize(
    ("name", "target"),
    [("line/copiste", "paragraph"), ("line/copiste", "page"), ("page", "page"), ("page/a/b", "page"),
     ("page/..", "page")],
)  # fmt: skip
def test_publish_under_another_name_is_refused(name: str, target: str) -> None:
    with pytest.raises(InputError, match=f"publish={name}: {target} is evaluated; name it {target}/NAME"):
        publish.check_publishable(name, target, {})


def test_publish_of_models_that_are_not_published_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my").mkdir()
    publish.check_publishable(
        "decoders/mine", "decoders", {"beam": {"model": "language/copiste", "width": 5}}
    )
    publish.check_publishable(
        "denoiser/copiste", "denoiser", {"weights": str(tmp_path)}
    )  # what is published itself
    for model in ("my", str(tmp_path)):
        with pytest.raises(InputError, match=f"beam.model={model} is not published itself"):
            publish.check_publishable("decoders/mine", "decoders", {"beam": {"model": model}})


def dummy(folder: Path, stage: str, alphabet: Alphabet | None) -> weights.Weights:
    """Write weights of a stage, trained on data in `folder`."""
    network = nn.Dense(1, in_units=1)
    network.initialize()
    overrides = [f"stage={stage}", "data=alto", f"data.root={folder}", f"folder={folder}"]
    text = composed("train", overrides, TrainConfig).yaml
    return weights.save(folder, network, text, alphabet, about={"run": "r1"})
