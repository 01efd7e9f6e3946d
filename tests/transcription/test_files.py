"""Files to transcripts: which are read, what is written, and what happens to a page that fails."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwr.config.compose import composed
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError
from hwr.images.load import GreyImage
from hwr.transcription import export
from hwr.transcription import files as transcribing
from hwr.transcription.files import Job, expand, page_name
from hwr.transcription.page_reader import Found
from hwr.transcription.transcript import ReadLine, ReadPage, ReadWord

BOX = (0.25, 0.25, 0.75, 0.5)


class Reader:
    """Reads of any page what shade its corner is, of a white one nothing; counts the pages."""

    def __init__(self) -> None:
        self.pages = 0

    def __call__(self, page: GreyImage) -> Found:
        self.pages += 1
        if page[0, 0] == 255:
            return Found(None, ())
        text = f"shade {page[0, 0]}"
        words = tuple(ReadWord(word, BOX, 0.5) for word in text.split())
        return Found(BOX, (ReadLine(text, BOX, (), (), 0.5, words),))


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return what reads the pages in place of networks."""
    made = Reader()
    monkeypatch.setattr(transcribing, "_page_reader", lambda config: made)
    return made


def written(path: Path, *shades: int) -> Path:
    """Save a page of 60 x 40 px in each shade, several as one TIFF; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(np.full((60, 40), shade, np.uint8)) for shade in shades or (200,))
    if others:
        first.save(path, save_all=True, append_images=others)
    else:
        first.save(path)
    return path


def damaged(path: Path) -> Path:
    path.write_bytes(b"\x89PNG and no more")
    return path


def run(
    *files: Path,
    formats: Sequence[str] = ("txt",),
    output: Path | None = None,
    overlay: bool = False,
    force: bool = False,
) -> int:
    config = composed("transcribe", ["overlay_width=100"], TranscribeConfig).root
    return transcribing.transcribe_pages(Job(files, formats, overlay, output, force), config)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# Which files


def test_files_are_taken_as_they_are_named(tmp_path: Path) -> None:
    named = [str(tmp_path / "b.png"), str(tmp_path / "a.scan")]
    assert expand(named) == [tmp_path / "b.png", tmp_path / "a.scan"]


def test_folder_stands_for_its_images_and_pdfs_by_name(tmp_path: Path) -> None:
    for name in ("c.PDF", "b.jpeg", "a.png", "notes.txt", "a.overlay.png", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in expand([str(tmp_path)])] == ["a.png", "b.jpeg", "c.PDF"]


def test_folder_within_a_folder_is_not_taken(tmp_path: Path) -> None:
    written(tmp_path / "a.png")
    written(tmp_path / "more" / "b.png")
    assert expand([str(tmp_path)]) == [tmp_path / "a.png"]


def test_pattern_stands_for_the_files_that_fit(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png", "a1.overlay.png"):
        (tmp_path / name).touch()
    (tmp_path / "a3.png").mkdir()
    assert [path.name for path in expand([str(tmp_path / "a*.png")])] == ["a1.png", "a2.png"]


def test_pattern_reaches_down_with_two_stars(tmp_path: Path) -> None:
    written(tmp_path / "one" / "two" / "a.png")
    assert expand([str(tmp_path / "**" / "*.png")]) == [tmp_path / "one" / "two" / "a.png"]


def test_file_that_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    file = written(tmp_path / "a[1].png")
    written(tmp_path / "a1.png")
    assert expand([str(file)]) == [file]


def test_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    file = written(tmp_path / "a.png")
    assert expand([str(file), str(tmp_path), str(tmp_path / "*.png")]) == [file]


@pytest.mark.parametrize("name", ["", "*.png"])
def test_argument_that_names_nothing_is_refused(tmp_path: Path, name: str) -> None:
    argument = str(tmp_path / name)
    with pytest.raises(InputError) as refused:
        expand([argument])
    assert str(refused.value) == f"{argument}: no image or PDF there; give files, folders or patterns"


# What outputs are called


@pytest.mark.parametrize(
    ("number", "pages", "name"),
    [(1, 1, "scan.a"), (1, 2, "scan.a-001"), (12, 999, "scan.a-012"), (7, 1000, "scan.a-0007")],
)
def test_page_is_called_as_its_file_with_its_number_among_several(number: int, pages: int, name: str) -> None:
    assert page_name(Path("folder/scan.a.tif"), number, pages) == name


def test_outputs_lie_beside_their_page(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "one" / "a.png"), written(tmp_path / "two" / "a.png", 210)) == 0
    assert (tmp_path / "one" / "a.txt").read_text(encoding="utf-8") == "shade 200\n"
    assert (tmp_path / "two" / "a.txt").read_text(encoding="utf-8") == "shade 210\n"


def test_outputs_go_to_a_folder_that_is_made(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "scans" / "a.png"), output=tmp_path / "new" / "texts") == 0
    assert names(tmp_path / "new" / "texts") == ["a.txt"]
    assert names(tmp_path / "scans") == ["a.png"]


def test_every_page_of_a_tiff_has_its_outputs(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "a.tif", 200, 210, 220), output=tmp_path / "texts") == 0
    assert names(tmp_path / "texts") == ["a-001.txt", "a-002.txt", "a-003.txt"]
    assert (tmp_path / "texts" / "a-002.txt").read_text(encoding="utf-8") == "shade 210\n"


def test_several_formats_are_written_at_once(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.tif", 200, 210)
    assert run(file, formats=("txt", "alto", "page", "json"), output=tmp_path / "texts") == 0
    assert names(tmp_path / "texts") == [
        f"a-00{number}{suffix}" for number in (1, 2) for suffix in (".alto.xml", ".json", ".page.xml", ".txt")
    ]
    assert reader.pages == 2
    read = json.loads((tmp_path / "texts" / "a-002.json").read_text(encoding="utf-8"))
    assert (read["name"], read["image"], read["number"]) == ("a-002", "a.tif", 2)
    assert (read["width_px"], read["height_px"]) == (40, 60)
    assert "shade" in (tmp_path / "texts" / "a-002.alto.xml").read_text(encoding="utf-8")


def test_pixels_are_those_of_the_file_when_the_page_is_reduced(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    config = composed("transcribe", ["working_pixels=600"], TranscribeConfig).root  # a quarter of 60 x 40
    assert transcribing.transcribe_pages(Job([file], ["json"], False, None, False), config) == 0
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (read["width_px"], read["height_px"]) == (40, 60)


def test_page_that_would_be_written_over_another_fails(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    files = written(tmp_path / "a-001.png", 210), written(tmp_path / "a.tif", 200, 220)
    assert run(*files) == 1
    assert "a.tif: page 1 would be written over another; rename it" in capsys.readouterr().err
    assert (tmp_path / "a-001.txt").read_text(encoding="utf-8") == "shade 210\n"
    assert (tmp_path / "a-002.txt").read_text(encoding="utf-8") == "shade 220\n"


def test_overlay_is_drawn_where_asked(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "a.png"), overlay=True) == 0
    assert names(tmp_path) == ["a.overlay.png", "a.png", "a.txt"]
    with Image.open(tmp_path / "a.overlay.png") as drawn:
        assert (drawn.size, drawn.mode) == ((100, 150), "RGB")


def test_outputs_have_the_rights_of_any_new_file(tmp_path: Path, reader: Reader) -> None:
    run(written(tmp_path / "a.png"))
    (tmp_path / "other").touch()
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_blank_page_has_empty_outputs(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "a.png", 255), formats=("txt", "alto", "page", "json"), overlay=True) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == ""
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (read["lines"], read["area"]) == ([], None)
    assert {"a.alto.xml", "a.page.xml", "a.overlay.png"} < set(names(tmp_path))


# What is there already


def test_page_is_skipped_when_its_outputs_are_there(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("corrected by hand", encoding="utf-8")
    assert run(file) == 0
    assert reader.pages == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "corrected by hand"


def test_page_is_read_when_one_of_its_outputs_is_missing(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    (tmp_path / "a.txt").touch()
    run(file, formats=("txt", "json"))
    assert reader.pages == 1
    assert (tmp_path / "a.json").exists()


def test_page_is_read_again_by_force(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    assert run(file, force=True) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "shade 200\n"


def test_only_the_missing_pages_of_a_file_are_read(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.tif", 200, 210, 220)
    (tmp_path / "a-002.txt").touch()
    run(file)
    assert reader.pages == 2


def test_nothing_is_loaded_when_there_is_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcribing, "_page_reader", None)
    file = written(tmp_path / "a.png")
    (tmp_path / "a.txt").touch()
    assert run(file) == 0


# What fails


def test_failing_page_is_named_and_the_others_are_written(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, missing = damaged(tmp_path / "b.png"), tmp_path / "none.png"
    assert run(written(tmp_path / "a.png"), bad, missing, written(tmp_path / "c.png")) == 1
    assert names(tmp_path) == ["a.png", "a.txt", "b.png", "c.png", "c.txt"]
    first, second, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"error: {bad}: ")
    assert second == f"error: {missing}: no such image; restore the file or leave its page out"
    assert last == "2 of the pages could not be read"


def test_page_that_is_too_large_fails_alone(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    large = tmp_path / "b.png"
    Image.new("L", (100, 100), 200).save(large)
    config = composed("transcribe", ["max_pixels=5000"], TranscribeConfig).root
    job = Job([large, written(tmp_path / "c.png")], ["txt"], False, None, False)
    assert transcribing.transcribe_pages(job, config) == 1
    assert f"error: {large}: 100 x 100 pixels are more than max_pixels=5000" in capsys.readouterr().err
    assert (tmp_path / "c.txt").exists()


def failing(with_error: Exception) -> Callable[[ReadPage], str]:
    def write(read: ReadPage) -> str:
        raise with_error

    return write


def test_nothing_is_left_of_a_page_when_an_export_fails(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(export.FORMATS, "json", failing(ZeroDivisionError()))
    (tmp_path / "a.txt").write_text("old", encoding="utf-8")
    with pytest.raises(ZeroDivisionError):
        run(written(tmp_path / "a.png"), formats=("txt", "json"))
    assert names(tmp_path) == ["a.png", "a.txt"]
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"


def test_other_pages_are_written_when_an_export_refuses_one(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def picky(read: ReadPage) -> str:
        if read.name == "a":
            raise InputError("page a cannot be told")
        return "told"

    monkeypatch.setitem(export.FORMATS, "json", picky)
    assert run(written(tmp_path / "a.png"), written(tmp_path / "b.png"), formats=("txt", "json")) == 1
    assert names(tmp_path) == ["a.png", "b.json", "b.png", "b.txt"]
    assert "error: page a cannot be told\n" in capsys.readouterr().err


def test_page_fails_when_its_output_cannot_be_replaced(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").mkdir()
    assert run(written(tmp_path / "a.png"), force=True) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: cannot be written (")
    assert names(tmp_path) == ["a.png", "a.txt"]


# What is refused before any page is read


@pytest.mark.parametrize("output", [True, False])
def test_outputs_that_would_overwrite_each_other_are_refused(
    tmp_path: Path, reader: Reader, output: bool
) -> None:
    one, other = written(tmp_path / "a.png"), written(tmp_path / "a.jpg")
    folder = tmp_path / "texts" if output else tmp_path
    with pytest.raises(InputError) as refused:
        run(one, other, output=folder if output else None)
    assert str(refused.value) == (
        f"{one}, {other} would all be written as {folder / 'a'}.*; rename them or use folders apart"
    )
    assert reader.pages == 0


def test_files_of_one_name_are_refused_when_they_share_a_folder_for_outputs(
    tmp_path: Path, reader: Reader
) -> None:
    one, other = written(tmp_path / "one" / "a.png"), written(tmp_path / "two" / "a.png")
    with pytest.raises(InputError, match=f"{one}, {other} would all be written as"):
        run(one, other, output=tmp_path / "texts")


def test_unknown_format_is_refused(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(InputError, match="--format docx: unknown; use one of alto, page, txt, json"):
        run(written(tmp_path / "a.png"), formats=("txt", "docx"))


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "texts"):
        with pytest.raises(InputError) as refused:
            run(written(tmp_path / "a.png"), output=folder)
        assert str(refused.value).startswith(f"{folder}: cannot be made (")
    assert reader.pages == 0


def test_output_folder_without_rights_is_refused(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # nothing is forbidden to root
    with pytest.raises(InputError, match="texts: cannot be written; choose another --output"):
        run(written(tmp_path / "a.png"), output=tmp_path / "texts")


def test_missing_weights_are_refused_once_for_all_pages(tmp_path: Path) -> None:
    config = composed("transcribe", ["weights.paragraph=nowhere"], TranscribeConfig).root
    job = Job([written(tmp_path / "a.png"), written(tmp_path / "b.png")], ["txt"], False, None, False)
    with pytest.raises(InputError, match="weights nowhere: no such folder"):
        transcribing.transcribe_pages(job, config)


def test_damaged_pages_are_named_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribing, "_page_reader", None)
    assert run(damaged(tmp_path / "a.png")) == 1
    assert "a.png" in capsys.readouterr().err


# What it takes to start


def test_reading_needs_neither_tracking_nor_training_code() -> None:
    code = (
        "import sys; from hwr import runtime; runtime.start(); "
        "import hwr.transcription.files; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "hwr.transcription.page_reader" in loaded
    slow = {
        "mlflow",
        "albumentations",
        "matplotlib",
        "pandas",
        "hwr.stages.line.training",
        "hwr.data.augment.lines",
    }
    assert not slow & loaded
