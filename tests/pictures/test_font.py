"""The font letters European handwriting."""

import pytest

from hwr.pictures.font import font


@pytest.mark.parametrize("character", "éœŒ«»\u2019“”€—…ßſþωάЖčőșñ¿†")
def test_font_has_the_characters_of_european_handwriting(character: str) -> None:
    missing = font(20).getmask("\U000f0000")  # a private character: the box that stands for what a font lacks
    assert bytes(font(20).getmask(character)) != bytes(missing)
