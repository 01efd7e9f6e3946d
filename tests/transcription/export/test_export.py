import pytest

from hwr.transcription.export import FORMATS, SUFFIXES
from tests.transcription.export.read_pages import line, page


def test_every_format_has_a_suffix_of_its_own() -> None:
    assert [*FORMATS, "overlay"] == list(SUFFIXES) == ["alto", "page", "txt", "json", "overlay"]
    assert len(set(SUFFIXES.values())) == 5


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_holds_the_text_and_ends_with_a_line_break(name: str) -> None:
    text = FORMATS[name](page(line("Hello")))
    assert "Hello" in text
    assert text.endswith("\n")
