"""The official schemas of ALTO 4.2 and PAGE 2019-07-15, read from the files beside; nothing is fetched."""

from functools import cache
from pathlib import Path

from xmlschema import XMLSchema

_FOLDER = Path(__file__).parent / "schemas"
_FILES = {"alto": "alto-4-2.xsd", "page": "pagecontent-2019-07-15.xsd"}
_XLINK = "http://www.loc.gov/standards/xlink/xlink.xsd"


def faults(text: str, name: str) -> list[str]:
    """Return what the schema `name` finds wrong in a document."""
    return [error.reason or error.message for error in _schema(name).iter_errors(text)]


@cache
def _schema(name: str) -> XMLSchema:
    local = {_XLINK: (_FOLDER / "xlink.xsd").as_uri()}
    return XMLSchema(_FOLDER / _FILES[name], allow="local", uri_mapper=local)
