"""The notebooks of the documentation: clean, understood, and run as the site runs them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from hwr.config.command_table import COMMANDS
from tests.test_documentation import ROOT

sys.path.insert(0, str(ROOT / "docs"))
from executed import Cell, cells, executed

NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.py"))


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_begins_with_its_title_and_its_code_and_links_hold(notebook: Path) -> None:
    first, *others = cells(notebook.read_text(encoding="utf-8"))
    assert not first.code and re.match(r"# \w.+\n\n\w", first.text)
    for cell in others:
        if cell.code:
            compile(cell.text, notebook.name, "exec")
    text = "\n".join(cell.text for cell in (first, *others) if not cell.code)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^):]+)\)", text)]
    generated = "../reference/configuration/"
    assert [
        link for link in links if not link.startswith(generated) and not (notebook.parent / link).exists()
    ] == []
    assert set(re.findall(r"\bhwr ([a-z]+) ", text)) <= {command.name for command in COMMANDS}


def test_every_notebook_is_in_the_navigation_and_the_index() -> None:
    for page, suffix in (("mkdocs.yml", ".md"), ("docs/notebooks/index.md", ".py")):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [path.stem for path in NOTEBOOKS if f"{path.stem}{suffix}" not in text] == []


def test_page_shows_what_cells_print_their_last_value_and_pictures(tmp_path: Path) -> None:
    source = """# %% [markdown]
# # Title
#
# Text.

# %%
from PIL import Image
print("said")
6 * 7

# %%
Image.new("L", (2, 3))

# %%
quiet = 1
"""
    assert cells(source)[0] == Cell("# Title\n\nText.", code=False)
    (tmp_path / "small.py").write_text(source, encoding="utf-8")
    page = executed(tmp_path / "small.py", tmp_path)
    assert page.startswith("# Title\n\nText.\n\n```python\nfrom PIL")
    assert "6 * 7\n```\n\n```text\nsaid\n42\n```\n\n```python\nImage.new" in page
    assert page.endswith("(small-1.png)\n\n```python\nquiet = 1\n```\n")
    assert (tmp_path / "small-1.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs_and_shows_text_and_pictures(notebook: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "docs/executed.py"), str(notebook), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / f"{notebook.stem}.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[.+?\]\((.+?)\)", page)
    assert len(pictures) >= 2 and all((tmp_path / picture).stat().st_size > 1000 for picture in pictures)
    assert page.count("```text") >= 4
