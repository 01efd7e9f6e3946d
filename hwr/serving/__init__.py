"""Pages read for a browser and for programs: `hwr serve`.

It loads the weights once, listens, and finishes what was begun when asked to end.
"""

import ipaddress
import signal
import socket
from pathlib import Path

import uvicorn

from hwr.config.compose import Composed
from hwr.config.roots import ServeConfig
from hwr.errors import InputError
from hwr.files import held, make_folder
from hwr.serving.app import build_app
from hwr.serving.page_folder import PageFolder
from hwr.serving.service import Service
from hwr.transcription.files import page_reader

LOCK = ".hwr-serve"  # in the folder of pages
LOCAL = ("localhost", "127.0.0.1", "::1")


def serve_pages(composed: Composed) -> None:
    """Serve until SIGTERM or SIGINT; InputError for what it cannot start with."""
    config: ServeConfig = composed.root
    check_serving(config)
    folder = Path(config.pages)
    make_folder(folder)
    with held(folder / LOCK, wait=False) as alone, _listening(config) as listener:
        if not alone:
            raise InputError(f"{folder}: another hwr serve works there; end it, or give another folder")
        service = Service(config, page_reader(config), PageFolder(folder, config.loading))
        host, port = listener.getsockname()[:2]
        app = build_app(service, frozenset({*LOCAL, config.host.lower(), *map(str.lower, config.hosts)}))
        server = uvicorn.Server(
            uvicorn.Config(
                app, log_level="warning", access_log=False, server_header=False, proxy_headers=False
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):  # Uvicorn raises them once more when all is finished
            signal.signal(number, lambda *_: None)
        print(
            f"reading at http://{f'[{host}]' if ':' in host else host}:{port}/, pages in {folder}", flush=True
        )
        server.run([listener])


def check_serving(config: ServeConfig) -> None:
    """Raise InputError for settings under which others could read and change the pages."""
    if config.token is None and not _is_loopback(config.host):
        raise InputError(
            f"host={config.host}: open to others without a token; set HWR_TOKEN, or use 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listening(config: ServeConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        reason = f"cannot be listened on ({error.strerror}); choose another port, 0 for any"
        raise InputError(f"host={config.host} port={config.port}: {reason}") from None
