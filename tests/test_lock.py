"""The lock file has a hash of every package, and of no file that Linux on x86_64 cannot install."""

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HELPER = runpy.run_path(str(ROOT / ".ci" / "linux_hashes.py"))
DIGESTS = {name: name * 64 for name in "abc"}


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("a-1-py3-none-any.whl", True),
        ("a-1.tar.gz", True),
        ("a-1-cp310-cp310-manylinux2014_x86_64.manylinux_2_17_x86_64.whl", True),
        ("a-1-cp38-abi3-manylinux_2_28_x86_64.whl", True),
        ("a-1-cp39-cp39-manylinux_2_28_x86_64.whl", False),
        ("a-1-cp312-cp312-musllinux_1_2_x86_64.whl", False),
        ("a-1-cp312-cp312-manylinux_2_28_aarch64.whl", False),
        ("a-1-cp312-cp312-win_amd64.whl", False),
        (None, False),
    ],
)
def test_files_are_kept_that_can_be_installed(file: str | None, fits: bool) -> None:
    assert HELPER["fits"](file) is fits


def written(folder: Path, requirements: str) -> tuple[Path, Path]:
    """Write a lock file, and one that names its files: a for Linux, b for Windows; c is in neither."""
    names = {"a": "a-1-py3-none-any.whl", "b": "b-1-cp312-cp312-win_amd64.whl"}
    files = [
        f'{{ url = "https://x/{name}", hashes = {{ sha256 = "{DIGESTS[own]}" }} }}'
        for own, name in names.items()
    ]
    (folder / "pylock.toml").write_text("\n".join(files))
    (folder / "lock").write_text(
        requirements.format(**{own: f"--hash=sha256:{DIGESTS[own]}" for own in DIGESTS})
    )
    return folder / "lock", folder / "pylock.toml"


def test_hashes_of_other_systems_go_and_packages_for_windows_too(tmp_path: Path) -> None:
    kept = "# made\na==1 \\\n    {a}"
    text = kept + " \\\n    {b} \\\n    {c}\n    # via x\nb==1 ; sys_platform == 'win32' \\\n    {b}\n"
    paths = written(tmp_path, text)
    HELPER["main"](*paths)
    assert paths[0].read_text() == f"# made\na==1 \\\n    --hash=sha256:{DIGESTS['a']}\n    # via x\n"


def test_a_package_without_a_file_for_linux_ends_it(tmp_path: Path) -> None:
    paths = written(tmp_path, "b==1 \\\n    {b}\n")
    before = paths[0].read_text()
    with pytest.raises(SystemExit, match="no file for Linux on x86_64 of b==1"):
        HELPER["main"](*paths)
    assert paths[0].read_text() == before


def test_every_package_of_the_lock_file_has_a_hash() -> None:
    entries = re.split(r"\n(?=\S)", (ROOT / "requirements.lock").read_text(encoding="utf-8"))
    packages = [entry for entry in entries if not entry.startswith("#")]
    assert len(packages) > 100
    assert all("--hash=sha256:" in entry for entry in packages)
