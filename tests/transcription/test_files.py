"""Files to transcripts: which are read, what is written, and what happens to a page that fails."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hwr.config import ROOT
from hwr.config.compose import composed
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError
from hwr.images.load import GreyImage
from hwr.transcription import ReadLine, ReadPage, ReadWord, export
from hwr.transcription import files as transcribing
from hwr.transcription.files import Job, PageOfFile, expand
from hwr.transcription.page_reader import Found, LineOnPage, Steps
from hwr.transcription.shared_outputs import RECORD, PageLocks
from tests.transcription.pages import written

BOX = (0.25, 0.25, 0.75, 0.5)


class Reader:
    """Reads of any page what shade its corner is, of a white one nothing; counts the pages."""

    def __init__(self) -> None:
        self.pages, self.turn = 0, 0

    def __call__(self, page: GreyImage) -> Found:
        self.pages += 1
        if page[0, 0] == 255:
            return Found(None, ())
        text = f"shade {page[0, 0]}"
        words = tuple(ReadWord(word, BOX, 0.5) for word in text.split())
        return Found(BOX, (ReadLine(text, BOX, (), (), 0.5, words),))

    def steps(self, page: GreyImage) -> Steps[Found]:
        yield []
        return self(page)

    def read_lines(self, lines: Sequence[LineOnPage]) -> list[ReadLine]:
        return []

    def find_turn(self, page: GreyImage, found: Found) -> int:
        return self.turn


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Return what reads the pages in place of networks."""
    made = Reader()
    monkeypatch.setattr(transcribing, "page_reader", lambda config: made)
    return made


def damaged(path: Path) -> Path:
    path.write_bytes(b"\x89PNG and no more")
    return path


def settings(*keys: str) -> TranscribeConfig:
    config: TranscribeConfig = composed("transcribe", ["overlay_width=100", *keys], TranscribeConfig).root
    return config


def run(
    *files: Path,
    formats: Sequence[str] = ("txt",),
    output: Path | None = None,
    overlay: bool = False,
    force: bool = False,
    keys: Sequence[str] = (),
) -> int:
    return transcribing.transcribe_pages(Job(files, formats, overlay, output, force), settings(*keys))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != RECORD)


# Which files


def test_files_are_taken_as_they_are_named(tmp_path: Path) -> None:
    named = [str(tmp_path / "b.png"), str(tmp_path / "a.scan")]
    assert expand(named)[0] == [tmp_path / "b.png", tmp_path / "a.scan"]


def test_folder_stands_for_its_images_and_pdfs_by_name(tmp_path: Path) -> None:
    for name in ("c.PDF", "b.jpeg", "a.png", "notes.txt", "a.overlay.png", ".hidden.png"):
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    assert [path.name for path in expand([str(tmp_path)])[0]] == ["a.png", "b.jpeg", "c.PDF"]


def test_folder_within_a_folder_is_not_taken(tmp_path: Path) -> None:
    written(tmp_path / "a.png")
    written(tmp_path / "more" / "b.png")
    assert expand([str(tmp_path)])[0] == [tmp_path / "a.png"]


def test_pattern_stands_for_the_files_that_fit(tmp_path: Path) -> None:
    for name in ("a1.png", "a2.png", "b1.png", "a1.overlay.png"):
        (tmp_path / name).touch()
    (tmp_path / "a3.png").mkdir()
    assert [path.name for path in expand([str(tmp_path / "a*.png")])[0]] == ["a1.png", "a2.png"]


def test_pattern_reaches_down_with_two_stars(tmp_path: Path) -> None:
    written(tmp_path / "one" / "two" / "a.png")
    assert expand([str(tmp_path / "**" / "*.png")])[0] == [tmp_path / "one" / "two" / "a.png"]


def test_file_that_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    file = written(tmp_path / "a[1].png")
    written(tmp_path / "a1.png")
    assert expand([str(file)])[0] == [file]


def test_file_named_twice_is_taken_once(tmp_path: Path) -> None:
    file = written(tmp_path / "a.png")
    assert expand([str(file), str(tmp_path), str(tmp_path / "*.png")])[0] == [file]


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
    assert PageOfFile(Path("folder/scan.a.tif"), number, pages).name == name


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
    told = f"{files[1]}: would be written over {tmp_path / 'a-001.txt'}, the output of {files[0]}; rename it"
    assert told in capsys.readouterr().err
    assert (tmp_path / "a-001.txt").read_text(encoding="utf-8") == "shade 210\n"
    assert (tmp_path / "a-002.txt").read_text(encoding="utf-8") == "shade 220\n"


def test_page_that_two_arguments_name_is_read_once(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path / "one" / "a.png", 210)
    written(tmp_path / "one" / "b.png", 220)
    monkeypatch.chdir(tmp_path)
    names = ("one/b.png", "one", str(tmp_path / "one" / "a.png"), "one/../one/b.png")
    paths, _ = transcribing.expand(names)
    assert paths == [Path("one/b.png"), Path("one/a.png")]
    assert run(*paths, output=tmp_path / "texts") == 0
    assert capsys.readouterr().err.splitlines() == ["2 pages read"]


def test_pages_without_text_are_named(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    files = (
        written(tmp_path / "a.png", 210),
        written(tmp_path / "b.tif", 255, 220),
        written(tmp_path / "c.png", 255),
    )
    assert run(*files) == 0
    said = f"{files[1]}, page 1: no text found; look whether the page is blank"
    assert capsys.readouterr().err.splitlines() == [
        said,
        said.replace("b.tif, page 1", "c.png"),
        "4 pages read",
    ]
    assert (tmp_path / "c.txt").read_text(encoding="utf-8") == ""


def test_url_is_told_apart_from_a_file_that_is_missing() -> None:
    with pytest.raises(
        InputError, match=r"^https://example\.org/a\.png: a URL; download it, or read it with"
    ):
        transcribing.expand(["https://example.org/a.png"])


def test_empty_name_of_a_format_is_refused() -> None:
    with pytest.raises(InputError, match=r"^--format txt,,alto: one of the names is empty"):
        transcribing.asked_formats(["txt,,alto"])


@pytest.mark.parametrize("names_of", [("a.png", "a.jpg"), ("one/a.png", "two/a.png")])
def test_second_of_two_pages_with_one_name_fails_alone(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str], names_of: tuple[str, str]
) -> None:
    one, other = (written(tmp_path / name) for name in names_of)
    for read in (1, 0):
        assert run(one, other, written(tmp_path / "b.png"), output=tmp_path / "texts") == 1
        error, line = capsys.readouterr().err.splitlines()
        text = tmp_path / "texts" / "a.txt"
        assert error == f"error: {other}: would be written over {text}, the output of {one}; rename it"
        assert line.startswith(f"{2 * read} pages read")
    assert names(tmp_path / "texts") == ["a.txt", "b.txt"]


def test_overlay_is_drawn_where_asked(tmp_path: Path, reader: Reader) -> None:
    assert run(written(tmp_path / "a.png"), overlay=True) == 0
    assert names(tmp_path) == ["a.overlay.png", "a.png", "a.txt"]
    with Image.open(tmp_path / "a.overlay.png") as drawn:
        assert (drawn.size, drawn.mode) == ((100, 150), "RGB")


@pytest.mark.parametrize("orientation", ["auto", 270])
def test_turned_page_is_read_upright_and_given_as_its_file_holds_it(
    tmp_path: Path, reader: Reader, orientation: str | int
) -> None:
    reader.turn = 270
    shades = np.full((60, 40), 200, np.uint8)
    shades[:30, 20:] = 150  # the corner that is upper left when it is turned
    Image.fromarray(shades).save(tmp_path / "a.png")
    config = composed(
        "transcribe", [f"orientation={orientation}", "overlay_width=120"], TranscribeConfig
    ).root
    job = Job([tmp_path / "a.png"], ["json", "txt"], True, None, False)
    assert transcribing.transcribe_pages(job, config) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "shade 150\n"
    read = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (read["turn"], read["width_px"], read["height_px"]) == (270, 40, 60)
    assert read["lines"][0]["box"] == [0.5, 0.25, 0.75, 0.75]
    with Image.open(tmp_path / "a.overlay.png") as drawn:
        assert drawn.size == (120, 80)


def test_page_that_exif_turns_by_180_degrees_is_told(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.new("L", (40, 60), 150).save(tmp_path / "a.jpg", exif=exif)
    assert run(tmp_path / "a.jpg", written(tmp_path / "b.png")) == 0
    told_of = [line for line in capsys.readouterr().err.splitlines() if ".png" in line or ".jpg" in line]
    doubt = "EXIF orientation 3 turns it by 180 degrees, often wrongly; look whether it was read upright"
    assert told_of == [f"{tmp_path / 'a.jpg'}: {doubt}"]


def test_animation_of_which_one_picture_is_read_is_told(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    first, *others = (Image.new("L", (40, 60), shade) for shade in (150, 120, 90))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    first.save(tmp_path / "b.gif")
    assert run(tmp_path / "a.gif", tmp_path / "b.gif") == 0
    told_of = [line for line in capsys.readouterr().err.splitlines() if ".gif" in line]
    remedy = "save the others as files of their own, or as a TIFF"
    assert told_of == [f"{tmp_path / 'a.gif'}: one of 3 pictures is read; {remedy}"]


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


def told(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the last line on standard error."""
    return capsys.readouterr().err.splitlines()[-1]


def test_page_is_skipped_when_its_outputs_are_there(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.png")
    assert (run(file), run(file), reader.pages) == (0, 0, 1)
    assert told(capsys) == "0 pages read, 1 skipped (1 page(s) whose outputs exist)"


@pytest.mark.parametrize("what", ["a person's own", "corrected by hand", "a link"])
def test_file_that_hwr_did_not_write_as_it_is_stays(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    file, text = written(tmp_path / "a.png"), tmp_path / "a.txt"
    if what == "corrected by hand":
        run(file)
    if what == "a link":
        text.symlink_to(tmp_path / "nowhere")
    else:
        text.write_text(what, encoding="utf-8")
    assert run(file) == 0
    assert "1 skipped (1 page(s) with files that hwr did not write or that were changed)" in told(capsys)
    assert run(file, force=True) == 1
    assert f"error: {text}: not written by hwr, or changed since; move it away" in capsys.readouterr().err
    assert text.is_symlink() or text.read_text(encoding="utf-8") == what


def test_missing_outputs_are_written_beside_a_file_that_hwr_did_not_write(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path / "a.png")
    (tmp_path / "a.txt").touch()
    assert run(file, formats=("txt", "json")) == 0
    assert told(capsys) == "1 page read, 1 skipped (1 output(s) that hwr did not write)"
    assert (tmp_path / "a.json").exists() and (tmp_path / "a.txt").read_text() == ""


def test_page_is_read_again_by_force(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    run(file)
    written(file, 210)
    assert run(file, force=True) == 0
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "shade 210\n"


def test_only_the_missing_pages_of_a_file_are_read(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.tif", 200, 210, 220)
    (tmp_path / "a-002.txt").touch()
    run(file)
    assert reader.pages == 2


def test_outputs_are_no_pages_of_the_next_run(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / "a.png")
    run(file, formats=("txt", "json"), overlay=True)
    assert expand([str(tmp_path)]) == ([file], Counter())
    assert expand([str(path) for path in tmp_path.iterdir() if path.name[0] != "."]) == ([file], Counter())


def test_record_survives_a_machine_that_stopped_while_it_wrote(tmp_path: Path, reader: Reader) -> None:
    record = tmp_path / RECORD
    one, other = written(tmp_path / "a.png"), written(tmp_path / "b.png")
    run(one)
    record.write_bytes(record.read_bytes() + b'["c.txt", "12')
    run(other)
    assert run(one, other, force=True) == 0


def test_nothing_is_loaded_when_there_is_nothing_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcribing, "page_reader", None)
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
    assert last == "2 pages read, 2 failed"


def test_what_a_folder_holds_besides_pages_is_counted_by_kind(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "a.png")
    for name in ("notes.docx", "b.docx", "README", "._a.png", ".DS_Store"):
        (tmp_path / name).touch()
    (tmp_path / "more").mkdir()
    files, passed = expand([str(tmp_path)])
    assert transcribing.transcribe_pages(Job(files, ["txt"], False, None, False), settings(), passed) == 0
    line = told(capsys)
    assert line.startswith("1 page read, 5 skipped (2 .docx, ")
    assert all(kind in line for kind in ("1 hidden image(s)", "1 file(s) without suffix", "1 folder(s)"))


def test_dead_link_in_a_folder_is_named(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "b.png")
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    assert run(*expand([str(tmp_path)])[0]) == 1
    assert f"error: {tmp_path / 'a.jpg'}: no such image" in capsys.readouterr().err
    assert (tmp_path / "b.txt").exists()


@pytest.mark.parametrize("stem", ["m" * 251, "ب" * 125])  # 255 bytes with the suffix, as file systems take
def test_page_with_the_longest_name_is_written_or_named(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str], stem: str
) -> None:
    long, other = written(tmp_path / f"{stem}.png"), written(tmp_path / "z.png")
    assert run(long, other) == 0
    assert (tmp_path / f"{stem}.txt").read_text(encoding="utf-8") == "shade 200\n"
    assert run(long, other, formats=("alto",)) == 1
    assert f"{stem}.alto.xml: cannot be written (File name too long)" in capsys.readouterr().err
    assert (tmp_path / "z.alto.xml").exists()


def test_name_that_is_no_unicode_is_read(tmp_path: Path, reader: Reader) -> None:
    file = written(tmp_path / os.fsdecode(b"caf\xe9.png"))
    assert run(file, formats=("txt", "alto", "page", "json")) == 0
    assert "shade 200" in (tmp_path / os.fsdecode(b"caf\xe9.json")).read_text(encoding="utf-8")
    assert (run(file), reader.pages) == (0, 1)


def test_processes_share_a_folder_for_outputs(tmp_path: Path) -> None:
    files = [written(tmp_path / f"{name}.png") for name in "abcdefgh"]
    code = (
        "import sys; from tests.transcription.test_files import *\n"
        "transcribing.page_reader = lambda config: Reader()\n"
        f"sys.exit(run(*map(Path, sys.argv[1:]), output=Path({str(tmp_path / 'texts')!r}), force=True))"
    )
    started = [subprocess.Popen([sys.executable, "-c", code, *files]) for _ in range(2)]
    assert [process.wait() for process in started] == [0, 0]
    assert names(tmp_path / "texts") == [f"{name}.txt" for name in "abcdefgh"]


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


INTERRUPTED = """
import os, signal, sys
from pathlib import Path
from hwr.runtime.termination import Terminated
from tests.transcription import test_files as own

reader, write = own.Reader(), own.transcribing.write_outputs
own.transcribing.page_reader = lambda config: reader
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.default_int_handler)
    folder, reader.pages = Path(sys.argv[1]) / number.name, 0
    pages = [own.written(folder / f"{name}.png") for name in "abc"]

    def interrupted(contents, record):
        if folder / "b.txt" in contents:
            os.kill(os.getpid(), number)
        write(contents, record)

    own.transcribing.write_outputs = interrupted
    try:
        own.run(*pages, formats=("txt", "json"))
    except (KeyboardInterrupt, Terminated) as ended:
        print(type(ended).__name__, getattr(ended, "code", None), *own.names(folder))
    own.transcribing.write_outputs = write
    print(own.run(*pages, formats=("txt", "json")), reader.pages)
"""


def test_pages_that_were_read_stay_when_a_signal_ends_it(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INTERRUPTED, str(tmp_path)]  # signals of its own
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kept = "a.json a.png a.txt b.json b.png b.txt c.png"
    ended = ("KeyboardInterrupt None", "Terminated 143", "Terminated 129")
    assert done.stdout.splitlines() == [line for own in ended for line in (f"{own} {kept}", "0 3")]
    first = "2 pages read; interrupted: the same command reads the others"
    second = "1 page read, 2 skipped (2 page(s) whose outputs exist)"
    assert [line for line in done.stderr.splitlines() if "read" in line] == [first, second] * 3


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


@pytest.mark.parametrize("suffix", [".txt", ".json"])
def test_output_that_finds_no_room_is_named_and_none_of_its_page_is_left(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str], suffix: str
) -> None:
    pages = [written(tmp_path / "a.png"), written(tmp_path / "b.png")]
    (tmp_path / f".a{suffix}.{os.getpid()}").symlink_to("/dev/full")
    assert run(*pages, formats=("txt", "json")) == 1
    said = f"error: {tmp_path / 'a'}{suffix}: cannot be written (No space left on device); make room there"
    assert f"{said}, or choose another --output\n" in capsys.readouterr().err
    assert names(tmp_path) == ["a.png", "b.json", "b.png", "b.txt"]


def test_page_fails_when_its_output_cannot_be_replaced(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").mkdir()
    for force in (False, True):
        assert run(written(tmp_path / "a.png"), force=force) == 1
        assert f"error: {tmp_path / 'a.txt'}: a folder has the name of an output" in capsys.readouterr().err
    assert names(tmp_path) == ["a.png", "a.txt"]


# Several processes

KILLS, HANGS, LATE = 251, 252, 253  # shades


class RoughReader(Reader):
    """Is killed by one shade, hangs at another, and needs a while for a third."""

    def __call__(self, page: GreyImage) -> Found:
        if page[0, 0] == KILLS:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep({HANGS: 100.0, LATE: 0.5}.get(int(page[0, 0]), 0.0))
        return super().__call__(page)


def answer_roughly() -> None:
    """Answer as a worker does, with RoughReader in place of networks."""
    transcribing.page_reader = lambda config: RoughReader()  # type: ignore[assignment,return-value]
    transcribing.answer_pages()


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transcribing, "_WORKER", f"{__name__}:answer_roughly")
    monkeypatch.setattr(transcribing, "page_reader", None)


def test_processes_tell_and_write_what_one_does(
    tmp_path: Path, workers: None, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = [
        written(tmp_path / "a.png", LATE),
        written(tmp_path / "b.png", KILLS),
        damaged(tmp_path / "c.png"),
        written(tmp_path / "d.png", HANGS),
        written(tmp_path / "e.tif", 230, 231),
    ]
    assert run(*pages, formats=("txt", "json"), keys=["jobs=2", "page_s=8"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(tmp_path.name)[2][1:6] for line in lines] == ["b.png", "c.png", "d.png", ""]
    assert "SIGKILL" in lines[0]
    assert "raise page_s" in lines[2]
    assert lines[3] == "3 pages read, 3 failed"
    texts = {path.name: path.read_text() for path in tmp_path.glob("*.txt")}
    assert texts == {"a.txt": "shade 253\n", "e-001.txt": "shade 230\n", "e-002.txt": "shade 231\n"}
    assert not list(tmp_path.glob(".hwr-lock-*"))


def test_missing_weights_are_refused_once_by_processes(tmp_path: Path) -> None:
    pages = [written(tmp_path / "a.png"), written(tmp_path / "b.png")]
    with pytest.raises(InputError, match="weights nowhere: no such folder"):
        run(*pages, keys=["jobs=2", "weights.paragraph=nowhere"])


STOPPED = """
import signal, sys
from pathlib import Path
from tests.transcription import test_files as own

for number in (signal.SIGINT, signal.SIGHUP):  # who tests in the background, or with nohup, ignores them
    signal.signal(number, signal.default_int_handler)
own.transcribing._WORKER = "tests.transcription.test_files:answer_roughly"
shades = {"a": 20, "b": own.HANGS, "c": 21, "d": own.HANGS}
pages = [own.written(Path(sys.argv[1]) / f"{name}.png", shade) for name, shade in shades.items()]
own.run(*pages, keys=["jobs=2"])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_processes_end_when_a_signal_ends_the_command(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-c", STOPPED, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        for _ in range(600):
            if (tmp_path / "c.txt").exists():
                break
            time.sleep(0.1)
        time.sleep(0.3)  # d is being read
        process.send_signal(number)
        said = process.communicate(timeout=60)[1]
    assert "2 pages read; interrupted: the same command reads the others\n" in said
    assert "failed" not in said
    assert process.returncode == (-number if number == signal.SIGINT else 128 + number)
    assert not list(tmp_path.glob(".hwr-lock-*"))
    assert not [path.name for path in tmp_path.glob("[bd].txt")]


def test_page_that_another_process_reads_is_passed_over_until_its_lock_is_stale(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    page = written(tmp_path / "a.png")
    with PageLocks(4.0) as locks, locks.held(tmp_path, "a") as ours:
        assert ours
        (lock,) = tmp_path.glob(".hwr-lock-*")
        os.utime(lock, (1, 1))
        time.sleep(1.5)  # it is renewed
        assert run(page, keys=["lock_s=30"]) == 0
    assert told(capsys) == "0 pages read, 1 skipped (1 page(s) that another process reads)"
    lock.write_text("another-machine 1 x")
    assert run(page) == 0
    assert told(capsys) == "0 pages read, 1 skipped (1 page(s) that another process reads)"
    os.utime(lock, (1, 1))
    assert run(page) == 0
    assert told(capsys) == "1 page read"
    assert not lock.exists()


def test_lock_of_a_process_that_ended_is_stale(tmp_path: Path, reader: Reader) -> None:
    page = written(tmp_path / "a.png")
    code = (
        "import os, sys; from pathlib import Path; from hwr.transcription.shared_outputs import PageLocks\n"
        "with PageLocks(60.0) as locks, locks.held(Path(sys.argv[1]), 'a'): os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert list(tmp_path.glob(".hwr-lock-*"))
    assert run(page) == 0
    assert (tmp_path / "a.txt").exists()


# What is refused before any page is read


def test_unknown_format_is_refused(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(InputError, match="--format docx: unknown; use one of alto, page, txt, json"):
        run(written(tmp_path / "a.png"), formats=("txt", "docx"))


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path, reader: Reader) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "texts"):
        with pytest.raises(InputError) as refused:
            run(written(tmp_path / "a.png"), output=folder)
        assert str(refused.value).startswith(f"{folder}: cannot be written (")
    assert reader.pages == 0


def test_folder_that_takes_no_files_is_refused_or_named_before_a_page_is_read(
    tmp_path: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: Path) -> None:  # nothing is forbidden to root
        raise InputError(f"{folder}: cannot be written (Permission denied); choose another folder")

    monkeypatch.setattr(transcribing, "make_folder", full)
    with pytest.raises(InputError, match="texts: cannot be written"):
        run(written(tmp_path / "a.png"), output=tmp_path / "texts")
    assert run(written(tmp_path / "a.png")) == 1
    assert f"error: {tmp_path}: cannot be written" in capsys.readouterr().err
    assert reader.pages == 0


def test_missing_weights_are_refused_once_for_all_pages(tmp_path: Path) -> None:
    config = composed("transcribe", ["weights.paragraph=nowhere"], TranscribeConfig).root
    job = Job([written(tmp_path / "a.png"), written(tmp_path / "b.png")], ["txt"], False, None, False)
    with pytest.raises(InputError, match="weights nowhere: no such folder"):
        transcribing.transcribe_pages(job, config)


def test_damaged_pages_are_named_without_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(transcribing, "page_reader", None)
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
        "hwr.data.augment",
    }
    assert not slow & loaded
