"""Beam search with the model of the language that a page is written in."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from hwr.config.roots import Count, Positive
from hwr.decoding.beam import BeamDecoder, beam_decoder
from hwr.decoding.reading import Probs, Reading
from hwr.errors import InputError
from hwr.language.record import TextRecord
from hwr.text import Alphabet

AUTO = "auto"


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
    nbest: Count, certainty: Positive = 20.0,  # which older settings lack
) -> LanguageDecoder:  # fmt: skip
    """Return the decoder that conf/decoder/languages.yaml describes; InputError for an unknown language."""
    if language not in (AUTO, *models):
        known = ", ".join((AUTO, *models))
        raise InputError(f"language={language}: no model of it; choose one of {known}, or add it to models")
    decoders = tuple(
        beam_decoder(
            alphabet, model=model, word_model=None, lexicon=None, width=width, tokens=tokens,
            threshold=threshold, skip=skip, model_weight=model_weight, word_bonus=word_bonus,
            word_weight=0.0, nbest=nbest,
        )
        for name, model in models.items() if language in (AUTO, name)
    )  # fmt: skip
    return LanguageDecoder(alphabet, decoders, certainty)
