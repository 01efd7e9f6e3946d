"""Bulk reading in this process: rows, sources, outputs, what is read again, and what a lost part costs."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from hwr.config.compose import Composed, composed
from hwr.config.roots import BulkConfig, TranscribeConfig
from hwr.errors import InputError
from hwr.images.load import GreyImage
from hwr.transcription import ReadLine, ReadWord, bulk, engines, storage
from hwr.transcription import files as transcribing
from hwr.transcription.page_reader import Found, LineOnPage, Steps
from hwr.transcription.storage import Source, find_sources
from tests.transcription.pages import written

BOX = (0.25, 0.25, 0.75, 0.5)


class Reader:
    """Reads the shade of a page's corner, nothing of a white one; fails as libraries might on shade 129."""

    def __init__(self) -> None:
        self.pages = 0

    def steps(self, page: GreyImage) -> Steps[Found]:
        yield []
        self.pages += 1
        if page[0, 0] == 129:
            raise RuntimeError("out of luck\nat 0x0")
        if page[0, 0] == 255:
            return Found(None, ())
        text = f"shade {page[0, 0]}"
        words = tuple(ReadWord(word, BOX, 0.5) for word in text.split())
        return Found(BOX, (ReadLine(text, BOX, (), (), 0.5, words), ReadLine("more", BOX, (), (), 1.0, ())))

    def read_lines(self, lines: Sequence[LineOnPage]) -> list[ReadLine]:
        return []

    def find_turn(self, page: GreyImage, found: Found) -> int:
        return 0


@pytest.fixture(autouse=True)
def reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """Return what reads the pages in place of networks."""
    made = Reader()
    monkeypatch.setattr(transcribing, "page_reader", lambda config: made)
    for cached in (bulk.row_reader, bulk._part_reader):
        cached.cache_clear()
    yield made
    for cached in (bulk.row_reader, bulk._part_reader):
        cached.cache_clear()


def settings(*keys: str) -> Composed:
    return composed("bulk", ["overlay_width=100", *keys], BulkConfig)


def run(*inputs: object, output: object, format: str = "txt", keys: Sequence[str] = ()) -> int:
    return bulk.transcribe_bulk(
        settings(*keys), inputs=list(map(str, inputs)), format=[format], output=str(output), overlay=False
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def rows(*given: dict[str, Any]) -> list[dict[str, Any]]:
    return list(bulk.RowReader(bulk.reading_settings("overlay_width=100"))(given))


# Rows


def test_row_holds_text_and_alto_and_lines_of_a_page(tmp_path: Path) -> None:
    page = written(tmp_path / "a.png")
    (row,) = rows({"path": str(page)})
    assert list(row) == bulk.ROWS.names
    assert (row["path"], row["page"], row["model"], row["error"]) == (str(page), 1, "latin", None)
    assert row["text"] == "shade 200\nmore\n"
    assert "<fileName>a.png</fileName>" in row["alto"]
    assert row["lines"] == [
        {"box": list(BOX), "text": "shade 200", "confidence": 0.5},
        {"box": list(BOX), "text": "more", "confidence": 1.0},
    ]
    assert row["confidence"] == 0.75


def test_bytes_are_read_as_the_file_is(tmp_path: Path) -> None:
    page = written(tmp_path / "a.png")
    by_path, by_bytes = rows({"path": str(page)}, {"path": "a.png", "bytes": page.read_bytes()})
    assert by_bytes | {"path": None, "seconds": 0} == by_path | {"path": None, "seconds": 0}


def test_every_page_of_a_file_is_a_row(tmp_path: Path) -> None:
    page = written(tmp_path / "a.tif", 150, 160)
    assert [(row["page"], row["text"].split("\n")[0]) for row in rows({"path": str(page)})] == [
        (1, "shade 150"),
        (2, "shade 160"),
    ]


def test_page_that_cannot_be_read_is_a_row_with_its_error(tmp_path: Path) -> None:
    broken = tmp_path / "b.png"
    broken.write_bytes(b"\x89PNG and no more")
    bad, crashed, absent, good = rows(
        {"path": "b.png", "bytes": broken.read_bytes()},
        {"path": str(written(tmp_path / "c.png", 129))},
        {"path": str(tmp_path / "none.png")},
        {"path": str(written(tmp_path / "a.png"))},
    )
    assert [row["text"] for row in (bad, crashed, absent, good)] == [None, None, None, "shade 200\nmore\n"]
    assert bad["error"].startswith("b.png: damaged")  # not the name of a copy
    assert crashed["error"] == f"{tmp_path / 'c.png'}: out of luck"
    assert absent["error"].startswith(f"{tmp_path / 'none.png'}: no such image")


def test_rows_of_spark_are_named_as_those_of_arrow() -> None:
    simple = {pa.string(): "string", pa.int32(): "int", pa.float64(): "double"}

    def named(kind: Any) -> str:
        if pa.types.is_list(kind):
            return f"array<{named(kind.value_type)}>"
        if pa.types.is_struct(kind):
            return f"struct<{', '.join(f'{field.name}: {named(field.type)}' for field in kind)}>"
        return simple[kind]

    assert ", ".join(f"{field.name} {named(field.type)}" for field in bulk.ROWS) == engines.ROWS


# Outputs


def test_outputs_are_those_of_transcribe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, shades in (("a.png", (200,)), ("b.tif", (150, 160)), ("c.png", (250,)), ("e.png", (255,))):
        written(tmp_path / "scans" / name, *shades)
    (tmp_path / "scans" / "d.png").write_bytes(b"nothing")
    config = composed("transcribe", ["overlay_width=100"], TranscribeConfig).root
    formats, scans = ["txt", "alto", "json"], sorted((tmp_path / "scans").iterdir())
    job = transcribing.Job(scans, formats, True, tmp_path / "one", False)
    status = transcribing.transcribe_pages(job, config)
    told = capsys.readouterr().err
    arguments = {"inputs": [str(tmp_path / "scans")], "format": ["txt,alto", "json"], "overlay": True}
    composed_keys = settings("part_files=2")
    assert bulk.transcribe_bulk(composed_keys, output=str(tmp_path / "many"), **arguments) == status == 1
    assert contents(tmp_path / "many") == contents(tmp_path / "one")
    assert len(contents(tmp_path / "one")) == 5 * len(formats) + 5
    assert "e.png: no text found" in told
    assert capsys.readouterr().err == told


def test_what_is_there_is_skipped_and_counted(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, shades in (("a.png", (200,)), ("b.png", (210,)), ("c.tif", (150, 160))):
        written(tmp_path / "scans" / name, *shades)
    assert run(tmp_path / "scans", output=tmp_path / "out") == 0
    before = contents(tmp_path / "out")
    (tmp_path / "out" / "a.txt").unlink()
    (tmp_path / "out" / "c-002.txt").unlink()
    capsys.readouterr()
    assert run(tmp_path / "scans", output=tmp_path / "out") == 0
    assert capsys.readouterr().err == "2 pages read, 2 skipped (2 page(s) whose outputs exist)\n"
    assert contents(tmp_path / "out") == before
    assert reader.pages == 4 + 2


def test_pictures_that_are_not_read_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, *others = (Image.new("L", (40, 60), shade) for shade in (150, 120, 90))
    first.save(tmp_path / "a.gif", save_all=True, append_images=others)
    written(tmp_path / "b.png")
    assert run(tmp_path / "a.gif", tmp_path / "b.png", output=tmp_path / "out") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "pictures" in line]
    remedy = "save the others as files of their own, or as a TIFF"
    assert told == [f"{tmp_path / 'a.gif'}: one of 3 pictures is read; {remedy}"]


def test_file_of_somebody_else_is_kept(tmp_path: Path) -> None:
    page = written(tmp_path / "a.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.txt").write_text("mine")
    assert run(page, output=tmp_path / "out") == 0
    assert (tmp_path / "out" / "a.txt").read_text() == "mine"


def test_part_files_hold_each_page_once_however_often_it_is_started(
    tmp_path: Path, reader: Reader, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        written(tmp_path / "scans" / f"{number}.png", 200 + number)
    (tmp_path / "scans" / "9.png").write_bytes(b"nothing")
    out = tmp_path / "out"
    assert run(tmp_path / "scans", output=out, format="parquet", keys=["part_files=4"]) == 1
    assert sorted(name.partition("-")[0] for name in contents(out)) == ["failed", "part", "part"]
    written(tmp_path / "scans" / "8.png", 208)
    capsys.readouterr()
    assert run(tmp_path / "scans", output=out, format="parquet", keys=["part_files=4"]) == 1
    counts = "1 page read, 5 skipped (5 page(s) whose outputs exist), 1 failed"
    assert capsys.readouterr().err.splitlines()[-1] == counts
    table = sorted(pq.read_table(out, schema=bulk.ROWS).to_pylist(), key=lambda row: str(row["path"]))
    assert [Path(row["path"]).name for row in table] == [*(f"{n}.png" for n in (0, 1, 2, 3, 4, 8, 9))]
    assert [row["error"] is None for row in table] == [True] * 6 + [False]
    assert reader.pages == 6


@pytest.mark.parametrize("format", ["txt", "parquet"])
def test_pages_without_text_are_named(
    format: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "a.tif", 200, 255)
    assert run(tmp_path / "a.tif", output=tmp_path / "out", format=format) == 0
    said = f"{tmp_path / 'a.tif'}, page 2: no text found; look whether the page is blank"
    assert capsys.readouterr().err.splitlines() == [said, "2 pages read"]


def test_file_that_failed_is_read_again(tmp_path: Path) -> None:
    page, url = tmp_path / "scans" / "a.png", f"file://{tmp_path}/out"
    written(tmp_path / "scans" / "b.png")
    page.write_bytes(b"nothing")
    for status, texts in ((1, [None, "shade 200\nmore\n"]), (0, ["shade 200\nmore\n"] * 2)):
        assert run(tmp_path / "scans", output=url, format="parquet") == status
        table = sorted(pq.read_table(tmp_path / "out").to_pylist(), key=lambda row: str(row["path"]))
        assert [row["text"] for row in table] == texts
        written(page)


def test_name_that_is_not_utf8_is_read_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path / "scans" / "a.png").rename(tmp_path / "scans" / "a\udcff.png")
    for expected in ("1 page read\n", "0 pages read, 1 skipped (1 page(s) whose outputs exist)\n"):
        assert run(tmp_path / "scans", output=tmp_path / "out", format="parquet") == 0
        assert capsys.readouterr().err == expected


def test_outputs_of_a_pattern_are_passed_over(tmp_path: Path) -> None:
    page = written(tmp_path / "a.png")
    assert run(page, output=tmp_path) == 0
    assert run(page, tmp_path / "a.txt", output=tmp_path) == 0


def test_part_that_was_written_is_not_read_again(tmp_path: Path, reader: Reader) -> None:
    source = Source(str(written(tmp_path / "a.png")))
    job = bulk.BulkJob(bulk.reading_settings(), str(tmp_path / "out"), ("parquet",))
    first = bulk.PartReader(job)([source])
    assert bulk.PartReader(job)([source]) == first == [transcribing.Outcome(read=1)]
    assert (reader.pages, len(contents(tmp_path / "out"))) == (1, 1)


def test_second_page_of_the_same_name_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pages = [written(tmp_path / name) for name in ("one/a.png", "two/a.png", "b.pdf.png", "c-001.png")]
    several = written(tmp_path / "c.tif", 150, 160)
    assert run(several, *pages, output=tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert f"{pages[1]}: would be written over the outputs of {pages[0]}; rename it" in said
    assert f"{pages[3]}: would be written over the outputs of {several}; rename it" in said
    assert set(contents(tmp_path / "out")) == {"a.txt", "b.pdf.txt", "c-001.txt", "c-002.txt"}


# Sources


def test_list_names_files_and_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pages.txt").write_text("a.png\n\n s3://bucket/b.png \n", encoding="utf-8")
    found, passed = find_sources(["pages.txt"])
    assert found == [Source(str(tmp_path / "a.png")), Source("s3://bucket/b.png")]
    assert not passed


def test_table_of_paths_and_table_of_bytes_are_read_alike(tmp_path: Path) -> None:
    pages = [written(tmp_path / f"{name}.png", 200 + n) for n, name in enumerate("abc")]
    paths, held = [str(page) for page in pages], [page.read_bytes() for page in pages]
    pq.write_table(pa.table({"path": paths}), tmp_path / "paths.parquet")
    pq.write_table(pa.table({"path": paths, "bytes": held}), tmp_path / "bytes.parquet", row_group_size=2)
    for kind in ("paths", "bytes"):
        assert run(tmp_path / f"{kind}.parquet", output=tmp_path / kind) == 0
        assert {name: text.split()[1] for name, text in contents(tmp_path / kind).items()} == {
            "a.txt": b"200",
            "b.txt": b"201",
            "c.txt": b"202",
        }


def test_bytes_without_path_are_called_after_their_table(tmp_path: Path) -> None:
    held = [written(tmp_path / "a.png").read_bytes(), b"nothing"]
    pq.write_table(pa.table({"bytes": held}), tmp_path / "t.parquet")
    assert run(tmp_path / "t.parquet", output=tmp_path / "out") == 1
    assert set(contents(tmp_path / "out")) == {"t-0-0.txt"}


@pytest.mark.parametrize("content", [{"image": ["a"]}, None])
def test_table_that_names_no_pages_is_refused(tmp_path: Path, content: dict[str, list[str]] | None) -> None:
    place = tmp_path / "t.parquet"
    place.write_bytes(b"nothing")
    if content is not None:
        pq.write_table(pa.table(content), place)
    with pytest.raises(InputError, match=r"t\.parquet: .*; name"):
        run(place, output=tmp_path / "out")


def test_folder_that_takes_no_rows_fails_its_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(folder: bulk.OutputFolder, contents: dict[str, bytes]) -> None:
        raise InputError("out: cannot be written (full); make room there")

    monkeypatch.setattr(bulk.OutputFolder, "write", full)
    pages = [written(tmp_path / "a.png"), written(tmp_path / "b.png")]
    assert run(*pages, output=tmp_path / "out", format="parquet") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "0 pages read, 2 failed"


# URLs


def test_urls_name_folders_patterns_and_files(tmp_path: Path) -> None:
    for name in ("a b.png", "c#1.png", "more/d.png", ".hidden.png"):
        written(tmp_path / "scans" / name)
    (tmp_path / "scans" / "notes.doc").touch()
    url = f"file://{tmp_path}/scans"

    def names(given: str) -> list[str]:
        return [place.removeprefix(f"{url}/") for place in storage.found(given, transcribing.SUFFIXES)]

    assert names(url) == ["a%20b.png", "c%231.png"]
    assert names(f"{url}/*.png") == [".hidden.png", "a%20b.png", "c%231.png"]
    assert names(f"{url}/*/*.png") == ["more/d.png"]
    assert names(f"{url}/c%231.png") == ["c%231.png"]


def test_pages_at_a_url_are_written_to_a_url(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a b.png", "c#1.png"):
        written(tmp_path / "scans" / name)
    output = f"file://{tmp_path}/out/new"
    for expected in ("2 pages read\n", "0 pages read, 2 skipped (2 page(s) whose outputs exist)\n"):
        assert run(f"file://{tmp_path}/scans/", output=output) == 0
        assert capsys.readouterr().err == expected
    assert set(contents(tmp_path / "out" / "new")) == {"a b.txt", "c#1.txt"}


def test_page_at_a_url_that_is_not_there_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"file://{tmp_path}/none.png"
    assert run(url, output=tmp_path / "out") == 1
    assert f"error: {url}: cannot be read" in capsys.readouterr().err


def test_query_of_a_url_stays_behind_what_is_joined_to_it() -> None:
    assert storage.joined("s3://bucket/out/?region=x", "a b.txt") == "s3://bucket/out/a%20b.txt?region=x"


def test_folder_at_a_url_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no image or PDF there; give"):
        run(f"file://{tmp_path}/none/", output=tmp_path / "out")


def test_other_file_systems_are_those_of_fsspec(tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec comes with the extra ray")
    page = written(tmp_path / "a.png").read_bytes()
    with fsspec.open("memory://bulk/scans/a.png", "wb") as file:
        file.write(page)
    assert run("memory://bulk/scans", output="memory://bulk/out") == 0
    assert storage.read_bytes("memory://bulk/out/a.txt") == b"shade 200\nmore\n"
    assert storage.names("memory://bulk/out") == {"a.txt"}


def test_unknown_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere://x/: unknown .*; use s3://"):
        run("nowhere://x/y", output=tmp_path / "out")


# Parts that are lost, settings that are refused


def lossy(monkeypatch: pytest.MonkeyPatch, poison: str) -> list[list[str]]:
    """Let parts with a file be lost, and return the names in every part that was tried."""
    tried: list[list[str]] = []

    def answers(parts: Sequence[str], job: str, config: BulkConfig) -> Iterator[str]:
        for part in parts:
            tried.append([Path(source["path"]).name for source in json.loads(part)["sources"]])
            if poison not in tried[-1]:
                yield bulk.answer_part(job, part)

    monkeypatch.setattr(engines, "ENGINES", {"local": answers})
    return tried


def test_files_of_a_lost_part_are_tried_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        written(tmp_path / "scans" / f"{number}.png", 200 + number)
    tried = lossy(monkeypatch, "1.png")
    assert run(tmp_path / "scans", output=tmp_path / "out", keys=["part_files=3"]) == 1
    assert tried == [["0.png", "1.png", "2.png"], ["3.png", "4.png"], ["0.png"], ["1.png"], ["2.png"]]
    assert set(contents(tmp_path / "out")) == {"0.txt", "2.txt", "3.txt", "4.txt"}
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith(f"error: {tmp_path / 'scans' / '1.png'}: the process that read it ended")
    assert said[-1] == "4 pages read, 1 failed"


def test_settings_that_read_nothing_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(config: BulkConfig) -> None:
        raise InputError("weights.line=none: no such weights; name others")

    monkeypatch.setattr(transcribing, "page_reader", refuse)
    with pytest.raises(InputError, match=r"weights\.line=none"):
        run(written(tmp_path / "a.png"), output=tmp_path / "out")


@pytest.mark.parametrize(
    ("format", "said"), [("docx", "docx: unknown; use one of"), ("parquet,txt", "give it alone")]
)
def test_unknown_format_is_refused(tmp_path: Path, format: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        run(written(tmp_path / "a.png"), output=tmp_path / "out", format=format)
