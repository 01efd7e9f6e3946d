"""Types that describe a stage (`Kind`), a training (`Recipe`) and its parts, and stages by name.

A stage of this project is a folder of `hwr/stages/` whose module `training` holds its `KIND`. Another package
adds a stage with an entry point of the group `hwr.stages` that names a `Kind`.
"""

import pkgutil
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from hwr import data, runtime, weights
from hwr.config.bind import STAGES, make
from hwr.config.roots import StoreConfig
from hwr.data.batches import Drawing
from hwr.data.inspection import Limits
from hwr.data.records import Dataset, LeftOut, Page
from hwr.data.remembered import remember_in
from hwr.errors import InputError
from hwr.images.page_files import Loading
from hwr.stages.engine import Inference
from hwr.text import Alphabet
from hwr.training.loop import Plan, Stage
from hwr.weights import Weights

S = TypeVar("S")  # the settings of a stage, a dataclass

Picture = NDArray[np.uint8]
LONGEST_NAME = 40  # characters of several sets' names together


@dataclass(frozen=True, kw_only=True)
class Model(Generic[S]):
    """The part of a stage that weights belong to."""

    name: str  # of the stage, as `stage.kind` gives it
    settings: type[S]  # a dataclass, constructed from the other keys of the node `stage`
    networks: Collection[Callable[..., Any]]  # makers of the networks that it can train
    inference: Inference | None = None  # None: what it computes cannot be exported


@dataclass(frozen=True, kw_only=True)
class Built:
    """A stage built from pages: what the trainer trains, and what is logged about it."""

    stage: Stage[Any]  # its batches are its own matter
    alphabet: Alphabet | None  # None for a stage without text
    size: str  # what it is trained on, in words
    augmented: Callable[[int], Picture]  # draws augmented training samples from a seed
    predicted: Callable[[int], Picture]  # draws so many validation samples with what was predicted
    unusable: Mapping[str, str] = field(default_factory=dict)  # why ids have no image after all
    left_out: Sequence[LeftOut] = ()  # what the stage leaves out besides


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[S]):
    """A stage of the pipeline.

    Args:
        model: its name, settings and networks.
        losses: the makers of losses that it can be trained with.
        augmentation: makes what changes its training samples from the node `augmentation`.
        metrics: names of the errors that it validates with.
        heads: layers with one row a class of the alphabet, which fine-tuning takes by character.
        decodes: it reads with the decoder of the node `decoder`.
        learns_text: it learns what lines say, so lines that `data.exclude` leaves out are not for it.
        limits: what pages are held to before it is trained on them.
        build: makes the stage of a recipe from inspected pages, with progress bars if asked. Raises
            InputError for pages that it cannot be trained on.
    """

    model: Model[S]
    losses: Collection[Callable[..., Any]]
    augmentation: Callable[..., Any]
    metrics: Sequence[str]
    heads: Sequence[str]
    decodes: bool = False
    learns_text: bool
    limits: "Callable[[Recipe[S]], Limits]"
    build: "Callable[[Recipe[S], Sequence[Page], bool], Built]"

    @property
    def name(self) -> str:
        """The name of the stage."""
        return self.model.name


@dataclass(frozen=True)
class DataSource:
    """A data set that is not read yet: the settings of its node, and the folder of caches.

    `drawing` says how often training samples are drawn, by set.
    """

    settings: Mapping[str, Any]
    cache: Path
    drawing: Mapping[str, Drawing] = field(default_factory=dict)

    @property
    def root(self) -> Path | None:
        """The folder of the pages; None for drawn pages, and for several sets."""
        several = self.settings["source"] == "sets"
        return Path(self.settings["root"]) if self.settings.get("root") and not several else None

    @property
    def name(self) -> str:
        """The format and the name of the folder, `alto/letters`.

        Of several sets it has their names, `sets/a+b`, or the first and how many more, `sets/a+6`.
        """
        names = list(self.drawing)
        several = "+".join(names)
        if len(several) > LONGEST_NAME:
            several = f"{names[0]}+{len(names) - 1}"
        folder = several if self.root is None else self.root.name
        return "/".join(filter(None, (str(self.settings["source"]), folder)))

    def split_keys(self, split: str) -> str:
        """Return the keys that decide what a split holds, for messages."""
        return data.split_keys(self.settings, split)

    def read(self, *, whole: bool) -> Dataset:
        """Read the data set; sources that draw pages keep them in the cache.

        `whole` keeps the lines that `data.exclude` leaves out of reading: they are handwriting too.
        """
        remember_in(self.cache)
        dataset = data.load_pages(**self._in_cache(self.settings))
        return dataset if whole else dataset.for_reading()

    def _in_cache(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """Return a data node, with those of its sets, that keeps what it draws in the cache."""
        folder = {"folder": str(self.cache)} if node.get("folder", "") is None else {}
        sets = {name: own and self._in_cache(own) for name, own in node.get("sets", {}).items()}
        return {**node, **folder, **({"sets": sets} if sets else {})}


@dataclass(frozen=True, kw_only=True)
class ModelRecipe(Generic[S]):
    """How a stage's network is made; parameters are drawn from `seed` until weights are loaded."""

    model: Model[S]
    settings: S
    maker: Any  # of the network; of line networks it has `stride` and `width_multiple`, in px
    node: Mapping[str, Any]
    seed: int
    precision: str = "float32"  # what a training computes in

    def draw(self, *inputs: tuple[int, ...], context: Any, **given: Any) -> Any:
        """Return the network with parameters drawn from the seed.

        Zeros of the shapes `inputs` show each layer its own; `given` is what an alphabet tells (classes).
        """
        network = make(self.maker, self.node, "network", **given)
        draw_parameters(network, *inputs, seed=self.seed, context=context)
        return network

    def load(self, loaded: Weights, *inputs: tuple[int, ...], context: Any, **given: Any) -> Any:
        """Return the network with the parameters of weights; arguments as those of `draw`.

        Raises InputError where they are those of another network.
        """
        runtime.compute()
        network = make(self.maker, self.node, "network", **given)
        network.infer_shape(*(mx.nd.zeros(shape, ctx=context) for shape in inputs))  # computes nothing
        network.initialize(mx.init.Zero(), ctx=context)
        weights.fill(network, loaded)
        network.hybridize()
        return network

    def in_bfloat16(self, network: Any, **given: Any) -> Any:
        """Return a network that computes in bfloat16 with the parameters of `network`, which stay shared."""
        shared = {"params": network.collect_params(), "prefix": network.prefix}
        twin = make(self.maker, self.node, "network", **shared, **given)
        twin.compute_in_bfloat16()
        twin.hybridize()
        return twin


@dataclass(frozen=True, kw_only=True)
class Recipe(Generic[S]):
    """A whole training: `losses` and `augmentations` by name of the phase, `decoder` a checked node."""

    kind: Kind[S]
    model: ModelRecipe[S]
    plan: Plan
    losses: Mapping[str, Any]
    augmentations: Mapping[str, Any]
    data: DataSource
    policy: Mapping[str, str]
    decoder: Mapping[str, Any]
    batch_size: int
    unknown: str
    contexts: Sequence[Any]  # devices that share each batch; on the first one it validates
    loading: Loading
    init: str | None
    store: StoreConfig

    @property
    def context(self) -> Any:
        """The device that the network is built on."""
        return self.contexts[0]

    @property
    def settings(self) -> S:
        """The settings of the stage."""
        return self.model.settings

    @property
    def seed(self) -> int:
        """The seed of everything that is drawn."""
        return self.plan.seed


def kind_named(name: str) -> Kind[Any]:
    """Return the stage of this name; raise InputError where there is none."""
    if name in _own_names():
        return _checked(import_module(f"{__package__}.{name}.training").KIND, name)
    for entry in metadata.entry_points(group=STAGES, name=name):
        return _checked(entry.load(), name)
    raise InputError(f"stage.kind={name}: unknown; use one of {', '.join(kind_names())}")


def kind_names() -> list[str]:
    """Return the names of all stages: this project's, then those of installed packages."""
    others = sorted({entry.name for entry in metadata.entry_points(group=STAGES)} - set(_own_names()))
    return [*_own_names(), *others]


def draw_parameters(network: Any, *inputs: tuple[int, ...], seed: int, context: Any) -> None:
    """Draw the parameters of a network; zeros of the shapes `inputs` show each layer its own."""
    runtime.compute()
    mx.random.seed(seed)
    network.initialize(mx.init.Xavier(magnitude=2.24), ctx=context)
    network(*(mx.nd.zeros(shape, ctx=context) for shape in inputs))
    network.collect_params(".*(bias|gamma|beta)$").setattr("wd_mult", 0.0)
    network.hybridize()


def _own_names() -> list[str]:
    modules = pkgutil.iter_modules([str(Path(__file__).parent)])
    return sorted(module.name for module in modules if module.ispkg)


def _checked(kind: Any, name: str) -> Kind[Any]:
    if not isinstance(kind, Kind) or kind.name != name:
        remedy = "install another version"
        raise InputError(f"stage.kind={name}: its package describes no stage of this name; {remedy}")
    return kind
