"""How stages are found by name: those of this project, and those that installed packages add."""

from pathlib import Path

import pytest

from hwr.errors import InputError
from hwr.stages.kind import Kind, kind_named, kind_names
from hwr.stages.line.training import KIND as LINE
from tests.stages.small import STAGES

TOY = Path(__file__).parent / "toy"


def add_entry(monkeypatch: pytest.MonkeyPatch, folder: Path, line: str) -> None:
    """Install a package that has nothing but an entry point."""
    about = folder / "other_stage-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: other-stage\nVersion: 1.0\n", "utf-8")
    (about / "entry_points.txt").write_text(f"[hwr.stages]\n{line}\n", "utf-8")
    monkeypatch.syspath_prepend(str(folder))


@pytest.mark.parametrize("name", STAGES)
def test_stage_of_this_project_is_found_by_its_name(name: str) -> None:
    kind = kind_named(name)
    assert isinstance(kind, Kind)
    assert kind.name == name


def test_names_are_those_of_this_project() -> None:
    assert kind_names() == ["denoiser", "line", "paragraph", "segmentation"]


@pytest.mark.parametrize("name", ["paragraf", "", "None", "recipe", "boxes"])
def test_unknown_stage_is_refused_with_those_that_there_are(name: str) -> None:
    said = rf"stage\.kind={name}: unknown; use one of denoiser, line, paragraph, segmentation$"
    with pytest.raises(InputError, match=said):
        kind_named(name)


def test_stage_of_an_installed_package_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(TOY))
    assert kind_names() == [*STAGES, "toy"]
    assert kind_named("toy").name == "toy"
    with pytest.raises(InputError, match=r"unknown; use one of denoiser, .*, segmentation, toy$"):
        kind_named("tois")


@pytest.mark.parametrize("thing", ["hwr.text:nfc", "hwr.stages.line.training:KIND"])
def test_entry_point_that_leads_to_no_stage_of_its_name_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, thing: str
) -> None:
    add_entry(monkeypatch, tmp_path, f"other = {thing}")
    with pytest.raises(InputError, match=r"stage\.kind=other: .*; install another version"):
        kind_named("other")


def test_installed_package_takes_no_name_of_this_project(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    add_entry(monkeypatch, tmp_path, "line = hwr.text:nfc")
    assert kind_named("line") is LINE
    assert kind_names() == list(STAGES)
