import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from hwr.runtime import Revision


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no setting of the caller reach git."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_CEILING_DIRECTORIES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")


def git(folder: Path, *arguments: str) -> str:
    named = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    command = ["git", "-C", str(folder), *named, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def checkout(folder: Path) -> Path:
    """Return a repository with one commit of one file."""
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "code.py").write_text("a = 1\n", encoding="utf-8")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "one")
    return folder


def test_clean_checkout_has_a_commit_and_no_diff(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "repo")
    assert Revision.of(folder) == Revision(git(folder, "rev-parse", "HEAD"), "")


@pytest.mark.parametrize("staged", [False, True])
def test_change_is_in_the_diff(staged: bool, tmp_path: Path) -> None:
    folder = checkout(tmp_path / "repo")
    (folder / "code.py").write_text("a = 'é'\n", encoding="utf-8")
    if staged:
        git(folder, "add", ".")
    found = Revision.of(folder)
    assert found is not None
    assert "-a = 1\n+a = 'é'\n" in found.diff


def test_diff_is_plain_when_the_user_has_a_program_for_it(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "repo")
    git(folder, "config", "diff.external", "false")
    git(folder, "config", "color.ui", "always")
    (folder / "code.py").write_text("a = 2\n", encoding="utf-8")
    found = Revision.of(folder)
    assert found is not None
    assert "\n-a = 1\n+a = 2\n" in found.diff


def test_new_modules_and_settings_are_in_the_diff(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "repo")
    (folder / ".gitignore").write_text("outputs/\n", encoding="utf-8")
    for name in ("mine/é.py", "conf/a b.yaml", "outputs/c.py", "env/site-packages/d.py", "notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"of {name}", encoding="utf-8")
    found = Revision.of(folder)
    assert found is not None
    assert sorted(line for line in found.diff.splitlines() if line.startswith("+of")) == [
        "+of conf/a b.yaml",
        "+of mine/é.py",
    ]
    assert found.code == f"{found.commit[:12]} changed {sha256(found.diff.encode()).hexdigest()[:12]}"
    assert found.tags == {"mlflow.source.git.commit": found.commit, "changed": "true"}
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(folder), str(clone))
    subprocess.run(["git", "-C", str(clone), "apply"], input=found.diff, text=True, check=True)
    assert (clone / "mine" / "é.py").read_text("utf-8") == "of mine/é.py"


def test_refusal_of_git_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = checkout(tmp_path / "repo")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert (Revision.of(folder), Revision.of(folder)) == (None, None)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("git: fatal: detected dubious ownership in repository")
    assert f"git config --global --add safe.directory {folder}" in said


def test_folder_without_a_checkout_has_no_revision(tmp_path: Path) -> None:
    assert Revision.of(tmp_path) is None


def test_checkout_without_a_commit_has_no_revision(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert Revision.of(tmp_path) is None


def test_folder_within_the_checkout_of_another_project_has_no_revision(tmp_path: Path) -> None:
    inner = checkout(tmp_path / "repo") / ".venv"
    inner.mkdir()
    assert Revision.of(inner) is None


def test_there_is_no_revision_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkout(tmp_path / "repo")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert Revision.of(folder) is None
