"""Capitals of a word that was read, given to the word that takes its place."""

from collections.abc import Callable

from hwr.scoring.edits import align


def is_mixed(word: str) -> bool:
    """Tell whether a word is none of lower case, UPPER CASE and Title case."""
    uppers = _uppers(word)
    return any(uppers[1:]) and not all(uppers)


def case_of(word: str) -> Callable[[str], str]:
    """Return what writes a lower-case text in the case of `word`.

    Of a mixed word the letters keep theirs that its alignment with the text pairs; new ones are lower case.
    A letter whose capital is two, as that of ß, stays as it is.
    """
    if is_mixed(word):
        return lambda text: _letter_by_letter(word, text)
    uppers = _uppers(word)
    if len(uppers) > 1 and all(uppers):
        return lambda text: "".join(map(_capital, text))
    return _titled if any(uppers) else str


def _uppers(word: str) -> list[bool]:
    """Tell of each letter that has a case whether it is a capital."""
    return [character.isupper() for character in word if character.isupper() or character.islower()]


def _titled(text: str) -> str:
    first = next((n for n, character in enumerate(text) if character.islower()), len(text))
    return text[:first] + "".join(map(_capital, text[first : first + 1])) + text[first + 1 :]


def _letter_by_letter(word: str, text: str) -> str:
    written, place = [], 0
    for old, new in align([*map(_small, word)], text):
        if new is not None:
            written.append(_capital(new) if old is not None and word[place].isupper() else new)
        place += old is not None
    return "".join(written)


def _capital(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 else character


def _small(character: str) -> str:
    lower = character.lower()
    return lower if len(lower) == 1 else character
