"""The routes of the server: reading for programs, the folder for the page, and the page itself."""

import asyncio
import hmac
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import parse_qs

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, RedirectResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from hwr import __version__
from hwr.decoding import mean_confidence
from hwr.errors import InputError, NoRoomError, first_line, tell
from hwr.images.boxes import Box, Point, clip
from hwr.serving.adaptation import FEWEST
from hwr.serving.answers import (
    COOKIE,
    MEDIA,
    Guard,
    Refused,
    answer,
    asked_format,
    attachment,
    known_keys,
    refusal,
    zipped,
)
from hwr.serving.service import Service
from hwr.transcription import ReadLine, ReadPage, export
from hwr.transcription.correction import corrected, with_line
from hwr.transcription.export import line_values
from hwr.transcription.files import nothing_read

STATIC = Path(__file__).parent / "static"
_THREADS = 8  # that answer for the folder at once: each may hold a picture

Format = Annotated[str | None, Query(description=f"one of {', '.join(MEDIA)}; wins over the header Accept")]
Name = Annotated[str, Query(description="name of the file, for messages and exports")]
_FILE: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the bytes of an image or PDF",
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_OUTPUTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {types[0]: {} for types in MEDIA.values()}, "description": "what was read"},
    413: {"description": "the body is too large"},
    422: {"description": "no image that can be read, or an unknown key in the address"},
    429: {"description": "the queue is full: Retry-After says when to come back"},
}
_FOLDER = "/v1/work"  # of the routes of the folder


class Correction(BaseModel):
    """The text of a line, and what it was before: where that differs, somebody else changed it.

    With `confidences` of its characters it is what was read: a correction is undone.
    """

    text: str = Field(max_length=10_000)
    was: str = Field(max_length=10_000)
    confidences: list[Annotated[float, Field(ge=0, le=1)]] | None = None

    def apply(self, line: ReadLine) -> ReadLine:
        """Return a line with this text."""
        changed, confidences = corrected(line, self.text), tuple(self.confidences or ())
        if self.confidences is None or len(confidences) not in (0, len(changed.text)):
            return changed
        mean = mean_confidence(confidences)
        return replace(changed, corrected=False, confidences=confidences, confidence=mean)


class NewLine(BaseModel):
    """A line that was missed, in fractions of the page as shown; a text that is given is kept as it is."""

    box: tuple[float, float, float, float]
    text: str | None = Field(None, max_length=10_000)
    polygon: list[tuple[float, float]] = []
    baseline: list[tuple[float, float]] = []
    confidences: list[Annotated[float, Field(ge=0, le=1)]] | None = None

    def line(self, text: str) -> ReadLine:
        """Return the line with this text."""
        polygon, baseline = (tuple(point_inside(p) for p in own) for own in (self.polygon, self.baseline))
        bare = ReadLine("", checked_box(self.box), polygon, baseline, 1.0, ())
        return Correction(text=text, was="", confidences=self.confidences).apply(bare)


def build_app(service: Service, hosts: frozenset[str]) -> ASGIApp:
    """Return the application of a service that is known by the names `hosts`."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = _THREADS
        reading = asyncio.create_task(service.read_folder())
        yield
        service.stop()
        await reading
        await asyncio.to_thread(service.worker.close)

    app = FastAPI(title="hwr", version=__version__, docs_url=None, redoc_url=None, lifespan=life)
    for error, answered in _ANSWERS.items():
        app.add_exception_handler(error, answered)
    for router in (_programs, _pages, _lines, _adaptation, _files):
        app.include_router(router(service), dependencies=[Depends(known_keys)])
    config = service.config
    return Guard(app, hosts, config.token, config.max_bytes, service.metrics)


def _programs(service: Service) -> APIRouter:
    """Return the routes that read what is sent, and keep nothing of it."""
    router = APIRouter(tags=["read"])

    @router.post("/v1/pages", responses=_OUTPUTS, openapi_extra=_FILE)
    async def read_pages(
        request: Request,
        name: Name = "page",
        format: Format = None,
        page: Annotated[int | None, Query(ge=1, description="of a PDF or TIFF, from 1; default: all")] = None,
    ) -> Response:
        """Read pages: areas, lines, words, confidences; a ZIP archive where the format holds one page."""
        chosen = asked_format(format, request.headers.get("accept", ""))
        made, empty = dict[str, bytes](), list[str]()
        async with service.upload(request, name) as file:
            async for read in service.read_file(file, page):
                output = partial(read.output, chosen, overlay_width=service.config.overlay_width)
                made[read.stored.name] = await asyncio.to_thread(output)
                empty += nothing_read(read.stored.name, read.stored.lines)
            doubts = await asyncio.to_thread(service.doubts, file, file.name, page)
        return answer(made, chosen, file.stem, [*doubts, *empty])

    @router.post("/v1/lines", responses=_OUTPUTS, openapi_extra=_FILE)
    async def read_lines(
        request: Request,
        name: Name = "line",
        format: Format = None,
        box: Annotated[
            list[str] | None, Query(description="x1,y1,x2,y2 in fractions; may be repeated")
        ] = None,
    ) -> Response:
        """Read the image of a line, or the lines in boxes of a page."""
        chosen = asked_format(format, request.headers.get("accept", ""), ("json", "txt"))
        boxes = [_parsed_box(own) for own in box or ()]
        if len(boxes) > (most := service.config.max_boxes):
            raise Refused(
                422, f"{len(boxes)} boxes are more than max_boxes={most}; send them in several requests"
            )
        async with service.upload(request, name) as file:
            lines = await service.read_boxes(file, boxes)
        if chosen == "txt":
            return PlainTextResponse("".join(f"{line.text}\n" for line in lines))
        return JSONResponse({"lines": [line_values(line) for line in lines]})

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Tell that the server answers."""
        return {"status": "ok", "version": __version__}

    @router.get("/metrics", response_class=PlainTextResponse)
    def metrics() -> PlainTextResponse:
        """Return counts for Prometheus."""
        gauges = {"hwr_queue": service.taken, "hwr_queue_limit": service.config.queue}
        gauges["hwr_pages_unread"] = len(service.unread())
        return PlainTextResponse(service.metrics.text(gauges), media_type="text/plain; version=0.0.4")

    return router


def _pages(service: Service) -> APIRouter:
    """Return the routes of the folder's pages, which the page in the browser uses."""
    router, folder = APIRouter(prefix=_FOLDER, tags=["folder"]), service.folder

    @router.get("")
    def list_pages(text: bool = False) -> dict[str, Any]:
        """Return the pages of the folder, how far each is, and where asked for what it says."""
        settings = {"folder": service.config.pages, "doubtful": service.config.doubtful}
        return settings | {"pages": [_summary(service, *page, text=text) for page in folder.pages().items()]}

    @router.post("", status_code=201, openapi_extra=_FILE)
    async def add_file(request: Request, name: Name = "page") -> dict[str, list[str]]:
        """Put a file into the folder; its pages are read one after the other."""
        async with service.upload(request, name) as file:
            names = await asyncio.to_thread(folder.add, file, name, service.config.max_pages)
            doubts = await asyncio.to_thread(service.doubts, file, name)
        service.look()
        return {"pages": names, "doubts": doubts}

    @router.get(".zip", openapi_extra={"responses": {"200": {"content": {"application/zip": {}}}}})
    def download_all(format: Format = "alto") -> Response:
        """Return all pages that were read, in a format, as a ZIP archive."""
        chosen = asked_format(format, "", tuple(export.FORMATS))
        kept = {name: own for name in folder.pages() if (own := _kept(service, name)) is not None}
        files = {f"{name}{export.SUFFIXES[chosen]}": _exported(own, chosen) for name, own in kept.items()}
        return attachment(zipped(files), f"{folder.root.name}.zip", "application/zip")

    @router.get("/{name}")
    def show_page(name: str) -> dict[str, Any]:
        """Return a page with its lines, in fractions of the page as it is shown."""
        return _page(service, name)

    @router.get("/{name}/picture", openapi_extra={"responses": {"200": {"content": {"image/jpeg": {}}}}})
    def show_picture(name: str, turn: Annotated[int, Query(ge=0, le=270, multiple_of=90)] = 0) -> Response:
        """Return the picture of a page, turned clockwise."""
        picture = folder.picture(name, turn, service.config.picture_width)
        return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=60"})

    @router.get("/{name}/file")
    def download(name: str, format: Format = "alto") -> Response:
        """Return a page in a format."""
        chosen = asked_format(format, "", tuple(export.FORMATS))
        kept = folder.load_read(name)
        content = _exported(kept.upright.as_stored(kept.turn), chosen)
        return attachment(content, f"{name}{export.SUFFIXES[chosen]}", MEDIA[chosen][0])

    return router


def _lines(service: Service) -> APIRouter:
    """Return the routes that change the lines of a page in the folder."""
    router, folder = APIRouter(prefix=_FOLDER, tags=["folder"]), service.folder

    @router.put("/{name}/lines/{number}")
    def correct_line(name: str, number: int, correction: Correction) -> dict[str, Any]:
        """Write what a line says; it counts as corrected, also where the text stays."""

        def change(page: ReadPage) -> ReadPage:
            line = _line(page, number, correction.was)
            return _with(page, number, correction.apply(line))

        folder.change(name, change)
        return _page(service, name)

    @router.delete("/{name}/lines/{number}")
    def remove_line(name: str, number: int, was: str) -> dict[str, Any]:
        """Take away what is no line."""

        def change(page: ReadPage) -> ReadPage:
            _line(page, number, was)
            return _with(page, number)

        folder.change(name, change)
        return _page(service, name)

    @router.post("/{name}/lines", status_code=201)
    async def add_line(name: str, new: NewLine) -> dict[str, Any]:
        """Read a line that was missed, at once, and put it at its place in the reading order."""
        kept = await asyncio.to_thread(folder.load_read, name)
        if new.text is not None:
            line = new.line(new.text)
        else:
            with service.place():
                (line,) = await service.read_boxes(folder.image(name), [checked_box(new.box)], kept.turn)
        places = []

        def change(page: ReadPage) -> ReadPage:
            changed, place = with_line(page, line)
            places.append(place)
            return changed

        await asyncio.to_thread(folder.change, name, change)
        return (await asyncio.to_thread(_page, service, name)) | {"added": places[0]}

    return router


def _adaptation(service: Service) -> APIRouter:
    """Return the routes that fine-tune the reader on the folder's corrected lines."""
    router = APIRouter(prefix="/v1/adapt", tags=["folder"])

    def corrected() -> int:
        return service.adaptation.learnt_from(service.folder.taught())

    @router.get("")
    def look() -> dict[str, Any]:
        """Return how far the fine-tuning is, and how many corrected lines it can learn from."""
        return service.adaptation.state() | {"corrected": corrected(), "fewest": FEWEST}

    @router.post("", status_code=202)
    def begin() -> dict[str, Any]:
        """Start a fine-tuning on the corrected lines."""
        service.adaptation.begin(corrected())
        return look()

    @router.post("/use")
    def use() -> dict[str, str]:
        """Read with the fine-tuned weights from now on."""
        without = service.adopt()
        return {"weights": service.config.weights.line, "without_language_model": without}

    return router


def _files(service: Service) -> APIRouter:
    """Return the routes of what is shipped: the page, its parts, the documentation, the login."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @router.get("/docs")
    async def documentation() -> FileResponse:
        return FileResponse(STATIC / "docs.html")

    @router.get("/login")
    async def login() -> FileResponse:
        return FileResponse(STATIC / "login.html")

    @router.post("/login")
    async def log_in(request: Request) -> Response:
        token = parse_qs((await request.body()).decode(errors="replace")).get("token", [""])[0]
        if not hmac.compare_digest(token.encode(), (service.config.token or "").encode()):
            return RedirectResponse("/login?wrong", 303)
        answered = RedirectResponse("/", 303)
        answered.set_cookie(COOKIE, token, httponly=True, samesite="strict")
        return answered

    @router.get("/static/{name}")
    async def part(name: str) -> FileResponse:
        parts = {path.name: path for path in STATIC.iterdir()}
        if name not in parts:
            raise Refused(404, f"{name}: no such file")
        return FileResponse(parts[name], headers={"Cache-Control": "no-cache"})

    return router


def _summary(service: Service, name: str, image: Path, *, text: bool = False) -> dict[str, Any]:
    """Return how far a page of the folder is."""
    state: dict[str, Any] = {"name": name, "state": "waiting"}
    if name in service.failed:
        return state | {"state": "failed", "reason": service.failed[name]}
    if (progress := service.reading.get(name)) is not None:
        return state | {"state": "reading", "lines": len(progress.lines), "done": len(progress.read)}
    try:
        glance = service.folder.glance(name, image)
    except InputError as error:
        return state | {"state": "failed", "reason": service.folder.without_root(error)}
    if glance is None:
        return state
    told = {"state": "read", "lines": glance.lines, "corrected": glance.corrected}
    return state | told | ({"text": glance.text} if text else {})


def _page(service: Service, name: str) -> dict[str, Any]:
    """Return a page of the folder with its lines, those that are being read with what is read so far."""
    summary = _summary(service, name, service.folder.image(name))
    turn, lines = 0, list[dict[str, Any]]()
    if summary["state"] == "read" and (kept := service.folder.load(name)) is not None:
        turn = kept.turn
        lines = [line_values(line) | {"corrected": line.corrected} for line in kept.upright.lines]
    elif (progress := service.reading.get(name)) is not None:
        read = list(progress.read)
        outlines = [ReadLine("", own.outline.box, own.outline.polygon, (), 0.0, ()) for own in progress.lines]
        lines = [line_values(line) for line in (*read, *outlines[len(read) :])]
        lines = [own | {"corrected": False, "waits": n >= len(read)} for n, own in enumerate(lines)]
    return summary | {"turn": turn, "lines": lines}


def _kept(service: Service, name: str) -> ReadPage | None:
    try:
        kept = service.folder.load(name)
    except InputError:
        return None  # the list of pages says why
    return None if kept is None else kept.upright.as_stored(kept.turn)


def _exported(page: ReadPage, format: str) -> bytes:
    return export.FORMATS[format](page).encode()


def _line(page: ReadPage, number: int, was: str) -> ReadLine:
    """Return line `number` of a page, from 0, which says what it `was`; Refused for another one."""
    if not 0 <= number < len(page.lines) or page.lines[number].text != was:
        raise Refused(409, f"{page.name}: line {number + 1} is another one now; the page is loaded anew")
    return page.lines[number]


def _with(page: ReadPage, number: int, *lines: ReadLine) -> ReadPage:
    return replace(page, lines=(*page.lines[:number], *lines, *page.lines[number + 1 :]))


def _parsed_box(text: str) -> Box:
    try:
        x1, y1, x2, y2 = map(float, text.split(","))
    except ValueError:
        raise Refused(422, f"box={text[:40]}: not four numbers; write x1,y1,x2,y2 in fractions") from None
    return checked_box((x1, y1, x2, y2))


def point_inside(point: Point) -> Point:
    """Return a point cut to the page; Refused for what is no number."""
    if not all(map(math.isfinite, point)):
        raise Refused(422, f"point {point}: not two numbers; give fractions of the page")
    return clip((*point, *point))[:2]


def checked_box(box: Box) -> Box:
    """Return a box cut to the page; Refused for one without area."""
    x1, y1, x2, y2 = cut = clip(box)
    if not (x1 < x2 and y1 < y2):  # also of what is no number
        raise Refused(422, f"box {box}: without area on the page; give x1 < x2 and y1 < y2 within 0 to 1")
    return cut


# Errors, each as a line of JSON


async def _bad_input(request: Request, error: Exception) -> Response:
    status = 507 if isinstance(error, NoRoomError) else 422
    return refusal(getattr(error, "status", status), str(error), getattr(error, "headers", None))


async def _of_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return refusal(error.status_code, f"{request.url.path}: {error.detail}; see /docs", error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][1:]) or "body"
    return refusal(422, f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}; see /docs")


async def _defect(request: Request, error: Exception) -> Response:
    tell(f"error: {request.url.path}: {type(error).__name__}: {first_line(error)}")
    return refusal(500, f"{type(error).__name__}: {first_line(error)}; this is a defect of hwr")


_ANSWERS: dict[type[Exception], Callable[[Request, Exception], Awaitable[Response]]] = {
    InputError: _bad_input,
    HTTPException: _of_http,
    RequestValidationError: _invalid,
    Exception: _defect,
}
