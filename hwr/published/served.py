"""A registered model as MLflow loads and serves it: images in, texts and boxes out."""

import base64
import contextlib
import io
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from hwr import runtime
from hwr.config import compose
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError
from hwr.files import scratch_folder, write_text
from hwr.images import page_files
from hwr.published.stores import INDEX, model_choice, parsed_index
from hwr.transcription.export import to_txt
from hwr.transcription.files import PageOfFile, page_reader, page_steps
from hwr.transcription.page_reader import finished

_LONGEST_PATH = 1024


class ServedModel:
    """The model in `folder`, a store with one model; it reads in a thread of its own, an image at a time."""

    def __init__(self, folder: Path) -> None:
        source = folder / INDEX
        ((name, model),) = parsed_index(source, source.read_bytes()).models.items()
        with scratch_folder() as scratch:
            part = folder.absolute() / name
            write_text(scratch / "model" / f"{name}.yaml", model_choice(part, part, name, model.about))
            words = [f"+model={name}"]
            composed = compose.composed("transcribe", words, TranscribeConfig, config_dir=scratch)
        self._config: TranscribeConfig = composed.root
        self._thread = ThreadPoolExecutor(1, "reading")
        self._reader = self._thread.submit(page_reader, self._config).result()

    def predict(self, model_input: Any, params: Any = None) -> list[dict[str, Any]]:
        """Return what is read on each image of the column `image`: base64, or the path of a file here.

        Boxes are x1 y1 x2 y2 in fractions of the page; of an image that cannot be read `error` tells why.
        """
        return [self._thread.submit(self._read, str(image)).result() for image in model_input["image"]]

    def _read(self, image: str) -> dict[str, Any]:
        with _file(image) as file:
            try:
                if file is None:
                    raise InputError("image: neither a file here nor base64; send an image's bytes in base64")
                if (count := page_files.count_pages(file)) > 1:
                    raise InputError(f"image: holds {count} pages; send each as an image of its own")
                steps = page_steps(self._reader, self._config, PageOfFile(file, 1, 1))
                read = finished(steps, self._reader.read_lines).stored
            except InputError as error:
                return {"text": "", "lines": [], "error": str(error).replace(str(file), "image")}
        lines = [
            {"text": own.text, "confidence": float(own.confidence), "box": list(map(float, own.box))}
            for own in read.lines
        ]
        return {"text": to_txt(read), "lines": lines, "error": ""}


def example() -> str:
    """Return a small page in base64."""
    page, data = Image.new("L", (480, 160), 255), io.BytesIO()
    ImageDraw.Draw(page).text((40, 50), "tea and toast", fill=0, font_size=48)
    page.save(data, "PNG")
    return base64.b64encode(data.getvalue()).decode("ascii")


def _load_pyfunc(path: str) -> ServedModel:
    """Load a model for MLflow, which calls this by its name."""
    runtime.start()
    return ServedModel(Path(path))


@contextlib.contextmanager
def _file(image: str) -> Iterator[Path | None]:
    """Give the file that an image is in; None where it is neither a file nor base64."""
    if _is_file(image):
        yield Path(image)
        return
    try:
        data = base64.b64decode(image.partition("base64,")[2] or image, validate=True)
    except ValueError:
        yield None
        return
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


def _is_file(image: str) -> bool:
    with contextlib.suppress(OSError, ValueError):  # no name that a file can have
        return len(image) <= _LONGEST_PATH and Path(image).is_file()
    return False
