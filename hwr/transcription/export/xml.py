"""Shared parts of XML exports: elements with clean values, and writing them out."""

import re
from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

# XML 1.0, section 2.2: these characters cannot stand in a document, not even escaped.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def clean_text(text: str) -> str:
    """Return `text` with every character that XML forbids (control characters) replaced by U+FFFD."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)


def xml_document(name: str, namespace: str, schema: str) -> Element:
    """Return the root element of a document in `namespace` that points to its `schema`, a URL.

    The namespace is a plain attribute: the names of the elements inside need no prefix then.
    """
    root = Element(name, {"xmlns": namespace, "xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance"})
    root.set("xsi:schemaLocation", f"{namespace} {schema}")
    return root


def add_child(parent: Element, name: str, text: str = "", /, **attributes: str | int) -> Element:
    """Append an element to `parent` and return it; its text and values are cleaned."""
    element = SubElement(parent, name, {key: clean_text(str(value)) for key, value in attributes.items()})
    if text:
        element.text = clean_text(text)
    return element


def points_text(values: Iterable[tuple[int, int]]) -> str:
    """Return points as both formats write them: `x,y x,y …`."""
    return " ".join(f"{x},{y}" for x, y in values)


def confidence_text(value: float) -> str:
    """Return a confidence in [0, 1] with four decimals."""
    return f"{value:.4f}"


def xml_text(root: Element) -> str:
    """Return the document as indented text, its declaration first; to be stored as UTF-8."""
    indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{tostring(root, encoding="unicode")}\n'
