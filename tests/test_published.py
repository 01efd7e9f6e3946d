"""Published weights are whole and described, and the README shows their scores."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mxnet.gluon import nn

from hwr import published, weights
from hwr.config import TrainConfig, composed
from hwr.errors import InputError
from hwr.text import Alphabet

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


def dummy(folder: Path, stage: str, alphabet: Alphabet | None) -> weights.Weights:
    """Write weights of a stage, trained on data in `folder`."""
    network = nn.Dense(1, in_units=1)
    network.initialize()
    overrides = [f"stage={stage}", "data=alto", f"data.root={folder}", f"folder={folder}"]
    text = composed("train", overrides, TrainConfig).yaml
    return weights.save(folder, network, text, alphabet, about={"run": "r1"})
