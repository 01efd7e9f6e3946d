"""Estimation of n-gram models, by hand, against KenLM's estimator, and by what any model must be."""

import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwr.errors import InputError
from hwr.language import arpa, ngrams
from hwr.language.ngrams import (
    BEGIN,
    FALLBACK,
    Ngrams,
    character_tokens,
    estimate_from_tokens,
    estimate_ngrams,
    known_words,
    mixed,
    pruned,
    text_tokens,
)

QUICK = settings(max_examples=40, deadline=None)
# What `lmplz -o 2 --discount_fallback` of KenLM 0.3 makes of LINES, a character a token: log10 p, weight.
LINES = ["la bête", "la tête", "la fête", "le bébé a la tête", "et la fête a été!"]
LMPLZ = """
-1.233318 <unk>
-1.1243434 </s>
-1.1243434 l -0.47712123
-1.1243434 a -0.66900676
-0.93844825 <space> -0.30103
-1.1243434 b -0.30103
-1.1068527 ê -0.5228787
-0.93844825 t -0.41017446
-1.1068527 e -0.36797678
-1.0551925 f -0.30103
-1.1068527 é -0.30103
-1.0551925 ! -0.30103
-0.40968233 e </s>
-0.26957995 ! </s>
-0.2756904 <s> l
-0.89123034 <space> l
-0.2158339 l a
-0.89123034 <space> a
-0.09129756 a <space>
-0.9984142 t <space>
-0.71615654 e <space>
-0.73846793 é <space>
-0.89123034 <space> b
-0.7890092 é b
-0.68663627 b ê
-0.84918815 t ê
-0.268335 f ê
-0.82820845 <space> t
-0.13396807 ê t
-0.91789246 e t
-0.73846793 é t
-0.8818156 <s> e
-0.9609968 l e
-0.37747943 t e
-0.8698528 <space> f
-1.0728905 <space> é
-0.42895767 b é
-1.065691 t é
-0.7720287 é !
"""


def characters(*lines: str, order: int, extra: str = "") -> Ngrams:
    return estimate_from_tokens([list(line) for line in lines], order=order, vocabulary=extra)


def found(model: Ngrams) -> dict[str, tuple[float, float]]:
    """Return probability and back-off weight of every n-gram, its tokens parted by spaces."""
    return {
        " ".join(model.vocabulary[token] for token in row): (float(probability), float(backoff))
        for grams in model.orders
        for row, probability, backoff in zip(
            grams.tokens, grams.probabilities, grams.backoffs, strict=True
        )
    }  # fmt: skip


# tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("l'eau a", ["l", "'", "e", "a", "u", "<space>", "a"]),
        ("", []),
        ("<s>", ["<", "s", ">"]),  # a mark's name is no mark
        ("a\u00a0\0", ["a", "<U+00A0>", "<U+0000>"]),  # would part tokens, or end them
    ],
)
def test_tokens_of_characters_are_the_characters(text: str, expected: list[str]) -> None:
    assert text_tokens(text, "character") == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("le chat", ["le", "chat"]),
        ("le chats", ["le", "<c>c", "<c>h", "<c>a", "<c>t", "<c>s", "</c>"]),
        ("", []),
        ("<c>é </c>", ["<c><", "<c>c", "<c>>", "<c>é", "</c>", "<c><", "<c>/", "<c>c", "<c>>", "</c>"]),
    ],
)
def test_tokens_of_words_are_known_words_and_others_spelt(text: str, expected: list[str]) -> None:
    assert text_tokens(text, "word", known={"le", "chat", "<c>é", "</c>"}) == expected


@given(st.text("ab<>/cs ", max_size=12), st.sets(st.text("ab<>/cs", min_size=1, max_size=4)))
def test_tokens_of_words_give_back_the_words(text: str, known: set[str]) -> None:
    read, open_word = [], ""
    for token in text_tokens(text, "word", known=known):
        if token.startswith("<c>"):
            open_word += token[3:]
        else:
            read.append(open_word if token == "</c>" else token)
            open_word = ""
    assert read == text.split()


def test_known_words_are_those_that_occur_often_enough() -> None:
    assert known_words(["le chat et le chien", "et <c>", "<c>"], min_count=2) == {"le", "et"}


# counts and discounts, by hand


def test_bigrams_are_interpolated_with_unigrams() -> None:
    # Unigrams, by tokens before: a 1, b 1, c 1, </s> 2; no count is 3, so 0.5 and 1 are taken: 2.5 of 5.
    # That half is shared by a, b, c, </s> and <unk>: 0.1 each.
    model = found(characters("ab", "ab", "ac", order=2))
    assert model["a"][0] == pytest.approx(0.5 / 5 + 0.1)
    assert model["</s>"][0] == pytest.approx(1 / 5 + 0.1)
    assert model["<unk>"][0] == pytest.approx(0.1)
    # Bigrams, as they occur: <s> a 3, a b 2, a c 1, b </s> 2, c </s> 1; n1 = 2, n2 = 2, n3 = 1, n4 = 0 and
    # Y = 2 / (2 + 4): 1/3, 3/2 and 3 are taken. After a: (3/2 + 1/3) / 3 = 11/18 is left to the unigrams.
    assert model["a"][1] == pytest.approx(11 / 18)
    assert model["a b"][0] == pytest.approx(0.5 / 3 + 11 / 18 * 0.2)
    assert model["a c"][0] == pytest.approx(2 / 9 + 11 / 18 * 0.2)
    assert model["<s> a"][0] == pytest.approx(0.2)  # all of 3 is left
    assert model["<s>"] == (0.0, pytest.approx(1.0))


def test_ngrams_that_open_a_line_are_counted_as_often_as_they_occur() -> None:
    # Unigrams by bigrams: a 2, b 1, c 1, </s> 2, fallback discounts: 3 of 6 for a, b, c, </s>, <unk>: 0.1.
    # Bigrams: <s> a twice, <s> c once; after <s> 1 + 0.5 of 3 are left. By tokens before, both would be 1.
    model = found(characters("ab", "ab", "ca", order=3))
    assert model["a"][0] == pytest.approx(1 / 6 + 0.1)
    assert model["<s> a"][0] == pytest.approx(1 / 3 + 0.5 * (1 / 6 + 0.1))


def test_discounts_follow_from_the_counts_of_counts() -> None:
    model = characters("ab", "ab", "ac", order=2)  # as above
    assert model.orders[1].discounts == pytest.approx((1 / 3, 3 / 2, 3))


@pytest.mark.parametrize(
    "lines",
    [
        ("ab", "ab", "ac"),  # no unigram has count 3
        ("ab",),  # all are 1
    ],
)
def test_discounts_fall_back_when_counts_are_missing(lines: tuple[str, ...]) -> None:
    assert characters(*lines, order=2).orders[0].discounts == FALLBACK


def test_probabilities_are_those_of_another_estimator() -> None:
    rows = [line.split(" ") for line in LMPLZ.strip().split("\n")]
    expected = {" ".join(name for name in row[1:] if name[0] != "-"): float(row[0]) for row in rows}
    model = found(
        estimate_from_tokens([text_tokens(line, "character") for line in LINES], order=2, vocabulary=())
    )
    assert model.keys() == {*expected, "<s>"}
    assert {name: math.log10(model[name][0]) for name in expected} == pytest.approx(expected, abs=1e-6)
    weights = {row[1]: float(row[2]) for row in rows if row[-1][0] == "-" and len(row) == 3}
    assert {name: math.log10(model[name][1]) for name in weights} == pytest.approx(weights, abs=1e-6)


# vocabulary


def test_characters_that_the_text_lacks_are_as_probable_as_an_unknown_one() -> None:
    model = found(characters("ab", "ac", order=2, extra="xyz"))
    assert model["x"] == model["z"] == model["<unk>"]


def test_vocabulary_of_words_spells_all_characters() -> None:
    model = estimate_ngrams(["le le chat"], unit="word", order=2, min_count=2, symbols="é ")
    assert set(model.vocabulary) == {
        "le", "<unk>", "<s>", "</s>", "</c>", *(f"<c>{character}" for character in "lechaté"),
    }  # fmt: skip


@pytest.mark.parametrize(("unit", "expected"), [("character", {"a", "<space>"}), ("word", {"<c>a", "</c>"})])
def test_tokens_that_write_characters_are_those_of_the_unit(unit: str, expected: set[str]) -> None:
    assert character_tokens("a ", unit) == expected


# what any model must be


def conditional(model: arpa.NgramModel, context: str, token: str) -> float:
    """Return log p of a token after others, by going back to fewer of them."""
    probability = model.probabilities.get(context + token)
    if probability is not None:
        return probability
    return model.backoffs.get(context, 0.0) + conditional(model, context[1:], token)


@QUICK
@given(
    lines=st.lists(st.text("ab é<", max_size=8), min_size=1, max_size=6).filter(
        lambda own: "".join(own).strip()
    ),
    order=st.integers(1, 4),
    unit=st.sampled_from(ngrams.UNITS),
)
def test_probabilities_after_any_context_sum_to_one(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], order: int, unit: str
) -> None:
    known = known_words(lines, min_count=2)
    extra = character_tokens("abéz<", unit)
    path = tmp_path_factory.getbasetemp() / "model.arpa"
    made = estimate_from_tokens(
        [text_tokens(line, unit, known=known) for line in lines], order=order, vocabulary=extra
    )
    arpa.write_arpa(path, made)
    model = arpa.NgramModel.load(path)
    possible = [place for token, place in model.vocabulary.items() if token != "<s>"]
    contexts = {"", *(gram[-(order - 1) :] for gram in model.probabilities if order > 1)}
    contexts |= {a + b for a in possible[:3] for b in possible[:3] if order > 2}  # seen or not
    for context in contexts:
        total = sum(math.exp(conditional(model, context, token)) for token in possible)
        assert total == pytest.approx(1, abs=2e-6)


# what is refused


@pytest.mark.parametrize(
    ("unit", "order", "said"),
    [
        ("character", 1, "order=1 is not possible; use 2 to 6, which KenLM reads"),
        ("character", 7, "order=7 is not possible; use 2 to 6, which KenLM reads"),
        ("syllable", 3, "unit=syllable: unknown; use character or word"),
    ],
)
def test_model_is_refused_that_there_is_none_of(unit: str, order: int, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}$"):
        estimate_ngrams(["a"], unit=unit, order=order, min_count=1, symbols="")


@pytest.mark.parametrize("lines", [[], [""], ["", " "]])
def test_text_is_refused_when_it_is_empty(lines: list[str]) -> None:
    with pytest.raises(InputError, match=r"^the text is empty; give lines"):
        estimate_ngrams(lines, unit="word", order=2, min_count=1, symbols="abc")


def test_orders_are_empty_when_no_line_is_that_long(tmp_path: Path) -> None:
    made = estimate_ngrams(["ab"], unit="character", order=6, min_count=1, symbols="")
    arpa.write_arpa(tmp_path / "model.arpa", made)
    assert [len(grams.tokens) for grams in made.orders] == [5, 3, 2, 1, 0, 0]
    assert arpa.NgramModel.load(tmp_path / "model.arpa").order == 6


# mixtures

PROSE, VERSE = ["la bête dort", "la tête haute"] * 3, ["ô nuit", "ô temps, suspends"] * 2


def spelt(lines: list[str], order: int = 3) -> Ngrams:
    return estimate_ngrams(lines, unit="character", order=order, min_count=1, symbols="".join(PROSE + VERSE))


def loaded(model: Ngrams, folder: Path) -> arpa.NgramModel:
    arpa.write_arpa(folder / "model.arpa", model)
    return arpa.NgramModel.load(folder / "model.arpa")


def test_mixture_has_the_mean_of_both_probabilities(tmp_path: Path) -> None:
    models = [spelt(PROSE), spelt(VERSE), mixed(spelt(PROSE), spelt(VERSE), share=0.25)]
    one, other, both = (loaded(model, tmp_path) for model in models)
    for gram in both.probabilities:
        if gram[-1] != both.vocabulary[BEGIN]:
            expected = 0.75 * math.exp(last(one, gram)) + 0.25 * math.exp(last(other, gram))
            assert math.exp(both.probabilities[gram]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("most", [None, 60, 1])
def test_probabilities_of_a_mixture_sum_up_to_one_after_each_context(
    most: int | None, tmp_path: Path
) -> None:
    both = mixed(spelt(PROSE), spelt(VERSE), share=0.4)
    model = loaded(both if most is None else pruned(both, most=most), tmp_path)
    tokens = [char for name, char in model.vocabulary.items() if name != BEGIN]
    for context in ("", *model.backoffs):
        assert sum(math.exp(last(model, context + token)) for token in tokens) == pytest.approx(1, abs=2e-3)


def test_pruned_model_keeps_what_tells_most_and_what_that_is_made_of() -> None:
    both = mixed(spelt(PROSE, 4), spelt(VERSE, 4), share=0.4)
    least = sum(len(grams.probabilities) for grams in both.orders[:2])
    small = pruned(both, most=least + 20)
    kept = {tuple(row) for grams in small.orders for row in grams.tokens.tolist()}
    assert least + 20 <= len(kept) < least + 24
    assert all(gram[:-1] in kept and gram[1:] in kept for gram in kept if len(gram) > 1)


def test_pruned_model_predicts_less_well_the_fewer_n_grams_it_keeps(tmp_path: Path) -> None:
    both = mixed(spelt(PROSE, 4), spelt(VERSE, 4), share=0.4)
    whole, small, least = (
        loaded(own, tmp_path).perplexity(PROSE + VERSE)
        for own in (both, pruned(both, most=100), pruned(both, most=1))
    )
    assert whole < small < least


def last(model: arpa.NgramModel, gram: str) -> float:
    """Return log p of the last token of an n-gram after those before it."""
    total = 0.0
    while gram not in model.probabilities:
        total += model.backoffs.get(gram[:-1], 0.0)
        gram = gram[1:]
    return total + model.probabilities[gram]
