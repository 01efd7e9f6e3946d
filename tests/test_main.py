"""python -m hwr: what it prints, writes and refuses."""

import json
from pathlib import Path

import pytest

from hwr.__main__ import main
from tests.alto_folder import write_folder
from tests.refusal import refused

TEXTS = {"train": "tea and toast", "valid": "toast", "test": "thé"}


@pytest.fixture
def data(tmp_path: Path) -> list[str]:
    root = write_folder(tmp_path / "data", TEXTS)
    return ["data=alto", f"data.root={root}", f"folder={tmp_path / 'outputs'}"]


def test_inspection_prints_a_table(data: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", *data])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["split", "pages", "lines", "writers", "characters", "words"] in rows
    assert ["train", "1", "1", "1", "13", "3"] in rows
    assert any(row[:1] == ["outside_alphabet"] for row in rows)


def test_inspection_writes_the_report_as_json(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", *data, f"output={tmp_path / 'report.json'}", "full=true"])
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["splits"]["train"] == {"pages": 1, "lines": 1, "writers": 1, "characters": 13, "words": 3}
    assert report["findings"]["outside_alphabet"] == {"p-test/l": "h é"}
    assert report["decoded"] is True
    assert capsys.readouterr().out.startswith("split ")


def test_inspection_prints_json_alone_where_asked(
    data: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["inspect", *data, "output=-"])
    assert json.loads(capsys.readouterr().out)["decoded"] is False


def test_inspection_leaves_no_folder(data: list[str], tmp_path: Path) -> None:
    main(["inspect", *data])
    assert not (tmp_path / "outputs").exists()


def test_usage_is_printed_where_nothing_is_asked(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    bare = capsys.readouterr().out
    main(["--help"])
    assert capsys.readouterr().out == bare
    assert bare.startswith("usage: python -m hwr COMMAND")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["inspekt"], "inspekt: no such command; use inspect, models"),
        (["inspect", "dataa=alto"], "dataa"),
        (["inspect", "data=alto"], "data.root is not set; give data.root=… on the command line"),
        (
            ["inspect", "data=alto", "data.root=/nonexistent"],
            "data folder /nonexistent does not exist; set data.root to",
        ),
        (["inspect", "+data.planted=1"], "data.planted: no such key"),
        (["inspect", "lr=fast"], "lr=fast is not a number"),
    ],
)
def test_bad_input_is_refused(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert refused(capsys, lambda: main(arguments)).startswith(said)


def test_report_is_refused_when_it_cannot_be_written(
    data: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "report.json"
    said = refused(capsys, lambda: main(["inspect", *data, f"output={path}"]))
    assert said == f"output={path}: cannot be written (Not a directory); choose another file"
