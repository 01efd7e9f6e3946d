from hwr.tables import csv_table, figure_columns, markdown_table, text_table

HEAD = ["", "CER", "text"]
ROWS = [["a", "9.50 %", "x|y"], ["漢字", "12.00 %", "1\n2"]]


def test_text_table_sets_figures_to_the_right() -> None:
    assert text_table(HEAD, [["a", "9.50 %", "x|y"], ["漢字", "12.00 %", ""]]).splitlines() == [
        "          CER  text",
        "a      9.50 %  x|y",
        "漢字  12.00 %",  # a sign of two columns
    ]


def test_markdown_table_keeps_cells_in_their_row() -> None:
    head, line, *rows = markdown_table(HEAD, ROWS).splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["", "", "CER", "text", ""]
    assert [cell.strip().strip("-") for cell in line.split("|")] == ["", ":", ":", ":", ""]
    assert line.split("|")[2].strip().endswith(":")
    assert [row.split() for row in rows] == [
        ["|", "a", "|", "9.50", "%", "|", r"x\|y", "|"],
        ["|", "漢字", "|", "12.00", "%", "|", "1", "2", "|"],
    ]


def test_csv_table_quotes_what_would_end_a_cell() -> None:
    assert csv_table(["a", "b"], [["1,2", 'x"y'], ["", "é"]]) == 'a,b\n"1,2","x""y"\n,é\n'


def test_figures_are_told_from_texts_by_what_is_filled_in() -> None:
    rows = [["1", "−2.5 %", "< 0.001", "1e-05", "—", "1.2 [0, 3]"], ["", "+1", "0.5", "—", "", "7"]]
    assert figure_columns(rows) == [True, True, True, True, False, False]
