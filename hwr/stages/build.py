"""Networks and what reads with them, from a stage's configuration and weights; knows no data, no tracking."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import mxnet as mx

from hwr import weights
from hwr.config.bind import bind, make, target
from hwr.config.compose import TrainConfig, stored
from hwr.config.locations import EXPERIMENTS
from hwr.data.batches.lines import padded_width
from hwr.data.batches.texts import Sampling
from hwr.errors import InputError
from hwr.images.canvas import PageFit
from hwr.images.line_crop import LineCrop
from hwr.stages.denoiser.stage import TextDenoiser
from hwr.stages.line.stage import LineReader
from hwr.stages.paragraph.stage import AreaFinder
from hwr.stages.segmentation.stage import BoxDetector, Detecting
from hwr.text import Alphabet
from hwr.weights import Weights

UNITS = ("line", "word")  # what stage `segmentation` finds
_NETWORKS = {
    "paragraph": ("hwr.networks.paragraph",),
    "segmentation": ("hwr.networks.ssd",),
    "line": ("hwr.networks.crnn", "hwr.networks.resnet_bilstm"),
    "denoiser": ("hwr.networks.transformer",),
}


def find(name: str, *, kind: str) -> Weights:
    """Load weights of stage `kind` from a folder or by a published name (line/copiste)."""
    if name.startswith(("runs:/", "models:/")):
        raise InputError(f"weights {name}: runs are not looked up here; name outputs/runs/ID/weights/best")
    published = EXPERIMENTS / name / "weights"
    found = weights.load(published if published.is_dir() and not Path(name).is_dir() else Path(name))
    return of_kind(found, name, kind)


def of_kind(found: Weights, name: str, kind: str) -> Weights:
    """Return weights unless they are of another stage than `kind`; else raise InputError."""
    made = config_of(found).stage.get("kind")
    if made != kind:
        raise InputError(f"weights {name}: of stage {made}, not {kind}; choose weights of that stage")
    return found


def config_of(found: Weights) -> TrainConfig:
    """Return the configuration of the training that made weights."""
    config: TrainConfig = stored(found.config, (), TrainConfig).root
    return config


def device(name: str) -> Any:
    """Return the MXNet context for `cpu` or `gpu:N`; raise InputError where it is not there."""
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "gpu") or not (number or "0").isdigit():
        raise InputError(f"device={name}: use cpu, gpu or gpu:N")
    if kind == "gpu" and mx.context.num_gpus() <= int(number or 0):
        raise InputError(f"device={name}: this MXNet sees {mx.context.num_gpus()} GPUs; use device=cpu")
    return mx.cpu() if kind == "cpu" else mx.gpu(int(number or 0))


def drawn(network: Any, image: tuple[int, int], *, seed: int, context: Any) -> Any:
    """Return a network with parameters drawn from `seed`; an image (H, W) shows each layer its shape."""
    return _drawn(network, (1, 1, *image), seed=seed, context=context)


def _drawn(network: Any, *inputs: tuple[int, ...], seed: int, context: Any) -> Any:
    """Return a network with parameters drawn from `seed`; zeros of these shapes show each layer its own."""
    mx.random.seed(seed)
    network.initialize(mx.init.Xavier(magnitude=2.24), ctx=context)
    network(*(mx.nd.zeros(shape, ctx=context) for shape in inputs))
    network.collect_params(".*(bias|gamma|beta)$").setattr("wd_mult", 0.0)
    network.hybridize()
    return network


def maker_of(config: TrainConfig) -> Callable[..., Any]:
    """Return what makes the network; raise InputError for one of another stage."""
    maker, kind = target(config.network, "network"), config.stage["kind"]
    if maker.__module__ not in _NETWORKS[kind]:
        raise InputError(f"network._target_={config.network['_target_']}: not a network of stage {kind}")
    return maker


# Stage `line`


def crop_of(config: TrainConfig) -> LineCrop:
    """Return how the stage cuts lines out of their pages; raise InputError for a wrong node."""
    bind(_line, config.stage, "stage")
    return make(LineCrop, config.stage["crop"], "stage.crop")


def steps_of(config: TrainConfig) -> Callable[[int], int]:
    """Return what gives the time steps T of a line image from its width in px."""
    network: Any = maker_of(config)
    return lambda width: padded_width(width, network.width_multiple) // network.stride


def line_network(config: TrainConfig, alphabet: Alphabet, context: Any) -> Any:
    """Return the network of stage `line`, its parameters drawn from the seed."""
    network = make(maker_of(config), config.network, "network", classes=len(alphabet))
    height = crop_of(config).height
    return drawn(
        network, (height, padded_width(height, network.width_multiple)), seed=config.seed, context=context
    )


def line_reader(found: Weights, *, batch_size: int, context: Any) -> LineReader:
    """Return a reader of line images with these weights."""
    network = line_network(config_of(found), alphabet_of(found), context)
    weights.fill(network, found)
    return LineReader(network, batch_size=batch_size, context=context)


def alphabet_of(found: Weights) -> Alphabet:
    """Return the alphabet that weights read; raise InputError where they read no text."""
    if found.alphabet is None:
        raise InputError(f"weights {found.folder}: without an alphabet; choose weights of stage line")
    return found.alphabet


# Stage `paragraph`


def page_fit(config: TrainConfig) -> PageFit:
    """Return how stage `paragraph` brings pages to its network; raise InputError for a wrong node."""
    bind(_paragraph, config.stage, "stage")
    return _fit(config)


def paragraph_network(config: TrainConfig, context: Any) -> Any:
    """Return the network of stage `paragraph`, its parameters drawn from the seed."""
    network = make(maker_of(config), config.network, "network")
    return drawn(network, page_fit(config).size, seed=config.seed, context=context)


def area_finder(found: Weights, *, batch_size: int, context: Any) -> AreaFinder:
    """Return a finder of handwritten areas with these weights."""
    network = paragraph_network(config_of(found), context)
    weights.fill(network, found)
    return AreaFinder(network, batch_size=batch_size, context=context)


# Stage `segmentation`


def area_fit(config: TrainConfig) -> PageFit:
    """Return how stage `segmentation` brings areas to its network; raise InputError for a wrong node."""
    bind(_segmentation, config.stage, "stage")
    if config.stage["unit"] not in UNITS:
        raise InputError(f"stage.unit={config.stage['unit']}: unknown; use one of {', '.join(UNITS)}")
    return _fit(config)


def detecting(config: TrainConfig) -> Detecting:
    """Return which detections stage `segmentation` keeps."""
    return make(Detecting, {name: config.stage[name] for name in ("min_c", "overlap_thres", "topk")}, "stage")


def detector(config: TrainConfig, *, batch_size: int, context: Any) -> BoxDetector:
    """Return the detector of stage `segmentation`, its parameters drawn from the seed."""
    network = make(maker_of(config), config.network, "network")
    size = area_fit(config).size
    drawn(network, size, seed=config.seed, context=context)
    return BoxDetector(network, detecting(config), size=size, batch_size=batch_size, context=context)


def box_detector(found: Weights, *, batch_size: int, context: Any) -> BoxDetector:
    """Return a detector of lines or words with these weights."""
    made = detector(config_of(found), batch_size=batch_size, context=context)
    weights.fill(made.network, found)
    return made


# Stage `denoiser`


def sampling_of(config: TrainConfig) -> Sampling:
    """Return how stage `denoiser` takes its samples; raise InputError for a wrong node."""
    bind(_denoiser, config.stage, "stage")
    return make(Sampling, {name: config.stage[name] for name in ("repeats", "windows", "longest")}, "stage")


def denoiser_network(config: TrainConfig, alphabet: Alphabet, context: Any) -> Any:
    """Return the network of stage `denoiser`, its parameters drawn from the seed."""
    network = make(maker_of(config), config.network, "network", classes=len(alphabet))
    return _drawn(network, (1, 1), (1, 1), seed=config.seed, context=context)


def text_denoiser(found: Weights, *, batch_size: int, context: Any) -> TextDenoiser:
    """Return a denoiser of texts with these weights."""
    config, alphabet = config_of(found), alphabet_of(found)
    network = denoiser_network(config, alphabet, context)
    weights.fill(network, found)
    longest = sampling_of(config).longest
    return TextDenoiser(network, alphabet, longest=longest, batch_size=batch_size, context=context)


def _fit(config: TrainConfig) -> PageFit:
    growth = config.stage["growth"]
    if not 0 <= growth <= 1:
        raise InputError(f"stage.growth={growth} is not between 0 and 1; it is a share of the box's sides")
    return make(PageFit, {name: config.stage[name] for name in ("size", "normalise")}, "stage")


# What the files of conf/stage/ hold in their node `stage`.


def _line(*, kind: str, crop: dict[str, Any]) -> None: ...


def _paragraph(*, kind: str, size: Sequence[int], normalise: bool, growth: float) -> None: ...


def _segmentation(
    *, kind: str, unit: str, size: Sequence[int], normalise: bool, growth: float, min_c: float,
    overlap_thres: float, topk: int,
) -> None: ...  # fmt: skip


def _denoiser(
    *, kind: str, confusions: str, texts: Sequence[str], repeats: int, windows: float, longest: int
) -> None: ...
