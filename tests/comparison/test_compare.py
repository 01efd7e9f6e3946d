"""python -m hwr compare: what it refuses."""

import shutil
from pathlib import Path

import pytest

from hwr.__main__ import main
from tests.refusal import refused


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "b", "splitt=test"], "splitt: no such key (did you mean split?)"),
        (["a", "b", "level=1"], "level=1 is not possible; it must be less than 1"),
        (["a", "b", "resampling.resamples=x"], "resampling.resamples='x' is not a whole number"),
        (["a", "scorer=edit_distance"], "compare takes 2 to 26 runs, not 1; give their ids, or last"),
    ],
)
def test_bad_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    folders = [f"folder={tmp_path / 'outputs'}", f"output={tmp_path / 'out'}"]
    assert refused(capsys, lambda: main(["compare", *arguments, *folders])).startswith(said)
    assert not (tmp_path / "out").exists()


def test_unknown_run_is_refused(database: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(database, tmp_path / "mlflow.db")
    places = [f"folder={tmp_path}", f"output={tmp_path / 'out'}", "scorer=edit_distance"]
    said = refused(capsys, lambda: main(["compare", "1a2b", "last", *places]))
    assert said.startswith(f"1a2b: no such run in sqlite:///{tmp_path}/mlflow.db; give an id")
