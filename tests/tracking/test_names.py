import pytest

from hwr.tracking.names import cut, flatten, safe


def test_flatten_joins_names_with_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": "é"}) == {"a.b.c": "1", "d": "é"}


@pytest.mark.parametrize(
    ("name", "taken"), [("valid/cer", "valid/cer"), ("a[0]", "a_0_"), ("b%c=d", "b_c_d"), ("é", "é")]
)
def test_name_keeps_what_mlflow_takes(name: str, taken: str) -> None:
    assert safe(name) == taken


@pytest.mark.parametrize(("text", "shown"), [("abc", "abc"), ("abcd", "ab…")])
def test_text_is_cut_visibly_when_it_is_too_long(text: str, shown: str) -> None:
    assert cut(text, 3) == shown
