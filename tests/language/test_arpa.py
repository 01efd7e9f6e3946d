"""ARPA files: what is written, what is read back, what texts score, and how a damaged file is refused."""

import gzip
import math
from pathlib import Path

import pytest
from flashlight.lib.text.decoder.kenlm import KenLM
from flashlight.lib.text.dictionary import Dictionary

from hwr.errors import InputError
from hwr.language import arpa, ngrams
from hwr.language.arpa import NgramModel, write_arpa
from hwr.language.ngrams import estimate_ngrams, text_tokens

LINES = ["le chat dort", "le chien dort", "la chatte dort bien", "le chat et la chatte"]
OTHERS = [*LINES, "le chien", "ça chatouille", "", "un @ deux"]
# A bigram model of a, b and the space, in logarithms to base 10.
BIGRAMS = """\\data\\
ngram 1=6
ngram 2=3

\\1-grams:
-2\t<unk>
-99\t<s>\t-0.5
-1\t</s>
-0.5\ta\t-0.25
-0.75\tb\t0.125
-1.5\t<space>

\\2-grams:
-0.25\t<s> a
-0.125\ta b
-0.5\tb </s>

\\end\\
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "model.arpa"
    file.write_text(BIGRAMS, encoding="utf-8")
    return file


def made(path: Path, unit: str, order: int = 3) -> NgramModel:
    write_arpa(path, estimate_ngrams(LINES, unit=unit, order=order, min_count=2, symbols="é"))
    return NgramModel.load(path)


# scores


@pytest.mark.parametrize(
    ("text", "log10"),
    [
        ("ab", -0.25 - 0.125 - 0.5),  # bigrams all
        ("b", -0.5 - 0.75 - 0.5),  # after <s>: its weight, and the unigram
        ("ba", -0.5 - 0.75 + 0.125 - 0.5 - 0.25 - 1),  # b a and a </s> go back
        ("a b", -0.25 - 0.25 - 1.5 - 0.75 - 0.5),  # what follows a space has no weight before it
        ("ax", -0.25 - 0.25 - 2 - 1),  # x is unknown
        ("", -0.5 - 1),
    ],
)
def test_score_is_the_natural_logarithm_of_the_whole_line(path: Path, text: str, log10: float) -> None:
    assert NgramModel.load(path).score(text) == pytest.approx(log10 * math.log(10), abs=1e-6)


def test_perplexity_counts_the_ends_of_lines(path: Path) -> None:
    # ab: 0.875 over 3 tokens, b: 1.75 over 2
    assert NgramModel.load(path).perplexity(["ab", "b"]) == pytest.approx(10 ** (2.625 / 5))


def test_unknown_tokens_are_next_to_impossible_when_a_file_has_none(path: Path) -> None:
    without = BIGRAMS.replace("ngram 1=6", "ngram 1=5").replace("-2\t<unk>\n", "")
    path.write_text(without, encoding="utf-8")
    assert NgramModel.load(path).score("x") == pytest.approx((-0.5 - 100 - 1) * math.log(10))


@pytest.mark.parametrize("unit", ngrams.UNITS)
def test_scores_and_perplexity_are_those_of_kenlm(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], unit: str
) -> None:
    model = made(tmp_path / "model.arpa", unit)
    names = list(model.vocabulary)
    other = KenLM(str(tmp_path / "model.arpa"), Dictionary(names))
    capfd.readouterr()  # the bar that it draws
    total, count = 0.0, 0
    for line in OTHERS:
        state, sums = other.start(False), 0.0  # after <s>
        for token in text_tokens(line, unit, known=model.words):
            state, log10 = other.score(state, names.index(token if token in names else "<unk>"))
            sums += log10
            count += 1
        sums += other.finish(state)[1]
        assert sums * math.log(10) == pytest.approx(model.score(line), abs=1e-4), line
        total, count = total + sums, count + 1
    assert model.perplexity(OTHERS) == pytest.approx(10 ** (-total / count), rel=1e-3)


@pytest.mark.parametrize("unit", ngrams.UNITS)
def test_scores_are_those_of_kenlms_own_module(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], unit: str
) -> None:
    kenlm = pytest.importorskip("kenlm")
    model = made(tmp_path / "model.arpa", unit)
    other = kenlm.Model(str(tmp_path / "model.arpa"))
    capfd.readouterr()
    for line in OTHERS:
        log10 = other.score(" ".join(text_tokens(line, unit, known=model.words)))
        assert log10 * math.log(10) == pytest.approx(model.score(line), abs=1e-4), line


# what is read back


@pytest.mark.parametrize(
    ("unit", "symbols", "words"),
    [
        ("character", " abcdehilnorté", set()),
        ("word", " abcdehilnorté", {"le", "la", "chat", "chatte", "dort"}),
    ],
)
def test_model_knows_what_it_was_made_of(tmp_path: Path, unit: str, symbols: str, words: set[str]) -> None:
    model = made(tmp_path / "model.arpa", unit, order=4)
    assert (model.unit, model.order, model.symbols, model.words) == (unit, 4, symbols, words)


def test_compressed_file_holds_the_same_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    plain, packed, again = (tmp_path / name for name in ("model.arpa", "model.arpa.gz", "again.arpa.gz"))
    assert made(packed, "character") == made(plain, "character")
    assert gzip.decompress(packed.read_bytes()) == plain.read_bytes()
    made(again, "character")
    assert again.read_bytes() == packed.read_bytes()


@pytest.mark.parametrize("left", [5, 60])
def test_compressed_file_is_refused_when_it_is_damaged(tmp_path: Path, left: int) -> None:
    path = tmp_path / "model.arpa.gz"
    made(path, "character")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"model.arpa.gz: damaged, it cannot be decompressed; make"):
        NgramModel.load(path)


def test_symbols_are_read_from_their_names(tmp_path: Path) -> None:
    write_arpa(
        tmp_path / "m", estimate_ngrams(["a"], unit="character", order=2, min_count=1, symbols=" \u00a0<")
    )
    assert NgramModel.load(tmp_path / "m").symbols == " <a\u00a0"


def test_words_that_read_like_marks_are_spelt(tmp_path: Path) -> None:
    lines = ["<s> a </s>"] * 3
    write_arpa(tmp_path / "m", estimate_ngrams(lines, unit="word", order=2, min_count=1, symbols=""))
    model = NgramModel.load(tmp_path / "m")
    assert model.words == {"a"}
    assert model.symbols == " /<>as"


def test_file_has_a_section_for_every_order(tmp_path: Path) -> None:
    write_arpa(tmp_path / "m", estimate_ngrams(["a"], unit="character", order=2, min_count=1, symbols=""))
    # a and </s> have count 1 each: half is left to a, </s> and <unk>; and so it is of the bigrams.
    assert (tmp_path / "m").read_text(encoding="utf-8").split("\n") == [
        "\\data\\", "ngram 1=4", "ngram 2=2", "",
        "\\1-grams:",
        "-0.3802112\t</s>\t0", "-99\t<s>\t-0.30103", "-0.7781513\t<unk>\t0", "-0.3802112\ta\t-0.30103", "",
        "\\2-grams:", "-0.1497623\t<s> a", "-0.1497623\ta </s>", "",
        "\\end\\", "",
    ]  # fmt: skip


# what is refused


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("\\data\\", "{}", "line 1: expected \\data\\: not an ARPA file"),
        (BIGRAMS, "", "line 1: expected \\data\\: not an ARPA file"),
        ("ngram 1=6\nngram 2=3\n", "", "line 3: no 'ngram 1=' and a number before it"),
        ("ngram 2=3", "ngram 3=3", "line 3: expected 'ngram 2=' and a number, or \\1-grams:"),
        ("ngram 2=3", "ngram 2=many", "line 3: expected 'ngram 2=' and a number, or \\1-grams:"),
        ("ngram 1=6", "ngram 1=9999999", "line 5: more than 1114111 1-grams; raise --min-count"),
        ("ngram 1=6", "ngram 1=7", "line 12: expected a 1-gram: number, tab, 1 tokens, tab, number"),
        ("ngram 1=6", "ngram 1=5", "line 11: expected \\2-grams: after the 1-grams that the head announces"),
        ("ngram 2=3", "ngram 2=4", "line 17: expected a 2-gram: number, tab, 2 tokens, tab, number"),
        ("ngram 2=3", "ngram 2=2", "line 16: expected \\end\\ after 2 2-grams"),
        (
            "\\2-grams:",
            "\\3-grams:",
            "line 13: expected \\2-grams: after the 1-grams that the head announces",
        ),
        ("\\end\\\n", "", "line 18: expected \\end\\ after 3 2-grams"),
        ("-0.125\ta b", "-0.125\ta", "line 15: expected 2 tokens and no back-off weight"),
        ("-0.125\ta b", "-0.125\ta b\t0", "line 15: expected 2 tokens and no back-off weight"),
        ("-0.125\ta b", "-0.125\ta  b", "line 15: '' is none of the 1-grams"),
        ("-0.125\ta b", "-0.125\ta c", "line 15: 'c' is none of the 1-grams"),
        ("-0.125\ta b", "0.125\ta b", "line 15: '0.125\\ta b' holds a number that is no logarithm"),
        ("-0.125\ta b", "nan\ta b", "line 15: 'nan\\ta b' holds a number that is no logarithm"),
        ("-0.125\ta b", "-0.125 a b", "line 15: expected a 2-gram: number, tab, 2 tokens, tab, number"),
        ("-0.125\ta b", "-O.125\ta b", "line 15: expected a 2-gram: number, tab, 2 tokens, tab, number"),
        ("-0.125\ta b", "-0.125\tb </s>", "line 16: one of the 2-grams before it is there twice"),
        ("\tb\t0.125", "\ta\t0.125", "line 11: one of the 1-grams before it is there twice"),
        ("\tb\t0.125", "\tb\tinf", "line 10: '-0.75\\tb\\tinf' holds a number that is no logarithm"),
        ("\tb\t0.125", "\tb\t0\t0", "line 10: expected 1 tokens"),
        ("</s>\n-0.5\ta", "<end>\n-0.5\ta", "line 16: '</s>' is none of the 1-grams"),
    ],
)
def test_file_is_refused_with_its_line_when_it_is_damaged(path: Path, old: str, new: str, said: str) -> None:
    assert BIGRAMS.count(old) == 1
    path.write_text(BIGRAMS.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as refused:
        NgramModel.load(path)
    assert str(refused.value).startswith(f"{path}, {said}")
    assert str(refused.value).endswith("; make the model anew with python -m hwr language-model")
    assert "\n" not in str(refused.value)


def test_file_is_refused_when_lines_have_no_begin(path: Path) -> None:
    text = BIGRAMS.replace("-99\t<s>\t-0.5\n", "").replace("-0.25\t<s> a\n", "")
    path.write_text(text.replace("1=6", "1=5").replace("2=3", "2=2"), encoding="utf-8")
    with pytest.raises(InputError, match="<s> is none of the 1-grams above"):
        NgramModel.load(path)


def test_file_is_refused_when_it_is_no_text(path: Path) -> None:
    path.write_bytes(b"\\data\\\nngram \xff")
    with pytest.raises(InputError, match=r"model\.arpa: not UTF-8, so no model; make the model anew"):
        NgramModel.load(path)


def test_file_is_refused_when_there_is_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none.arpa: cannot be read \(No such file or directory\)"):
        NgramModel.load(tmp_path / "none.arpa")


def test_order_that_kenlm_cannot_read_is_one_that_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The limits in `ngrams.ORDERS` are KenLM's."""
    for order in (1, *ngrams.ORDERS, 7):
        model = ngrams.estimate_from_tokens([list("abababab")], order=order, vocabulary=())
        write_arpa(tmp_path / "m", model)
        if order in ngrams.ORDERS:
            KenLM(str(tmp_path / "m"), Dictionary(["a", "b"]))
        else:
            with pytest.raises(RuntimeError, match=r"at least a bigram|compiled to support up to 6"):
                KenLM(str(tmp_path / "m"), Dictionary(["a", "b"]))
    capfd.readouterr()
    assert arpa.NgramModel.load(tmp_path / "m").order == 7
