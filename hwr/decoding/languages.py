"""Beam search with the model of the language that a line is written in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

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
    """Read every line with that of several decoders which gives its text the highest score."""

    alphabet: Alphabet
    decoders: tuple[BeamDecoder, ...]

    @property
    def records(self) -> tuple[TextRecord, ...]:
        """What the models of all languages were made from."""
        return tuple(record for decoder in self.decoders for record in decoder.records)

    def read(self, lines: Sequence[Probs]) -> list[Reading]:
        """Return the reading of every line; raise InputError for probabilities that are none."""
        return [self(probs) for probs in lines]

    def __call__(self, probs: Probs) -> Reading:
        """Return the reading of probs (T, C) in the language in which it scores highest, or the first one."""
        return max((decoder(probs) for decoder in self.decoders), key=_score)


def language_decoder(
    alphabet: Alphabet, *, language: str, models: Mapping[str, str], width: Count, tokens: Count,
    threshold: Positive, skip: Annotated[float, Field(gt=0, le=1)], model_weight: float, word_bonus: float,
    nbest: Count,
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
    return LanguageDecoder(alphabet, decoders)


def _score(reading: Reading) -> float:
    return reading.alternatives[0].score if reading.alternatives else float("-inf")
