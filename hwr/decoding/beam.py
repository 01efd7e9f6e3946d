"""CTC beam search with a language model, or with that of the language that a page is written in.

flashlight-text does the search in C++: it sums the path probabilities of each CTC prefix and adds an n-gram
model of characters through KenLM, with any text or only the words of a lexicon.
"""

import contextlib
import math
import os
import threading
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from flashlight.lib.text import decoder as flashlight
from flashlight.lib.text.decoder import Trie
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary
from numpy.typing import NDArray
from pydantic import Field

from hwr import runtime
from hwr.config.roots import Count, Positive
from hwr.decoding import Alternative, Probs, Reading, checked_probs, mean_confidence
from hwr.errors import InputError
from hwr.language import MODEL, TextRecord, find_language_file
from hwr.language.arpa import NgramModel
from hwr.language.lexicon import Lexicon, lexicon_records
from hwr.language.ngrams import character_token
from hwr.text import Alphabet

AUTO = "auto"  # the language of a page is that whose model fits best

_LEAST = 1e-8  # probabilities below count as this: their logarithm stays finite
_NO_WORD = -math.inf  # score of a word outside the lexicon: it is never taken
_BLANK = "<blank>"  # no model's token
_LOCK = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class BeamDecoder:
    """Read probs (T, C) over the classes of `alphabet` as the text with the highest score.

    score = log p(text | probs) + model_weight * log p(text) + word_bonus * steps read as spaces, where
    p(text | probs) is the sum over the paths that were kept, with the blank's share of a step times
    `blank_weight`. `records` tell what the models were made from.
    """

    alphabet: Alphabet
    engine: Any
    closing_space: bool
    skip: float
    blank_weight: float
    nbest: int
    word_model: NgramModel | None
    word_weight: float
    records: tuple[TextRecord, ...] = ()

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the reading of every line; raise InputError for probabilities that are none."""
        return [self(probs) for probs in lines]

    def __call__(self, probs: Probs) -> Reading:
        """Return the text of probs (T, C), no white space at its ends, and its nearest rivals.

        A character's confidence is its highest probability where it was read: low where the model overruled.
        """
        probs = checked_probs(probs, self.alphabet)
        steps = _searched(probs[:, self.alphabet.blank], self.skip)
        if not len(steps):
            return Reading("", 0.0)
        scores = np.log(np.maximum(probs[steps], _LEAST))  # (S, C)
        scores[:, self.alphabet.blank] += np.float32(math.log(self.blank_weight))
        if self.closing_space:
            scores = np.concatenate([scores, self._space()])
        found: dict[str, tuple[float, Any]] = {}
        hypotheses = self.engine.decode(scores.ctypes.data, *scores.shape)
        if not hypotheses:
            return Reading("", 0.0)
        paths = np.array([own.tokens for own in hypotheses])[:, 1:-1]  # (H, S): a start and an end are added
        for hypothesis, path, starts in zip(hypotheses, paths, _starts(paths), strict=True):
            text = self.alphabet.decode(path[starts].tolist()).strip()
            earlier, best = found.get(text, (-math.inf, path))
            found[text] = (float(np.logaddexp(earlier, hypothesis.score)), best)
        ranked = self._ranked({text: score for text, (score, _) in found.items()})
        return self._reading(ranked, found[ranked[0].text][1], steps, probs)

    def _space(self) -> NDArray[np.float32]:
        """Return the scores (1, C) of a step that is a space: a lexicon's words end with one."""
        row = np.full((1, len(self.alphabet)), np.log(_LEAST), np.float32)
        row[0, self.alphabet.encode(" ")[0]] = 0
        return row

    def _ranked(self, scores: Mapping[str, float]) -> tuple[Alternative, ...]:
        ranked = sorted(scores.items(), key=lambda item: -item[1])[: self.nbest]
        if (model := self.word_model) is not None:
            ranked = [(text, score + self.word_weight * model.score(text)) for text, score in ranked]
        return tuple(Alternative(*item) for item in sorted(ranked, key=lambda item: -item[1]))

    def _reading(
        self, ranked: tuple[Alternative, ...], path: NDArray[Any], steps: NDArray[Any], probs: Probs
    ) -> Reading:
        path = path[: len(steps)]
        starts = np.flatnonzero(_starts(path[None])[0])
        ends = np.append(starts[1:], len(path))
        written = path[starts] != self.alphabet.blank
        whole = self.alphabet.decode(path[starts].tolist())
        first = len(whole) - len(whole.lstrip())
        inner = slice(first, first + len(ranked[0].text))
        edges = np.append(steps, len(probs))
        places = [(int(edges[a]), int(edges[b])) for a, b in zip(starts, ends, strict=True)]
        classes = path[starts][written][inner]
        places = [place for place, w in zip(places, written, strict=True) if w][inner]
        peaks = [float(probs[a:b, c].max()) for (a, b), c in zip(places, classes, strict=True)]
        spans = tuple((a / len(probs), b / len(probs)) for a, b in places)
        return Reading(ranked[0].text, mean_confidence(peaks), spans, tuple(peaks), ranked)


def beam_decoder(
    alphabet: Alphabet, *, model: str | None, word_model: str | None, lexicon: str | None, width: Count,
    tokens: Count, threshold: Positive, skip: Annotated[float, Field(gt=0, le=1)], model_weight: float,
    word_bonus: float, word_weight: float, nbest: Count,
    blank_weight: Positive = 1.0,  # which older settings lack
) -> BeamDecoder:  # fmt: skip
    """Return the beam search that conf/decoder/beam.yaml describes; InputError for files that do not fit."""
    characters, words = _record(model, "character", "model"), _record(word_model, "word", "word_model")
    records = tuple(record for record in (characters, words) if record is not None)
    lm, trie, space = flashlight.ZeroLM(), None, alphabet.blank
    if characters is not None:
        _refuse_alphabet(characters, alphabet)
        lm = _kenlm(characters.path, characters.path.stat().st_mtime_ns, alphabet.symbols)
    if lexicon is not None:
        records += lexicon_records(lexicon)
        trie = _trie(Lexicon.load(lexicon), lexicon, alphabet)
    if " " in alphabet.symbols:
        space = alphabet.encode(" ")[0]
    else:
        word_bonus = 0.0
    first = (width, tokens, threshold, model_weight * math.log(10))
    last = (True, flashlight.CriterionType.CTC)
    if trie is None:
        options = flashlight.LexiconFreeDecoderOptions(*first, word_bonus, *last)
        engine = flashlight.LexiconFreeDecoder(options, lm, space, alphabet.blank, [])
    else:
        options = flashlight.LexiconDecoderOptions(*first, 0.0, _NO_WORD, word_bonus, *last)
        engine = flashlight.LexiconDecoder(options, trie, lm, space, alphabet.blank, -1, [], True)
    return BeamDecoder(
        alphabet=alphabet, engine=engine, closing_space=trie is not None, skip=skip,
        blank_weight=blank_weight, nbest=nbest,
        word_model=None if words is None else NgramModel.load(words.path), word_weight=word_weight,
        records=records,
    )  # fmt: skip


@dataclass(frozen=True)
class LanguageDecoder:
    """Read every page with that of several decoders which gives its texts the highest score in sum.

    A page's lines are read with all of them until one leads by `certainty`, in natural logarithms; the lines
    that follow are read with that one alone.
    """

    alphabet: Alphabet
    decoders: tuple[BeamDecoder, ...]
    certainty: float

    @property
    def records(self) -> tuple[TextRecord, ...]:
        """What the models of all languages were made from."""
        return tuple(record for decoder in self.decoders for record in decoder.records)

    def read(self, lines: Sequence[Probs], pages: Sequence[Hashable] = ()) -> list[Reading]:
        """Return the reading of every line; InputError for probabilities that are none.

        Without `pages` each line is a page of its own.
        """
        pages = pages or range(len(lines))
        scores: dict[Hashable, NDArray[np.float64]] = {}
        read: list[dict[int, Reading]] = []
        for probs, page in zip(lines, pages, strict=True):
            total = scores.setdefault(page, np.zeros(len(self.decoders)))
            wanted = self._candidates(total)
            read.append({number: self.decoders[number](probs) for number in wanted})
            if len(wanted) > 1 and all(reading.alternatives for reading in read[-1].values()):
                total += [reading.alternatives[0].score for reading in read[-1].values()]
        return [own[int(scores[page].argmax())] for own, page in zip(read, pages, strict=True)]

    def _candidates(self, scores: NDArray[np.float64]) -> Sequence[int]:
        """Return which decoders read the next line of a page with these scores so far."""
        second, first = np.sort(scores)[-2:] if len(scores) > 1 else (0.0, 0.0)
        return [int(scores.argmax())] if first - second >= self.certainty else range(len(scores))


def language_decoder(
    alphabet: Alphabet, *, language: str, models: Mapping[str, str], width: Count, tokens: Count,
    threshold: Positive, skip: Annotated[float, Field(gt=0, le=1)], model_weight: float, word_bonus: float,
    nbest: Count, certainty: Positive = 20.0, blank_weight: Positive = 1.0,  # which older settings lack
) -> LanguageDecoder:  # fmt: skip
    """Return the decoder that conf/decoder/languages.yaml describes; InputError for an unknown language."""
    if language not in (AUTO, *models):
        known = ", ".join((AUTO, *models))
        raise InputError(f"language={language}: no model of it; choose one of {known}, or add it to models")
    decoders = tuple(
        beam_decoder(
            alphabet, model=model, word_model=None, lexicon=None, width=width, tokens=tokens,
            threshold=threshold, skip=skip, model_weight=model_weight, word_bonus=word_bonus,
            word_weight=0.0, nbest=nbest, blank_weight=blank_weight,
        )
        for name, model in models.items() if language in (AUTO, name)
    )  # fmt: skip
    return LanguageDecoder(alphabet, decoders, certainty)


def _record(name: str | None, unit: str, key: str) -> TextRecord | None:
    """Return the record of the model that `key` names; InputError where it is no model of `unit`."""
    if name is None:
        return None
    record = TextRecord.load(find_language_file(name, MODEL))
    if record.unit != unit:
        remedy = f"make one with python -m hwr language-model --unit {unit}"
        raise InputError(f"{key} {record.path}: a model of {record.unit}s; {remedy}")
    return record


def _refuse_alphabet(record: TextRecord, alphabet: Alphabet) -> None:
    if missing := "".join(c for c in alphabet.symbols if c not in record.symbols):
        remedy = "use decoder=greedy or other weights, or make it: hwr language-model weights.line=WEIGHTS"
        unknown = f"{missing!r} of the recogniser's alphabet"
        raise InputError(f"model {record.path}: does not know {unknown}; {remedy}")


@lru_cache(maxsize=4)
def _kenlm(path: Path, changed_ns: int, symbols: str) -> Any:
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
        reason = "the recogniser writes no spaces to part words with"
        raise InputError(f"lexicon {name}: {reason}; use lexicon: null")
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


def _starts(paths: NDArray[Any]) -> NDArray[np.bool_]:
    """Tell where runs of the same class start in paths (H, S)."""
    return np.asarray(np.diff(paths, axis=1, prepend=-1) != 0)


@contextlib.contextmanager
def _silenced() -> Iterator[None]:
    """Keep what C++ writes to standard error to itself: KenLM draws a progress bar."""
    with _LOCK, open(os.devnull, "w") as nowhere, runtime.stderr_into(nowhere):  # noqa: PTH123
        yield
