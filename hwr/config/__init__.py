"""Configuration; conf/ and experiments/ lie at the top of a checkout, or inside the installed package."""

from pathlib import Path

from hwr.errors import InputError

_PACKAGE = Path(__file__).resolve().parents[1]

INSTALLED = (_PACKAGE / "conf").is_dir()  # a wheel carries both; in a checkout they lie beside hwr/
ROOT = _PACKAGE if INSTALLED else _PACKAGE.parent
CONF = ROOT / "conf"
EXPERIMENTS = ROOT / "experiments"


def require_checkout(setting: str) -> None:
    """Raise InputError where hwr is installed, so that `setting` would write into the package."""
    if INSTALLED:
        raise InputError(f"{setting}: hwr is installed, and has no experiments/ to write to; use a checkout")
