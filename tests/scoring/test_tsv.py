from pathlib import Path

from hwr.scoring import tsv


def test_write_keeps_one_line_a_row(tmp_path: Path) -> None:
    tsv.write(tmp_path / "t.tsv", ["id", "text"], [["a\tb", "1\n2\r"], [None, "\\n"], [3, ""]])
    written = (tmp_path / "t.tsv").read_bytes().decode()
    assert written == "id\ttext\na\\tb\t1\\n2\\r\n\t\\\\n\n3\t\n"
