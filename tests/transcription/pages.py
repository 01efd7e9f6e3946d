"""Small page files."""

from pathlib import Path

import numpy as np
from PIL import Image


def written(path: Path, *shades: int) -> Path:
    """Save a page of 60 x 40 px in each shade, several as one TIFF; return `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *others = (Image.fromarray(np.full((60, 40), shade, np.uint8)) for shade in shades or (200,))
    if others:
        first.save(path, save_all=True, append_images=others)
    else:
        first.save(path)
    return path
