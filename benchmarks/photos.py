"""Measure how a page's tilt, light and paper change what is read: the same pages, each spoilt in one way.

    python benchmarks/photos.py --pages 10 data=alto data.root=DIR split=valid [--only tilt,paper]

Pages of a data set are changed as photos and paper change them and read as `hwr evaluate target=page` reads
them, greedily unless `decoder=languages` is given. Their whole texts are compared: the errors are those of
characters and line ends, in reading order.
"""

import argparse
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hwr import runtime

Image = NDArray[np.uint8]
MODEL = [f"weights.{stage}={stage}/latin" for stage in ("paragraph", "segmentation", "line")]


def main() -> None:
    """Print the error rate and the number of lines found of each change."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=int, default=10, help="so many, evenly spread over the split")
    parser.add_argument("--only", default="", help="changes whose names begin so, parted by commas")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="of hwr evaluate")
    asked = parser.parse_args()
    runtime.start()
    from hwr.config.compose import composed
    from hwr.config.roots import EvaluateConfig
    from hwr.data.records import page_image
    from hwr.evaluation.task import open_task
    from hwr.scoring.edits import character_edits
    from hwr.transcription.page_reader import STEPS, build_page_reader

    task = open_task(composed("evaluate", ["target=page", *MODEL, *asked.overrides], EvaluateConfig).root)
    reader = build_page_reader({step: task.weights(step) for step in STEPS}, task.config)
    pages = task.dataset(whole=True).pages
    chosen = np.unique(np.linspace(0, len(pages) - 1, min(asked.pages, len(pages))).astype(int))
    read = [(page_image(pages[i], task.config.loading), pages[i].lines) for i in chosen]
    print(f"{len(read)} pages, {sum(len(lines) for _, lines in read)} lines", flush=True)
    for name, change in CHANGES.items():
        if not name.startswith(tuple(asked.only.split(","))):
            continue
        errors, characters, found = 0, 0, 0
        for image, lines in read:
            result = reader(change(image))
            texts = ["\n".join(line.text for line in own) for own in (lines, result.lines)]
            counts = character_edits(texts[0], texts[1])
            errors, characters = errors + counts.errors, characters + counts.reference
            found += len(result.lines)
        print(f"{name:28}{100 * errors / characters:7.2f} % CER{found:6} lines", flush=True)


def tilted(degrees: float) -> Callable[[Image], Image]:
    """Turn a page on a canvas of its own paper."""

    def change(image: Image) -> Image:
        height, width = image.shape
        turn = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0), np.float64)
        across, along = abs(turn[0, 0]), abs(turn[0, 1])
        size = int(height * along + width * across), int(height * across + width * along)
        turn[:, 2] += (size[0] - width) / 2, (size[1] - height) / 2
        return _uint8(cv2.warpAffine(image, turn, size, borderValue=_paper(image)))

    return change


def seen_aslant(share: float) -> Callable[[Image], Image]:
    """Show a page in perspective: its upper edge is shorter by about twice this share."""

    def change(image: Image) -> Image:
        height, width = image.shape
        corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
        moved = corners + np.array(
            [[share * width, share * height / 2], [-0.6 * share * width, 0], [0, 0], [0, -share * height / 2]]
        )
        matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
        return _uint8(cv2.warpPerspective(image, matrix, (width, height), borderValue=_paper(image)))

    return change


def curled(share: float) -> Callable[[Image], Image]:
    """Bend lines to an arch as high as this share of the page."""

    def change(image: Image) -> Image:
        height, width = image.shape
        xs, ys = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        ys = (ys + share * height * np.sin(np.pi * xs / width)).astype(np.float32)
        return _uint8(cv2.remap(image, xs, ys, cv2.INTER_LINEAR, borderValue=_paper(image)))

    return change


def ruled(grey: int, *, squared: bool = False) -> Callable[[Image], Image]:
    """Print rules 2 px thick, 30 to the page, or squares half as wide; what is darker than `grey` stays."""

    def change(image: Image) -> Image:
        printed, pitch = image.copy(), len(image) // (60 if squared else 30)
        for place in range(pitch // 2, max(image.shape), pitch):
            rows = printed[place : place + 2]
            np.minimum(rows, grey, out=rows)
            if squared:
                columns = printed[:, place : place + 2]
                np.minimum(columns, grey, out=columns)
        return printed

    return change


def on_a_table(grey: int) -> Callable[[Image], Image]:
    """Lay a page on a darker table that shows around it."""

    def change(image: Image) -> Image:
        high, wide = (round(0.15 * side) for side in image.shape)
        return _uint8(cv2.copyMakeBorder(image, high, high, wide, wide, cv2.BORDER_CONSTANT, value=(grey,)))

    return change


def in_shadow(image: Image) -> Image:
    """Halve the light on the lower half, with a soft edge."""
    height, width = image.shape
    light = np.ones((height, width), np.float32)
    cv2.fillPoly(
        light, [np.array([[0, height // 2], [width, height // 4], [width, height], [0, height]])], (0.5,)
    )
    return _uint8(image * cv2.GaussianBlur(light, (0, 0), width / 80))


def faint(share: float) -> Callable[[Image], Image]:
    """Leave this share of the contrast."""
    return lambda image: _uint8(235 - (255.0 - image) * share)


def noisy(deviation: float) -> Callable[[Image], Image]:
    """Add noise to every pixel."""
    return lambda image: _uint8(image + np.random.default_rng(0).normal(0, deviation, image.shape))


def blurred(px: float) -> Callable[[Image], Image]:
    """Blur a page by so many of 1,000 px of its width."""
    return lambda image: _uint8(cv2.GaussianBlur(image, (0, 0), px * image.shape[1] / 1000))


def small(width: int) -> Callable[[Image], Image]:
    """Reduce a page to a width in px."""
    return lambda image: _uint8(
        cv2.resize(image, (width, round(width * len(image) / image.shape[1])), interpolation=cv2.INTER_AREA)
    )


def as_jpeg(quality: int) -> Callable[[Image], Image]:
    """Compress a page as JPEG."""
    return lambda image: _uint8(
        cv2.imdecode(
            cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_GRAYSCALE
        )
    )


def _paper(image: Image) -> tuple[float, ...]:
    return (float(np.median(image)),)


def _uint8(image: Any) -> Image:
    return np.asarray(image).round().clip(0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[Image], Image]] = {
    "as it is": lambda image: image,
    **{f"tilt {degrees:+d} degrees": tilted(degrees) for degrees in (2, -2, 4, -4, 6, -6, 10, -10, 14, -14)},
    "perspective 5 %": seen_aslant(0.05), "perspective 10 %": seen_aslant(0.1),
    "curl 1 %": curled(0.01), "curl 2 %": curled(0.02),
    "paper ruled, grey 210": ruled(210), "paper ruled, grey 190": ruled(190),
    "paper squared, grey 210": ruled(210, squared=True), "paper squared, grey 190": ruled(190, squared=True),
    "table, grey 60": on_a_table(60), "shadow": in_shadow, "contrast 30 %": faint(0.3),
    "noise 15": noisy(15), "blur 1.2 px": blurred(1.2), "JPEG quality 20": as_jpeg(20),
    "width 800 px": small(800), "width 600 px": small(600),
}  # fmt: skip


if __name__ == "__main__":
    main()
