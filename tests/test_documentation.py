"""The README and the documentation: short enough, and their links and command lines hold."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwr.__main__ import parse
from hwr.config.command_table import COMMANDS
from hwr.config.compose import composed, for_resumed, seeded
from hwr.config.roots import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "experiments").rglob("*.md")])


def test_readme_is_skimmed_in_a_minute() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 120] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    missing = [
        link for link in _links(page) if not (page.parent / link).exists() and not _generated(page, link)
    ]
    assert missing == []


def test_every_picture_is_shown() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in _links(page)}
    assert [path.name for path in (ROOT / "docs/pictures").iterdir() if path.resolve() not in shown] == []


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_command_lines_of_a_page_are_understood(page: Path) -> None:
    for words in _command_lines(page):
        command = next(command for command in COMMANDS if command.name == words[0])
        overrides, _ = parse(command, words[1:])
        if command.name == "train":
            overrides = [word for word in seeded(overrides) if word != "-m"]
        composed_keys = [key for key in overrides if key not in for_resumed(overrides)]
        keys = [*command.preset, *map(_first_value, composed_keys)]
        if command.prefix:
            composed("train", [key for key in keys if not key.startswith(command.prefix)], TrainConfig)
        elif command.root is not None:
            composed(str(command.conf), keys, command.load_root())


def _command_lines(page: Path) -> Iterator[list[str]]:
    """Yield the words of `hwr COMMAND …` and of the two scripts, in the shell blocks of a page."""
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            script = re.sub(r"^python (train|evaluate)\.py", r"hwr \1", line.strip())
            words = shlex.split(script.removeprefix("OMP_NUM_THREADS=1 "), comments=True)
            if words[:1] == ["hwr"]:
                yield [word.replace("_tuned", "") for word in words[1:]]  # files that hwr tune writes


def _first_value(override: str) -> str:
    """Return an override of a sweep with its first value."""
    key, _, value = override.partition("=")
    return override if set("[{(") & set(value) else f"{key}={value.partition(',')[0]}" if value else override


def _links(page: Path) -> Iterator[str]:
    """Yield the relative links of a page without their anchors."""
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path = link.partition("#")[0]
        if path and "://" not in path:
            yield path


def _generated(page: Path, link: str) -> bool:
    """Tell whether a link leads to a page that docs/hooks.py makes; the strict build checks these."""
    target = (page.parent / link).resolve()
    path = target.relative_to(ROOT).as_posix()
    of_notebook = path.startswith("docs/notebooks/") and target.with_suffix(".py").exists()
    return (
        of_notebook
        or path.startswith("docs/reference/")
        or path in ("docs/contributing.md", "docs/changelog.md")
    )
