"""hwr models list, show and verify: what a name stands for, and whether it is whole."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import hwr.published as models
from hwr.__main__ import main
from hwr.config import EXPERIMENTS
from hwr.config.compose import composed
from hwr.config.roots import ModelsConfig, ServeConfig
from tests.refusal import refused


def test_models_are_listed_with_what_they_read(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "list"])
    rows = [re.split(r"\s{2,}", line.strip()) for line in capsys.readouterr().out.splitlines()]
    assert [row[0] for row in rows] == ["model", "copiste", "latin", "latin_cc", "synthetic"]
    assert "beam" in rows[1] and "Modern French handwriting" in rows[1]


def test_model_is_shown_with_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    main(["models", "show", "synthetic"])
    out = capsys.readouterr().out
    for part in ("paragraph/synthetic", "segmentation/synthetic_line", "line/synthetic"):
        assert f"experiments/{part}/card.md" in out
    assert re.search(r"line/synthetic .*CER 0\.\d{4}", out) and "F1 " in out


@pytest.mark.slow
def test_model_is_verified(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["models", "verify", "synthetic"])
    assert capsys.readouterr().out == "synthetic: whole\n"
    model = models.load_model("synthetic", composed("models", [], ModelsConfig).root)
    changed = tmp_path / "weights"
    shutil.copytree(EXPERIMENTS / "line/synthetic/weights", changed)
    with (changed / "network.params").open("ab") as file:
        file.write(b"0")
    weights = replace(model.root.weights, line=str(changed))
    broken = replace(model, root=replace(model.root, weights=weights))
    monkeypatch.setattr(models, "load_model", lambda name, config: broken)
    with pytest.raises(SystemExit) as ended:
        main(["models", "verify", "synthetic"])
    assert ended.value.code == 1
    assert f"synthetic: weights {changed}: network.params was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["models", "delete"], "models delete: unknown; use one of list, show, verify, get, publish, import"),
        (["models", "show"], "models show: which? name one of copiste, latin, latin_cc, synthetic"),
        (["models", "show", "other"], "other: no such model; use one of copiste, latin, latin_cc, synthetic"),
        (["models", "lr=1"], "lr"),
        (["transcribe", "a.png", "--model", "other"], "model=other"),
        (
            ["transcribe", "a.png", "--model", "models:/own@best"],
            "models:/own@best: names weights, not a model; hwr models get own",
        ),
        (
            ["models", "show", "models:/own/1"],
            "models:/own/1: names weights, not a model; hwr models get own",
        ),
        (
            ["models", "get", "models:/own@best"],
            "models:/own@best: names weights, not a model; hwr models get own",
        ),
        (
            ["transcribe", "a.png", "weights=models:/own@best"],
            "weights='models:/own@best' is not a mapping; give its keys: weights.KEY",
        ),
    ],
)
def test_bad_request_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in refused(capsys, lambda: main(arguments))


def test_model_sets_weights_and_decoder_and_keys_win() -> None:
    config = composed("serve", ["+model=copiste"], ServeConfig).root
    assert (config.weights.line, config.decoder["_target_"]) == (
        "line/copiste",
        "hwr.decoding.beam.beam_decoder",
    )
    other = composed("serve", ["+model=copiste", "decoder=greedy", "weights.line=mine"], ServeConfig).root
    assert (other.weights.line, "greedy" in other.decoder["_target_"]) == ("mine", True)
