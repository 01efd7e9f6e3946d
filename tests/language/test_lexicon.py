"""Lexicons: words of texts, of tables and of symspellpy, what is refused; where words are in a text."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.language.lexicon import Lexicon, joints_in, parts_in, words_in

WORDS = st.text(st.characters(categories=["Ll", "Lu"], codec="utf-8"), min_size=1).filter(str.strip)


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("le chat et le chien", {"le": 2, "chat": 1, "et": 1, "chien": 1}),
        ("Le chat, le chat!", {"Le": 1, "le": 1, "chat": 2}),  # as written, without punctuation
        ("l'eau qu’on vis-à-vis", {"l": 1, "eau": 1, "qu": 1, "on": 1, "vis": 2, "à": 1}),
        ("en 1951, 3e A4 etc.)", {"en": 1, "etc": 1}),  # nothing with a digit
        ("w(o)rd sans", {"sans": 1}),  # nothing with punctuation inside
        ("e\u0301te\u0301", {"été": 1}),  # NFC
    ],
)
def test_words_of_a_text_are_counted(line: str, counts: dict[str, int]) -> None:
    assert Lexicon.of([line]).counts == counts


def test_words_are_counted_over_all_lines() -> None:
    assert Lexicon.of(["un chat", "un chien", ""]).counts == {"un": 2, "chat": 1, "chien": 1}


@pytest.mark.parametrize("lines", [[], [""], ["1951 -- ?"]])
def test_texts_without_words_are_refused(lines: list[str]) -> None:
    with pytest.raises(InputError, match="the texts hold no word"):
        Lexicon.of(lines)


def read(folder: Path, text: str) -> Lexicon:
    path = folder / "words.tsv"
    path.write_text(text, encoding="utf-8")
    return Lexicon.read(path)


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("le\t20\nchat\t3\n", {"le": 20, "chat": 3}),
        ("le\nchat", {"le": 1, "chat": 1}),  # without counts
        ("le\t20\n\n le \t1\n", {"le": 21}),  # twice
        ("\ufeffle\t2\r\ne\u0301t\u00e9\t1\r\n", {"le": 2, "été": 1}),  # from other systems
    ],
)
def test_table_is_read(tmp_path: Path, text: str, counts: dict[str, int]) -> None:
    assert read(tmp_path, text).counts == counts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("le\t2\nchat\tmany\n", "words.tsv, line 2: 'chat.*many' is not a word"),
        ("le\t0\n", "words.tsv, line 1: "),
        ("le\t-3\n", "words.tsv, line 1: "),
        ("\t3\n", "words.tsv, line 1: "),
        ("le\t3\t4\n", "words.tsv, line 1: "),
        ("le chat\t3\n", "words.tsv, line 1: "),
        ("", "words.tsv: holds no word"),
        ("\n \n", "words.tsv: holds no word"),
    ],
)
def test_table_is_refused_by_file_and_line_when_it_is_malformed(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(tmp_path, text)


def test_table_in_another_encoding_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    path.write_bytes("été\t3\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"words.tsv: not UTF-8"):
        Lexicon.read(path)


def test_words_are_written_most_frequent_first(tmp_path: Path) -> None:
    path = tmp_path / "words.tsv"
    Lexicon({"chat": 3, "le": 20, "chien": 3}).write(path)
    assert path.read_text(encoding="utf-8") == "le\t20\nchat\t3\nchien\t3\n"


@given(st.lists(WORDS, min_size=1))
def test_words_written_are_read_again(tmp_path_factory: pytest.TempPathFactory, words: list[str]) -> None:
    path = tmp_path_factory.getbasetemp() / "written.tsv"
    lexicon = Lexicon.of(words)
    lexicon.write(path)
    assert Lexicon.read(path) == lexicon


@pytest.mark.parametrize("name", ["words.tsv", "other.txt", ""])
def test_lexicon_is_loaded_from_a_file_or_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / (name or "words.tsv")).write_text("le\t2\n", encoding="utf-8")
    assert Lexicon.load(str(tmp_path / name)).counts == {"le": 2}


def test_english_words_come_with_symspellpy() -> None:
    lexicon = Lexicon.load("english")
    assert len(lexicon.words) == 82_834
    assert lexicon.counts["lovely"] > lexicon.counts["loverly"]


def test_lexicon_that_is_nowhere_is_refused() -> None:
    with pytest.raises(InputError, match="nowhere: no such file"):
        Lexicon.load("nowhere")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("un chat", ["un", "chat"]),
        (' "Un chat,  (noir)!" ', ["Un", "chat", "noir"]),
        ("l'eau, aujourd'hui.", ["l'eau", "aujourd'hui"]),
        ("-- 3,5 %", ["3,5"]),
        ("e\u0323 va", ["e\u0323", "va"]),  # a mark that has no letter of its own
        ("…", []),
        ("", []),
    ],
)
def test_words_are_found_without_punctuation_at_their_ends(text: str, words: list[str]) -> None:
    assert [text[start:end] for start, end in words_in(text)] == words


@pytest.mark.parametrize(
    ("word", "parts", "joints"),
    [
        ("chat", ["chat"], ""),
        ("l'eau", ["l", "eau"], "'"),
        ("l’eau", ["l", "eau"], "’"),
        ("vis-à-vis", ["vis", "à", "vis"], "--"),
        ("a'-b", ["a", "b"], "'-"),
        ("p.m.'s", ["p.m", "s"], "'"),
    ],
)
def test_parts_of_words_are_found_between_apostrophes_and_hyphens(
    word: str, parts: list[str], joints: str
) -> None:
    assert [word[start:end] for start, end in parts_in(word)] == parts
    assert joints_in(word) == joints


@given(st.text())
def test_words_lie_in_order_and_do_not_overlap(text: str) -> None:
    edges = [edge for span in words_in(text) for edge in span]
    assert edges == sorted(edges)
    assert all(text[start:end].strip() for start, end in words_in(text))
