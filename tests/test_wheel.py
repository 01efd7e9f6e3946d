"""The wheel: what it holds, and that it reads a page outside of a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from hwr import config
from hwr.config import CONF, EXPERIMENTS, ROOT
from hwr.errors import InputError


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from what git knows of the checkout, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    files = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], ROOT).stdout
    for name in filter(None, files.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(("tests/", "docs/")):
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    build = ["-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(folder), "."]
    run([sys.executable, *build], folder / "source")
    (made,) = folder.glob("*.whl")
    return made


@pytest.mark.slow
def test_wheel_holds_configuration_published_results_and_the_page(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in (CONF, EXPERIMENTS):
        here = {f"hwr/{path.relative_to(ROOT).as_posix()}" for path in folder.rglob("*") if path.is_file()}
        assert {name for name in here if not name.endswith("_tuned.yaml")} <= names
    page = ROOT / "hwr" / "serving" / "static"
    assert {f"hwr/serving/static/{path.name}" for path in page.iterdir()} <= names
    assert (
        not {name.partition("/")[0] for name in names}
        - {"hwr"}
        - {name.partition("/")[0] for name in names if ".dist-info/" in name}
    )


@pytest.mark.slow
def test_installed_package_reads_a_page_where_the_user_stands(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(site), str(wheel)], empty)
    Image.new("L", (400, 600), 255).save(empty / "page.png")
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = run([sys.executable, "-m", "hwr", "transcribe", "page.png"], empty, environment)
    assert {path.name for path in empty.iterdir()} == {"page.png", "page.txt", ".hwr-outputs"}, done.stderr
    where = "from hwr import config; print(config.INSTALLED, config.ROOT)"
    assert run([sys.executable, "-c", where], empty, environment).stdout == f"True {site / 'hwr'}\n"
    smoke = ["-m", "hwr", "train", "experiments=line/smoke", "--cfg", "job", "--resolve"]
    composed = run([sys.executable, *smoke], empty, environment).stdout
    assert f"{site}/hwr/experiments/line/smoke/text.txt" in composed


def test_publishing_is_refused_where_hwr_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    config.require_checkout("publish=line/mine")
    monkeypatch.setattr(config, "INSTALLED", True)
    with pytest.raises(InputError, match=r"publish=line/mine: .*; use a checkout"):
        config.require_checkout("publish=line/mine")


def run(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done
