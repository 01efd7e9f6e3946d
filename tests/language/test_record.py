"""Records of the text that models are made from, and who is refused for having seen what is read."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hwr.errors import InputError
from hwr.language import (
    LEAST_LENGTH,
    Origin,
    TextRecord,
    TextSource,
    refuse_seen,
    shared_texts,
    write_record,
)

DATA = TextSource("alto", "f" * 64, "train", 2)
FILE = TextSource("novel.txt", "0" * 64, "", 2)
TRAINED = {"p1/l1": "La tête de la bête", "p1/l2": "2"}
LONG = "a line of twenty characters and more, number "


@dataclass(frozen=True)
class Reader:
    """A decoder with models, as far as records go."""

    records: tuple[TextRecord, ...]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.arpa"
    path.write_text("a model", encoding="utf-8")
    return path


def recorded(path: Path, origin: Origin) -> TextRecord:
    return write_record(path, origin, unit="character", order=6, symbols=" ab\\é")


def refusal(path: Path, origin: Origin, lines: Mapping[str, str], fingerprint: str = "") -> str:
    """Return with what a decoder is refused whose model has this origin; nothing where it is not."""
    try:
        refuse_seen(Reader((recorded(path, origin),)), lines, fingerprint)
    except InputError as error:
        return str(error)
    return ""


def test_record_is_read_back_as_it_was_written(model: Path) -> None:
    origin = Origin.of_data(DATA, TRAINED) + Origin.of_file(FILE, [LONG + "1", "short"])
    assert recorded(model, origin) == TextRecord.load(model)


def test_older_record_lists_its_hashes(model: Path) -> None:
    written = recorded(model, Origin.of_data(DATA, TRAINED) + Origin.of_file(FILE, [LONG]))
    beside = model.with_suffix(".json")
    lists = {"lines": sorted(written.origin.lines), "texts": sorted(written.origin.texts)}
    said = json.loads(beside.read_text(encoding="utf-8"))
    assert all(len(said[name]) < len(json.dumps(lists[name])) for name in lists)
    beside.write_text(json.dumps(said | lists), encoding="utf-8")
    assert TextRecord.load(model) == written


def test_record_holds_no_text(model: Path) -> None:
    recorded(model, Origin.of_data(DATA, TRAINED) + Origin.of_file(FILE, [LONG]))
    written = model.with_suffix(".json").read_text(encoding="utf-8")
    assert "tête" not in written
    assert "twenty" not in written


# who has seen what is read


def test_decoder_is_refused_when_a_single_line_of_data_is_known(model: Path) -> None:
    lines = {**{f"p2/l{n}": LONG + str(n) for n in range(99)}, "p1/l2": "2"}
    assert refusal(model, Origin.of_data(DATA, TRAINED), lines) == (
        f"{model}: made from line p1/l2 of what is read; "
        "read another split, or make it from other text with python -m hwr language-model"
    )


@pytest.mark.parametrize("lines", [{"p2/l1": "La tête de la bête"}, {"p1/l1": "La fête de la bête"}, {}])
def test_decoder_is_taken_when_another_line_has_the_text_or_the_id(
    model: Path, lines: dict[str, str]
) -> None:
    assert refusal(model, Origin.of_data(DATA, TRAINED), lines, "other") == ""


def test_decoder_is_refused_when_the_data_are_those_it_was_made_from(model: Path) -> None:
    said = refusal(model, Origin.of_data(DATA, TRAINED), {"other": "other"}, DATA.sha256)
    assert said.startswith(f"{model}: made from this very data of what is read;")


@pytest.mark.parametrize(
    ("known", "said"),
    [(0, ""), (1, ""), (2, "made from 2 of 20 lines of what is read")],  # 5 % of 20 is 1
)
def test_decoder_is_refused_when_more_than_a_few_lines_are_in_a_text_file(
    model: Path, known: int, said: str
) -> None:
    lines = {f"l{n}": f"{LONG}{n}" for n in range(20)}
    others = [f"{LONG}of another kind {n}" for n in range(50)]
    origin = Origin.of_file(FILE, [*list(lines.values())[:known], *others])
    assert said in refusal(model, origin, lines)
    assert bool(said) == bool(refusal(model, origin, lines))


def test_decoder_is_taken_when_only_short_lines_are_in_a_text_file(model: Path) -> None:
    short, long = "x" * (LEAST_LENGTH - 1), "x" * LEAST_LENGTH
    assert refusal(model, Origin.of_file(FILE, [short]), {"l1": short}) == ""
    assert refusal(model, Origin.of_file(FILE, [long]), {"l1": long}) != ""


def test_lines_are_compared_in_canonical_form(model: Path) -> None:
    origin = Origin.of_file(FILE, ["  Une  e\u0301te\u0301 de vingt lettres "])
    assert "1 of 1" in refusal(model, origin, {"l1": "Une été de vingt lettres"})


def test_all_records_of_a_decoder_count(tmp_path: Path) -> None:
    made = []
    for name, lines in (("a.arpa", {"l1": "a"}), ("b.tsv", {"l2": "b"})):
        (tmp_path / name).write_text(name, encoding="utf-8")
        made.append(recorded(tmp_path / name, Origin.of_data(DATA, lines)))
    with pytest.raises(InputError, match=r"b\.tsv: made from line l2"):
        refuse_seen(Reader(tuple(made)), {"l2": "b"}, "")


def test_decoder_without_models_is_taken() -> None:
    refuse_seen(Reader(()), {"l1": LONG}, DATA.sha256)


def test_decoder_that_does_not_tell_its_records_is_not_taken() -> None:
    untold: Any = object()
    with pytest.raises(AttributeError, match="records"):
        refuse_seen(untold, {"l1": LONG}, DATA.sha256)


def test_shared_lines_are_the_long_ones() -> None:
    assert shared_texts([LONG + "1", LONG + "2", "2"], [LONG + "2", LONG + "3", "2"]) == {LONG + "2"}


# what is refused


def test_record_is_refused_when_it_is_missing(model: Path) -> None:
    with pytest.raises(
        InputError, match=r"model\.arpa: its record model\.json is missing; make it anew with"
    ):
        TextRecord.load(model)


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"sha256": "0"}', "{", '"a"', "null"],
)
def test_record_is_refused_when_it_is_damaged(model: Path, text: str) -> None:
    model.with_suffix(".json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.json: damaged; make it anew with python -m hwr"):
        TextRecord.load(model)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("sha256", 1),
        ("unit", None),
        ("order", "6"),
        ("symbols", ["a"]),
        ("sources", [{}]),
        ("lines", 3),
        ("lines", "cut"),
        ("texts", "AAAA"),
        ("texts", "ä"),
        ("texts", [1]),
    ],
)
def test_record_is_refused_when_a_value_is_of_another_kind(model: Path, key: str, value: object) -> None:
    recorded(model, Origin.of_data(DATA, TRAINED))
    beside = model.with_suffix(".json")
    said = json.loads(beside.read_text(encoding="utf-8"))
    beside.write_text(json.dumps({**said, key: value}), encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.json: damaged"):
        TextRecord.load(model)


def test_record_is_refused_when_the_model_has_changed(model: Path) -> None:
    recorded(model, Origin.of_data(DATA, TRAINED))
    model.write_text("another model", encoding="utf-8")
    with pytest.raises(InputError, match=r"model\.arpa: changed since model\.json was written; make it anew"):
        TextRecord.load(model)


def test_record_is_refused_when_the_model_is_gone(model: Path) -> None:
    recorded(model, Origin.of_data(DATA, TRAINED))
    model.unlink()
    with pytest.raises(InputError, match=r"model\.arpa: cannot be read \(No such file or directory\)"):
        TextRecord.load(model)
