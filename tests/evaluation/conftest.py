"""Weights made once, and a place of its own for each test."""

from pathlib import Path

import pytest

from tests.evaluation.tiny import Place, write_weights


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return write_weights(tmp_path_factory.mktemp("weights"))


@pytest.fixture
def place(tmp_path: Path, database: Path, tiny_weights: list[str]) -> Place:
    return Place(tmp_path, database, tiny_weights)
