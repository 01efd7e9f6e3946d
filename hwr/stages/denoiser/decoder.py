"""The decoder `denoise`: rewrites the text of another decoder with a network of stage `denoiser`."""

from functools import lru_cache
from pathlib import Path

from hwr.config.roots import StoreConfig
from hwr.decoding.denoise import DenoiseDecoder, Ranking
from hwr.decoding.reading import Decoder
from hwr.errors import InputError
from hwr.language.arpa import NgramModel
from hwr.language.record import MODEL, TextRecord, find_language_file
from hwr.stages.build import find_weights
from hwr.stages.denoiser.model import TextDenoiser, load_text_denoiser
from hwr.stages.recipe import device_context
from hwr.text import Alphabet


def denoise_decoder(
    alphabet: Alphabet, base: Decoder, *, weights: str, model: str | None, width: int, max_growth: int,
    model_weight: float, reading_weight: float, copy_bonus: float, batch_size: int, device: str,
) -> DenoiseDecoder:  # fmt: skip
    """Return a decoder that corrects the texts of `base`; numbers are those of `Ranking`.

    Args:
        alphabet: what the recogniser writes.
        base: the decoder whose texts are rewritten.
        weights: of stage `denoiser`, a published name or a folder.
        model: n-gram model that weighs the texts found, a file or a folder (language/copiste); None: none.
        batch_size: texts rewritten at once.
        device: cpu or gpu:N.

    Raises InputError for weights and files that are missing or do not fit the alphabet.
    """
    ranking = Ranking(
        width=width,
        max_growth=max_growth,
        model_weight=model_weight,
        reading_weight=reading_weight,
        copy_bonus=copy_bonus,
    )
    network = _denoiser(weights, batch_size, device)
    missing = network.alphabet.unknown(alphabet.symbols)
    if missing:
        raise InputError(
            f"decoder.weights={weights}: the denoiser does not know {missing!r} that the recogniser writes; "
            "train one on texts that hold them, or choose another"
        )
    records = base.records
    if model is None:
        return DenoiseDecoder(alphabet, base, network, None, ranking, records)
    path = find_language_file(model, MODEL)
    records = (*records, TextRecord.load(path))
    return DenoiseDecoder(alphabet, base, network, _model(path, path.stat().st_mtime_ns), ranking, records)


@lru_cache(maxsize=2)
def _model(path: Path, changed_ns: int) -> NgramModel:
    return NgramModel.load(path)


@lru_cache(maxsize=2)
def _denoiser(name: str, batch_size: int, device: str) -> TextDenoiser:
    """Return the denoiser of weights, one for all decoders of a process that only rank otherwise."""
    loaded = find_weights(name, "denoiser", StoreConfig())
    return load_text_denoiser(loaded, batch_size=batch_size, context=device_context(device))
