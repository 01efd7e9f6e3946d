from pathlib import Path

from hwr.comparison import paired, terminal
from hwr.comparison.tables import Comparison, sentences, tables
from tests.comparison.logged import HOW, IN_PROCESS, Logged, misread, recorded


def test_text_holds_all_sentences_and_tables(tmp_path: Path) -> None:
    made = [Logged("old", misread(16), parameters={"lr": 1}), Logged("new", misread(0), parameters={"lr": 2})]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    comparison = Comparison(runs, [paired.results(*runs, HOW, IN_PROCESS, level=0.05)], "test", 0.05)
    text = terminal.text(comparison)
    assert all(sentence in text for sentence in sentences(comparison))
    assert all(table.title.upper() in text for table in tables(comparison))
    lines = text.splitlines()
    place = lines.index("PARAMETERS THAT DIFFER")
    assert lines[place + 1 : place + 3] == ["    A  B", "lr  1  2"]
    assert all(line == line.rstrip() for line in lines)
