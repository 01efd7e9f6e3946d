"""A server on a port of its own whose networks are stand-ins: it reads strips as their shades of grey."""

import http.client
import io
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from PIL import Image

from hwr.config.compose import composed
from hwr.config.roots import ServeConfig
from hwr.images.load import GreyImage
from hwr.serving import LOCAL, _listening
from hwr.serving.app import build_app
from hwr.serving.page_folder import PageFolder
from hwr.serving.service import Service
from hwr.transcription.page_reader import PageReader
from tests.transcription.test_page_reader import LOWER, TWO, UPPER, Detector, Shades, page, reader

__all__ = ["LOWER", "TWO", "UPPER", "Answer", "Networks", "file_of", "serving", "settings"]


@dataclass
class Networks(Shades):
    """Reads shades, `batches` of so many lines; waits while `held`, and fails on an image that is `bad`."""

    batches: list[int] = field(default_factory=list)
    free: threading.Event = field(default_factory=threading.Event)
    bad: int | None = None

    def __post_init__(self) -> None:
        self.free.set()

    def probs(self, images: list[GreyImage]) -> list[Any]:
        self.free.wait(10)
        self.batches.append(len(images))
        read = super().probs(images)
        if self.bad is not None and any(round(float(own[0, 0])) == self.bad for own in read):
            raise RuntimeError("a shade that no network bears")
        return read


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The one line of a refusal."""
        (line,) = self.json.values()
        assert "\n" not in line
        return str(line)


@dataclass(frozen=True)
class Client:
    """Asks a server."""

    port: int
    service: Service

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            sent = {"Content-Type": "application/json"} if isinstance(body, str) else {}
            sent |= {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, sent)
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def until(self, path: str, key: str, value: object) -> Any:
        """Ask until what is answered has a value, and return the answer."""
        end = time.monotonic() + 10
        while (found := self("GET", path).json).get(key) != value:
            assert time.monotonic() < end, found
            time.sleep(0.02)
        return found


def settings(*overrides: str) -> ServeConfig:
    config: ServeConfig = composed("serve", ["orientation=0", "port=0", *overrides], ServeConfig).root
    return config


@contextmanager
def serving(folder: Path, *overrides: str, networks: Networks | None = None) -> Iterator[Client]:
    """Run a server for the block."""
    config = settings(*overrides)
    stand_in: PageReader = reader(Detector(UPPER, LOWER))
    stand_in = replace(stand_in, text=replace(stand_in.text, reader=networks or Networks()))
    service = Service(config, stand_in, PageFolder(folder, config.loading))
    app = build_app(service, frozenset((*LOCAL, *config.hosts)))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    with _listening(config) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield Client(listener.getsockname()[1], service)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def file_of(*pages: GreyImage, format: str = "PNG") -> bytes:
    """Return pages as an image file, several as TIFF."""
    made = io.BytesIO()
    first, *others = map(Image.fromarray, pages or (TWO,))
    first.save(
        made, "TIFF" if others else format, **({"save_all": True, "append_images": others} if others else {})
    )
    return made.getvalue()


def shades(*values: int) -> Sequence[bytes]:
    """Return the image of a line for each shade, which its middle has."""
    return [file_of(page(((0.4, 0.0, 0.6, 1.0), value))) for value in values]
