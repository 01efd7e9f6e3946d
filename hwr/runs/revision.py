"""Which commit of this project runs, and what differs from it."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Revision:
    """A commit, and the uncommitted changes to tracked files as a patch."""

    commit: str
    diff: str

    @classmethod
    def of(cls, folder: Path) -> "Revision | None":
        """Return the revision of a checkout; None where `folder` is not the top of one with a commit."""
        top = _git(folder, "rev-parse", "--show-toplevel")
        commit = _git(folder, "rev-parse", "--verify", "HEAD")
        if not top or not commit or Path(top.strip()).resolve() != folder.resolve():
            return None  # installed inside of another project's checkout, say
        return cls(commit.strip(), _git(folder, "diff", "--no-color", "--no-ext-diff", "HEAD") or "")


def _git(folder: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run([git, "-C", str(folder), *arguments], capture_output=True, check=False)
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
