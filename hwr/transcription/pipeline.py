"""Build the pipeline from the weights of its three steps."""

from collections.abc import Mapping
from typing import Any, Protocol

from hwr.decoding.build import build_decoder
from hwr.stages.build import alphabet_of, model_of
from hwr.stages.line.model import line_crop, load_line_reader
from hwr.stages.paragraph.model import MODEL as PARAGRAPH
from hwr.stages.paragraph.model import load_area_finder
from hwr.stages.recipe import device_context
from hwr.stages.segmentation.model import MODEL as SEGMENTATION
from hwr.stages.segmentation.model import load_box_detector
from hwr.transcription.page_reader import AreaStep, LineStep, PageReader, TextStep
from hwr.weights import Weights

STEPS = ("paragraph", "segmentation", "line")  # the stages of the pipeline, in their order


class Settings(Protocol):
    """What the pipeline is made with besides weights, as configurations hold it."""

    decoder: dict[str, Any]
    seams: bool
    batch_size: int
    device: str


def page_reader(loaded: Mapping[str, Weights], config: Settings) -> PageReader:
    """Return the pipeline with the weights of its STEPS, by stage."""
    context, size = device_context(config.device), config.batch_size
    area, lines, text = (loaded[step] for step in STEPS)
    area_settings, line_settings = model_of(area, PARAGRAPH).settings, model_of(lines, SEGMENTATION).settings
    decoder = build_decoder(config.decoder, alphabet_of(text))
    return PageReader(
        AreaStep(
            finder=load_area_finder(area, batch_size=size, context=context),
            fit=area_settings.fit,
            growth=area_settings.growth,
        ),
        LineStep(
            detector=load_box_detector(lines, batch_size=size, context=context),
            fit=line_settings.fit,
            growth=line_settings.growth,
            unit=line_settings.unit,
        ),
        TextStep(
            reader=load_line_reader(text, batch_size=size, context=context),
            crop=line_crop(text),
            decoder=decoder,
            seams=config.seams,
        ),
    )
