"""Leaves out what is marked `endurance` unless it is asked for: -m endurance. A tracking server for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.endurance.server import Server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "endurance" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("endurance")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


@pytest.fixture(scope="module")
def shared_server(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Return a server whose database is there: its tables take it seconds."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "mlflow.db").write_bytes(database.read_bytes())
    server = Server(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: Server) -> Iterator[Server]:
    """Return a server that answers, started again where a test before left it dead."""
    if shared_server._process is None:
        shared_server.start()
    yield shared_server
