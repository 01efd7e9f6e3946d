"""Published weights score what is recorded beside them, and the README shows just that."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mxnet.gluon import nn

from hwr import evaluation, published, weights
from hwr.config import EvaluateConfig, TrainConfig, composed
from hwr.errors import InputError
from hwr.text import Alphabet

# Rounding differs between processors: a line in some hundreds then reads otherwise in a character.
TOLERANCE = 0.002  # of the reference characters, of the true boxes, of the mean IoU
COPISTE = [name for name in published.results() if name.endswith("/copiste")]
# The figure of a result that its card states.
HEADLINE: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "line": lambda result: f"{100 * result['cer']:.2f} %",
    "paragraph": lambda result: f"{result['mean_iou']:.4f}",
    "segmentation": lambda result: f"{result['f1_50']:.4f}",
    "denoiser": lambda result: f"{100 * result['cer']:.2f} %",
}
LINE: dict[str, Any] = {
    "target": "line", "lines": 3, "cer": 0.125, "wer": 0.5,
    "characters": {"reference": 8, "substitutions": 1, "deletions": 0, "insertions": 0},
    "intervals": {"cer": [0.05, 0.2], "wer": [0.2, 0.8]},
}  # fmt: skip
AREA: dict[str, Any] = {"target": "paragraph", "pages": 2, "mean_iou": 0.95, "worst_iou": 0.91234}
BOXES: dict[str, Any] = {
    "target": "segmentation", "pages": 2, "true": 50, "unit": "line", "f1_50": 0.98, "f1_75": 0.9,
    "mean_iou": 0.87654,
}  # fmt: skip
TABLE = """\
| weights | test pages | mean IoU of the area | worst |
|---|---|---|---|
| [`paragraph/b`](experiments/paragraph/b/card.md) | 2 | 0.9500 | 0.9123 |

| weights | test pages | boxes | F1 at IoU 0.5 | at 0.75 | mean IoU |
|---|---|---|---|---|---|
| [`segmentation/c`](experiments/segmentation/c/card.md) | 2 | 50 lines | 0.9800 | 0.9000 | 0.8765 |
| [`segmentation/d`](experiments/segmentation/d/card.md) | 2 | 50 lines | 0.9800 | 0.9000 | 0.8765 |

| weights | test lines | CER [95 %] | WER [95 %] | N / S / D / I of characters |
|---|---|---|---|---|
| [`line/a`](experiments/line/a/card.md) | 3 | 12.50 % [5.0, 20.0] | 50.00 % [20.0, 80.0] | 8 / 1 / 0 / 0 |

| weights | test lines | CER before | WER before | CER [95 %] | WER [95 %] |
|---|---|---|---|---|---|
| [`denoiser/e`](experiments/denoiser/e/card.md) | 3 | 25.00 % | 60.00 % | \
12.50 % [5.0, 20.0] | 50.00 % [20.0, 80.0] |
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", COPISTE)
def test_copiste_scores_as_recorded(shared: Path, tmp_path: Path, name: str) -> None:
    recorded = published.results()[name]
    found = evaluated(name, tmp_path, "data=alto", f"data.root={shared / 'data' / 'copiste'}")
    assert found["data_fingerprint"] == recorded["data_fingerprint"]
    assert found["weights_sha256"] == recorded["weights_sha256"]
    assert differences(recorded, found) == []


@pytest.mark.parametrize("name", published.results())
def test_published_weights_are_whole_and_described(name: str) -> None:
    folder, result = published.EXPERIMENTS / name, published.results()[name]
    found = weights.load(folder / published.WEIGHTS)
    assert result["weights_sha256"] == found.sha256
    assert result["target"] == name.partition("/")[0]
    card = (folder / published.CARD).read_text(encoding="utf-8")
    assert "Licence" in card
    assert HEADLINE[result["target"]](result) in card


def test_readme_shows_the_published_scores() -> None:
    assert published.table() in (published.ROOT / "README.md").read_text(encoding="utf-8")


def test_table_has_a_part_for_each_stage_with_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    results = {"line/a": LINE, "paragraph/b": AREA, "segmentation/c": BOXES, "segmentation/d": BOXES}
    results["denoiser/e"] = {**LINE, "target": "denoiser", "before": {"cer": 0.25, "wer": 0.6}}
    monkeypatch.setattr(published, "results", lambda: results)
    assert published.table() + "\n" == TABLE


def test_table_leaves_out_a_stage_without_published_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(published, "results", lambda: {"paragraph/b": AREA})
    assert len(published.table().splitlines()) == 3


@pytest.mark.parametrize(("stage", "alphabet"), [("line", Alphabet("ab")), ("paragraph", None)])
def test_publish_keeps_weights_and_scores_without_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, alphabet: Alphabet | None
) -> None:
    experiments, found = tmp_path / "experiments", dummy(tmp_path / "w", stage, alphabet)
    (experiments / stage).mkdir(parents=True)
    (experiments / stage / "mine.yaml").touch()
    monkeypatch.setattr(published, "EXPERIMENTS", experiments)
    folder = published.publish(f"{stage}/mine", found, {"target": stage, "weights": str(found.folder)})
    assert folder == experiments / stage / "mine"
    assert published.results() == {f"{stage}/mine": {"target": stage, "weights": f"{stage}/mine"}}
    kept = weights.load(folder / published.WEIGHTS)
    assert (kept.alphabet, kept.sha256) == (alphabet, found.sha256)
    for file in (folder / published.RESULT, folder / published.WEIGHTS / weights.CONFIG):
        assert str(tmp_path) not in file.read_text(encoding="utf-8")


def test_publish_without_an_overlay_is_refused(tmp_path: Path) -> None:
    found = dummy(tmp_path / "w", "line", Alphabet("ab"))
    with pytest.raises(InputError, match=r"experiments/line/nowhere\.yaml is missing"):
        published.publish("line/nowhere", found, LINE)


@pytest.mark.parametrize(("name", "target"), [("line/copiste", "paragraph"), ("page/copiste", "page")])
def test_publish_under_another_stage_is_refused(name: str, target: str) -> None:
    with pytest.raises(InputError, match=f"publish={name}: not of stage {target}"):
        published.check(name, target)


@pytest.mark.parametrize(
    ("recorded", "changed", "differing"),
    [
        (LINE, {"characters": {**LINE["characters"], "deletions": 1}}, ["deletions"]),
        (AREA, {"mean_iou": 0.9515}, []),
        (AREA, {"mean_iou": 0.9525}, ["mean_iou"]),
        (BOXES | {"matched_50": 49}, {"matched_50": 48}, ["matched_50"]),
        (BOXES | {"matched_50": 49}, {"true": 49}, ["true"]),
    ],
)
def test_more_than_rounding_is_a_difference(
    recorded: dict[str, Any], changed: dict[str, Any], differing: list[str]
) -> None:
    assert differences(recorded, recorded) == []
    assert differences(recorded, {**recorded, **changed}) == differing


def differences(recorded: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Return what of a result differs from the recorded one by more than the tolerance."""
    one, other = (result.get("characters", result) for result in (recorded, found))
    total = one.get("reference", one.get("true", 1))
    exact = [name for name in ("reference", "true", "pages", "lines") if one.get(name) != other.get(name)]
    counts = ("substitutions", "deletions", "insertions", "matched_50", "matched_75")
    rates = ("mean_iou", "median_iou")
    return [
        *exact,
        *(n for n in counts if abs(one.get(n, 0) - other.get(n, 0)) > TOLERANCE * total),
        *(n for n in rates if abs(one.get(n, 0) - other.get(n, 0)) > TOLERANCE),
    ]


def dummy(folder: Path, stage: str, alphabet: Alphabet | None) -> weights.Weights:
    """Write weights of a stage, trained on data in `folder`."""
    network = nn.Dense(1, in_units=1)
    network.initialize()
    overrides = [f"stage={stage}", "data=alto", f"data.root={folder}", f"folder={folder}"]
    text = composed("train", overrides, TrainConfig).yaml
    return weights.save(folder, network, text, alphabet, about={"run": "r1"})


def evaluated(name: str, folder: Path, *data: str) -> dict[str, Any]:
    """Evaluate published weights in this process, counting in process."""
    output, target = folder / "scores", name.partition("/")[0]
    own = ["decoder=denoise", "decoder.weights"] if target == "denoiser" else [f"weights.{target}"]
    places = [f"target={target}", *own[:-1], f"{own[-1]}={name}", f"folder={folder}", f"output={output}"]
    settings = [*places, "scorer=edit_distance", *data]
    evaluation.run(composed("evaluate", settings, EvaluateConfig))
    found: dict[str, Any] = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    return found
