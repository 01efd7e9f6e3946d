"""N-gram models of characters or of words, estimated by interpolated modified Kneser-Ney smoothing.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (Harvard TR-10-98, 1998);
counts and discounts follow Heafield, Pouzyrevsky, Clark and Koehn, "Scalable Modified Kneser-Ney Language
Model Estimation" (ACL 2013). Its program `lmplz` gives the same numbers, except for texts of a few lines:
there it computes discounts from the unadjusted count of the last n-gram of each order.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from hwr.errors import InputError

UNITS = ("character", "word")
ORDERS = range(2, 7)  # those that KenLM reads as flashlight-text builds it
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"
SPACE = "<space>"
SPELT, SPELT_END = "<c>", "</c>"  # before a character of a word that is not known; after the last of them
_LEAST = 1e-9  # probability that is left to the order below
FALLBACK = (0.5, 1.0, 1.5)  # discounts where a text is too small to tell its own; those of lmplz

_Ids = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grams:
    """The N n-grams of one order: places of their tokens in the vocabulary, probabilities, back-off weights.

    A probability is that of the last token after those before it; a back-off weight is what is left to the
    order below after the whole n-gram. `discounts` are taken from counts of 1, 2, and 3 or more; a model that
    was not counted has none.
    """

    tokens: _Ids  # (N, n)
    probabilities: _Floats  # (N,)
    backoffs: _Floats  # (N,)
    discounts: tuple[float, float, float] | None


@dataclass(frozen=True)
class Ngrams:
    """An estimated model: its vocabulary in code point order, and the n-grams of each order from 1."""

    vocabulary: tuple[str, ...]
    orders: tuple[Grams, ...]


def text_tokens(text: str, unit: str, *, known: Container[str] = ()) -> list[str]:
    """Return the tokens of a line, without begin and end of line.

    Characters are tokens each (see `character_token`). Of words, those `known` are tokens as they are; others
    are spelt, a token `<c>x` for every character x and `</c>` behind, and so is every word that opens with <,
    as marks do, or that an ARPA file cannot hold. No two lines of words parted by single spaces have the same
    tokens.
    """
    if unit == "character":
        return [character_token(character) for character in text]
    return list(chain.from_iterable(
        [word] if word in known and _is_token(word) else spelt_tokens(word) for word in text.split()
    ))  # fmt: skip


def spelt_tokens(word: str) -> list[str]:
    """Return the tokens of a word that is not known."""
    return [*(SPELT + character_token(character) for character in word), SPELT_END]


def character_token(character: str) -> str:
    """Return a character as a token: itself; the space and what an ARPA file cannot hold by name."""
    if character == " ":
        return SPACE
    return f"<U+{ord(character):04X}>" if character.isspace() or character == "\0" else character


def character_tokens(symbols: Iterable[str], unit: str) -> set[str]:
    """Return the tokens with which a model of `unit` writes the characters `symbols`."""
    if unit == "character":
        return {character_token(character) for character in symbols}
    return {SPELT_END, *(SPELT + character_token(character) for character in symbols if character != " ")}


def known_words(lines: Iterable[str], *, min_count: int) -> set[str]:
    """Return the words that occur `min_count` times or more and are no marks."""
    counts = Counter(word for line in lines for word in line.split())
    return {word for word, count in counts.items() if count >= min_count and _is_token(word)}


def estimate_ngrams(
    lines: Sequence[str], *, unit: str, order: int, min_count: int, symbols: Iterable[str]
) -> Ngrams:
    """Estimate a model from lines of text.

    Words seen fewer than `min_count` times are spelt. The characters `symbols` join the vocabulary, beside
    those of the lines. Raise InputError for what `estimate_from_tokens` refuses.
    """
    check_ngrams(unit, order)
    known = known_words(lines, min_count=min_count) if unit == "word" else set()
    extra = character_tokens(set(symbols).union(*lines), unit)
    return estimate_from_tokens(
        (text_tokens(line, unit, known=known) for line in lines), order=order, vocabulary=extra
    )


def check_ngrams(unit: str, order: int) -> None:
    """Raise InputError for a unit or an order that there is no model of."""
    if unit not in UNITS:
        raise InputError(f"unit={unit}: unknown; use {' or '.join(UNITS)}")
    if order not in ORDERS:
        raise InputError(f"order={order} is not possible; use {ORDERS[0]} to {ORDERS[-1]}, which KenLM reads")


def estimate_from_tokens(lines: Iterable[Sequence[str]], *, order: int, vocabulary: Iterable[str]) -> Ngrams:
    """Estimate a model of `order` 1 or more from the tokens of lines; `vocabulary` has what they may lack.

    What is seen nowhere has the share of a token in what the discounts take from the unigrams. Raise
    InputError where there are no tokens.
    """
    encoded = list(lines)
    seen = set(chain.from_iterable(encoded))
    if not seen:
        raise InputError("the text is empty; give lines to make a language model from")
    names = sorted(seen | {*vocabulary, UNKNOWN, BEGIN, END})
    begin = names.index(BEGIN)
    counted = _count(_encode(encoded, names), order, len(names), begin=begin)
    first, *higher = _smooth(_adjusted(counted, begin=begin))
    first.probabilities[begin] = 0.0
    return Ngrams(tuple(names), (first, *higher))


def mixed(first: Ngrams, second: Ngrams, *, share: float) -> Ngrams:
    """Return a model with the n-grams of two of the same order: `share` of each probability is the second's.

    Back-off weights make the probabilities after each context sum up to 1 again, as SRILM's `ngram -mix-lm`
    does (Stolcke, "SRILM - An Extensible Language Modeling Toolkit", ICSLP 2002).
    """
    vocabulary = tuple(sorted({*first.vocabulary, *second.vocabulary}))
    one, other = (_Table.of(own, vocabulary) for own in (first, second))
    grams = one.probabilities.keys() | other.probabilities.keys()
    return _Table.weighted(
        {gram: (1 - share) * one.probability(gram) + share * other.probability(gram) for gram in grams}
    ).model(vocabulary)


def pruned(model: Ngrams, *, most: int) -> Ngrams:
    """Return a model with about `most` n-grams, of three tokens and more those that tell most.

    An n-gram tells how often it is met, times how far log p with it is from log p without: what Stolcke's
    "Entropy-based Pruning of Backoff Language Models" (1998) measures, without the change of the weight.
    What an n-gram that is kept begins or ends with is kept too.
    """
    table = _Table.of(model, model.vocabulary)
    begin, end = (chr(model.vocabulary.index(token)) for token in (BEGIN, END))
    met = {begin: table.probabilities[end]}  # lines begin as often as they end
    told: dict[str, float] = {}
    kept = {gram for gram in table.probabilities if len(gram) <= 2}
    for gram in sorted(table.probabilities, key=len):
        own = table.probabilities[gram]
        met.setdefault(gram, own * met[gram[:-1]] if len(gram) > 1 else own)
        if len(gram) > 2:
            told[gram] = met[gram] * abs(math.log(own / table.without(gram)))
    for gram in sorted(told, key=lambda gram: (-told[gram], gram)):
        if len(kept) >= most:
            break
        while gram not in kept:
            kept |= {gram[:n] for n in range(3, len(gram) + 1)}
            gram = gram[1:]
    return _Table.weighted({gram: table.probabilities[gram] for gram in kept}).model(model.vocabulary)


@dataclass(frozen=True)
class _Table:
    """A model by n-gram: a text of one character for each token, that of its place in the vocabulary."""

    probabilities: dict[str, float]
    backoffs: dict[str, float]  # 1 where there is none

    @classmethod
    def of(cls, model: Ngrams, vocabulary: Sequence[str]) -> "_Table":
        """Return the table of a model, for a vocabulary that has all of its own."""
        places = {name: place for place, name in enumerate(vocabulary)}
        names = np.array(
            [chr(places[name]) for name in model.vocabulary], object
        )  # of text NumPy drops a NUL
        probabilities, backoffs = dict[str, float](), dict[str, float]()
        for own in model.orders:
            grams = ["".join(row) for row in names[own.tokens].tolist()]
            probabilities.update(zip(grams, own.probabilities.tolist(), strict=True))
            backoffs.update(zip(grams, own.backoffs.tolist(), strict=True))
        return cls(probabilities, backoffs)

    @classmethod
    def weighted(cls, probabilities: dict[str, float]) -> "_Table":
        """Return a table with these probabilities and the back-off weights that they need."""
        made = cls(probabilities, {})
        for order in range(2, max(map(len, probabilities)) + 1):
            own, lower = defaultdict[str, float](float), defaultdict[str, float](float)
            for gram, probability in probabilities.items():
                if len(gram) == order:
                    own[gram[:-1]] += probability
                    lower[gram[:-1]] += made.probability(gram[1:])
            made.backoffs.update(
                {
                    context: max(1 - total, _LEAST) / max(1 - lower[context], _LEAST)
                    for context, total in own.items()
                }
            )
        return made

    def probability(self, gram: str) -> float:
        """Return the probability of the last token after those before it."""
        weight = 1.0
        while (found := self.probabilities.get(gram)) is None:
            if len(gram) == 1:
                return 0.0
            weight *= self.backoffs.get(gram[:-1], 1.0)
            gram = gram[1:]
        return weight * found

    def without(self, gram: str) -> float:
        """Return the probability that its last token had if the table did not have the n-gram."""
        return self.backoffs.get(gram[:-1], 1.0) * self.probability(gram[1:])

    def model(self, vocabulary: tuple[str, ...]) -> Ngrams:
        """Return the table as a model."""
        orders = []
        for n in range(1, max(map(len, self.probabilities)) + 1):
            grams = sorted(gram for gram in self.probabilities if len(gram) == n)
            orders.append(Grams(
                np.array([list(map(ord, gram)) for gram in grams]),
                np.array([self.probabilities[gram] for gram in grams]),
                np.array([self.backoffs.get(gram, 1.0) for gram in grams]),
                None,
            ))  # fmt: skip
        return Ngrams(vocabulary, tuple(orders))


def _is_token(word: str) -> bool:
    return not word.startswith("<") and "\0" not in word


@dataclass(frozen=True)
class _Counts:
    """The N n-grams of one order, and how often each occurs.

    `context` and `suffix` (N,) tell which n-gram of the order below each is without its last and its first
    token. `count` (N,) is, below the highest order, after how many different tokens it occurs.
    """

    tokens: _Ids  # (N, n)
    context: _Ids
    suffix: _Ids
    count: _Ids


def _encode(lines: Sequence[Sequence[str]], names: Sequence[str]) -> _Ids:
    """Return the lines as one row of places in `names`, each between begin and end."""
    places = {name: place for place, name in enumerate(names)}
    length = sum(map(len, lines)) + 2 * len(lines)
    stream = chain.from_iterable((BEGIN, *line, END) for line in lines)
    return np.fromiter(map(places.__getitem__, stream), np.int64, length)


def _count(text: _Ids, order: int, size: int, *, begin: int) -> list[_Counts]:
    """Count the n-grams of every order in a text (T,); the unigrams are the whole vocabulary."""
    starts = np.flatnonzero(text == begin)
    place = np.arange(len(text)) - np.repeat(starts, np.diff(starts, append=len(text)))  # in the line
    nothing = np.zeros(size, np.int64)  # the one n-gram of order 0
    found = [_Counts(np.arange(size)[:, None], nothing, nothing, np.bincount(text, minlength=size))]
    which = text  # of the n-grams, by where in the text they end
    for n in range(2, order + 1):
        ends = np.flatnonzero(place >= n - 1)
        context = which[ends - 1]
        _, first, inverse, count = np.unique(
            context * size + text[ends], return_index=True, return_inverse=True, return_counts=True
        )
        last = ends[first]
        found.append(_Counts(text[last[:, None] + np.arange(1 - n, 1)], context[first], which[last], count))
        which = np.full(len(text), -1)
        which[ends] = inverse
    return found


def _adjusted(found: Sequence[_Counts], *, begin: int) -> list[_Counts]:
    """Count n-grams below the highest order by the tokens before them, but those that open a line."""
    counts = []
    for own, above in pairwise(found):
        before = np.bincount(above.suffix, minlength=len(own.count))
        counts.append(np.where(own.tokens[:, 0] == begin, own.count, before))
    counts.append(found[-1].count.copy())
    counts[0][begin] = 0  # it follows nothing
    return [replace(own, count=count) for own, count in zip(found, counts, strict=True)]


def _smooth(counted: Sequence[_Counts]) -> list[Grams]:
    """Return the n-grams of every order with probabilities interpolated over the orders below."""
    made: list[Grams] = []
    lower = np.full(1, 1 / (len(counted[0].count) - 1))  # any token but begin of line
    for own in counted:
        discounts = _discounts(own.count)
        taken = np.array([0, *discounts])[np.minimum(own.count, 3)]
        total = np.bincount(own.context, weights=own.count, minlength=len(lower))
        held = np.bincount(own.context, weights=taken, minlength=len(lower)) / np.maximum(total, 1)
        if made:
            made[-1] = replace(made[-1], backoffs=np.where(total > 0, held, 1.0))
        lower = (own.count - taken) / total[own.context] + held[own.context] * lower[own.suffix]
        made.append(Grams(own.tokens, lower, np.ones(len(lower)), discounts))
    return made


def _discounts(count: _Ids) -> tuple[float, float, float]:
    """Return what is taken from counts of 1, 2, and 3 or more: equation 26 of Chen and Goodman.

    Where there is no count of 1, 2 or 3, or a discount is not above 0 or above its count: FALLBACK.
    """
    one, two, three, four = (int((count == k).sum()) for k in (1, 2, 3, 4))
    if not (one and two and three):
        return FALLBACK
    share = one / (one + 2 * two)
    found = (1 - 2 * share * two / one, 2 - 3 * share * three / two, 3 - 4 * share * four / three)
    return found if all(0 < value <= k for k, value in enumerate(found, start=1)) else FALLBACK
