from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.transcription.export import (
    add_child,
    clean_text,
    points_text,
    xml_document,
    xml_text,
)


@pytest.mark.parametrize("text", ["", "é & <b>", "\t\n\r", "\x7f\x85", "\ud7ff\ue000\ufffd", "😀\U0010ffff"])
def test_clean_keeps_what_xml_allows(text: str) -> None:
    assert clean_text(text) == text


@pytest.mark.parametrize(
    "character", ["\x00", "\x08", "\x0b", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"]
)
def test_clean_replaces_what_xml_forbids(character: str) -> None:
    assert clean_text(f"a{character}b") == "a\ufffdb"


@settings(max_examples=50)
@given(st.text())
def test_value_parses_back_whatever_it_holds(text: str) -> None:
    root = xml_document("page", "urn:a", "urn:b")
    add_child(root, "String", CONTENT=text)
    found = fromstring(xml_text(root).encode())[0].get("CONTENT")
    assert found == clean_text(text)


def test_document_names_namespace_and_schema() -> None:
    root = fromstring(xml_text(xml_document("page", "urn:a", "urn:b")))
    assert root.tag == "{urn:a}page"
    assert root.get("{http://www.w3.org/2001/XMLSchema-instance}schemaLocation") == "urn:a urn:b"


def test_written_opens_with_the_declaration_and_ends_with_a_line_break() -> None:
    text = xml_text(xml_document("page", "urn:a", "urn:b"))
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<page ')
    assert text.endswith("/>\n")


def test_points_are_pairs_joined_by_spaces() -> None:
    assert points_text([(1, 2), (30, 40)]) == "1,2 30,40"
