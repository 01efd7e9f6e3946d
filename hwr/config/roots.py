"""Typed roots: a dataclass for each file of conf/, with type and range of every key."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from hwr.ranges import Amount as Amount
from hwr.ranges import Count as Count
from hwr.ranges import NonNegative as NonNegative
from hwr.ranges import Positive as Positive
from hwr.ranges import Probability as Probability
from hwr.ranges import Share as Share

if TYPE_CHECKING:
    from hwr.images.page_files import Loading

Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Split = Literal["train", "valid", "test"]
Unknown = Literal["keep", "error"]
Precision = Literal["float32", "bfloat16"]  # what is computed in
Node = dict[str, Any]  # settings of a part, bound to what it constructs where that is made

_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


def _node() -> Any:
    return Field(default_factory=dict)


@dataclass(config=_STRICT, kw_only=True)
class InspectionConfig:
    """What is done about findings in the data."""

    examples: int
    policy: dict[str, str]


@dataclass(config=_STRICT, kw_only=True)
class TrackingConfig:
    """Where runs are recorded."""

    uri: str | None = None
    experiment: str = "hwr"


@dataclass(config=_STRICT, kw_only=True)
class LineWeightsConfig:
    """The weights that read lines."""

    line: str


@dataclass(config=_STRICT, kw_only=True)
class WeightsConfig:
    """The weights of the three steps of the pipeline."""

    paragraph: str
    segmentation: str
    line: str


@dataclass(config=_STRICT, kw_only=True)
class AlphabetConfig:
    """The weights whose alphabet is taken."""

    line: str | None


@dataclass(config=_STRICT, kw_only=True)
class Scorer:
    """How errors are counted; `command` and `timeout_s` are for SClite."""

    name: Literal["sclite", "edit_distance"]
    command: str | None
    timeout_s: Positive


@dataclass(config=_STRICT, kw_only=True)
class Resampling:
    """How a bootstrap draws."""

    resamples: Count
    seed: Seed


@dataclass(config=_STRICT, kw_only=True)
class StoreConfig:
    """The folder of runs and caches, and the tracking store in or beside it."""

    folder: str = "outputs"
    tracking: TrackingConfig = Field(default_factory=TrackingConfig)


@dataclass(config=_STRICT, kw_only=True)
class PagesConfig(StoreConfig):
    """The keys of whatever loads pages."""

    max_pixels: Count
    working_pixels: Count = 16_000_000  # older configurations lack it

    @property
    def loading(self) -> "Loading":
        """How pages are loaded."""
        from hwr.images.page_files import Loading  # with OpenCV, which a look at settings needs not

        pdf_dpi = getattr(self, "pdf_dpi", None)
        return Loading(max_pixels=self.max_pixels, working_pixels=self.working_pixels, pdf_dpi=pdf_dpi)


@dataclass(config=_STRICT, kw_only=True)
class EngineConfig:
    """What computes networks in reading."""

    device: str
    engine: Literal["mxnet", "onnx", "openvino"] = "mxnet"
    precision: Precision = "float32"


@dataclass(config=_STRICT, kw_only=True)
class TrainConfig(PagesConfig):
    """A training, as conf/train.yaml and a stage file give it; its nodes are bound to what they construct."""

    name: str
    lr: Positive
    batch_size: Count
    monitor: str
    seed: Seed
    device: str
    precision: Precision = "float32"  # older configurations lack it
    unknown: Unknown = "keep"  # of stages that read text
    init: str | None
    resume: str | None
    max_epochs: Count | None
    max_minutes: Positive | None
    patience: Count | None
    save_every: Positive | None = None  # min; older configurations lack it
    system_metrics: Positive | None = None  # s; older configurations lack it
    few_shapes: bool = False  # older configurations lack it
    clip: Positive | None
    average: Share | None
    stage: Node = _node()
    network: Node = _node()
    augmentation: Node = _node()
    optimizer: Node = _node()
    loss: Node = _node()
    decoder: Node = _node()
    inspect: InspectionConfig
    data: Node = _node()
    phases: Node = _node()


@dataclass(config=_STRICT, kw_only=True)
class LinesConfig(PagesConfig, EngineConfig):
    """The keys of whatever reads the lines of a split."""

    weights: LineWeightsConfig
    split: Split
    batch_size: Count
    unknown: Unknown
    data: Node = _node()


@dataclass(config=_STRICT, kw_only=True)
class EvaluateConfig(LinesConfig):
    """An evaluation, as conf/evaluate.yaml gives it; `weights` are by stage."""

    target: str
    weights: dict[str, str]  # type: ignore[assignment]  # of any stage
    output: str
    widen: NonNegative
    seams: bool
    pdf_dpi: Count
    pictures: Amount
    kept_height: Amount
    publish: str | None
    decoder: Node = _node()
    scorer: Scorer
    resampling: Resampling


@dataclass(config=_STRICT, kw_only=True)
class TuneConfig(LinesConfig):
    """A choice of a decoder's numbers, as conf/tune.yaml gives it."""

    decoder: Node = _node()
    search: Literal["coordinate", "grid"]
    rounds: Count
    monitor: Literal["cer", "wer"]
    tolerance: NonNegative
    space: Node = _node()
    cheap: list[str]
    output: str | None


@dataclass(config=_STRICT, kw_only=True)
class DecodersConfig(LinesConfig):
    """A comparison of decoders, as conf/decoders.yaml gives it."""

    decoders: Node = _node()
    baseline: str
    repeats: Count
    pictures: Amount
    seed: Seed
    output: str
    publish: str | None
    scorer: Scorer
    resampling: Resampling


@dataclass(config=_STRICT, kw_only=True)
class ConfusionConfig(LinesConfig):
    """A count of what is misread, as conf/confusion.yaml gives it."""

    decoder: Node = _node()
    output: str
    published: str | None
    shown: Amount


@dataclass(config=_STRICT, kw_only=True)
class CompareConfig(StoreConfig):
    """A comparison of runs, as conf/compare.yaml gives it."""

    split: Split
    output: str
    level: Annotated[float, Field(gt=0, lt=1)]
    resampling: Resampling
    scorer: Scorer
    pictures: Amount


@dataclass(config=_STRICT, kw_only=True)
class BoardConfig(StoreConfig):
    """A list of the best runs of a data set, as conf/board.yaml gives it."""

    top: Count


@dataclass(config=_STRICT, kw_only=True)
class ServerConfig:
    """A tracking server."""

    uri: str | None


@dataclass(config=_STRICT, kw_only=True)
class SyncConfig:
    """How a tracking server gets what it missed, as conf/sync.yaml gives it."""

    folder: str
    tracking: ServerConfig


@dataclass(config=_STRICT, kw_only=True)
class SearchConfig:
    """A search for the settings of a training, as conf/search.yaml gives it."""

    study: str | None
    trials: Count
    jobs: Count
    seed: Seed
    space: Node = _node()
    sampler: Node = _node()
    pruner: Node = _node()


@dataclass(config=_STRICT, kw_only=True)
class LaunchConfig:
    """In which processes a training runs, as conf/launch.yaml gives it."""

    workers: Count
    servers: Count
    launcher: Literal["local", "ssh"]
    hosts: Text | None
    port: Annotated[int, Field(ge=1, lt=2**16)] | None
    join_s: Positive
    grace_s: Positive


@dataclass(config=_STRICT, kw_only=True)
class InspectConfig(TrainConfig):
    """A look at data, as conf/inspect.yaml gives it: a training's keys and where the report goes."""

    full: bool
    output: str | None


@dataclass(config=_STRICT, kw_only=True)
class ReadingConfig(PagesConfig, EngineConfig):
    """How pages are read."""

    weights: WeightsConfig
    decoder: Node = _node()
    widen: NonNegative
    seams: bool
    orientation: Literal["auto", 0, 90, 180, 270]
    batch_size: Count
    pdf_dpi: Count
    overlay_width: Annotated[int, Field(ge=100)]


@dataclass(config=_STRICT, kw_only=True)
class TranscribeConfig(ReadingConfig):
    """How pages are read from the command line, as conf/transcribe.yaml gives it."""

    jobs: Count
    page_s: Positive
    lock_s: Positive


@dataclass(config=_STRICT, kw_only=True)
class BulkConfig(ReadingConfig):
    """How pages are read on Ray, on Spark or in one process, as conf/bulk.yaml gives it."""

    runner: Literal["local", "ray", "spark"]
    address: Text | None
    jobs: Count
    cores: Count
    part_files: Count
    attempts: Count


@dataclass(config=_STRICT, kw_only=True)
class ServeConfig(ReadingConfig):
    """How pages are read for a browser and for programs, as conf/serve.yaml gives it."""

    pages: Text
    host: Text
    port: Annotated[int, Field(ge=0, lt=2**16)]
    hosts: list[str]
    token: Text | None
    queue: Count
    at_once: Count
    part: Count
    max_bytes: Count
    max_pages: Count
    max_boxes: Count
    upload_s: Positive
    doubtful: Probability
    picture_width: Annotated[int, Field(ge=100)]


@dataclass(config=_STRICT, kw_only=True)
class AdaptConfig(StoreConfig):
    """How a line recogniser is fine-tuned on corrected lines, as conf/adapt.yaml gives it."""

    weights: LineWeightsConfig
    data: Node = _node()
    elsewhere: Node | None = None
    output: Text
    held_out: Annotated[float, Field(gt=0, lt=1)]
    seed: Seed
    counts: list[Count]
    minutes: Positive
    lr: Positive
    epochs: Count
    samples: Count
    batch_size: Count
    scorer: Scorer


@dataclass(config=_STRICT, kw_only=True)
class ModelsConfig(StoreConfig):
    """Where models come from and are kept, as conf/models.yaml gives it; `stores` are addresses by name."""

    stores: dict[str, Text]
    own: str | None
    alias: Text
    max_bytes: Count
    timeout_s: Positive


@dataclass(config=_STRICT, kw_only=True)
class ExportConfig(StoreConfig):
    """How weights are exported, as conf/export.yaml gives it."""

    weights: Text
    format: Literal["onnx", "half", "int8"]
    average: list[Text]
    stage: dict[str, Any]
    output: Text


@dataclass(config=_STRICT, kw_only=True)
class LanguageModelConfig(StoreConfig):
    """How a language model is made, as conf/language_model.yaml gives it."""

    order: int
    unit: str
    min_count: Count
    file_share: Probability | None
    most_ngrams: Count | None
    decimals: Count
    weights: AlphabetConfig
    split: Split
    data: Node = _node()
