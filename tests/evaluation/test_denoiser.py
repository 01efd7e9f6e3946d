"""Target denoiser: lines are scored as read and as rewritten, and it is the denoiser's weights that score."""

import json
from pathlib import Path

import mxnet as mx
import pytest

from hwr import weights
from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.stages.denoiser import MODEL, text_denoiser
from hwr.stages.recipe import parse_model
from hwr.tracking import Store
from tests.evaluation.tiny import ALPHABET, Place
from tests.refusal import refused

SMALL = ["network.width=8", "network.encoder_layers=1", "network.decoder_layers=1", "network.hidden=8"]


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> weights.Weights:
    """Return weights that were not trained."""
    made = composed("train", ["stage=denoiser", *SMALL], TrainConfig)
    network = text_denoiser(parse_model(MODEL, made.root), ALPHABET, batch_size=1, context=mx.cpu()).network
    folder = tmp_path_factory.mktemp("weights") / "denoiser"
    return weights.save(folder, network, made.yaml, ALPHABET, about={})


def decoding(denoiser: weights.Weights, *overrides: str) -> list[str]:
    return ["decoder=denoise", f"decoder.weights={denoiser.folder}", "decoder.model=null", *overrides]


def test_scores_are_those_before_and_after(
    place: Place, denoiser: weights.Weights, capsys: pytest.CaptureFixture[str]
) -> None:
    error = place.evaluate("denoiser", *decoding(denoiser, "decoder.copy_bonus=-100"))
    scores, said = place.scores, capsys.readouterr().out
    before = json.loads((place.output / "before" / "scores.json").read_text(encoding="utf-8"))
    assert scores["before"] == {"cer": before["cer"], "wer": before["wer"]}
    assert scores["target"] == "denoiser"
    assert scores["weights_sha256"] == denoiser.sha256
    assert scores["line_weights_sha256"] == weights.load(_folder(place, "line")).sha256
    assert error == scores["cer"]
    rates = [row.split()[1] for row in said.splitlines() if row.startswith("CER ")]
    assert rates == [f"{100 * rate:.2f}" for rate in (before["cer"], error)]


def test_readings_before_are_those_of_the_base_alone(place: Place, denoiser: weights.Weights) -> None:
    place.evaluate("denoiser", *decoding(denoiser))
    before = (place.output / "before" / "lines.tsv").read_text(encoding="utf-8")
    place.evaluate("line")
    assert (place.output / "lines.tsv").read_text(encoding="utf-8") == before


def test_metrics_tell_both(place: Place, denoiser: weights.Weights) -> None:
    place.evaluate("denoiser", *decoding(denoiser))
    logged = (
        Store(f"sqlite:///{place.folder}/mlflow.db", "0").client.get_run(place.scores["run"]).data.metrics
    )
    assert logged["test/cer"] == place.scores["cer"]
    assert logged["test/before/wer"] == place.scores["before"]["wer"]


def test_other_decoder_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, lambda: place.evaluate("denoiser"))
    assert said == "target=denoiser evaluates the weights of decoder=denoise; add decoder=denoise"


def test_weights_of_another_stage_are_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    own = _folder(place, "line")
    said = refused(capsys, lambda: place.evaluate("denoiser", "decoder=denoise", f"decoder.weights={own}"))
    assert said.startswith(f"weights {own}: of stage line, not denoiser")


def _folder(place: Place, kind: str) -> Path:
    (own,) = (one.partition("=")[2] for one in place.weights if one.startswith(f"weights.{kind}="))
    return Path(own)
