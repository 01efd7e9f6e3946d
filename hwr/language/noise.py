"""Draw a recogniser's errors from its confusions, to train a denoiser."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwr.config.roots import NonNegative, Probability
from hwr.language.confusions import Confusions

_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How many errors texts get, as conf/augmentation/noise.yaml explains; 0 switches a part off."""

    strength: NonNegative
    spread: NonNegative
    bursts: NonNegative
    clean: Probability
    most: Probability
    smoothing: NonNegative


class Recogniser:
    """Adds errors to texts as the recogniser makes them whose confusions were counted.

    Characters that it was never shown are left alone.
    """

    def __init__(self, confusions: Confusions, noise: Noise) -> None:
        self.noise = noise
        self._symbols = confusions.symbols
        self._places = {symbol: place for place, symbol in enumerate(confusions.symbols)}
        self._wrong, self._read = _misreading(confusions, noise.smoothing)
        # How often something is read before a character where nothing is, and what: cumulated shares.
        inserted, true = confusions.matrix[-1, :-1].astype(np.float64), confusions.matrix[:-1].sum()
        self._added, self._put = float(inserted.sum() / max(true, 1)), _cumulated(inserted)

    def __call__(self, text: str, *, seed: int, epoch: int, index: int) -> str:
        """Return `text` misread, the same for the same numbers."""
        generator = np.random.default_rng([seed, epoch, index])
        if not text or not self._symbols or generator.random() < self.noise.clean:
            return text
        factors = self._factors(text, generator)  # a character
        places = np.array([self._places.get(character, -1) for character in text])
        chances = np.where(places < 0, 0.0, self._wrong[places])
        wrong = generator.random(len(text)) < np.minimum(self.noise.most, factors * chances)
        more = np.minimum(self.noise.most, np.append(factors, factors[-1]) * self._added)
        added = generator.random(len(text) + 1) < more
        draws = generator.random((len(text) + 1, 2))  # what is read, what is put before it
        pieces = []
        for at, character in enumerate([*text, ""]):
            if added[at]:
                pieces.append(self._symbols[int(np.searchsorted(self._put, draws[at, 1], side="right"))])
            if at < len(text) and wrong[at]:
                read = int(np.searchsorted(self._read[places[at]], draws[at, 0], side="right"))
                character = self._symbols[read : read + 1]  # behind the last one is nothing
            pieces.append(character)
        return "".join(pieces)

    def _factors(self, text: str, generator: np.random.Generator) -> _Floats:
        """Return the factor of every character's error rate: the text's, times its word's."""
        words = np.cumsum([character == " " for character in text])
        own = _heavy_tailed(self.noise.spread, 1, generator)
        words_own = _heavy_tailed(self.noise.bursts, words[-1] + 1, generator)[words]
        return np.asarray(self.noise.strength * own * words_own)


def _misreading(confusions: Confusions, smoothing: float) -> tuple[_Floats, _Floats]:
    """Return of each symbol how often it is misread, (K,), and as what: cumulated shares, (K, K + 1).

    The last column is that nothing is read. With n(c) = how often c was true, n(c, b) = how often it was read
    as b, r(b) = the share of all characters that were wrongly read as b, k = smoothing:
    p(b | c) = (n(c, b) + k r(b)) / (n(c) + k), for b other than c. What was never true is not misread.
    """
    counts = confusions.matrix[:-1].astype(np.float64)  # (K, K + 1)
    totals = counts.sum(axis=1, keepdims=True)  # (K, 1)
    right = np.eye(counts.shape[0], counts.shape[1], dtype=bool)
    rates = np.where(right, 0.0, counts)
    shares = np.where(right, 0.0, rates.sum(axis=0) / max(totals.sum(), 1.0))
    rates = np.where(totals > 0, (rates + smoothing * shares) / np.maximum(totals + smoothing, 1.0), 0.0)
    return rates.sum(axis=1), _cumulated(rates)


def _cumulated(weights: _Floats) -> _Floats:
    """Return running shares of the last axis, which end with 1; zeros where there is no weight."""
    sums = np.cumsum(weights, axis=-1)
    total = sums[..., -1:]
    return np.where(total > 0, sums / np.where(total > 0, total, 1.0), 0.0)


def _heavy_tailed(spread: float, number: int, generator: np.random.Generator) -> _Floats:
    """Draw so many log-normal factors with mean 1."""
    return np.asarray(np.exp(spread * generator.standard_normal(number) - spread**2 / 2))
