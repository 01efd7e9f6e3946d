"""python -m hwr language-model: what it makes, prints and refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from hwr import data
from hwr.__main__ import main
from hwr.data.records import fingerprint
from hwr.language import TextRecord
from hwr.language.arpa import NgramModel
from hwr.language.lexicon import Lexicon
from tests.alto_folder import write_folder
from tests.refusal import refused

TRAIN = "le chat dort, le chien dort"
VALID = "le chat et le chien de la voisine"
TEST = "la voisine a un chat et un chien"


@pytest.fixture
def alto(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", {"train": TRAIN, "valid": VALID, "test": TEST})
    return ["data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}"]


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    path = tmp_path / "novel.txt"
    path.write_text(f"Il était une fois\n\nun  roi\n{TEST}\n  {VALID}\nun roi\n", encoding="utf-8")
    return path


def made(output: Path, *arguments: str) -> tuple[NgramModel, TextRecord]:
    main(["language-model", *arguments, "--output", str(output)])
    return NgramModel.load(output), TextRecord.load(output)


def test_model_is_made_from_the_train_split_where_no_file_is_given(
    alto: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "model.arpa"
    model, record = made(output, *alto, "--order", "3")
    assert (model.unit, model.order) == ("character", 3)
    assert set(model.symbols) == set(TRAIN)
    (source,) = record.origin.sources
    assert (source.name, source.split, source.lines) == ("alto", "train", 1)
    first, head, *rows, known, valid = capsys.readouterr().out.splitlines()
    assert first == "alto, train: 1 lines"
    assert head.split()[:2] == ["order", "n-grams"]
    assert [row.split()[:2] for row in rows[:1]] == [["1", str(len(set(TRAIN)) + 3)]]
    assert len(rows) == 3
    assert known == f"{len(set(TRAIN))} characters; written to {output}"
    assert valid == f"valid: 1 lines, perplexity {model.perplexity([VALID]):.3f} a character"


def test_model_has_seen_the_data_that_it_is_made_from(alto: list[str], tmp_path: Path) -> None:
    _, record = made(tmp_path / "model.arpa", *alto)
    pages = data.load_pages("alto", root=str(tmp_path / "data"), splits=None, shares=[0.8, 0.1, 0.1], seed=0)
    by_split = {page.split: page for page in pages.pages}
    lines = {split: {line.id: line.text for line in page.lines} for split, page in by_split.items()}
    assert record.seen(lines["train"], "") == "line p-train/l"
    assert record.seen({}, fingerprint([by_split["train"]])) == "this very data"
    assert record.seen(lines["test"], fingerprint([by_split["test"]])) == ""


def test_model_is_made_from_files_alone_where_no_data_is_given(
    novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, record = made(tmp_path / "model.arpa", str(novel), "order=4")
    (source,) = record.origin.sources
    assert (source.name, source.split, source.lines, record.order) == ("novel.txt", "", 5, 4)
    said = capsys.readouterr().out
    assert said.startswith("novel.txt: 5 lines\n")
    assert "valid" not in said


def test_lines_of_valid_and_test_are_left_out_of_files(
    alto: list[str], novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, record = made(tmp_path / "model.arpa", *alto, str(novel), "--order", "2")
    assert [(source.name, source.lines) for source in record.origin.sources] == [
        ("alto", 1),
        ("novel.txt", 3),
    ]
    assert "novel.txt: 3 lines, 2 left out that are in valid or test\n" in capsys.readouterr().out


def test_words_are_spelt_where_they_occur_less_than_asked(
    alto: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*alto, "--unit", "word", "--order", "2")
    assert made(tmp_path / "2.arpa", *arguments)[0].words == {"le"}  # conf/language_model.yaml
    assert " a character, " in capsys.readouterr().out.splitlines()[-1]
    words = {"le", "chat", "dort,", "chien", "dort"}
    assert made(tmp_path / "1.arpa", *arguments, "--min-count", "1")[0].words == words


def test_lexicon_is_made_of_the_same_text(
    alto: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "words.tsv"
    _, model = made(tmp_path / "model.arpa", *alto, "--words", str(path))
    assert Lexicon.read(path).counts == {"le": 2, "dort": 2, "chat": 1, "chien": 1}
    lexicon = TextRecord.load(path)
    assert lexicon.origin == model.origin
    assert (lexicon.unit, lexicon.symbols) == ("word", "acdehilnort")
    assert capsys.readouterr().out.endswith(f"4 words; written to {path}\n")


def test_model_knows_the_alphabet_of_weights(novel: Path, tmp_path: Path) -> None:
    model, record = made(tmp_path / "model.arpa", str(novel), "weights.line=line/copiste")
    assert "€" in model.symbols
    assert model.symbols == record.symbols


def test_model_of_files_needs_no_framework(novel: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from hwr.__main__ import main; main(sys.argv[1:]); "
        "assert not {'mxnet', 'mlflow'} & set(sys.modules)"
    )
    arguments = ["language-model", str(novel), "--output", str(tmp_path / "model.arpa")]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.txt"], "none.txt: cannot be read (No such file or directory)"),
        (["--order", "7"], "order=7 is not possible; use 2 to 6, which KenLM reads"),
        (["--order", "six"], "order='six' is not a whole number"),
        (["--unit", "letter"], "unit=letter: unknown; use character or word"),
        (["--min-count", "0"], "min_count=0 is not possible; it must be 1 or more"),
        (["ordr=6"], "ordr: no such key (did you mean order?); see --help for all keys"),
        (["data=alto"], "data.root is not set; give data.root=… on the command line"),
        (["split=test"], "split=test: a model of the test lines knows them by heart; use split=train"),
        (["split=all"], "split='all' is not possible; it must be one of train, valid, test"),
        (["weights.line=nowhere"], "weights nowhere: no such folder; use a weights folder"),
        (["weights.line=segmentation/copiste"], "weights segmentation/copiste: of stage segmen"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    output = tmp_path / "model.arpa"
    call = ["language-model", *arguments, "--output", str(output)]
    assert refused(capsys, lambda: main(call)).startswith(said)
    assert not output.exists()


def test_split_without_pages_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "data", {"train": TRAIN})
    call = [
        "language-model",
        "data=alto",
        f"data.root={root}",
        "split=valid",
        "--output",
        str(tmp_path / "m"),
    ]
    assert refused(capsys, lambda: main(call)).startswith("split=valid: empty, none of the 1 pages in")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the text is empty"),
        (b" \n\n", "the text is empty"),
        (b"caf\xe9", "TEXT: not UTF-8; save it as"),
    ],
)
def test_text_is_refused_when_there_is_none_to_learn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, said: str
) -> None:
    path = tmp_path / "novel.txt"
    path.write_bytes(content)
    call = ["language-model", str(path), "--output", str(tmp_path / "model.arpa")]
    assert refused(capsys, lambda: main(call)).startswith(said.replace("TEXT", str(path)))


@pytest.mark.parametrize(
    ("output", "words", "said"),
    [
        ("file/model.arpa", "w", "--output DIR/file/model.arpa: no file can be written there"),
        (".", "w", "--output DIR: no file can be written there; choose another"),
        ("m", "file/w", "--words DIR/file/w: no file can be written there"),
        ("m.json", "w", "--output DIR/m.json: its record m.json has that name; choose another"),
        ("m.arpa", "m.tsv", "--words DIR/m.tsv: its record m.json has that name; choose another"),
        ("m", "m", "--words DIR/m: its record m.json has that name; choose another"),
    ],
)  # fmt: skip
def test_place_is_refused_before_any_text_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str, words: str, said: str
) -> None:
    (tmp_path / "file").touch()
    call = [
        "language-model",
        "none.txt",
        "--output",
        str(tmp_path / output),
        "--words",
        str(tmp_path / words),
    ]
    said = said.replace("DIR", str(tmp_path))
    assert refused(capsys, lambda: main(call)).startswith(said)


def test_model_of_data_is_mixed_with_one_of_files_and_pruned(
    alto: list[str], novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, record = made(tmp_path / "whole.arpa", str(novel), *alto, "file_share=0.2")
    alone, _ = made(tmp_path / "alone.arpa", *alto)
    assert [source.name for source in record.origin.sources] == ["alto", "novel.txt"]
    assert whole.perplexity([TRAIN]) < 1.3 * alone.perplexity([TRAIN])
    assert whole.perplexity(["Il était une fois"]) < 0.6 * alone.perplexity(["Il était une fois"])
    capsys.readouterr()
    small, _ = made(
        tmp_path / "small.arpa", str(novel), *alto, "file_share=0.2", "most_ngrams=90", "decimals=2"
    )
    assert "discounts" not in capsys.readouterr().out
    assert len(small.probabilities) < len(whole.probabilities)
    logs = [line.split("\t")[0] for line in (tmp_path / "small.arpa").read_text("utf-8").splitlines()]
    assert max(len(log.partition(".")[2]) for log in logs if log.startswith("-")) == 2


@pytest.mark.parametrize("given", ["data", "file"])
def test_mixture_without_data_or_without_a_file_is_refused(
    alto: list[str], novel: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    words = [*alto] if given == "data" else [str(novel)]
    output = tmp_path / "model.arpa"
    said = refused(
        capsys, lambda: main(["language-model", *words, "file_share=0.3", "--output", str(output)])
    )
    assert "file_share=0.3" in said
    assert ("a text file too" if given == "data" else "data.root=DIR) too") in said
    assert not output.exists()
