"""Stage `denoiser`: its network, which corrects misread texts, and the decoder `denoise`."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import Amount, Count, StoreConfig
from hwr.data.batches import round_up
from hwr.data.batches.texts import LENGTH_STEP, Sampling, encode_read, encode_written
from hwr.decoding import Decoder
from hwr.decoding.denoise import Classes, DenoiseDecoder, like_length, search_rewritings
from hwr.errors import InputError
from hwr.language import MODEL as NGRAMS
from hwr.language import TextRecord, find_language_file
from hwr.language.arpa import NgramModel
from hwr.networks.transformer import HIDDEN, POINTER_SLOPE, STEEPER, Memory, Transformer, slopes
from hwr.stages.build import alphabet_of, find_weights, model_of
from hwr.stages.kind import Model, ModelRecipe
from hwr.stages.recipe import device_context
from hwr.text import Alphabet
from hwr.weights import Weights

GROWTH = 8  # characters by which a validation text may become longer

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class DenoiserSettings(Sampling):
    """Settings of stage `denoiser`, as conf/stage/denoiser.yaml explains them."""

    confusions: str
    texts: Sequence[str]


MODEL = Model(name="denoiser", settings=DenoiserSettings, networks=(Transformer,))


class TextDenoiser:
    """Rewrites texts of up to `longest` characters with a network, `batch_size` at once."""

    def __init__(
        self, network: Any, alphabet: Alphabet, *, longest: int, batch_size: int, context: Any
    ) -> None:
        self.network, self.alphabet, self.context = network, alphabet, context
        self.longest, self.batch_size = longest, batch_size

    def start(self, texts: Sequence[str], *, width: int) -> "Writing":
        """Return the decoding state for `width` candidates each."""
        return Writing(self.network, mx.nd.array(encode_read(texts, self.alphabet), ctx=self.context), width)

    def log_probs(self, texts: Sequence[str], others: Sequence[str]) -> list[float]:
        """Return log p(other | text) of each pair, natural."""
        found: dict[int, float] = {}
        for places in like_length(texts, self.batch_size):
            noisy = encode_read([texts[place] for place in places], self.alphabet)
            before, labels = encode_written([others[place] for place in places], self.alphabet)
            log_probs = self.network(*(mx.nd.array(values, ctx=self.context) for values in (noisy, before)))
            labels = mx.nd.array(labels, ctx=self.context)
            chosen = mx.nd.pick(log_probs, mx.nd.maximum(labels, 0)) * (labels >= 0)  # (N, T)
            found.update(zip(places, chosen.sum(axis=1).asnumpy().tolist(), strict=True))
        return [found[place] for place in range(len(texts))]

    def greedy(self, texts: Sequence[str]) -> list[str]:
        """Return each text rewritten along the most probable characters."""
        found = search_rewritings(self, texts, width=1, growth=GROWTH)
        return [next(iter(one)) for one in found]


class Writing:
    """Decoding state: B candidates for each of N noisy texts (N, S), with the encoded texts.

    Nothing is moved where texts go on from others: keys and values of all places stay, B a place, and `_seen`
    tells which of them each text goes back to.
    """

    def __init__(self, network: Any, noisy: Any, width: int) -> None:
        self._network, self._width = network, width
        self._memory: Memory = network.remember(mx.nd, noisy)
        self._padding = np.where(noisy.asnumpy() < 0, HIDDEN, 0.0)  # (N, S)
        heads, _, size = self._memory.keys[0].shape
        more = (heads, LENGTH_STEP * width, size)  # places
        self._room = mx.nd.zeros(more, ctx=noisy.context)
        self._past = [[self._room.copy(), self._room.copy()] for _ in self._memory.keys]  # keys, values
        self._recent = np.full((noisy.shape[0], width, network.reach + 1), -1)
        self._seen = np.zeros((noisy.shape[0], width, 0), np.int64)

    def first(self) -> Floats:
        """Return the log-probabilities of the first character, (N, B, C)."""
        return self._written(np.full(self._recent.shape[:2], self._network.classes - 1))

    def next(self, parents: Classes, classes: Classes) -> Floats:
        """Return those of the next one: candidate b extends candidate `parents[n, b]` by `classes[n, b]`."""
        rows = np.arange(len(parents))[:, None]
        self._recent = self._recent[rows, parents]
        self._seen = np.concatenate([self._seen[rows, parents], parents[:, :, None]], axis=2)
        return self._written(classes)

    def _written(self, classes: Classes) -> Floats:
        self._recent = np.concatenate([self._recent[:, :, 1:], classes[:, :, None]], axis=2)
        network, nd, at = self._network, mx.nd, self._seen.shape[2]
        context = self._memory.pointer.context
        near = network.embed(nd, nd.array(self._recent.reshape(len(classes), -1), ctx=context))
        x = network.writing(nd.reshape(near, (len(classes), self._width, -1)))  # (N, B, width)
        back, across = (nd.array(bias, ctx=context) for bias in (self._back(at), self._across(at)))
        for number, layer in enumerate(network.decoder):
            past = self._past[number]
            for kind, own in enumerate(layer.own.remember(nd, layer.norm(x))):
                if past[kind].shape[1] < back.shape[2]:
                    past[kind] = nd.concat(past[kind], self._room, dim=1)
                past[kind][:, at * self._width : (at + 1) * self._width] = own
            x = layer.look_back(nd, x, *past, back)
            x = layer.look_up(nd, x, self._memory.keys[number], self._memory.values[number], across)
        distances = np.abs(at - np.arange(self._padding.shape[1]))
        pointed = nd.array((self._padding - POINTER_SLOPE * distances)[:, None], ctx=context)
        return np.asarray(network.choose(nd, x, self._memory, pointed).asnumpy())

    def _back(self, at: int) -> Floats:
        """Return the bias (N * heads, B, K * B) of the first K places: each text sees its own."""
        steep = np.array(slopes(self._network.heads))[:, None, None]  # (heads, 1, 1)
        own = np.broadcast_to(np.arange(self._width)[:, None], (*self._seen.shape[:2], 1))
        seen = np.concatenate([self._seen, own], axis=2) + self._width * np.arange(at + 1)  # (N, B, at + 1)
        places = round_up(at + 1, LENGTH_STEP)
        hidden = np.full((*seen.shape[:2], places * self._width), HIDDEN, np.float32)
        np.put_along_axis(hidden, seen, 0.0, axis=2)
        distances = np.abs(at - np.arange(places, dtype=np.float32)).repeat(self._width)
        bias = hidden[:, None] - steep * distances  # (N, heads, B, K * B)
        return np.asarray(bias.reshape(-1, *hidden.shape[1:]), np.float32)

    def _across(self, at: int) -> Floats:
        """Return the bias (N * heads, 1, S) of the text as read."""
        steep = STEEPER * np.array(slopes(self._network.heads))[:, None, None]
        distances = np.abs(at - np.arange(self._padding.shape[1]))
        bias = self._padding[:, None, None] - steep * distances  # (N, heads, 1, S)
        return np.asarray(bias.reshape(-1, 1, len(distances)), np.float32)


def text_denoiser(
    model: ModelRecipe[DenoiserSettings], alphabet: Alphabet, *, batch_size: int, context: Any
) -> TextDenoiser:
    """Return a denoiser whose network's parameters are drawn from the seed."""
    network = model.draw((1, 1), (1, 1), context=context, classes=len(alphabet))
    longest = model.settings.longest
    return TextDenoiser(network, alphabet, longest=longest, batch_size=batch_size, context=context)


def load_text_denoiser(loaded: Weights, *, batch_size: int, context: Any) -> TextDenoiser:
    """Return a denoiser of texts with these weights."""
    model, alphabet = model_of(loaded, MODEL), alphabet_of(loaded)
    network = model.load(loaded, (1, 1), (1, 1), context=context, classes=len(alphabet))
    longest = model.settings.longest
    return TextDenoiser(network, alphabet, longest=longest, batch_size=batch_size, context=context)


def denoise_decoder(
    alphabet: Alphabet, base: Decoder, *, weights: str, model: str | None, width: Count, max_growth: Amount,
    model_weight: float, reading_weight: float, copy_bonus: float, batch_size: Count, device: str,
) -> DenoiseDecoder:  # fmt: skip
    """Return the decoder that conf/decoder/denoise.yaml describes; InputError for files that do not fit."""
    network = _denoiser(weights, batch_size, device)
    if missing := network.alphabet.unknown(alphabet.symbols):
        unknown = f"the denoiser does not know {missing!r} that the recogniser writes"
        remedy = "train one on texts that hold them, or choose another"
        raise InputError(f"decoder.weights={weights}: {unknown}; {remedy}")
    ngrams, records = None, base.records
    if model is not None:
        path = find_language_file(model, NGRAMS)
        records, ngrams = (*records, TextRecord.load(path)), _model(path, path.stat().st_mtime_ns)
    return DenoiseDecoder(
        alphabet=alphabet, base=base, network=network, model=ngrams, width=width, max_growth=max_growth,
        model_weight=model_weight, reading_weight=reading_weight, copy_bonus=copy_bonus, records=records,
    )  # fmt: skip


@lru_cache(maxsize=2)
def _model(path: Path, changed_ns: int) -> NgramModel:
    return NgramModel.load(path)


@lru_cache(maxsize=2)
def _denoiser(name: str, batch_size: int, device: str) -> TextDenoiser:
    """Return the denoiser of weights, one for all decoders of a process that only rank otherwise."""
    loaded = find_weights(name, "denoiser", StoreConfig())
    return load_text_denoiser(loaded, batch_size=batch_size, context=device_context(device))
