"""The denoising decoder made from its settings: weights that fit, a model that ranks, records of both."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr import weights
from hwr.config.bind import make
from hwr.config.compose import composed
from hwr.config.roots import EvaluateConfig, TrainConfig
from hwr.decoding import build_decoder, check_decoder
from hwr.decoding.denoise import DenoiseDecoder
from hwr.decoding.greedy import GreedyDecoder
from hwr.errors import InputError
from hwr.language import Origin, TextSource, arpa, write_record
from hwr.language.ngrams import estimate_ngrams
from hwr.stages.denoiser import denoise_decoder, text_denoiser
from hwr.stages.recipe import parse_recipe
from hwr.text import Alphabet

ALPHABET = Alphabet(" abc")
SETTINGS: dict[str, Any] = {
    "width": 2, "max_growth": 1, "model": None, "model_weight": 0.5, "reading_weight": 0.0,
    "copy_bonus": 1.0, "batch_size": 2, "device": "cpu",
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of weights that were not trained."""
    settings = ["width=8", "encoder_layers=1", "decoder_layers=1", "hidden=8"]
    overrides = ["stage=denoiser", "stage.longest=10", *(f"network.{setting}" for setting in settings)]
    made, folder = composed("train", overrides, TrainConfig), tmp_path_factory.mktemp("weights") / "w"
    model = parse_recipe(made.root).model
    network = text_denoiser(model, ALPHABET, batch_size=1, context=mx.cpu()).network
    return weights.save(folder, network, made.yaml, ALPHABET, about={}).folder


def decoder(found: Path, alphabet: Alphabet = ALPHABET, **changes: Any) -> DenoiseDecoder:
    settings = {**SETTINGS, "weights": str(found), **changes}
    return make(denoise_decoder, settings, "decoder", alphabet=alphabet, base=GreedyDecoder(alphabet))


def language_model(folder: Path, *lines: str) -> Path:
    """Write a model of characters and its record."""
    path = folder / "model.arpa"
    arpa.write_arpa(path, estimate_ngrams(lines, unit="character", order=2, min_count=1, symbols="c"))
    origin = Origin.of_file(TextSource("text.txt", "", "", len(lines)), lines)
    write_record(path, origin, unit="character", order=2, symbols=ALPHABET.symbols)
    return path


def probs(text: str) -> Any:
    """Return probabilities that are read as `text`, a step a character, with blanks between them."""
    classes = [c for own in ALPHABET.encode(text) for c in (own, ALPHABET.blank)]
    return np.eye(len(ALPHABET), dtype=np.float32)[classes]


def test_decoder_rewrites_what_its_base_reads(found: Path) -> None:
    (reading,) = decoder(found, copy_bonus=-100.0).read([probs("ab a")])
    assert reading.text != "ab a"
    assert len(reading.text) <= 5
    assert len(reading.spans) == len(reading.confidences) == len(reading.text)


def test_text_is_kept_where_that_is_favoured(found: Path) -> None:
    made = decoder(found, copy_bonus=100.0)
    lines = [probs("ab a"), probs("c" * 11)]  # the second is longer than the network takes
    assert [reading.text for reading in made.read(lines)] == ["ab a", "c" * 11]


def test_node_of_the_configuration_makes_it(found: Path) -> None:
    settings = ["decoder=denoise", f"decoder.weights={found}", "decoder.model=null"]
    config = composed("evaluate", settings, EvaluateConfig).root
    check_decoder(config.decoder)
    made = build_decoder(config.decoder, ALPHABET)
    assert isinstance(made, DenoiseDecoder)
    assert made.base == GreedyDecoder(ALPHABET)


def test_model_ranks_and_its_record_is_told(found: Path, tmp_path: Path) -> None:
    path = language_model(tmp_path, "bab bab", "bab", "b a b")
    plain, weighed = decoder(found), decoder(found, model=str(path), model_weight=50.0)
    assert plain.records == ()
    assert [own.path for own in weighed.records] == [path]
    (reading,) = weighed.read([probs("ba")])
    scores = {one.text: one.score for one in reading.alternatives}
    (before,) = plain.read([probs("ba")])
    assert weighed.model is not None
    for one in before.alternatives:
        assert scores[one.text] == pytest.approx(one.score + 50 * weighed.model.score(one.text), abs=1e-3)


def test_characters_that_the_denoiser_does_not_know_are_refused(found: Path) -> None:
    said = "the denoiser does not know 'é' that the recogniser writes; train one on texts that hold them"
    with pytest.raises(InputError, match=said):
        decoder(found, Alphabet(" abcé"))


def test_denoiser_may_know_more_characters_than_the_recogniser_writes(found: Path) -> None:
    assert decoder(found, Alphabet("ba")).network.alphabet == ALPHABET


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weights": "line/copiste"}, "weights line/copiste: of stage line, not denoiser"),
        ({"weights": "denoiser/nowhere"}, "weights denoiser/nowhere: no such folder"),
        ({"model": "language/nowhere"}, "language/nowhere: no such file"),
        ({"width": 0}, "decoder.width=0 is not possible; it must be 1 or more"),
        ({"device": "tpu"}, "device=tpu: use cpu, gpu or gpu:N"),
    ],
)
def test_setting_is_refused(found: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        decoder(found, **changes)
