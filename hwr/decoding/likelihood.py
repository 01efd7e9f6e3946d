"""How probable texts are by what a recogniser saw: the sum over all their paths (CTC's forward pass)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hwr.decoding.reading import Probs
from hwr.text import Alphabet


def log_likelihoods(probs: Probs, texts: Sequence[str], alphabet: Alphabet) -> NDArray[np.float64]:
    """Return log p(text | probs) of K texts, (K,), by probs (T, C); -inf where no path reads a text.

    Graves et al., ICML 2006, equations 5 to 8: blanks stand between, before and behind a text's characters,
    and a path may pass over one between two different ones. The sums are rescaled at each step.
    """
    paths, skips, ends = _states(texts, alphabet)  # (K, S), (K, S), (K,)
    chances = np.concatenate([probs, np.zeros((len(probs), 1), probs.dtype)], axis=1)[:, paths]  # (T, K, S)
    rows = np.arange(len(texts))
    sums = np.zeros((len(texts), paths.shape[1] + 2))  # two states before the first, which nothing is in
    sums[:, 1] = 1.0  # about to enter the first blank or the first character
    total = np.zeros(len(texts))
    with np.errstate(divide="ignore"):
        for step in chances.astype(np.float64):
            sums[:, 2:] = (sums[:, 2:] + sums[:, 1:-1] + skips * sums[:, :-2]) * step
            sums[:, 1] = 0.0
            scale = sums.max(axis=1)
            total += np.log(scale)
            sums /= np.where(scale > 0, scale, 1.0)[:, None]
        last = sums[rows, ends + 2] + np.where(ends > 0, sums[rows, ends + 1], 0.0)
        return np.asarray(total + np.log(last))


def _states(
    texts: Sequence[str], alphabet: Alphabet
) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
    """Return the classes of each text's states, padded; where a blank may be passed over; the last state.

    Class C, one more than there are, is that of padding and of characters outside the alphabet.
    """
    ends = np.array([2 * len(text) for text in texts], np.int64)
    paths = np.full((len(texts), ends.max(initial=0) + 1), len(alphabet), np.int64)
    for row, text in zip(paths, texts, strict=True):
        row[: 2 * len(text) + 1 : 2] = alphabet.blank
        row[1 : 2 * len(text) : 2] = [_class(character, alphabet) for character in text]
    skips = np.zeros(paths.shape, bool)
    skips[:, 1:2] = True
    skips[:, 3::2] = paths[:, 3::2] != paths[:, 1:-2:2]
    return paths, skips, ends


def _class(character: str, alphabet: Alphabet) -> int:
    return len(alphabet) if alphabet.unknown(character) else alphabet.encode(character)[0]
