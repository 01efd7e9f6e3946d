import random
from pathlib import Path

import pytest

from hwr.config.roots import Scorer
from hwr.errors import InputError
from hwr.scoring import edits, sclite, significance
from hwr.scoring.edits import Counts, align
from hwr.scoring.significance import MatchedPairs

try:
    sclite.find_sclite(None)
    INSTALLED = True
except InputError:
    INSTALLED = False
needs_sclite = pytest.mark.skipif(
    not INSTALLED, reason="SClite IS NOT INSTALLED: apt-get install sctk, then run again"
)

PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
LATIN_1 = "".join(map(chr, range(0xA0, 0x100)))
OTHERS = "’‘“”«»–—…€œŒŸ␣\u0301\u0308\u200d\ufb01\ufeff😀👩‍🚀漢字ßıſΩЖא"
MARKUP = [
    "{a/b}",
    "{ a / @ }",
    "@",
    "(x)",
    ";;",
    "**",
    "* a",
    "a*",
    "a;b",
    "\\a",
    "a\\:b",
    "<a",
    "%hes",
    "#",
    "-a",
    "a-",
    "^_",
]


def scorer(command: str | None, timeout_s: float = 60) -> Scorer:
    return Scorer(name="sclite", command=command, timeout_s=timeout_s)


SCORER = scorer(None)


def _score(
    references: dict[str, str], hypotheses: dict[str, str], unit: sclite.Unit = "characters"
) -> dict[str, Counts]:
    return sclite.count_with_sclite(references, hypotheses, SCORER, unit=unit)


def _in_process(
    references: dict[str, str], hypotheses: dict[str, str], unit: sclite.Unit
) -> dict[str, Counts]:
    count = edits.character_edits if unit == "characters" else edits.word_edits
    return {line: count(text, hypotheses[line]) for line, text in references.items()}


@needs_sclite
def test_score_counts_each_kind_of_edit() -> None:
    result = _score({"a": "the cat", "b": "été"}, {"a": "thecap!", "b": "été"})
    assert result == {"a": Counts(7, 1, 1, 1), "b": Counts(3, 0, 0, 0)}


@needs_sclite
def test_score_minimises_cost_and_not_edits() -> None:
    assert _score({"a": "xyzab", "b": "aab"}, {"a": "abuvw", "b": "bcc"}) == {
        "a": Counts(5, 0, 3, 3),  # five substitutions would cost 20, these 18
        "b": Counts(3, 3, 0, 0),  # a tie: two deletions and two insertions cost 12 as well
    }


@needs_sclite
def test_score_counts_words_with_case_and_punctuation() -> None:
    result = _score({"a": "The old house, (1890)"}, {"a": "the old house (1890)"}, "words")
    assert Counts.total(result.values()) == Counts(4, 2, 0, 0)


@needs_sclite
def test_score_takes_empty_texts() -> None:
    sides = (
        {"both": "", "reference": "", "hypothesis": "ab"},
        {"both": "", "reference": "abc", "hypothesis": ""},
    )
    expected = {"both": Counts(), "reference": Counts(insertions=3), "hypothesis": Counts(2, deletions=2)}
    assert _score(*sides) == expected
    assert _score({}, {}) == {}


@needs_sclite
def test_score_takes_every_character_alone_replaced_dropped_and_added() -> None:
    references, hypotheses = {}, {}
    for character in PRINTABLE + LATIN_1 + OTHERS:
        for kind, (reference, hypothesis) in {
            "same": (character, character),
            "replaced": (character + "k", "kk" if character != "k" else "xk"),
            "read for another": ("kk" if character != "k" else "xk", character + "k"),
            "dropped": ("z" + character, "z"),
            "added": ("z", "z" + character),
            "between": ("a" + character + "b", "a" + character + "b"),
        }.items():
            references[f"U+{ord(character):04X} {kind}"] = reference
            hypotheses[f"U+{ord(character):04X} {kind}"] = hypothesis
    result = _score(references, hypotheses)
    expected = {
        "same": Counts(1),
        "replaced": Counts(2, substitutions=1),
        "read for another": Counts(2, substitutions=1),
        "dropped": Counts(2, deletions=1),
        "added": Counts(1, insertions=1),
        "between": Counts(3),
    }
    assert {
        line: counts for line, counts in result.items() if counts != expected[line.split(" ", 1)[1]]
    } == {}


@needs_sclite
@pytest.mark.parametrize("unit", ["characters", "words"])
def test_score_takes_markup_as_text(unit: sclite.Unit) -> None:
    references = {f"line {n}": f"a {text} b" for n, text in enumerate(MARKUP)}
    assert not any(own.errors for own in _score(references, references, unit).values())
    without = dict.fromkeys(references, "a b")
    assert _score(references, without, unit) == _in_process(references, without, unit)
    whole = {f"line {n}": text for n, text in enumerate(MARKUP)}
    shifted = {f"line {n}": MARKUP[n - 1] for n in range(len(MARKUP))}
    assert _score(whole, shifted, unit) == _in_process(whole, shifted, unit)


@needs_sclite
def test_score_tells_a_space_from_its_token_and_a_text_from_its_escape() -> None:
    assert _score({"a": "a b"}, {"a": "a␣b"}) == {"a": Counts(3, substitutions=1)}
    found = _score({"a": "a_b", "b": "(x"}, {"a": "a_5f_b", "b": "_28_x"}, "words")
    assert found == dict.fromkeys("ab", Counts(1, substitutions=1))


@needs_sclite
def test_score_takes_words_longer_than_its_report_is_wide() -> None:
    long = "(" * 1000  # as it is, such a word makes SClite write without end
    result = _score({"a": f"{long} k", "b": long + "é"}, {"a": f"{long} k", "b": long + "è"}, "words")
    assert result == {"a": Counts(2), "b": Counts(1, substitutions=1)}


@needs_sclite
def test_score_takes_any_id_and_keeps_case_in_it() -> None:
    ids = ["p 1/l 2", "(x)", "A-1", "a-1", "é;;", "", "\t{}"]
    references = dict.fromkeys(ids, "ab")
    hypotheses = dict(reversed([(line, "ab"[: n % 3]) for n, line in enumerate(ids)]))
    result = _score(references, hypotheses)
    assert [counts.deletions for counts in result.values()] == [2 - n % 3 for n in range(len(ids))]
    assert list(result) == ids


@needs_sclite
@pytest.mark.parametrize("unit", ["characters", "words"])
def test_score_and_edit_distance_agree_to_the_integer_at_any_error_rate(unit: sclite.Unit) -> None:
    generator = random.Random(7)
    references, hypotheses = {}, {}
    for n in range(1500):
        alphabet = "abc {("[: generator.randint(2, 6)]
        for side in (references, hypotheses):
            side[str(n)] = "".join(generator.choices(alphabet, k=generator.randint(0, 30)))
        if n % 2:
            kept = (c for c in references[str(n)] if generator.random() < 0.8)
            hypotheses[str(n)] = "".join(
                c if generator.random() < 0.8 else generator.choice(alphabet) for c in kept
            )
    assert _score(references, hypotheses, unit) == _in_process(references, hypotheses, unit)


@needs_sclite
def test_score_keeps_the_reports_in_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "reports"
    sclite.count_with_sclite({"a": "x y"}, {"a": "x"}, SCORER, unit="words", folder=folder)
    names = ["words.dtl", "words.hyp.trn", "words.pra", "words.raw", "words.ref.trn"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert (folder / "words.ref.trn").read_text(encoding="utf-8") == "x y (line-000001)\n"


@needs_sclite
def test_score_says_that_a_report_folder_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .* choose another output="):
        sclite.count_with_sclite({"a": "x"}, {"a": "x"}, SCORER, unit="words", folder=tmp_path / "file")


def test_score_names_the_lines_one_side_lacks() -> None:
    with pytest.raises(InputError, match=r"1 lines have no hypothesis \('p1/l2'\)"):
        _score({"p1/l1": "a", "p1/l2": "b"}, {"p1/l1": "a"})
    with pytest.raises(InputError, match=r"7 lines have no reference .*…"):
        _score({}, {str(n): "a" for n in range(7)})


def test_find_without_sclite_names_the_package_and_the_other_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sclite, "_DEBIAN", Path("/nowhere/sclite"))
    with pytest.raises(InputError, match=r"apt-get install sctk.*scorer=edit_distance") as caught:
        sclite.find_sclite(None)
    assert "\n" not in str(caught.value)


def _program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exit 0", "wrote no report"),
        ("echo no such option >&2; exit 1", "failed with status 1: no such option"),
        ("exec sleep 20", r"took more than 0\.2 s; raise scorer\.timeout_s"),
    ],
)
def test_score_says_when_the_command_is_not_sclite(tmp_path: Path, text: str, message: str) -> None:
    program = _program(tmp_path / "program", text)
    with pytest.raises(InputError, match=message):
        sclite.count_with_sclite({"a": "x"}, {"a": "x"}, scorer(program, timeout_s=0.2), unit="words")


@needs_sclite
def test_score_refuses_a_report_that_lacks_lines(tmp_path: Path) -> None:
    program = _program(
        tmp_path / "program", f'sed -i 1d words.ref.trn words.hyp.trn; exec {sclite.find_sclite(None)} "$@"'
    )
    with pytest.raises(InputError, match="SClite read 1 of 2 lines"):
        sclite.count_with_sclite({"a": "x", "b": "y"}, {"a": "x", "b": "y"}, scorer(program), unit="words")


WORDS = [
    *("the", "a", "cat", "sat", "on,", "mat.", "it's", '"no"'),
    *("(x)", "A:b;", "é", "–", "日", "{a/b}", "\\", "*"),
]
Texts = dict[str, str]


def compared(references: Texts, first: Texts, second: Texts) -> MatchedPairs:
    return sclite.sctk_matched_pairs(references, first, second, SCORER)


def drawn(seed: int, lines: int) -> tuple[Texts, Texts, Texts]:
    """Return texts of words that need escapes, and two readings of them with every kind of error."""
    generator = random.Random(seed)
    truth = {f"l{n}": generator.choices(WORDS, k=generator.randint(0, 12)) for n in range(lines)}
    sides = [
        truth,
        *({line: _noisy(words, share, generator) for line, words in truth.items()} for share in (0.2, 0.3)),
    ]
    references, first, second = ({line: " ".join(words) for line, words in side.items()} for side in sides)
    return references, first, second


def _noisy(words: list[str], share: float, generator: random.Random) -> list[str]:
    read: list[str] = []
    for word in words:
        kind = generator.random() / share  # below 1: lost, another, or one more behind it
        read += [] if kind < 1 / 3 else [generator.choice(WORDS) if kind < 2 / 3 else word]
        read += [generator.choice(WORDS)] * (2 / 3 <= kind < 1)
    return read


@needs_sclite
@pytest.mark.parametrize(("seed", "lines"), [(0, 1), (1, 5), (2, 30), (3, 600)])
def test_matched_pairs_agree_with_those_made_in_process(seed: int, lines: int) -> None:
    references, first, second = drawn(seed, lines)
    segments = [
        segment
        for line, text in references.items()
        for segment in significance.error_segments(
            *(align(text.split(), side[line].split()) for side in (first, second))
        )
    ]
    own, found = significance.matched_pairs(segments), compared(references, first, second)
    assert found.segments == own.segments
    assert found.z == pytest.approx(own.z, abs=5.1e-4)  # three decimals


@needs_sclite
def test_matched_pairs_see_what_the_second_inserts_at_the_end_of_a_line() -> None:
    references = {"a": "one two three", "b": "one two three", "c": "one two three"}
    second = {"a": "one two three x", "b": "one two three x", "c": "one two three"}
    first = {"a": "one two three", "b": "one two three", "c": "one x three"}
    assert compared(references, first, second).segments == 3


@needs_sclite
def test_matched_pairs_of_texts_without_an_error_are_no_difference() -> None:
    texts = {"a": "one two"}
    assert compared(texts, texts, texts) == MatchedPairs(0, 0.0)


def test_matched_pairs_of_other_lines_are_refused() -> None:
    with pytest.raises(InputError, match="1 lines have no hypothesis"):
        compared({"a": "x"}, {"a": "x"}, {"b": "x"})


def test_missing_sc_stats_is_told(tmp_path: Path) -> None:
    command = tmp_path / "sclite"
    command.write_text("#!/bin/sh\n", encoding="utf-8")
    command.chmod(0o755)
    with pytest.raises(InputError, match=r"sc_stats does not run \(No such file"):
        sclite.sctk_matched_pairs({"a": "x"}, {"a": "y"}, {"a": "x"}, scorer(str(command)))


def test_another_program_is_refused(tmp_path: Path) -> None:
    for name in ("sclite", "sc_stats"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    with pytest.raises(InputError, match="sc_stats wrote no matched-pairs result"):
        sclite.sctk_matched_pairs({"a": "x"}, {"a": "y"}, {"a": "x"}, scorer(str(tmp_path / "sclite")))
