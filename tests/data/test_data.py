"""`hwr.data.load_pages`: a source by name, its settings and its exclusions."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from hwr.config.compose import chosen
from hwr.data import exclude_lines, load_pages, split_keys
from hwr.data.records import Dataset, LeftOut, Line, Page
from hwr.errors import InputError

SHARES: dict[str, Any] = {"table": None, "shares": (0.8, 0.1, 0.1), "seed": 0}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder of two line images with a table."""
    for name in ("a.png", "b.png", "b.jpg"):
        Image.new("L", (60, 20), 255).save(tmp_path / name)
    (tmp_path / "lines.tsv").write_text("a.png\tgood\nb.png\t>bad<\n")
    return tmp_path


def test_load_reads_a_source_without_excluded_lines(root: Path) -> None:
    whole = load_pages("line_list", {"types": [], "pattern": "[<>]"}, root=root, **SHARES)
    dataset = whole.for_reading()
    assert sum(len(page.lines) for page in whole.pages) == 2
    assert [[line.text for line in page.lines] for page in dataset.pages] == [["good"], []]
    assert dataset.left_out == (
        LeftOut("unused_file", files=("b.jpg",)),
        LeftOut("data.exclude.pattern=[<>]", lines={"valid": ("b",)}),
    )


def test_load_refuses_an_unknown_source() -> None:
    with pytest.raises(
        InputError, match=r"data source 'altoo' is unknown; use one of .*alto, pagexml, iam, line_list"
    ):
        load_pages("altoo")


def test_load_refuses_unknown_and_missing_settings(root: Path) -> None:
    with pytest.raises(
        InputError, match=r"data=line_list: got an unexpected keyword argument 'rot'.*its settings are"
    ):
        load_pages("line_list", root=root, rot=1, **SHARES)
    with pytest.raises(InputError, match=r"data=line_list: missing a required argument: 'root'"):
        load_pages("line_list", **SHARES)
    with pytest.raises(InputError, match=r"data.exclude: got an unexpected keyword argument 'typ'"):
        load_pages("line_list", {"typ": []}, root=root, **SHARES)


@pytest.mark.parametrize(
    ("soft_hyphens", "texts"),
    [
        ({}, ["Wort\u00adteil\u00ad", "\u00ad"]),
        ({"soft_hyphens": "keep"}, ["Wort\u00adteil\u00ad", "\u00ad"]),
        ({"soft_hyphens": "hyphen"}, ["Wortteil-", "-"]),
        ({"soft_hyphens": "drop"}, ["Wortteil", ""]),
    ],
)
def test_load_writes_soft_hyphens_as_told(root: Path, soft_hyphens: dict[str, str], texts: list[str]) -> None:
    (root / "lines.tsv").write_text("a.png\tWort\u00adteil\u00ad\nb.png\t\u00ad\n", encoding="utf-8")
    pages = load_pages("line_list", root=root, **soft_hyphens, **SHARES).pages
    assert [page.lines[0].text for page in pages] == texts


def test_load_refuses_an_unknown_way_with_soft_hyphens(root: Path) -> None:
    with pytest.raises(InputError, match=r"data.soft_hyphens=no is unknown; use one of keep, drop, hyphen"):
        load_pages("line_list", root=root, soft_hyphens="no", **SHARES)


def test_load_makes_ids_unique_and_tells(root: Path) -> None:
    (root / "lines.tsv").write_text("b.png\tone\nb.jpg\ttwo\na.png\tthree\nb.jpg\tfour\n")
    dataset = load_pages("line_list", root=root, **SHARES)
    ids = ["b", "b-2", "a", "b-3"]
    assert [page.id for page in dataset.pages] == ids
    assert [line.id for page in dataset.pages for line in page.lines] == ids
    assert dataset.findings["duplicate_id"] == {"b-2": "b again", "b-3": "b again"}


def test_load_tells_of_text_in_no_line(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = replace(page(("", "a")), unlined=7), page(("", "b"))
    source = "hwr.data.sources.line_list.read_line_list"
    monkeypatch.setattr(source, lambda root: Dataset(read))
    assert load_pages("line_list", root=root).left_out == (
        LeftOut("region_text, text in no line", pages={"train": ("p",)}),
    )


BOX = (0.0, 0.0, 1.0, 1.0)


def page(*lines: tuple[str, str]) -> Page:
    records = tuple(Line(f"p/{n}", text, BOX, kind=kind) for n, (kind, text) in enumerate(lines))
    return Page("p", "w", "train", Path("p.png"), (10, 10), records)


@pytest.mark.parametrize(
    ("rules", "kept", "left_out"),
    [
        ({}, "abcd", {}),
        ({"types": [], "pattern": ""}, "abcd", {}),
        ({"types": ["consent"]}, "bd", {"data.exclude.types=consent": ["p/0", "p/2"]}),
        ({"pattern": "[<>]"}, "ab", {"data.exclude.pattern=[<>]": ["p/2", "p/3"]}),
        (  # p/2 is left out by the first of them alone
            {"types": ["stamp", "consent"], "pattern": "[<>]"},
            "b",
            {"data.exclude.types=consent": ["p/0", "p/2"], "data.exclude.pattern=[<>]": ["p/3"]},
        ),
        ({"pattern": ""}, "abcd", {}),
    ],
)
def test_exclude_leaves_lines_out_by_type_and_by_text(
    rules: dict[str, Any], kept: str, left_out: dict[str, list[str]]
) -> None:
    read = page(("consent", "a"), ("", "b"), ("consent", "c <x>"), ("", "d >y<"))
    pages, told = exclude_lines([read], **rules)
    assert "".join(line.text[0] for own in pages for line in own.lines) == kept
    assert {rule.rule: list(rule.lines["train"]) for rule in told} == left_out


def test_exclude_keeps_a_page_whose_lines_all_go() -> None:
    (kept,), _ = exclude_lines([page(("consent", "a"))], types=["consent"])
    assert (kept.id, kept.lines) == ("p", ())


@pytest.mark.parametrize(
    ("replace", "text", "replaced", "counts"),
    [
        ([], "l’an", "l’an", {}),
        ([("’", "'"), ("^", "")], "l’an 1^er l’", "l'an 1er l'", {"’ → '": 2, "^ → nothing": 1}),
        ([("a", "b"), ("b", "a")], "ab", "ba", {"a → b": 1, "b → a": 1}),  # each once, none anew
        ([(".", "!"), ("...", "…")], "a... b.", "a… b!", {"... → …": 1, ". → !": 1}),  # the longest
        ([("e", "e\u0301")], "ete", "\u00e9t\u00e9", {"e → e\u0301": 2}),  # in NFC again
        ([("^", ""), ("-", " ")], "^ a - b", "a b", {"^ → nothing": 1, "- →  ": 1}),  # no space at the ends
    ],
)
def test_replace_changes_the_texts_of_lines_and_words_and_is_counted(
    root: Path, replace: list[tuple[str, str]], text: str, replaced: str, counts: dict[str, int]
) -> None:
    (root / "lines.tsv").write_text(f"file\ttext\tsplit\na.png\t{text}\ttrain\nb.png\t< ’ ^\ttest\n")
    exclude = {"pattern": "<"}  # what is not read is not counted
    dataset = load_pages("line_list", exclude, replace=replace, root=root, **SHARES)
    assert dataset.pages[0].lines[0].text == replaced
    assert dataset.of_split("train").replacements == {"train": counts}
    assert dataset.of_split("test").replacements == {"test": {}}


def test_exclude_refuses_a_broken_pattern() -> None:
    with pytest.raises(InputError, match=r"pattern='\[' is not a regular expression"):
        exclude_lines([page(("", "a"))], pattern="[")


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("alto", "data.splits and data.shares"),
        ("line_list", "data.table and data.shares"),
        ("iam", "data.splits and data.task"),
        ("synthetic", "data.pages.train"),
        ("latin", "data.sets and data.only"),
    ],
)
def test_keys_that_make_a_split_are_those_of_its_source(source: str, keys: str) -> None:
    node = chosen("train", [f"data={source}"])["data"]
    assert split_keys(node, "train") == keys
    assert split_keys({**node, "line_shares": [1, 0, 0]}, "train") == "data.line_shares"
