from hwr.scoring.counts import Counts


def test_errors_and_rate_are_sums_over_the_reference() -> None:
    counts = Counts(reference=10, substitutions=1, deletions=2, insertions=3)
    assert counts.errors == 6
    assert counts.rate == 0.6


def test_rate_of_an_empty_reference_is_the_number_of_insertions() -> None:
    assert Counts(reference=0, insertions=2).rate == 2.0
    assert Counts().rate == 0.0


def test_total_adds_each_kind() -> None:
    assert Counts.total([Counts(3, 1, 0, 2), Counts(4, 0, 1, 0)]) == Counts(7, 1, 1, 2)
    assert Counts.total([]) == Counts()


def test_as_dict_has_the_names_of_the_scores_file() -> None:
    assert Counts(4, 3, 2, 1).as_dict() == {
        "reference": 4,
        "substitutions": 3,
        "deletions": 2,
        "insertions": 1,
    }
