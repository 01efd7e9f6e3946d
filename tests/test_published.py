"""Published weights score what is recorded beside them, and the README shows just that."""

import json
from pathlib import Path
from typing import Any

import pytest

from hwr import evaluation, published
from hwr.config import EvaluateConfig, composed
from hwr.errors import InputError
from hwr.weights import load

# Rounding differs between processors: a line in some hundreds then reads otherwise in a character.
TOLERANCE = 0.002  # of the reference characters


@pytest.mark.slow
def test_copiste_scores_as_recorded(shared: Path, tmp_path: Path) -> None:
    recorded = published.results()["line/copiste"]
    found = evaluated("line/copiste", tmp_path, "data=alto", f"data.root={shared / 'data' / 'copiste'}")
    assert found["data_fingerprint"] == recorded["data_fingerprint"]
    assert found["weights_sha256"] == recorded["weights_sha256"]
    reference = recorded["characters"]["reference"]
    assert found["characters"]["reference"] == reference
    for kind in ("substitutions", "deletions", "insertions"):
        assert abs(found["characters"][kind] - recorded["characters"][kind]) <= TOLERANCE * reference, kind


@pytest.mark.parametrize("name", published.results())
def test_published_weights_are_whole_and_described(name: str) -> None:
    folder = published.EXPERIMENTS / name
    found = load(folder / published.WEIGHTS)
    assert published.results()[name]["weights_sha256"] == found.sha256
    card = (folder / published.CARD).read_text(encoding="utf-8")
    assert "Licence" in card
    assert f"{100 * published.results()[name]['cer']:.2f} %" in card


def test_readme_shows_the_published_scores() -> None:
    assert published.table() in (published.ROOT / "README.md").read_text(encoding="utf-8")


def test_publish_without_an_overlay_is_refused() -> None:
    name, scores = next(iter(published.results().items()))
    found = load(published.EXPERIMENTS / name / published.WEIGHTS)
    with pytest.raises(InputError, match=r"experiments/line/nowhere\.yaml is missing"):
        published.publish("line/nowhere", found, scores)


def evaluated(name: str, folder: Path, *data: str) -> dict[str, Any]:
    """Evaluate published weights in this process, counting in process."""
    output = folder / "scores"
    settings = [f"weights.line={name}", f"folder={folder}", f"output={output}", "scorer=edit_distance", *data]
    evaluation.run(composed("evaluate", settings, EvaluateConfig))
    found: dict[str, Any] = json.loads((output / "scores.json").read_text(encoding="utf-8"))
    return found
