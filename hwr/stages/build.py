"""Build trainings from recipes, and load trained networks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hwr import weights
from hwr.config import EXPERIMENTS
from hwr.config.compose import stored
from hwr.config.roots import StoreConfig, TrainConfig
from hwr.data import inspection
from hwr.data.records import Page, fingerprint
from hwr.data.report import Report
from hwr.errors import InputError
from hwr.stages.kind import Built, Model, ModelRecipe, Picture, Recipe, S
from hwr.stages.recipe import parse_model
from hwr.text import Alphabet
from hwr.weights import Weights

IN_MEMORY = 2 << 30  # bytes of images a split may take; more stay on the disk, memory-mapped


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training that is ready to start; `took` says what it took from the weights `init`."""

    built: Built
    report: Report
    fingerprint: str
    took: str


def build_training(recipe: Recipe[Any], *, progress: bool) -> Training:
    """Read and inspect the data of a recipe, and build what is trained, started from `init` where given."""
    kind = recipe.kind
    start = find_weights(recipe.init, kind.name, recipe.store) if recipe.init else None
    pages, report = inspected_pages(recipe)
    built = kind.build(recipe, pages, progress)
    took = "" if start is None else str(_taken(recipe, start, built))
    return Training(built=built, report=report, fingerprint=fingerprint(pages), took=took)


def inspected_pages(recipe: Recipe[Any], *, full: bool = False) -> tuple[list[Page], Report]:
    """Return the pages of a recipe as its policy leaves them, and the report on all of them.

    `full` decodes every image. Raises InputError for findings that the policy refuses.
    """
    report, pages = inspect_data(recipe, full=full)
    return inspection.apply_policy(pages, report, recipe.policy), report


def inspect_data(recipe: Recipe[Any], *, full: bool) -> tuple[Report, list[Page]]:
    """Read and inspect the pages of a recipe, as a training of its stage would."""
    pages = recipe.data.pages(whole=not recipe.kind.learns_text)
    return inspection.inspect_pages(pages, recipe.kind.limits(recipe), full=full), pages


def find_weights(name: str, kind: str, config: StoreConfig) -> Weights:
    """Load weights of stage `kind`.

    `name` is a folder, a published name (line/copiste), runs:/ID or models:/NAME@ALIAS; the last two come
    from the tracking store of `config` and are kept among the caches of its folder. Raises InputError for
    weights that are missing, damaged, or of another stage.
    """
    if name.startswith(("runs:/", "models:/")):
        loaded = weights.load(_downloaded(name, config))
    else:
        published = EXPERIMENTS / name / "weights"
        loaded = weights.load(published if published.is_dir() and not Path(name).is_dir() else Path(name))
    made = config_of(loaded).stage.get("kind")
    if made != kind:
        raise InputError(f"weights {name}: of stage {made}, not {kind}; choose weights of that stage")
    return loaded


def config_of(loaded: Weights) -> TrainConfig:
    """Return the configuration of the training that made weights."""
    config: TrainConfig = stored(loaded.config, (), TrainConfig).root
    return config


def model_of(loaded: Weights, model: Model[S]) -> ModelRecipe[S]:
    """Return the recipe of the network of weights; raise InputError for settings that it no longer takes."""
    return parse_model(model, config_of(loaded))


def alphabet_of(loaded: Weights) -> Alphabet:
    """Return the alphabet that weights read; raise InputError where they read no text."""
    if loaded.alphabet is None:
        raise InputError(f"weights {loaded.folder}: without an alphabet; choose weights of stage line")
    return loaded.alphabet


def in_memory(images: Sequence[Picture], *, limit: int = IN_MEMORY) -> list[Picture]:
    """Copy memory-mapped images of less than `limit` bytes in all, so that no epoch waits for the disk."""
    fits = sum(image.size for image in images) < limit
    return [np.array(image) for image in images] if fits else list(images)


def refuse_problems(problems: Sequence[tuple[str, str]], what: str) -> None:
    """Raise InputError for the first of the (id, reason) that have no image."""
    if problems:
        name, reason = problems[0]
        text = reason if reason.startswith(f"{what} {name}") else f"{what} {name}: {reason}"
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise InputError(f"{text}{more}")


def _taken(recipe: Recipe[Any], start: Weights, built: Built) -> weights.Transfer:
    """Start the network of a training from weights; raise InputError where not one layer of them fits."""
    taken = weights.transfer(built.stage.network, start, built.alphabet, heads=recipe.kind.heads)
    if not taken.layers:
        reason = "no layer of these weights fits the network; choose others, or leave init out"
        raise InputError(f"init={recipe.init}: {reason}")
    return taken


def _downloaded(name: str, config: StoreConfig) -> Path:
    """Return the folder that the weights of a run or of the registry were downloaded to."""
    from hwr import tracking  # MLflow takes seconds: most weights are folders

    folder = Path(config.folder)
    store = tracking.open_store(config.tracking.uri, folder, config.tracking.experiment)
    uri = name if name.startswith("models:/") or name.count("/") > 1 else name + "/weights/best"
    return tracking.download(uri, store, folder / "cache" / "weights")
