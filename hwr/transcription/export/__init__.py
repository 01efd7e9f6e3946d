"""What a read page is handed out as: ALTO, PAGE, plain text and JSON."""

from collections.abc import Callable

from hwr.transcription.export import alto, pagexml, text
from hwr.transcription.transcript import ReadPage

FORMATS: dict[str, Callable[[ReadPage], str]] = {
    "alto": alto.to_xml,
    "page": pagexml.to_xml,
    "txt": text.to_txt,
    "json": text.to_json,
}
SUFFIXES = {"alto": ".alto.xml", "page": ".page.xml", "txt": ".txt", "json": ".json"}
