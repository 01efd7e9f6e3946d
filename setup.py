"""What pyproject.toml cannot say: conf/ and experiments/, beside hwr/ here, go into the wheel inside it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithData(build_py):
    """Copies conf/ and experiments/ into the package; an editable install finds them in the checkout."""

    def run(self) -> None:
        """Build, and copy."""
        super().run()
        if not self.editable_mode:
            for name in ("conf", "experiments"):
                target = Path(self.build_lib, "hwr", name)
                shutil.rmtree(target, ignore_errors=True)  # of an earlier build
                shutil.copytree(name, target, ignore=shutil.ignore_patterns("*_tuned.yaml", ".*"))


setup(cmdclass={"build_py": BuildWithData})
