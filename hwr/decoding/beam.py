"""CTC beam search with a language model.

flashlight-text does the search in C++: it sums the path probabilities of each CTC prefix and adds an n-gram
model of characters through KenLM, with any text or only the words of a lexicon.
"""

import contextlib
import math
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from flashlight.lib.text.decoder import (
    CriterionType,
    LexiconDecoder,
    LexiconDecoderOptions,
    LexiconFreeDecoder,
    LexiconFreeDecoderOptions,
    Trie,
    ZeroLM,
)
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary
from numpy.typing import NDArray

from hwr.decoding.reading import Alternative, Probs, Reading, checked_probs, mean_confidence
from hwr.errors import InputError
from hwr.language.arpa import NgramModel
from hwr.language.lexicon import Lexicon, lexicon_records
from hwr.language.ngrams import character_token
from hwr.language.record import MODEL, TextRecord, find_language_file
from hwr.text import Alphabet

_LEAST = 1e-8  # probabilities below count as this: their logarithm stays finite
_NO_WORD = -math.inf  # score of a word outside the lexicon: it is never taken
_BLANK = "<blank>"  # no model's token
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class BeamSettings:
    """Settings of the beam search; scores are natural logarithms.

    Args:
        width: prefixes kept at each time step.
        tokens: classes tried at each time step, the most probable ones.
        threshold: prefixes scored this much below the best one are dropped.
        skip: of neighbouring time steps whose blank is more probable, only the first is searched; 1: all are.
        model_weight: factor of the model's score.
        word_bonus: added for every time step that is read as a space; above 0 it favours more words.
        word_weight: factor of the word model's score, by which the best texts are ranked anew.
        nbest: texts that are kept and ranked.
    """

    width: int
    tokens: int
    threshold: float
    skip: float
    model_weight: float
    word_bonus: float
    word_weight: float
    nbest: int

    def __post_init__(self) -> None:
        for name in ("width", "tokens", "nbest"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is not possible; it must be 1 or more")
        if not 0 < self.skip <= 1 or not self.threshold > 0:
            raise ValueError(f"skip={self.skip}, threshold={self.threshold}; above 0, and skip at most 1")


@dataclass(frozen=True)
class BeamDecoder:
    """Read probs (T, C) over the classes of `alphabet` as the text with the highest score.

    score = log p(text | probs) + model_weight * log p(text) + word_bonus * steps read as spaces, where
    p(text | probs) is the sum over the paths that were kept. `records` tell what the models were made from.
    """

    alphabet: Alphabet
    search: BeamSettings
    engine: Any
    closing_space: bool
    word_model: NgramModel | None
    records: tuple[TextRecord, ...] = ()

    def read(self, lines: Sequence[Probs]) -> list[Reading]:
        """Return the reading of every line; raise InputError for probabilities that are none."""
        return [self(probs) for probs in lines]

    def __call__(self, probs: Probs) -> Reading:
        """Return the text of probs (T, C), no white space at its ends, and its nearest rivals.

        A character's confidence is its highest probability where it was read: low where the model overruled.
        """
        probs = checked_probs(probs, self.alphabet)
        steps = _searched(probs[:, self.alphabet.blank], self.search.skip)
        if not len(steps):
            return Reading("", 0.0)
        scores = np.log(np.maximum(probs[steps], _LEAST))  # (S, C)
        if self.closing_space:
            scores = np.concatenate([scores, self._space()])
        found: dict[str, tuple[float, Any]] = {}
        for hypothesis in self.engine.decode(scores.ctypes.data, *scores.shape):
            path = np.array(hypothesis.tokens[1:-1])  # (S,): a start and an end are added
            text = self.alphabet.decode(path[_starts(path)].tolist()).strip()
            earlier, best = found.get(text, (-np.inf, path))
            found[text] = (float(np.logaddexp(earlier, hypothesis.score)), best)
        ranked = self._ranked({text: score for text, (score, _) in found.items()})
        if not ranked:
            return Reading("", 0.0)
        return self._reading(ranked, found[ranked[0].text][1], steps, probs)

    def _space(self) -> NDArray[np.float32]:
        """Return the scores (1, C) of a step that is a space: a lexicon's words end with one."""
        row = np.full((1, len(self.alphabet)), np.log(_LEAST), np.float32)
        row[0, self.alphabet.encode(" ")[0]] = 0
        return row

    def _ranked(self, scores: Mapping[str, float]) -> tuple[Alternative, ...]:
        ranked = sorted(scores.items(), key=lambda item: -item[1])[: self.search.nbest]
        if self.word_model is not None:
            weigh, model = self.search.word_weight, self.word_model
            ranked = [(text, score + weigh * model.score(text)) for text, score in ranked]
        return tuple(Alternative(*item) for item in sorted(ranked, key=lambda item: -item[1]))

    def _reading(
        self, ranked: tuple[Alternative, ...], path: NDArray[Any], steps: NDArray[Any], probs: Probs
    ) -> Reading:
        path = path[: len(steps)]
        starts = _starts(path)
        ends = np.append(starts[1:], len(path))
        written = path[starts] != self.alphabet.blank
        whole = self.alphabet.decode(path[starts].tolist())
        first = len(whole) - len(whole.lstrip())
        inner = slice(first, first + len(ranked[0].text))
        edges = np.append(steps, len(probs))
        places = [(int(edges[a]), int(edges[b])) for a, b in zip(starts, ends, strict=True)]
        classes, places = (
            path[starts][written][inner],
            [p for p, w in zip(places, written, strict=True) if w][inner],
        )
        peaks = [float(probs[a:b, c].max()) for (a, b), c in zip(places, classes, strict=True)]
        spans = tuple((a / len(probs), b / len(probs)) for a, b in places)
        return Reading(ranked[0].text, mean_confidence(peaks), spans, tuple(peaks), ranked)


def beam_decoder(
    alphabet: Alphabet, *, model: str | None, word_model: str | None, lexicon: str | None, width: int,
    tokens: int, threshold: float, skip: float, model_weight: float, word_bonus: float,
    word_weight: float, nbest: int,
) -> BeamDecoder:  # fmt: skip
    """Return a beam search over the classes of `alphabet`; numbers are those of `BeamSettings`.

    Args:
        alphabet: what the recogniser writes.
        model: n-gram model of characters, a file or a folder (language/copiste); None: none.
        word_model: n-gram model of words by which the best texts are ranked anew; None: none.
        lexicon: words that alone may be read, as they stand between spaces; None: any text.

    Raises InputError for files that are missing, damaged, or do not fit the alphabet.
    """
    search = BeamSettings(
        width=width, tokens=tokens, threshold=threshold, skip=skip, model_weight=model_weight * math.log(10),
        word_bonus=word_bonus, word_weight=word_weight, nbest=nbest,
    )  # fmt: skip
    characters, words = _path(model), _path(word_model)
    known = tuple(TextRecord.load(path) for path in (characters, words) if path is not None)
    known += () if lexicon is None else lexicon_records(lexicon)
    if characters is not None:
        _refuse_unit(characters, "character", "model")
        _refuse_alphabet(characters, alphabet)
    if words is not None:
        _refuse_unit(words, "word", "word_model")
    lm = ZeroLM() if characters is None else _kenlm(characters, alphabet)
    trie = None if lexicon is None else _trie(Lexicon.load(lexicon), lexicon, alphabet)
    engine = _free(search, lm, alphabet) if trie is None else _along(trie, search, lm, alphabet)
    return BeamDecoder(
        alphabet, search, engine, trie is not None, None if words is None else NgramModel.load(words), known
    )


def _free(search: BeamSettings, lm: Any, alphabet: Alphabet) -> Any:
    space, bonus = _space_of(alphabet, search)
    options = LexiconFreeDecoderOptions(
        search.width, search.tokens, search.threshold, search.model_weight, bonus, True, CriterionType.CTC
    )
    return LexiconFreeDecoder(options, lm, space, alphabet.blank, [])


def _along(trie: Trie, search: BeamSettings, lm: Any, alphabet: Alphabet) -> Any:
    space, bonus = _space_of(alphabet, search)
    options = LexiconDecoderOptions(
        search.width, search.tokens, search.threshold, search.model_weight, 0.0, _NO_WORD, bonus, True,
        CriterionType.CTC,
    )  # fmt: skip
    return LexiconDecoder(options, trie, lm, space, alphabet.blank, -1, [], True)


def _path(name: str | None) -> Path | None:
    return None if name is None else find_language_file(name, MODEL)


def _space_of(alphabet: Alphabet, search: BeamSettings) -> tuple[int, float]:
    """Return the class of the space and what it is favoured by; blank and nothing where none is written."""
    if " " not in alphabet.symbols:
        return alphabet.blank, 0.0
    return alphabet.encode(" ")[0], search.word_bonus


def _refuse_unit(path: Path, unit: str, key: str) -> None:
    own = TextRecord.load(path).unit
    if own != unit:
        raise InputError(
            f"{key} {path}: a model of {own}s; make one with python -m hwr language-model --unit {unit}"
        )


def _refuse_alphabet(path: Path, alphabet: Alphabet) -> None:
    missing = "".join(c for c in alphabet.symbols if c not in TextRecord.load(path).symbols)
    if missing:
        raise InputError(
            f"model {path}: does not know {missing!r} of the recogniser's alphabet; "
            "make it anew with python -m hwr language-model weights.line=WEIGHTS"
        )


def _kenlm(path: Path, alphabet: Alphabet) -> Any:
    return _loaded(path, path.stat().st_mtime_ns, alphabet.symbols)


@lru_cache(maxsize=4)
def _loaded(path: Path, changed_ns: int, symbols: str) -> Any:
    dictionary = Dictionary([*map(character_token, symbols), _BLANK])
    try:
        with _silenced():
            return KenLM(str(path), dictionary)
    except RuntimeError:
        NgramModel.load(path)  # says what is wrong, and in which line
        raise


def _trie(lexicon: Lexicon, name: str, alphabet: Alphabet) -> Trie:
    """Return the words that the alphabet can write, each with the space behind it."""
    if " " not in alphabet.symbols:
        raise InputError(
            f"lexicon {name}: the recogniser writes no spaces to part words with; use lexicon: null"
        )
    words = [word for word in lexicon.words if not alphabet.unknown(word)]
    if not words:
        raise InputError(f"lexicon {name}: none of its words is in the recogniser's alphabet; use another")
    trie = Trie(len(alphabet), alphabet.encode(" ")[0])
    for number, word in enumerate(words):
        trie.insert(alphabet.encode(word + " "), number, 0.0)
    return trie


def _searched(blank: NDArray[np.float32], skip: float) -> NDArray[np.int64]:
    """Return the time steps that are searched, of steps with these probabilities of blank (T,)."""
    idle = (blank > skip) if skip < 1 else np.zeros(len(blank), bool)
    after = np.concatenate([[False], idle[:-1]]) if len(idle) else idle
    return np.flatnonzero(~(idle & after))


def _starts(path: NDArray[Any]) -> NDArray[np.int64]:
    """Return where runs of the same class start in a path (S,)."""
    return np.flatnonzero(np.diff(path, prepend=-2))


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep what C++ writes to standard error to itself: KenLM draws a progress bar."""
    with _LOCK, open(os.devnull, "w") as nowhere:  # noqa: PTH123
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
