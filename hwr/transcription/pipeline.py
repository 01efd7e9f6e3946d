"""The pipeline from the weights of its three steps."""

from collections.abc import Callable
from typing import Any, Protocol

from hwr.config.compose import WeightsConfig
from hwr.decoding.build import build_decoder
from hwr.stages import build
from hwr.transcription.page_reader import AreaStep, LineStep, PageReader, TextStep
from hwr.weights import Weights


class Pipeline(Protocol):
    """What the pipeline is made from: the typed roots of transcribing and of evaluating have it."""

    weights: WeightsConfig
    decoder: dict[str, Any]
    seams: bool
    batch_size: int
    device: str


def page_reader(config: Pipeline, load: Callable[..., Weights] = build.find) -> PageReader:
    """Return the pipeline with the weights of its three steps; `load` finds them by name and kind."""
    context, size = build.device(config.device), config.batch_size
    area, lines, text = (
        load(getattr(config.weights, kind), kind=kind) for kind in ("paragraph", "segmentation", "line")
    )
    area_config, line_config = build.config_of(area), build.config_of(lines)
    decoder = build_decoder(config.decoder, build.alphabet_of(text))
    return PageReader(
        AreaStep(
            finder=build.area_finder(area, batch_size=size, context=context),
            fit=build.page_fit(area_config),
            growth=area_config.stage["growth"],
        ),
        LineStep(
            detector=build.box_detector(lines, batch_size=size, context=context),
            fit=build.area_fit(line_config),
            growth=line_config.stage["growth"],
            unit=line_config.stage["unit"],
        ),
        TextStep(
            reader=build.line_reader(text, batch_size=size, context=context),
            crop=build.crop_of(build.config_of(text)),
            decoder=decoder,
            seams=config.seams,
        ),
    )
