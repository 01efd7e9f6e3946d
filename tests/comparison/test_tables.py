from pathlib import Path

import pytest

from hwr.comparison import paired, tables
from hwr.comparison.recorded import Recorded
from hwr.comparison.tables import Comparison, Table
from tests.comparison.logged import HOW, IN_PROCESS, Logged, misread, recorded


@pytest.fixture
def runs(tmp_path: Path) -> list[Recorded]:
    """Return a run that misreads every line, one that misreads none, and one that is as good as the first."""
    made = [
        Logged("old", misread(16), parameters={"lr": 0.1, "seed": 0}, environment={"threads": 2}),
        Logged("new", misread(0), parameters={"lr": 0.2, "seed": 0}, environment={"threads": 2}),
        Logged("same", misread(16), parameters={"lr": 0.1, "clip": 5}),
    ]
    return [recorded(run, label, tmp_path / label) for run, label in zip(made, "ABC", strict=True)]


def compared(runs: list[Recorded]) -> Comparison:
    results = [paired.results(runs[0], run, HOW, IN_PROCESS, level=0.05) for run in runs[1:]]
    return Comparison(runs, paired.adjust(results), "test", 0.05)


def table(comparison: Comparison, title: str) -> Table:
    (found,) = (own for own in tables.tables(comparison) if own.title == title)
    return found


def test_sentences_say_in_words_which_run_is_better(runs: list[Recorded]) -> None:
    first, *_ = tables.sentences(compared(runs[:2]))
    rate = tables.percent(runs[0].scores["cer"])
    assert first == (
        f"CER: B is significantly better than A (B 0.00 %, A {rate}; "
        "permutation test over 8 writers, p = 0.008)"
    )


def test_sentences_say_where_there_is_no_difference(runs: list[Recorded]) -> None:
    first, *_ = tables.sentences(compared([runs[0], runs[2]]))
    assert first.startswith("CER: no significant difference between C and A")
    assert first.endswith("p = 1.000)")


def test_tests_say_in_words_what_is_significant(runs: list[Recorded]) -> None:
    own = table(compared(runs[:2]), "B against A")
    verdict = own.head.index("at 0.05")
    assert {row[verdict] for row in own.rows} == {"B better", "not significant"}  # MAPSSWE: no spread
    assert own.rows[0][0] == "CER"
    assert own.rows[1][0] == ""  # one rate, several tests
    assert 0 in own.marked


def test_tests_of_several_runs_show_adjusted_p_values(runs: list[Recorded]) -> None:
    own = table(compared(runs), "B against A")
    plain, adjusted = (own.head.index(name) for name in ("p", "p (Holm)"))
    assert (own.rows[0][plain], own.rows[0][adjusted]) == ("0.008", "0.016")


def test_parameters_that_are_alike_are_left_out(runs: list[Recorded]) -> None:
    own = table(compared(runs), "Parameters that differ")
    assert [list(row) for row in own.rows] == [
        ["clip", "—", "—", "5"],
        ["lr", "0.1", "0.2", "0.1"],
        ["seed", "0", "0", "—"],
    ]


def test_metrics_have_differences(runs: list[Recorded]) -> None:
    (row,) = table(compared(runs[:2]), "Metrics").rows
    rate = 100 * runs[0].scores["cer"]
    assert list(row) == ["test/cer", f"{rate:.2f} %", "0.00 %", f"−{rate:.2f}"]


def test_environment_that_is_not_recorded_is_told_apart_from_one_that_is_alike(runs: list[Recorded]) -> None:
    assert table(compared(runs[:2]), "Environment").note == "No difference."
    assert table(compared(runs), "Environment").note == "Not recorded for C."


def test_training_data_differ_by_their_fingerprint(runs: list[Recorded]) -> None:
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
    assert tables.p_value(p) == said


def test_points_are_signed() -> None:
    assert [tables.points(value) for value in (0.0123, -0.0123)] == ["+1.23", "−1.23"]
