"""Artifact locations of an embedded database, which follow it where its folder was moved or copied."""

import contextlib
import sqlite3
from pathlib import Path
from urllib.parse import unquote, urlparse

from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

ARTIFACTS = "artifacts"  # folder of the files, beside the database
# Where MLflow keeps whole paths.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def follow(database: Path) -> None:
    """Let locations in a folder that this one was moved or copied from lead here; others stay.

    Raises sqlite3.Error.
    """
    if not database.is_file():
        return
    here = database.parent / ARTIFACTS
    with contextlib.closing(sqlite3.connect(database, timeout=20)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        if "experiments" not in tables:
            return
        locations = connection.execute("SELECT DISTINCT artifact_location FROM experiments").fetchall()
        for (location,) in locations:
            old = Path(unquote(urlparse(location or "").path))
            if old.name != ARTIFACTS or old == here or not _left(old, here, database.name):
                continue
            for table, column in _COLUMNS:
                if table in tables:
                    rest, begins = f"substr({column}, ?)", f"substr({column}, 1, ?) = ?"
                    connection.execute(
                        f"UPDATE {table} SET {column} = ? || {rest} WHERE {begins}",
                        (here.as_uri(), len(location) + 1, len(location), location),
                    )
            _artifact_repos_cache.clear()  # of MLflow, by the id of the run alone


def _left(old: Path, here: Path, database: str) -> bool:
    """Tell whether the files at `old` are those of the folder that was moved or copied."""
    return here.is_dir() or not old.is_dir() or (old.parent / database).is_file()
