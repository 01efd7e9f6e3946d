"""What a request gets: an answer in the format it asks for, or a refusal; who may ask; counts of all that."""

import asyncio
import hmac
import io
import json
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import SplitResult, urlsplit

import psutil
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hwr.config.messages import suggestion
from hwr.errors import InputError
from hwr.transcription import export

# Format -> media types that ask for it, the first of which it is sent as.
MEDIA = {
    "json": ("application/json",),
    "alto": ("application/alto+xml", "application/xml", "text/xml"),
    "page": ("application/vnd.prima.page+xml", "application/page+xml"),
    "txt": ("text/plain",),
    "overlay": ("image/png",),
}
COOKIE = "hwr-token"
UPLOADS = ("/v1/pages", "/v1/lines", "/v1/work")  # take max_bytes, all others SMALL
SMALL = 100_000  # bytes
DISCARD_S = 2.0  # how long the rest of a body that was refused is received
OPEN = ("/healthz", "/login", "/static/page.css", "/static/icon.svg")  # without a token
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
CLOSE = {"Connection": "close"}  # what is still being sent is not waited for
# What each is, and how it counts. Text format: https://prometheus.io/docs/instrumenting/exposition_formats/
_COUNTED = {
    "hwr_requests_total": ("counter", "Requests answered, by route and status."),
    "hwr_pages_total": ("counter", "Pages read."),
    "hwr_lines_total": ("counter", "Lines read."),
    "hwr_reading_seconds_sum": (
        "counter",
        "Seconds from the end of an upload to what was read on it, in all.",
    ),
    "hwr_reading_seconds_count": ("counter", "Uploads of which something was read."),
    "hwr_queue": ("gauge", "Requests that wait or are being read."),
    "hwr_queue_limit": ("gauge", "Requests from which on one more is answered 429."),
    "hwr_pages_unread": ("gauge", "Pages of the folder that are not read yet."),
    "process_resident_memory_bytes": ("gauge", "Memory of the server."),
}


class Refused(InputError):  # noqa: N818  # like HTTPException it is an answer
    """A request that is refused, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a refusal as an answer."""
    return JSONResponse({"error": message}, status, dict(headers or {}))


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


async def known_keys(request: Request) -> None:
    """Refuse a request whose address has a key that its route does not take."""
    route = request.scope["route"]
    if not route.path.startswith("/v1"):
        return  # health checks and counters: whoever asks may add what it likes
    known = [str(field.alias) for field in route.dependant.query_params]
    for key in request.query_params:
        if key not in known:
            remedy = f"known are {', '.join(known)}" if known else "this address takes none"
            raise Refused(422, f"{key[:80]}: no such key{suggestion(key[:80], known)}; {remedy}")


def answer(made: Mapping[str, bytes], format: str, stem: str, doubts: Sequence[str]) -> Response:
    """Return outputs by page; JSON and text hold all pages of a file, of others several are a ZIP archive.

    JSON also has the `doubts` about the file and its pages where there are any.
    """
    media, contents = MEDIA[format][0], list(made.values())
    if format == "json":
        pages: dict[str, Any] = {"pages": [json.loads(text) for text in contents]}
        pages |= {"doubts": list(doubts)} if doubts else {}
        return Response(json.dumps(pages, ensure_ascii=False, indent=1) + "\n", media_type=media)
    if format == "txt" or len(contents) == 1:
        return Response(b"\f".join(contents), media_type=media)
    files = {f"{name}{export.SUFFIXES[format]}": content for name, content in made.items()}
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


class Metrics:
    """Counters that any thread may raise."""

    def __init__(self) -> None:
        self._lock, self._counts = threading.Lock(), Counter[str]()

    def count(self, name: str, by: float = 1, **labels: object) -> None:
        """Raise a counter."""
        values = ",".join(f'{key}="{value}"' for key, value in labels.items())
        with self._lock:
            self._counts[f"{name}{{{values}}}" if values else name] += by  # type: ignore[assignment]

    def mean(self, name: str) -> float:
        """Return NAME_sum / NAME_count, 0 without any."""
        return self._counts[f"{name}_sum"] / max(1, self._counts[f"{name}_count"])

    def text(self, gauges: Mapping[str, float]) -> str:
        """Return all counters and `gauges`, and the memory of this process."""
        with self._lock:
            values: dict[str, float] = {**self._counts, **gauges}
        values["process_resident_memory_bytes"] = psutil.Process().memory_info().rss
        lines = []
        for name, (kind, meaning) in _COUNTED.items():
            lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}"]
            own = sorted(key for key in values if key.partition("{")[0] == name)
            lines += [f"{key} {values[key]:g}" if kind == "gauge" and "bytes" not in key else
                      f"{key} {values[key]:.10g}" for key in own]  # fmt: skip
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Guard:
    """Lets requests through to `app` that name this server, come from its own pages, and have the token.

    The name keeps out pages of other sites whose name was pointed here (DNS rebinding); the origin keeps
    out what they send (CSRF). Programs send no origin.
    """

    app: ASGIApp
    hosts: Collection[str]
    token: str | None
    max_bytes: int
    metrics: Metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        body = _Body(receive, self._limit(scope["path"]))

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                if message["status"] >= 400:
                    await body.discard()
                MutableHeaders(scope=message).update(HEADERS)
                route = getattr(scope.get("route"), "path", "other")
                self.metrics.count("hwr_requests_total", route=route, status=message["status"])
            await send(message)

        refused = self._refused(scope, Headers(scope=scope))
        await (self.app if refused is None else refused)(scope, body, answered)

    def _limit(self, path: str) -> int:
        return self.max_bytes if path in UPLOADS else SMALL

    def _refused(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        host = headers.get("host", "")
        name = (_split(f"//{host}").hostname or "").lower()
        if name not in self.hosts:
            return refusal(
                421, f"{name or 'no host'}: not a name of this server; start it with hosts=[NAME]", CLOSE
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _same_origin(headers, host):
            return refusal(403, "sent by a page of another site; use the page of this server", CLOSE)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limit(scope["path"]):
            return refusal(
                413, f"{length} bytes are more than {self._limit(scope['path'])}; send less", CLOSE
            )
        if scope["path"] not in OPEN and not self.knows(_token(headers)):
            if scope["path"] == "/":
                return None if scope["method"] not in ("GET", "HEAD") else _TO_LOGIN
            return refusal(401, "without the token; send Authorization: Bearer TOKEN", _ASK | CLOSE)
        return None

    def knows(self, token: str) -> bool:
        """Tell whether a token is the right one; any is, where none is set."""
        return self.token is None or hmac.compare_digest(token.encode(), self.token.encode())


@dataclass
class _Body:
    """Receives the body of a request, and refuses it as soon as it is too large."""

    receive: Receive
    limit: int
    size: int = 0
    ended: bool = False

    async def __call__(self) -> Message:
        message = await self.receive()
        self.size += len(message.get("body", b""))
        self.ended = not message.get("more_body", False)
        if self.size > self.limit:
            raise HTTPException(413, f"more than {self.limit} bytes; send less", CLOSE)
        return message

    async def discard(self) -> None:
        """Receive what is still being sent, for a while: a client that is cut off reads no answer."""
        end = time.monotonic() + DISCARD_S
        while not self.ended and (left_s := end - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self.receive(), left_s)
            except asyncio.TimeoutError:
                return
            self.ended = not message.get("more_body", False)


_ASK = {"WWW-Authenticate": "Bearer"}
_TO_LOGIN = JSONResponse({"error": "see /login"}, 303, {"Location": "/login"})


def _same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    fetched = headers.get("sec-fetch-site", "same-origin")
    same = origin is None or _split(origin).netloc.lower() == host.lower()
    return same and fetched in ("same-origin", "none")


def _split(url: str) -> SplitResult:
    """Return the parts of a URL, empty ones of what is none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _token(headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    cookies: Any = SimpleCookie()
    try:
        cookies.load(headers.get("cookie", ""))
    except CookieError:
        return ""
    return str(cookies[COOKIE].value) if COOKIE in cookies else ""


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
