import hashlib
import inspect
import json
import re
import shutil
import string
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from faker.providers import job
from faker.providers.company import en_US as company
from faker.providers.lorem import en_US as lorem

from hwr.config.bind import bind
from hwr.data import synthetic
from hwr.data.records import Page
from hwr.data.synthetic import hands, texts
from hwr.data.synthetic.forms import outline_of_boxes
from hwr.errors import InputError
from hwr.images import boxes

CONF = Path(__file__).parents[2] / "conf" / "data" / "synthetic.yaml"
TINY: dict[str, Any] = {
    "processes": 1,
    "seed": 3,
    "pages": {"train": 3, "valid": 1, "test": 3},
    "writers": {"train": 3, "valid": 1, "test": 2},
    "lines": [2, 3],
    "size": [500, 520],
    "body": [12, 14],
    "families": ["caveat", "delius", "pacifico", "indie-flower"],
    "held_out": ["indie-flower"],
    "ruled": 0.0,
}


def settings(where: Path, **changed: Any) -> dict[str, Any]:
    default = yaml.safe_load(CONF.read_text())
    own = inspect.signature(synthetic.read_synthetic).parameters
    wanted = {key: value for key, value in default.items() if key in own}
    return wanted | TINY | {"folder": where} | changed


def corpus(folder: Path, sentence: str = "Zebra number {} ran. ") -> Path:
    """Write a text file of 60 sentences; it loads sooner than the bigrams."""
    path = folder / "text.txt"
    path.write_text("".join(sentence.format(n) for n in range(60)), encoding="utf-8")
    return path


def images(pages: list[Page]) -> list[str]:
    return [hashlib.sha256(page.image.read_bytes()).hexdigest() for page in pages]


def of(pages: list[Page], split: str) -> list[Page]:
    return [page for page in pages if page.split == split]


def drawn(**wanted: Any) -> tuple[Page, ...]:
    """Return the pages that settings describe."""
    return synthetic.read_synthetic(**wanted).pages


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> list[Page]:
    return drawn(**settings(tmp_path_factory.mktemp("synthetic")))


def test_read_draws_the_pages_asked_for(pages: list[Page]) -> None:
    assert [page.split for page in pages] == ["train"] * 3 + ["valid"] + ["test"] * 3
    assert all(1 <= len(page.lines) <= 3 for page in pages)
    assert all(cv2.imread(str(page.image), cv2.IMREAD_GRAYSCALE).shape == page.size for page in pages)
    assert all(page.image.is_absolute() for page in pages)


def test_same_seed_gives_same_bytes_and_another_seed_others(pages: list[Page], tmp_path: Path) -> None:
    again = drawn(**settings(tmp_path))
    other = drawn(**settings(tmp_path, seed=4, text=corpus(tmp_path)))
    assert images(again) == images(pages)
    assert [page.lines for page in again] == [page.lines for page in pages]
    assert not set(images(other)) & set(images(pages))


def test_two_processes_draw_the_same_bytes_as_one(pages: list[Page], tmp_path: Path) -> None:
    assert images(drawn(**settings(tmp_path, processes=2))) == images(pages)


def test_second_call_draws_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = settings(tmp_path, pages={"train": 1}, text=corpus(tmp_path))
    first = drawn(**wanted)
    monkeypatch.setattr(synthetic, "draw_form", None)
    assert drawn(**wanted) == first


def test_killed_build_is_done_again(tmp_path: Path) -> None:
    wanted = settings(tmp_path, pages={"train": 1}, text=corpus(tmp_path))
    home = drawn(**wanted)[0].image.parent
    half = home.with_name(f"{home.name}.building")
    home.rename(half)
    (half / "records.json").unlink()
    assert len(drawn(**wanted)) == 1
    assert not half.exists()


def test_two_builders_at_once_share_one_build(tmp_path: Path) -> None:
    code = (
        "import sys, json; from hwr.data import synthetic; "
        "print(synthetic.read_synthetic(**json.loads(sys.argv[1])).pages[0].image)"
    )
    wanted = settings(tmp_path, pages={"train": 2}, text=corpus(tmp_path))
    command = [sys.executable, "-c", code, json.dumps(wanted, default=str)]
    root = Path(__file__).parents[2]
    running = [subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = {process.communicate()[0] for process in running}
    assert len(printed) == 1
    assert [process.returncode for process in running] == [0, 0]
    assert len([path for path in tmp_path.iterdir() if path.is_dir()]) == 1


def test_splits_share_no_writer_and_no_sentence(pages: list[Page]) -> None:
    writers = [{page.writer for page in of(pages, split)} for split in ("train", "valid", "test")]
    assert sum(map(len, writers)) == len(set().union(*writers)) == 6
    lines = [
        {line.text for page in of(pages, split) for line in page.lines}
        for split in ("train", "valid", "test")
    ]
    assert not lines[0] & lines[1] and not lines[0] & lines[2] and not lines[1] & lines[2]


def test_held_out_family_writes_in_test_only_and_says_so(pages: list[Page]) -> None:
    apart = [page for page in pages if page.writer.startswith("indie-flower-")]
    assert apart and {page.split for page in apart} == {"test"}
    for page in pages:
        assert {line.kind for line in page.lines} == {"held-out" if page in apart else ""}


def test_ids_are_unique(pages: list[Page]) -> None:
    ids = [line.id for page in pages for line in page.lines]
    ids += [word.id for page in pages for line in page.lines for word in line.words]
    assert len(set(ids)) == len(ids)


def test_boxes_hold_the_ink_and_nothing_else_does(pages: list[Page]) -> None:
    for page in pages:
        ink = cv2.imread(str(page.image), cv2.IMREAD_GRAYSCALE) < 150
        assert page.area is not None and min(page.area) > 0 and max(page.area) < 1
        inside = np.zeros_like(ink)
        for word in (word for line in page.lines for word in line.words):
            x1, y1, x2, y2 = boxes.to_px(word.box, page.size)
            assert ink[y1:y2, x1:x2].any(), word
            inside[max(y1 - 1, 0) : y2 + 1, max(x1 - 1, 0) : x2 + 1] = True
        x1, y1, x2, y2 = boxes.to_px(page.area, page.size)
        around = np.zeros_like(ink)
        around[y1 - 3 : y2 + 4, x1 - 4 : x2 + 4] = True
        assert not (ink & around & ~inside).any(), page.id


def test_line_is_its_words_in_order(pages: list[Page]) -> None:
    for line in (line for page in pages for line in page.lines):
        assert line.text == " ".join(word.text for word in line.words)
        assert line.box == boxes.union(word.box for word in line.words) == boxes.around(line.polygon)
        starts = [word.box[0] for word in line.words]
        assert starts == sorted(starts)
        assert [x for x, _ in line.baseline] == sorted(x for x, _ in line.baseline)
        assert all(line.box[1] < y < line.box[3] + 0.05 for _, y in line.baseline)


def test_lines_of_a_page_run_downwards_below_the_printed_text(pages: list[Page]) -> None:
    for page in pages:
        baselines = [np.mean([y for _, y in line.baseline]) for line in page.lines]
        assert baselines == sorted(baselines)
        grey = cv2.imread(str(page.image), cv2.IMREAD_GRAYSCALE)
        above = grey[: boxes.to_px(page.lines[0].box, page.size)[1]]
        dark = (above < 140).mean(axis=1)
        assert (dark > 0.5).sum() >= 2  # the rules around the printed text


def test_outline_follows_the_boxes() -> None:
    found = [(0.1, 0.2, 0.3, 0.4), (0.5, 0.1, 0.6, 0.5)]
    assert outline_of_boxes(found) == (
        *((0.1, 0.2), (0.3, 0.2), (0.5, 0.1), (0.6, 0.1)),
        *((0.6, 0.5), (0.5, 0.5), (0.3, 0.4), (0.1, 0.4)),
    )


def test_outline_of_overlapping_boxes_holds_both() -> None:
    found = [(0.1, 0.2, 0.4, 0.4), (0.3, 0.1, 0.6, 0.5)]
    assert outline_of_boxes(found)[:6] == (
        (0.1, 0.2),
        (0.3, 0.2),
        (0.3, 0.1),
        (0.4, 0.1),
        (0.4, 0.1),
        (0.6, 0.1),
    )


def test_text_file_is_what_is_written(tmp_path: Path) -> None:
    text = corpus(tmp_path)
    found = drawn(**settings(tmp_path, text=text))
    lines = [[line for page in of(found, split) for line in page.lines] for split in TINY["pages"]]
    words = [{word.text for line in part for word in line.words} for part in lines]
    assert {"Zebra", "number", "ran."} <= words[0]
    assert set().union(*words) <= set(text.read_text().split())
    numbers = [{word for word in split if word.isdigit()} for split in words]
    assert not numbers[0] & numbers[1] and not numbers[0] & numbers[2] and not numbers[1] & numbers[2]


def test_words_with_missing_glyphs_are_left_out(tmp_path: Path) -> None:
    text = corpus(tmp_path, "He only said 漢字 and went on to talk {}. ")
    found = drawn(**settings(tmp_path, text=text))
    written = " ".join(line.text for page in found for line in page.lines)
    assert "said and" in written and "漢" not in written


def test_text_no_font_can_write_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("漢字。 漢字漢. 字漢! 漢?", encoding="utf-8")
    with pytest.raises(InputError, match="no font family has the characters"):
        drawn(**settings(tmp_path, text=text))


def test_accents_are_put_on_letters(tmp_path: Path) -> None:
    text = corpus(tmp_path, "Many old lions once ate {} oranges. ")
    found = drawn(**settings(tmp_path, pages={"train": 2}, accents=1.0, text=text))
    words = [word.text for page in found for line in page.lines for word in line.words]
    known = set("".join(texts.ACCENTED.values()))
    assert sum(len(known & set(word)) == 1 for word in words) > 0.6 * len(words)


def test_font_folder_adds_a_family(tmp_path: Path) -> None:
    folder = tmp_path / "fonts"
    folder.mkdir()
    shutil.copy(hands.packaged_family("zeyada").files[0], folder / "mine.TTF")
    text = corpus(tmp_path)
    found = drawn(**settings(tmp_path, families=["caveat"], held_out=["zeyada"], fonts=folder, text=text))
    assert {page.writer[:-5] for page in of(found, "test")} == {"caveat", "zeyada"}


def test_faces_of_a_family_are_one_family(tmp_path: Path) -> None:
    for file in hands.packaged_family("kalam").files:
        shutil.copy(file, tmp_path)
    (family,) = hands.families_in(tmp_path)
    assert family.name == "kalam"
    assert [file.stem for file in family.files] == ["Kalam-Light", "Kalam-Regular", "Kalam-Bold"]


def test_joined_faces_are_told_from_unjoined_ones() -> None:
    joined = {
        s: hands.measure_face(hands.packaged_family(s).files[0]).joined
        for s in ("pacifico", "satisfy", "delius", "kalam")
    }
    assert joined == {"pacifico": True, "satisfy": True, "delius": False, "kalam": False}


def test_bigram_sentences_have_every_letter_digit_and_mark() -> None:
    sentences = texts.unseen_sentences(texts.Bigrams().sentences(np.random.default_rng(0)))
    written = " ".join(islice(sentences, 3000))
    assert set(string.ascii_letters + string.digits + " .,;:!?'\"-()&") == set(written)


def test_english_pairs_are_of_words_in_fakers_lists() -> None:
    lists = str([lorem.Provider.word_list, job.Provider.jobs, company.Provider.catch_phrase_words])
    known = set(re.findall("[a-z]+", (lists + str(company.Provider.bsWords)).lower()))
    pairs = texts.Bigrams()._following
    assert len(pairs) > 1000
    assert {*pairs, *(word for seconds, _ in pairs.values() for word in seconds)} <= known


def test_french_has_its_accents_elisions_and_short_lines() -> None:
    written = list(islice(texts.endless_sentences(["french"], 0.2, np.random.default_rng(0)), 3000))
    assert set("àâçèéêîôùûœ«»'0123456789") <= set("".join(written))
    assert any("l'" in sentence for sentence in written)
    assert {"Cher Monsieur,", "idem"} <= set(written)
    both = list(islice(texts.endless_sentences(["french", "english"], 0.2, np.random.default_rng(0)), 3000))
    assert {"ditto", "Cher Monsieur,"} <= set(both)


def test_every_face_that_is_shipped_writes_french_and_has_its_licence_beside() -> None:
    folders = sorted(folder for folder in hands.FONTS.iterdir() if folder.is_dir())
    wanted = yaml.safe_load((CONF.parent / "hands.yaml").read_text())["families"]
    assert {folder.name for folder in folders} <= set(wanted)
    for folder in folders:
        (file,) = hands.packaged_family(folder.name).files
        assert all(hands.can_write(file, letter) for letter in "éèêàâçôùAZaz09.,'"), folder
        assert (folder / "LICENSE").stat().st_size > 1000


def test_writers_differ_as_settings_say(tmp_path: Path) -> None:
    text, wanted = corpus(tmp_path), {"train": 2}
    plain = drawn(**settings(tmp_path, pages=wanted, text=text))
    capitals = drawn(**settings(tmp_path, pages=wanted, text=text, capitals=1.0))
    assert plain[0].lines[0].text.startswith("Zebra number")
    assert all(line.text == line.text.upper() for page in capitals for line in page.lines)
    struck = drawn(**settings(tmp_path, pages=wanted, text=text, struck=0.5))
    for page, whole in zip(struck, plain, strict=True):
        assert 0.3 < sum(map(words_of, page.lines)) / sum(map(words_of, whole.lines)) < 0.9
    for changed in ({"pencil": 1.0}, {"slant": [0.9, 0.95]}, {"worn": 1.0}):
        other = drawn(**settings(tmp_path, pages=wanted, text=text, **changed))
        assert not set(images(list(other))) & set(images(list(plain)))
        assert other[0].lines[0].text.startswith("Zebra number")


def words_of(line: Any) -> int:
    return len(line.words)


def test_unseen_drops_what_came_before() -> None:
    assert list(texts.unseen_sentences(iter(["A.", "B.", "A."]))) == ["A.", "B."]


def test_accented_word_keeps_letters_the_font_lacks_plain() -> None:
    rng = np.random.default_rng(0)
    assert texts.with_accent("era", lambda letter: letter == "é", rng) == "éra"
    assert texts.with_accent("xyz", lambda letter: False, rng) == "xyz"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"families": ["no-such-face"]}, "fontpkg-no-such-face"),
        ({"held_out": ["zeyada"]}, "'zeyada', which is not among"),
        ({"families": ["caveat"], "held_out": ["caveat"]}, "no font family to train on"),
        ({"writers": {"train": 0, "valid": 1, "test": 1}}, "data.writers.train is 0"),
        ({"lines": [3, 2]}, "data.lines"),
        ({"slant": [0.2, -0.2]}, "data.slant"),
        ({"size": [1, 1]}, r"data.size=\[1, 1\]: too small to write on; use 32 or more"),
        ({"fonts": "/no/such/folder"}, "does not exist"),
        ({"text": "/no/such/file"}, "/no/such/file: cannot be read"),
        ({"folder": None}, "data.folder"),
    ],
)
def test_wrong_setting_is_named(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        drawn(**settings(tmp_path, **changed))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"pages": {"training": 1}},
            "data.pages.training='training' is not possible; it must be one of",
        ),
        ({"writers": {"train": -1}}, "data.writers.train=-1 is not possible; it must be 0 or more"),
        ({"lines": [0, 2]}, "data.lines.0=0 is not possible; it must be 1 or more"),
        ({"size": [500]}, r"data.size=\[500\] is not possible"),
        ({"body": [0.0, 2.0]}, "data.body.0=0.0 is not possible; it must be greater than 0"),
        ({"accents": 2.0}, "data.accents=2.0 is not possible; it must be 1 or less"),
        ({"ruled": -0.5}, "data.ruled=-0.5 is not possible; it must be 0 or more"),
        ({"variation": -1.0}, "data.variation=-1.0 is not possible; it must be 0 or more"),
        ({"seed": -1}, "data.seed=-1 is not possible; it must be 0 or more"),
    ],
)
def test_number_out_of_range_is_refused_by_its_key(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        bind(synthetic.read_synthetic, {**settings(Path("somewhere")), "folder": None, **changed}, "data")


def test_page_too_small_to_write_on_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no word fits on page s00000 .* data\.size"):
        drawn(**settings(tmp_path, size=[100, 520], text=corpus(tmp_path)))


def test_damaged_font_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.ttf").write_bytes(b"not a font")
    with pytest.raises(InputError, match=r"bad\.ttf is not a readable font"):
        drawn(**settings(tmp_path, fonts=tmp_path))


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"file/.* cannot be written"):
        drawn(**settings(tmp_path / "file"))
