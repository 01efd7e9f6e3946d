"""Files that take their place only when they are whole."""

from pathlib import Path

import pytest

from hwr.errors import InputError
from hwr.language.files import replacing


def test_file_takes_its_place_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "model.arpa"
    with replacing(path) as file:
        file.write("été\n")
        assert not path.exists()
    assert path.read_bytes() == "été\n".encode()
    assert list(path.parent.iterdir()) == [path]


def test_file_stays_what_it_was_when_writing_ends_early(tmp_path: Path) -> None:
    path = tmp_path / "model.arpa"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(InputError, match=r"^stopped$"), replacing(path) as file:
        file.write("new")
        raise InputError("stopped")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["file/model.arpa", "folder"])
def test_file_is_refused_when_it_cannot_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match=rf"{name}: cannot be written \(.*\); name another file"):  # noqa: SIM117
        with replacing(tmp_path / name) as file:
            file.write("new")
    assert not list(tmp_path.glob(".*"))
