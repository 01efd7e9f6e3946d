"""The font of texts in pictures."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

from hwr.errors import InputError


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return DejaVu Sans as matplotlib ships it; Pillow's own font has neither accents nor Greek."""
    spec = find_spec("matplotlib")  # found, not imported: that would take time and write a cache
    if spec is None or spec.origin is None:
        raise InputError("pictures are lettered in a font that matplotlib ships: pip install matplotlib")
    return ImageFont.truetype(Path(spec.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf", size)
