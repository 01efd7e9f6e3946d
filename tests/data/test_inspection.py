import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from hwr.data.inspection import Limits, apply_policy, inspect_pages, line_width, needed_steps
from hwr.data.records import Line, Page
from hwr.data.report import KINDS
from hwr.errors import InputError
from hwr.images.line_crop import LineCrop, crop_line
from hwr.images.page_files import Loading
from hwr.text import Alphabet

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


def findings(*pages: Page, **settings: object) -> dict[str, list[str]]:
    """Return only what was found."""
    problems = inspect_pages(pages, LIMITS, **settings).problems
    return {name: ids for name, ids in problems.items() if ids}


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
    splits = inspect_pages(pages, LIMITS).as_dict()["splits"]
    assert splits["train"] == {"pages": 2, "lines": 3, "writers": 1, "characters": 9, "words": 4}
    assert splits["valid"] == {"pages": 1, "lines": 0, "writers": 1, "characters": 0, "words": 0}
    assert splits["test"]["pages"] == 0
    assert "" not in splits


def test_alphabet_is_trains_and_other_splits_are_held_to_it(tmp_path: Path) -> None:
    pages = page(tmp_path, "a", "abba"), page(tmp_path, "b", "abß", split="test")
    report = inspect_pages(pages, LIMITS)
    assert report.alphabet == {"a": 2, "b": 2}
    assert report.unseen == {"valid": {}, "test": {"ß": 1}}
    assert report.findings["outside_alphabet"] == {"b/1": "ß"}


def test_alphabet_without_train_is_that_of_all_pages(tmp_path: Path) -> None:
    report = inspect_pages([page(tmp_path, "a", "ba", split="")], LIMITS)
    assert report.alphabet == {"a": 1, "b": 1}
    assert report.problems["outside_alphabet"] == []


def test_alphabet_given_takes_the_place_of_trains(tmp_path: Path) -> None:
    pages = page(tmp_path, "a", "abc"), page(tmp_path, "b", "xy", split="test")
    assert findings(*pages, alphabet=Alphabet("abxy")) == {"outside_alphabet": ["a/1"]}


def test_too_long_for_ctc_counts_repeats(tmp_path: Path) -> None:
    pages = page(tmp_path, "a", "abcdefghij", "abcdefghii")  # 10 and 11 steps; the image gives 10
    report = inspect_pages([pages], LIMITS)
    assert report.findings["too_long_for_ctc"] == {"a/2": "needs 11 steps, has 10"}


def test_empty_text_and_empty_outline_are_found(tmp_path: Path) -> None:
    whole = page(tmp_path, "a", "", "ab", "abc")
    lines = (
        whole.lines[0],
        replace(whole.lines[1], box=(0.3, 0.5, 0.9, 0.5)),
        replace(whole.lines[2], box=(1.1, 0, 1.2, 1)),
    )
    assert findings(replace(whole, lines=lines)) == {"no_area": ["a/2", "a/3"], "empty_text": ["a/1"]}


@pytest.mark.parametrize(
    "box", [(0, 0, 1, float("nan")), (float("nan"), 0, 1, 1), (0.5, 0, 0.5, 1), (-1, 0, 0, 1)]
)
def test_line_width_without_area_is_0(box: tuple[float, float, float, float]) -> None:
    assert line_width(Line("l", "x", box), (200, 100), CROP) == 0


def test_line_width_adds_the_margin_on_every_side() -> None:
    line = Line("l", "x", (0.1, 0.1, 0.5, 0.2))  # 400 x 50 px on the page below
    crop = replace(CROP, margin=0.5)  # 450 x 100 px, at height 40: 180
    assert line_width(line, (500, 1000), crop) == 180
    assert line_width(line, (500, 1000), replace(crop, max_width=100)) == 100


def test_line_width_follows_a_rising_baseline() -> None:
    points = [(10.0, 150.0), (170.0, 30.0)]  # 200 px long; the polygon reaches 20 px above it and none below
    above = [(-2, 134), (158, 14)]  # moved by 20 px across: (-12, -16)
    fractions = [tuple((np.array(p) + 20) / 200) for p in (*points, *above[::-1])]
    line = Line("l", "x", (0.09, 0.17, 0.95, 0.85), tuple(fractions), tuple(fractions[:2]))
    assert line_width(line, (200, 200), CROP) == 400
    paper = np.full((200, 200), 255, np.uint8)
    assert crop_line(paper, line, CROP).shape[1] == pytest.approx(400, rel=0.02)


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
    note = inspect_pages([page(tmp_path, "a", "ab")], limits).findings["unreadable_image"]["a"]
    assert "100 x 200 pixels are more than max_pixels=19999" in note


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
    report = inspect_pages(pages, LIMITS)
    assert report.findings["shared_writer"] == {"x": "train, test"}
    assert report.findings["shared_text"] == {"b/1": "also in test"}


def test_duplicate_image_names_the_copy_that_later_splits_can_do_without(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "ab", split="test"), page(tmp_path, "b", "ab"), page(tmp_path, "c", "ab")]
    pages[1].image.write_bytes(pages[0].image.read_bytes())
    assert inspect_pages(pages, LIMITS).findings["duplicate_image"] == {"b": "as a, test"}


def test_apply_keeps_everything_when_told_to(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "", "ab")]
    assert apply_policy(pages, inspect_pages(pages, LIMITS), KEEP) == pages


def test_apply_drops_lines_and_keeps_their_page(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", ""), page(tmp_path, "b", "", "ab", split="test")]
    kept = apply_policy(pages, inspect_pages(pages, LIMITS), KEEP | {"empty_text": "drop"})
    assert [p.id for p in kept] == ["a", "b"]
    assert line_ids(kept) == ["b/2"]
    assert line_ids(pages) == ["a/1", "b/1", "b/2"]  # the argument is left alone


def test_apply_drops_from_train_alone(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "abcdefghijk", "a"), page(tmp_path, "b", "abcdefghijk", split="test")]
    kept = apply_policy(pages, inspect_pages(pages, LIMITS), KEEP | {"too_long_for_ctc": "drop_train"})
    assert line_ids(kept) == ["a/2", "b/1"]


def test_apply_drops_a_shared_writer_from_all_but_the_last_split(tmp_path: Path) -> None:
    pages = [
        page(tmp_path, n, "ab", split=s, writer="x")
        for n, s in (("a", "train"), ("b", "valid"), ("c", "test"))
    ]
    report = inspect_pages([*pages, page(tmp_path, "d", "ab")], LIMITS)
    assert [p.id for p in apply_policy(pages, report, KEEP | {"shared_writer": "drop"})] == ["c"]
    assert [p.id for p in apply_policy(pages, report, KEEP | {"shared_writer": "drop_train"})] == ["b", "c"]


def test_apply_drops_pages(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "ab"), page(tmp_path, "b", "ab")]
    pages[0].image.unlink()
    kept = apply_policy(pages, inspect_pages(pages, LIMITS), KEEP | {"unreadable_image": "drop"})
    assert [p.id for p in kept] == ["b"]


def test_apply_refuses_in_one_line_that_says_what_where_and_how_on(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", *[""] * 4)]
    with pytest.raises(InputError) as error:
        apply_policy(pages, inspect_pages(pages, LIMITS), KEEP | {"empty_text": "refuse"})
    assert str(error.value) == (
        "4 lines without text: a/1, a/2, a/3, …; "
        "transcribe them, or set inspect.policy.empty_text to drop or keep"
    )


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (KEEP | {"empty_txt": "drop"}, "inspect.policy.empty_txt is no finding"),
        ({k: v for k, v in KEEP.items() if k != "no_area"}, "inspect.policy.no_area is not set"),
        (KEEP | {"no_area": "dorp"}, "inspect.policy.no_area=dorp is unknown; use one of keep, drop"),
    ],
)
def test_apply_refuses_a_policy_it_does_not_know(
    tmp_path: Path, policy: dict[str, str], message: str
) -> None:
    pages = [page(tmp_path, "a", "ab")]
    with pytest.raises(InputError, match=message):
        apply_policy(pages, inspect_pages(pages, LIMITS), policy)


def test_default_policy_accepts_clean_data_and_names_every_finding(tmp_path: Path) -> None:
    settings = yaml.safe_load((Path(__file__).parents[2] / "conf/inspect/default.yaml").read_text())
    pages = [page(tmp_path, "a", "ab")]
    assert apply_policy(pages, inspect_pages(pages, LIMITS), settings["policy"]) == pages


def test_report_survives_json_with_the_same_keys_for_no_data(tmp_path: Path) -> None:
    full, none = (inspect_pages(p, LIMITS).as_dict() for p in ([page(tmp_path, "a", "ab", "")], []))
    assert json.loads(json.dumps(full)) == full
    assert full.keys() == none.keys()
    assert full["findings"].keys() == none["findings"].keys() == KINDS.keys()


def test_table_shows_counts_examples_and_remedies_within_its_width(tmp_path: Path) -> None:
    pages = [page(tmp_path, "a", "e\u0301 ab", *[""] * 30), page(tmp_path, "b", "ß", split="test")]
    rows = inspect_pages(pages, LIMITS).table(examples=2).splitlines()
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
