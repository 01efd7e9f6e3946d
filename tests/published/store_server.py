"""A server of a folder: with ranges or without, breaking off, redirecting; as a proxy it serves any host."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse


class FolderServer(ThreadingHTTPServer):
    """Serves `root`; `cut` is how many bytes of an answer are sent before the connection breaks."""

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.root, self.ranges, self.redirect = root, True, ""
        self.cut: int | None = None
        self.asked: list[tuple[str, str | None]] = []  # paths, and their ranges

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: FolderServer

    def do_GET(self) -> None:
        wanted, server = self.headers.get("Range"), self.server
        server.asked.append((self.path, wanted))
        path = server.root / urlparse(self.path).path.lstrip("/")
        if server.redirect:
            self.send_response(302)
            self.send_header("Location", server.redirect)
            self.end_headers()
            return
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:][: server.cut])
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(root: Path) -> Iterator[FolderServer]:
    """Serve a folder in the block."""
    with FolderServer(root) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
