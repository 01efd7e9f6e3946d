"""What a request gets: its format, by `format=` or the header Accept, and the answer in it."""

import io
import json
import zipfile
from collections.abc import Mapping, Sequence

from starlette.responses import Response

from hwr.serving.refusals import Refused
from hwr.transcription import export
from hwr.transcription.files import OVERLAY

# Format -> media types that ask for it, the first of which it is sent as.
MEDIA = {
    "json": ("application/json",),
    "alto": ("application/alto+xml", "application/xml", "text/xml"),
    "page": ("application/vnd.prima.page+xml", "application/page+xml"),
    "txt": ("text/plain",),
    "overlay": ("image/png",),
}
_SUFFIXES = {**export.SUFFIXES, "overlay": OVERLAY}


def asked_format(format: str | None, accept: str, known: Sequence[str] = tuple(MEDIA)) -> str:
    """Return the name of the format that is asked for, of those `known`; Refused for any other."""
    if format is not None:
        if format not in known:
            raise Refused(422, f"format={format}: unknown; use one of {', '.join(known)}")
        return format
    for wanted in _by_preference(accept):
        for name in known:
            if wanted in ("*/*", *MEDIA[name]) or wanted == f"{MEDIA[name][0].partition('/')[0]}/*":
                return name
    types = ", ".join(MEDIA[name][0] for name in known)
    raise Refused(406, f"Accept: {accept[:80]}: none of {types}; ask for one of them, or use format=")


def answer(made: Mapping[str, bytes], format: str, stem: str) -> Response:
    """Return outputs by page; JSON and text hold all pages of a file, of others several are a ZIP archive."""
    media, contents = MEDIA[format][0], list(made.values())
    if format == "json":
        pages = {"pages": [json.loads(text) for text in contents]}
        return Response(json.dumps(pages, ensure_ascii=False, indent=1) + "\n", media_type=media)
    if format == "txt" or len(contents) == 1:
        return Response(b"\f".join(contents), media_type=media)
    files = {f"{name}{_SUFFIXES[format]}": content for name, content in made.items()}
    return attachment(zipped(files), f"{stem}.zip", "application/zip")


def zipped(files: Mapping[str, bytes]) -> bytes:
    """Return files by name as a ZIP archive."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return made.getvalue()


def attachment(content: bytes, name: str, media_type: str) -> Response:
    """Return a file that a browser saves under `name`."""
    plain = "".join(c if (c.isascii() and c.isalnum()) or c in " ._-" else "_" for c in name)
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    disposition = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})


def _by_preference(accept: str) -> list[str]:
    """Return the media types of an Accept header, the most wanted first; of none, any."""
    weighed = []
    for part in filter(str.strip, (accept or "*/*").split(",")):
        media, *parameters = (own.strip().lower() for own in part.split(";"))
        weights = [own.removeprefix("q=") for own in parameters if own.startswith("q=")]
        try:
            weighed.append((-float(weights[0]) if weights else -1.0, media))
        except ValueError:
            continue
    return [media for weight, media in sorted(weighed, key=lambda own: own[0]) if weight < 0]
