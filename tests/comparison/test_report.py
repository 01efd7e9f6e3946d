"""What a reader sees of a comparison: sentences, tables, one page that needs nothing else, changed lines."""

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from hwr import pictures
from hwr.comparison import paired, report
from hwr.comparison.compared import ComparedRun
from hwr.comparison.paired import Comparison
from hwr.comparison.report import Table, sentences, tables
from tests.comparison.logged import HOW, IN_PROCESS, TRUTH, Logged, misread, recorded

# sentences and tables


@pytest.fixture
def runs(tmp_path: Path) -> list[ComparedRun]:
    """Return a run that misreads every line, one that misreads none, and one that is as good as the first."""
    made = [
        Logged("old", misread(16), parameters={"lr": 0.1, "seed": 0}, environment={"threads": 2}),
        Logged("new", misread(0), parameters={"lr": 0.2, "seed": 0}, environment={"threads": 2}),
        Logged("same", misread(16), parameters={"lr": 0.1, "clip": 5}),
    ]
    return [recorded(run, label, tmp_path / label) for run, label in zip(made, "ABC", strict=True)]


def compared(runs: list[ComparedRun]) -> Comparison:
    results = [paired.paired_tests(runs[0], run, HOW, IN_PROCESS, level=0.05) for run in runs[1:]]
    return Comparison(runs, paired.adjust_tests(results), "test", 0.05)


def table(comparison: Comparison, title: str) -> Table:
    (found,) = (own for own in report.tables(comparison) if own.title == title)
    return found


def test_sentences_say_in_words_which_run_is_better(runs: list[ComparedRun]) -> None:
    first, *_ = report.sentences(compared(runs[:2]))
    rate = report.percent(runs[0].scores["cer"])
    assert first == (
        f"CER: B is significantly better than A (B 0.00 %, A {rate}; "
        "permutation test over 8 writers, p = 0.008)"
    )


def test_sentences_say_where_there_is_no_difference(runs: list[ComparedRun]) -> None:
    first, *_ = report.sentences(compared([runs[0], runs[2]]))
    assert first.startswith("CER: no significant difference between C and A")
    assert first.endswith("p = 1.000)")


def test_tests_say_in_words_what_is_significant(runs: list[ComparedRun]) -> None:
    own = table(compared(runs[:2]), "B against A")
    verdict = own.head.index("at 0.05")
    assert {row[verdict] for row in own.rows} == {"B better", "not significant"}  # MAPSSWE: no spread
    assert own.rows[0][0] == "CER"
    assert own.rows[1][0] == ""  # one rate, several tests
    assert 0 in own.marked


def test_tests_of_several_runs_show_adjusted_p_values(runs: list[ComparedRun]) -> None:
    own = table(compared(runs), "B against A")
    plain, adjusted = (own.head.index(name) for name in ("p", "p (Holm)"))
    assert (own.rows[0][plain], own.rows[0][adjusted]) == ("0.008", "0.016")


def test_parameters_that_are_alike_are_left_out(runs: list[ComparedRun]) -> None:
    own = table(compared(runs), "Parameters that differ")
    assert [list(row) for row in own.rows] == [
        ["clip", "—", "—", "5"],
        ["lr", "0.1", "0.2", "0.1"],
        ["seed", "0", "0", "—"],
    ]


def test_metrics_have_differences(runs: list[ComparedRun]) -> None:
    (row,) = table(compared(runs[:2]), "Metrics").rows
    rate = 100 * runs[0].scores["cer"]
    assert list(row) == ["test/cer", f"{rate:.2f} %", "0.00 %", f"−{rate:.2f}"]


def test_environment_that_is_not_recorded_is_told_from_one_that_is_alike(
    runs: list[ComparedRun],
) -> None:
    assert table(compared(runs[:2]), "Environment").note == "No difference."
    assert table(compared(runs), "Environment").note == "Not recorded for C."


def test_training_data_differ_by_their_fingerprint(runs: list[ComparedRun]) -> None:
    assert table(compared(runs[:2]), "Training data").note == "No difference."


def test_settings_of_evaluations_are_compared(tmp_path: Path) -> None:
    made = [
        Logged("a", misread(1), about={"settings": {"decoder": {"width": width}}}, parameters={"lr": 1})
        for width in (25, 50)
    ]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    (row,) = table(compared(runs), "Parameters that differ").rows
    assert list(row) == ["evaluation.decoder.width", "25", "50"]


def test_settings_of_a_run_that_only_evaluates_are_told_once(tmp_path: Path) -> None:
    made = [
        Logged(
            "a",
            misread(1),
            about={"settings": {"batch_size": size}},
            parameters={"target": "line", "batch_size": size},
        )
        for size in (1, 2)
    ]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    assert [row[0] for row in table(compared(runs), "Parameters that differ").rows] == [
        "evaluation.batch_size"
    ]


@pytest.mark.parametrize(
    ("p", "said"), [(0.0, "< 0.001"), (0.00099, "< 0.001"), (0.001, "0.001"), (0.0456, "0.046"), (1, "1.000")]
)
def test_p_values_are_rounded_but_never_to_nothing(p: float, said: str) -> None:
    assert report.p_value(p) == said


def test_points_are_signed() -> None:
    assert [report.points(value) for value in (0.0123, -0.0123)] == ["+1.23", "−1.23"]


# the terminal


def test_text_holds_all_sentences_and_tables(tmp_path: Path) -> None:
    made = [Logged("old", misread(16), parameters={"lr": 1}), Logged("new", misread(0), parameters={"lr": 2})]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    comparison = Comparison(runs, [paired.paired_tests(*runs, HOW, IN_PROCESS, level=0.05)], "test", 0.05)
    text = report.text_report(comparison)
    assert all(sentence in text for sentence in sentences(comparison))
    assert all(table.title.upper() in text for table in tables(comparison))
    lines = text.splitlines()
    place = lines.index("PARAMETERS THAT DIFFER")
    assert lines[place + 1 : place + 3] == ["    A  B", "lr  1  2"]
    assert all(line == line.rstrip() for line in lines)


# the page


VOID = {"meta", "img"}


class Elements(html.parser.HTMLParser):
    """Collects tags, addresses and text, and what is left open or closed wrongly."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.open += [] if tag in VOID else [tag]
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    made = [
        Logged("old <&>", misread(16), parameters={"note": "<b>"}),
        Logged("new", misread(0), parameters={"note": "x"}),
    ]
    runs = [recorded(run, label, tmp_path / label) for run, label in zip(made, "AB", strict=True)]
    return Comparison(runs, [paired.paired_tests(*runs, HOW, IN_PROCESS, level=0.05)], "test", 0.05)


def elements(text: str) -> Elements:
    found = Elements()
    found.feed(text)
    assert found.open == []
    return found


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pictures.save_picture(tmp_path / "lines.png", np.zeros((4, 4, 3), np.uint8))
    return tmp_path / "lines.png"


def test_page_needs_nothing_from_elsewhere(comparison: Comparison, picture: Path) -> None:
    text = report.html_report(comparison, picture)
    found = elements(text)
    assert [address[:22] for address in found.addresses] == ["data:image/png;base64,"]
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert not re.search(r"https?:|@import|url\(", text)


def test_page_says_who_is_better(comparison: Comparison) -> None:
    found = elements(report.html_report(comparison, None))
    assert "CER: B is significantly better than A" in found.text
    assert found.tags.count("img") == 0


def test_page_shows_names_as_they_are(comparison: Comparison) -> None:
    found = elements(report.html_report(comparison, None))
    assert "old <&>" in found.text
    assert "<b>" in found.text
    assert "b" not in found.tags


def test_page_draws_every_interval(comparison: Comparison) -> None:
    drawn = sum(result.interval is not None for result in comparison.tests[0])
    assert drawn == 4  # CER and WER, by lines and by writers
    assert elements(report.html_report(comparison, None)).tags.count("circle") == drawn


def test_page_without_intervals_has_no_drawing(comparison: Comparison) -> None:
    alone = Comparison(comparison.runs, [comparison.tests[0][-1:]], "test", 0.05)
    assert "svg" not in elements(report.html_report(alone, None)).tags


# lines that changed


def pair(folder: Path, *, pictures: bool = True) -> list[ComparedRun]:
    """Return a run that misreads lines 0 and 1, and one that misreads line 15 whole."""
    other = {**misread(0), "p7/l1": "no"}
    runs = [
        Logged("a", {**misread(2), "p0/l1": "XXXX"}, pictures=pictures),
        Logged("b", other, pictures=pictures),
    ]
    return [recorded(run, label, folder / label) for run, label in zip(runs, "AB", strict=True)]


def test_lines_that_changed_most_come_first(tmp_path: Path) -> None:
    better, worse = report.most_changed(*pair(tmp_path), 5)
    assert (better, worse) == (["p0/l1", "p0/l0"], ["p7/l1"])


def test_no_more_lines_are_shown_than_asked_for(tmp_path: Path) -> None:
    better, _ = report.most_changed(*pair(tmp_path), 1)
    assert better == ["p0/l1"]


@pytest.mark.parametrize("pictures", [True, False])
def test_picture_has_a_card_for_each_line(tmp_path: Path, pictures: bool) -> None:
    comparison = Comparison(pair(tmp_path, pictures=pictures), [[]], "test", 0.05)
    one, all_of_them = report.draw_changed_lines(comparison, 1), report.draw_changed_lines(comparison, 9)
    assert one is not None and all_of_them is not None
    assert one.shape[0] < all_of_them.shape[0]
    assert one.dtype == np.uint8


def test_picture_shows_the_kept_line(tmp_path: Path) -> None:
    with_line, without = (
        report.draw_changed_lines(
            Comparison(pair(tmp_path / str(kept), pictures=kept), [[]], "test", 0.05), 1
        )
        for kept in (True, False)
    )
    assert with_line is not None and without is not None
    assert with_line.shape[0] == without.shape[0] + 2 * 23  # two lines of 24 px in place of 1 px


def test_nothing_is_drawn_where_nothing_changed(tmp_path: Path) -> None:
    same = [recorded(Logged("a", misread(2)), label, tmp_path / label) for label in "AB"]
    assert report.draw_changed_lines(Comparison(same, [[]], "test", 0.05), 9) is None
    assert len(TRUTH) == len(same[0].lines)
