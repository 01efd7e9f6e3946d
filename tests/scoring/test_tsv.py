from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.scoring import tsv


def test_write_keeps_one_line_a_row(tmp_path: Path) -> None:
    tsv.write(tmp_path / "t.tsv", ["id", "text"], [["a\tb", "1\n2\r"], [None, "\\n"], [3, ""]])
    written = (tmp_path / "t.tsv").read_bytes().decode()
    assert written == "id\ttext\na\\tb\t1\\n2\\r\n\t\\\\n\n3\t\n"


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_read_gives_what_was_written(rows: list[tuple[str, str]]) -> None:
    with TemporaryDirectory() as folder:
        tsv.write(Path(folder) / "t.tsv", ["id", "text"], rows)
        assert tsv.read(Path(folder) / "t.tsv") == [{"id": a, "text": b} for a, b in rows]


@pytest.mark.parametrize("content", [b"", b"id\xff\n", b"id\ttext\na\n"])
def test_read_refuses_what_is_no_table(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(InputError, match=r"t\.tsv"):
        tsv.read(tmp_path / "t.tsv")


def test_read_of_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"t.tsv: no table \(No such file"):
        tsv.read(tmp_path / "t.tsv")
