import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from hwr.data.inspection import Limits, apply_policy, check_policy, inspect_pages, needed_steps
from hwr.data.records import NOWHERE, Dataset, LeftOut, Line, Page
from hwr.data.report import KINDS, Report
from hwr.errors import InputError
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.page_files import Loading

CROP = LineCrop(height=40, max_width=1000, margin=0.0, mask=False, deskew=True, normalise=False)
LIMITS = Limits(
    crop=CROP, steps=lambda width: width // 10, loading=Loading(max_pixels=100_000, working_pixels=100_000)
)
KEEP = dict.fromkeys(KINDS, "keep")
BOX = (
    0.0,
    0.0,
    1.0,
    0.2,
)  # of a 200 x 100 px page: 100 x 40 px, so 100 px wide at height 40 and 10 steps long


def page(tmp_path: Path, name: str, *texts: str, split: str = "train", writer: str = "") -> Page:
    image = tmp_path / f"{name}.png"
    shade = sum(name.encode()) % 255  # pages differ in their bytes
    Image.fromarray(np.full((200, 100), shade, np.uint8)).save(image)
    lines = tuple(Line(f"{name}/{n}", text, BOX) for n, text in enumerate(texts, start=1))
    return Page(name, writer or f"writer of {name}", split, image, (200, 100), lines)


def inspected(*pages: Page, limits: Limits = LIMITS, **settings: Any) -> Report:
    return inspect_pages(Dataset(pages), limits, **settings)


def findings(*pages: Page, **settings: Any) -> dict[str, list[str]]:
    """Return only what was found."""
    problems = inspected(*pages, **settings).problems
    return {name: ids for name, ids in problems.items() if ids}


def applied(*pages: Page, **policy: str) -> tuple[list[Page], list[LeftOut]]:
    """Return the pages that a policy leaves, and what it leaves out."""
    return apply_policy(pages, inspected(*pages).findings, KEEP | policy)


def line_ids(pages: list[Page]) -> list[str]:
    return [line.id for page in pages for line in page.lines]


@pytest.mark.parametrize(
    ("text", "steps"),
    [("", 0), ("a", 1), ("ab", 2), ("aa", 3), ("aaa", 5), ("allée", 6), ("aba", 3)],
)
def test_needed_steps_counts_a_blank_between_equal_neighbours(text: str, steps: int) -> None:
    assert needed_steps(text) == steps


def test_clean_data_has_no_finding(tmp_path: Path) -> None:
    assert findings(page(tmp_path, "a", "abc"), page(tmp_path, "b", "cab", split="test"), full=True) == {}


def test_counts_are_per_split(tmp_path: Path) -> None:
    pages = [
        page(tmp_path, "a", "ab cd", "é", writer="x"),
        page(tmp_path, "b", "abc", writer="x"),
        page(tmp_path, "c", split="valid"),
    ]
    splits = inspected(*pages).as_dict()["splits"]
    assert splits["train"] == {"pages": 2, "lines": 3, "writers": 1, "characters": 9, "words": 4}
    assert splits["valid"] == {"pages": 1, "lines": 0, "writers": 1, "characters": 0, "words": 0}
    assert splits["test"]["pages"] == 0
    assert "" not in splits


def test_alphabet_is_trains_and_other_splits_are_held_to_it(tmp_path: Path) -> None:
    pages = page(tmp_path, "a", "abba"), page(tmp_path, "b", "abß", split="test")
    report = inspected(*pages)
    assert report.alphabet == {"a": 2, "b": 2}
    assert report.unseen == {"valid": {}, "test": {"ß": 1}}
    assert report.findings["outside_alphabet"] == {"b/1": "ß"}


def test_alphabet_without_train_is_that_of_all_pages(tmp_path: Path) -> None:
    report = inspected(page(tmp_path, "a", "ba", split=""))
    assert report.alphabet == {"a": 1, "b": 1}
    assert report.problems["outside_alphabet"] == []


def test_too_long_for_ctc_counts_repeats(tmp_path: Path) -> None:
    pages = page(tmp_path, "a", "abcdefghij", "abcdefghii")  # 10 and 11 steps; the image gives 10
    report = inspected(pages)
    assert report.findings["too_long_for_ctc"] == {"a/2": "needs 11 steps, has 10"}


@pytest.mark.parametrize(
    ("text", "box", "note"),  # of a page of 100 x 200 px
    [
        ("abcde", (0.0, 0.0, 1.0, 0.1), ""),  # 100 x 20 px
        ("abcde", (0.0, 0.0, 1.0, 0.02), "25 times as long as high, with 5 characters"),  # 100 x 4 px
        ("abcde" * 3, (0.0, 0.0, 1.0, 0.02), ""),
        ("abcde", (0.0, 0.0, 0.4, 1.0), "0.2 times as long as high, with 5 characters"),  # 40 x 200 px
        ("abcd", (0.0, 0.0, 0.4, 1.0), ""),
        ("abc", (0.0, 0.0, 1.0, 0.02), ""),
    ],
)
def test_line_too_flat_or_too_tall_for_its_text_is_found(
    tmp_path: Path, text: str, box: tuple[float, float, float, float], note: str
) -> None:
    whole = page(tmp_path, "a", text)
    odd = replace(whole, lines=(replace(whole.lines[0], box=box),))
    squeezed = replace(LIMITS, crop=replace(CROP, max_width=50))  # which makes a line no less flat
    assert inspected(odd, limits=squeezed).findings["odd_shape"].get("a/1", "") == note


def test_script_from_right_to_left_is_found(tmp_path: Path) -> None:
    report = inspected(page(tmp_path, "a", "abc", "ab שלום", "سلام", "1 — 2"))
    assert report.findings["right_to_left"] == {"a/2": "ש", "a/3": "س"}


def test_empty_text_and_empty_outline_are_found(tmp_path: Path) -> None:
    whole = page(tmp_path, "a", "", "ab", "abc")
    lines = (
        whole.lines[0],
        replace(whole.lines[1], box=(0.3, 0.5, 0.9, 0.5)),
        replace(whole.lines[2], box=(1.1, 0, 1.2, 1)),
    )
    assert findings(replace(whole, lines=lines)) == {"no_area": ["a/2", "a/3"], "empty_text": ["a/1"]}


def test_outlines_that_were_made_are_found_with_the_reason(tmp_path: Path) -> None:
    whole = page(tmp_path, "a", "ab", "abc")
    lines = whole.lines[0], replace(whole.lines[1], mended="a strip upon its baseline")
    report = inspected(replace(whole, lines=lines))
    assert report.findings["made_outline"] == {"a/2": "a strip upon its baseline"}


def test_lines_that_cannot_be_cut_are_found_with_the_reason_that_cutting_gives(tmp_path: Path) -> None:
    whole = page(tmp_path, "a", *["ab"] * 6)
    sliver = ((0.5, 0.1), (0.5, 0.4), (0.5, 0.7))
    nan = float("nan")
    broken = [
        {"box": (0.0, 0.0, 1.0, nan)},
        {"box": (0.5, 0.0, 0.5, 1.0)},
        {"box": (-1.0, 0.0, 0.0, 1.0)},
        {"polygon": sliver},
        {"box": NOWHERE, "flaw": "half a point"},
    ]
    lines = [replace(line, **own) for line, own in zip(whole.lines, [*broken, {}], strict=True)]
    notes = inspected(replace(whole, lines=tuple(lines))).findings["no_area"]
    assert list(notes) == ["a/1", "a/2", "a/3", "a/4", "a/5"]
    paper = np.full((200, 100), 255, np.uint8)
    for line in lines[:4]:
        with pytest.raises(InputError) as refused:
            crop_line(paper, line, CROP)
        assert notes[line.id] == str(refused.value)
    assert notes["a/5"] == "half a point"


def test_lines_are_held_to_the_pixels_of_the_image_whatever_its_description_says(tmp_path: Path) -> None:
    small = page(tmp_path, "a", "ab")  # of 200 x 100 px: half a pixel high
    lines = (replace(small.lines[0], box=(0.0, 0.0, 1.0, 0.0025)),)
    assert findings(replace(small, lines=lines, size=(2000, 1000))) == {"no_area": ["a/1"]}


def test_lines_of_an_image_that_cannot_be_read_are_not_looked_at(tmp_path: Path) -> None:
    lost = replace(page(tmp_path, "a", "ab" * 50), flaw="a.xml: its image a.png is missing")
    report = inspected(lost)
    assert {name: notes for name, notes in report.findings.items() if notes} == {
        "unreadable_image": {"a": "a.xml: its image a.png is missing"}
    }


def test_page_that_makes_no_sample_is_found(tmp_path: Path) -> None:
    limits = replace(LIMITS, sample_flaw=lambda page: "too small" if page.id == "a" else "")
    report = inspected(page(tmp_path, "a", "ab"), page(tmp_path, "b", "ba"), limits=limits)
    assert report.findings["no_sample"] == {"a": "too small"}


def test_missing_and_foreign_images_are_unreadable(tmp_path: Path) -> None:
    pages = [page(tmp_path, name, "ab") for name in ("a", "b", "c")]
    pages[0].image.unlink()
    pages[1].image.write_text("no image")
    assert findings(*pages) == {"unreadable_image": ["a", "b"]}


def test_truncated_image_is_found_by_the_full_part_alone(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 100), np.uint8))
    noise.save(tmp_path / "a.jpg")
    cut = replace(page(tmp_path, "a", "ab"), image=tmp_path / "a.jpg")
    cut.image.write_bytes(cut.image.read_bytes()[:5000])
    assert findings(cut) == {}
    assert findings(cut, full=True) == {"unreadable_image": ["a"]}


def test_image_above_max_pixels_is_unreadable(tmp_path: Path) -> None:
    limits = replace(LIMITS, loading=Loading(max_pixels=19_999, working_pixels=1))
    note = inspected(page(tmp_path, "a", "ab"), limits=limits).findings["unreadable_image"]["a"]
    assert "100 x 200 pixels are more than max_pixels=19999" in note


def test_page_that_exif_turns_by_180_degrees_is_found_and_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    pages = page(tmp_path, "a", "abc"), page(tmp_path, "b", "abc", split="test")
    Image.open(pages[0].image).save(pages[0].image, exif=exif)
    assert inspected(*pages).findings["exif_turn"] == {"a": "EXIF orientation 3 turns it by 180 degrees"}
    assert applied(*pages) == (list(pages), [])


def test_image_file_of_several_pages_is_found_and_kept(tmp_path: Path) -> None:
    several, alone = page(tmp_path, "a", "abc"), page(tmp_path, "b", "abc", split="test")
    first = Image.open(several.image)
    several = replace(several, image=tmp_path / "a.tif")
    first.save(several.image, save_all=True, append_images=[first, first])
    assert inspected(several, alone).findings["more_pages"] == {"a": "page 1 of 3"}
    assert inspected(replace(several, number=3)).findings["more_pages"] == {"a": "page 3 of 3"}
    assert applied(several, alone) == ([several, alone], [])


def test_image_of_another_shape_is_found_and_another_scale_is_not(tmp_path: Path) -> None:
    turned = replace(page(tmp_path, "a", "ab"), size=(100, 200))
    halved = replace(page(tmp_path, "b", "ab"), size=(401, 200))
    assert findings(turned, halved)["other_shape"] == ["a"]


def test_shared_writers_and_texts_are_found_between_splits_only(tmp_path: Path) -> None:
    pages = [
        page(tmp_path, "a", "ab", "ab", writer="x"),
        page(tmp_path, "b", "ba", split="valid", writer="y"),
        page(tmp_path, "c", "ba", split="test", writer="x"),
        page(tmp_path, "d", "ba", split="", writer="y"),
    ]
    report = inspected(*pages)
    assert report.findings["shared_writer"] == {"x": "train, test"}
    assert report.findings["shared_text"] == {"b/1": "also in test"}


def test_duplicate_image_names_the_copy_that_later_splits_can_do_without(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "ab", split="test"), page(tmp_path, "b", "ab"), page(tmp_path, "c", "ab")]
    pages[1].image.write_bytes(pages[0].image.read_bytes())
    assert inspected(*pages).findings["duplicate_image"] == {"b": "as a, test"}


def test_apply_keeps_everything_when_told_to_or_told_nothing(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "", "ab")]
    assert applied(*pages) == (pages, [])
    assert apply_policy(pages, inspected(*pages).findings, {}) == (pages, [])


def test_apply_drops_lines_and_keeps_their_page(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", ""), page(tmp_path, "b", "", "ab", split="test")]
    kept, left_out = applied(*pages, empty_text="drop")
    assert [p.id for p in kept] == ["a", "b"]
    assert line_ids(kept) == ["b/2"]
    assert line_ids(pages) == ["a/1", "b/1", "b/2"]  # the argument is left alone
    rule = "inspect.policy.empty_text=drop"
    assert left_out == [LeftOut(rule, lines={"train": ("a/1",), "test": ("b/1",)})]


def test_apply_drops_from_train_alone(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "abcdefghijk", "a"), page(tmp_path, "b", "abcdefghijk", split="test")]
    kept, left_out = applied(*pages, too_long_for_ctc="drop_train")
    assert line_ids(kept) == ["a/2", "b/1"]
    assert [rule.lines for rule in left_out] == [{"train": ("a/1",)}]


def test_apply_drops_a_shared_writer_from_all_but_the_last_split(tmp_path: Path) -> None:
    pages = [
        page(tmp_path, n, "ab", split=s, writer="x")
        for n, s in (("a", "train"), ("b", "valid"), ("c", "test"))
    ]
    pages.append(page(tmp_path, "d", "ab"))
    assert [p.id for p in applied(*pages, shared_writer="drop")[0]] == ["c", "d"]
    assert [p.id for p in applied(*pages, shared_writer="drop_train")[0]] == ["b", "c", "d"]


def test_apply_drops_pages(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "ab", "ba"), page(tmp_path, "b", "ab")]
    pages[0].image.unlink()
    kept, (rule,) = applied(*pages, unreadable_image="drop")
    assert [p.id for p in kept] == ["b"]
    assert (rule.pages, rule.lines) == ({"train": ("a",)}, {"train": ("a/1", "a/2")})


@pytest.mark.parametrize(
    ("unreadable", "policy", "left", "rules"),
    [
        # The writer's last page is gone, so the one before it is the last.
        ("c", {"shared_writer": "drop"}, ["b"], {"unreadable_image": ["c"], "shared_writer": ["a"]}),
        # No page of the writer is left in two splits.
        ("bc", {"shared_writer": "drop"}, ["a"], {"unreadable_image": ["b", "c"]}),
        ("abc", {"shared_writer": "drop"}, [], {"unreadable_image": ["a", "b", "c"]}),
        # Nor is the text, or the image.
        ("bc", {"shared_text": "drop"}, ["a"], {"unreadable_image": ["b", "c"]}),
        ("bc", {"duplicate_image": "drop"}, ["a"], {"unreadable_image": ["b", "c"]}),
    ],
)
def test_apply_compares_only_what_earlier_rules_have_left(
    tmp_path: Path, unreadable: str, policy: dict[str, str], left: list[str], rules: dict[str, list[str]]
) -> None:
    pages = [
        page(tmp_path, n, "ab", split=s, writer="x")
        for n, s in (("a", "train"), ("b", "valid"), ("c", "test"))
    ]
    for own in pages:
        own.image.write_bytes(pages[0].image.read_bytes())
    pages = [replace(own, flaw="lost" if own.id in unreadable else "") for own in pages]
    kept, left_out = applied(*pages, unreadable_image="drop", **policy)
    assert [own.id for own in kept if own.lines] == left
    assert {
        rule.rule.removeprefix("inspect.policy.").partition("=")[0]: [
            i for ids in rule.pages.values() for i in ids
        ]
        for rule in left_out
    } == rules


def test_a_line_is_left_out_by_one_rule(tmp_path: Path) -> None:
    both = page(tmp_path, "a", "", "ab")
    both = replace(both, lines=tuple(replace(line, box=NOWHERE) for line in both.lines))
    _, left_out = applied(both, no_area="drop", empty_text="drop")
    assert [(rule.rule, rule.lines) for rule in left_out] == [
        ("inspect.policy.no_area=drop", {"train": ("a/1", "a/2")})
    ]


def test_report_refuses_in_one_line_that_says_what_where_and_how_on(tmp_path: Path) -> None:
    report = inspected(page(tmp_path, "a", *[""] * 4, "abcdefghijk"))
    report.refuse(KEEP)
    with pytest.raises(InputError) as error:
        report.refuse(KEEP | {"empty_text": "refuse", "too_long_for_ctc": "refuse"})
    assert str(error.value) == (
        "4 lines without text; 1 line with more text than time steps: a/1, a/2, a/3, …; "
        "transcribe them, or set inspect.policy.empty_text to drop or keep"
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ({"empty_txt": "drop"}, "inspect.policy.empty_txt is no finding; these are unused_file"),
        ({"no_area": "dorp"}, "inspect.policy.no_area=dorp is unknown; use one of keep, drop"),
    ],
)
def test_a_policy_that_is_not_known_is_refused(policy: dict[str, str], message: str) -> None:
    check_policy(KEEP)
    with pytest.raises(InputError, match=message):
        check_policy(KEEP | policy)


@pytest.mark.parametrize("name", ["default", "pages"])
def test_policies_accept_clean_data_and_name_every_finding(tmp_path: Path, name: str) -> None:
    settings = yaml.safe_load((Path(__file__).parents[2] / f"conf/inspect/{name}.yaml").read_text())
    assert settings["policy"].keys() == KINDS.keys()
    pages = [page(tmp_path, "a", "ab")]
    assert applied(*pages, **settings["policy"]) == (pages, [])
    assert "refuse" not in settings["policy"].values()  # one bad file stops no training


def test_what_is_left_out_is_told_in_a_line_for_each_rule(tmp_path: Path) -> None:
    pages = [
        page(tmp_path, "a", "", "ab"),
        page(tmp_path, "b", "ba", split="valid"),
        page(tmp_path, "c", "b"),
    ]
    pages[2].image.unlink()
    source = LeftOut("unused_file", files=("mets.xml",))
    report = inspect_pages(Dataset(tuple(pages), left_out=(source,)), LIMITS)
    kept, left_out = apply_policy(pages, report.findings, {"empty_text": "drop", "unreadable_image": "drop"})
    told = report.after(left_out, kept)
    assert told.told() == [
        "left out by unused_file: 1 file",
        "left out by inspect.policy.unreadable_image=drop: 1 page (train 1) with 1 line",
        "left out by inspect.policy.empty_text=drop: 1 line (train 1)",
    ]
    assert told.table(examples=1).splitlines()[-4:] == [
        *told.told(), "lines used: train 1 of 3, valid 1 of 1, test 0 of 0"
    ]  # fmt: skip


def test_an_empty_split_says_what_left_it_empty(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", ""), page(tmp_path, "b", "", split="test")]
    report = inspected(*pages)
    kept, left_out = apply_policy(pages, report.findings, {"empty_text": "drop"})
    told = report.after(left_out, kept)
    for split, said in (
        (
            "train",
            r"the split train has no lines left; left out: 1 line \(train 1\) by inspect.policy.empty_text",
        ),
        ("valid", "the split valid has no lines; see data.splits and data.shares"),
    ):
        with pytest.raises(InputError, match=said):
            told.refuse_empty(split, "data.splits and data.shares")
    report.after([], pages).refuse_empty("train", "")


def test_report_survives_json_with_the_same_keys_for_no_data(tmp_path: Path) -> None:
    full, none = (inspected(*p).as_dict() for p in ([page(tmp_path, "a", "ab", "")], []))
    assert json.loads(json.dumps(full)) == full
    assert full.keys() == none.keys()
    assert full["findings"].keys() == none["findings"].keys() == KINDS.keys()


def test_table_shows_counts_examples_and_remedies_within_its_width(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "e\u0301 ab", *[""] * 30), page(tmp_path, "b", "ß", split="test")]
    rows = inspected(*pages).table(examples=2).splitlines()
    assert max(map(len, rows)) <= 100
    assert any(row.split() == ["train", "1", "31", "1", "5", "2"] for row in rows)
    assert "empty_text        30 lines without text: transcribe them" in rows
    assert rows[rows.index("empty_text        30 lines without text: transcribe them") + 1].split() == [
        "a/2,",
        "a/3,",
        "…",
    ]
    assert "alphabet          5 characters: ␣ a b e U+0301" in rows
    assert "new in test       ß\u00a01" in rows
