"""What a request is refused with: a line of JSON, its status, and who may ask at all."""

import asyncio
import hmac
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hwr.errors import InputError
from hwr.serving.metrics import Metrics

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


class Refused(InputError):  # noqa: N818  # like HTTPException it is an answer
    """A request that is refused, with its HTTP status."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.headers = status, dict(headers or {})


def refusal(status: int, message: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return a refusal as an answer."""
    return JSONResponse({"error": message}, status, dict(headers or {}))


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
        name = _hostname(host)
        if name not in self.hosts:
            return refusal(
                421, f"{name or 'no host'}: not a name of this server; start it with hosts=[NAME]", _CLOSE
            )
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not _same_origin(headers, host):
            return refusal(403, "sent by a page of another site; use the page of this server", _CLOSE)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limit(scope["path"]):
            return refusal(
                413, f"{length} bytes are more than {self._limit(scope['path'])}; send less", _CLOSE
            )
        if scope["path"] not in OPEN and not self.knows(_token(headers)):
            if scope["path"] == "/":
                return None if scope["method"] not in ("GET", "HEAD") else _TO_LOGIN
            return refusal(401, "without the token; send Authorization: Bearer TOKEN", _ASK | _CLOSE)
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
            raise HTTPException(413, f"more than {self.limit} bytes; send less", _CLOSE)
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


_CLOSE = {"Connection": "close"}  # what is still being sent is not waited for
_ASK = {"WWW-Authenticate": "Bearer"}
_TO_LOGIN = JSONResponse({"error": "see /login"}, 303, {"Location": "/login"})


def _hostname(host: str) -> str:
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _same_origin(headers: Headers, host: str) -> bool:
    origin = headers.get("origin")
    fetched = headers.get("sec-fetch-site", "same-origin")
    return fetched in ("same-origin", "none") and (origin is None or _netloc(origin) == host.lower())


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


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
