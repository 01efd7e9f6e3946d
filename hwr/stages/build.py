"""Build trainings from recipes, and load trained networks."""

import gc
import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from hwr import weights
from hwr.config import EXPERIMENTS
from hwr.config.compose import Composed, stored
from hwr.config.roots import InspectConfig, StoreConfig, TrainConfig
from hwr.data import inspection
from hwr.data.records import LeftOut, Page, fingerprint
from hwr.data.remembered import one_look
from hwr.data.report import Report
from hwr.errors import InputError
from hwr.files import as_input_error, check_output_file
from hwr.stages.kind import Built, Model, ModelRecipe, Recipe, S
from hwr.stages.recipe import parse_model, parse_recipe
from hwr.text import Alphabet
from hwr.weights import Weights

YOUNG = 1_000_000  # new objects after which garbage is looked for while records are made


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
    with one_look(), _rarely_collecting():
        pages, report = inspected_pages(recipe)
        for split in ("train", "valid"):
            report.refuse_empty(split, recipe.data.split_keys(split))
        built = kind.build(recipe, pages, progress)
        report = report.after(built.left_out, pages)
        report, pages = _without_unusable(report, pages, built.unusable, recipe.policy)
        digest = fingerprint(pages)
    took = "" if start is None else str(_taken(recipe, start, built))
    return Training(built=built, report=report, fingerprint=digest, took=took)


def inspected_pages(recipe: Recipe[Any]) -> tuple[list[Page], Report]:
    """Return the pages as the policy leaves or refuses them, and the report on all of them."""
    report, pages = inspect_data(recipe, full=False)
    report.refuse(recipe.policy)
    return pages, report


def inspect_data(recipe: Recipe[Any], *, full: bool) -> tuple[Report, list[Page]]:
    """Read and inspect the data of a recipe; return the report, and the pages that a training of it uses."""
    dataset = recipe.data.read(whole=not recipe.kind.learns_text)
    report = inspection.inspect_pages(dataset, recipe.kind.limits(recipe), full=full)
    pages, dropped = inspection.apply_policy(dataset.pages, report.findings, recipe.policy)
    unassigned = LeftOut.between("no split", pages, [page for page in pages if page.split])
    return report.after([*dropped, unassigned], pages), pages


def report_data(composed: Composed) -> None:
    """Print the report on a data set, and write it as JSON where asked."""
    config: InspectConfig = composed.root
    if config.output not in (None, "-"):
        check_output_file(Path(config.output), f"output={config.output}")
    report, _ = inspect_data(parse_recipe(config), full=config.full)
    text = json.dumps(report.as_dict(), indent=1, ensure_ascii=False) + "\n"
    if config.output == "-":
        sys.stdout.write(text)
        return
    print(report.table(examples=config.inspect.examples))
    if config.output is not None:
        with as_input_error(f"output={config.output}", "choose another file"):
            Path(config.output).write_text(text, encoding="utf-8")


def find_weights(name: str, kind: str | None, config: StoreConfig) -> Weights:
    """Load weights of stage `kind`; None: of any stage.

    `name` is a folder, a published name (line/copiste), runs:/ID or models:/NAME@ALIAS; the last two come
    from the tracking store of `config` and are kept among the caches of its folder. Raises InputError for
    weights that are missing, damaged, or of another stage.
    """
    if name.startswith(("runs:/", "models:/")):
        loaded = weights.load(_part(name, _downloaded(name, config), kind))
    else:
        published = EXPERIMENTS / name / "weights"
        loaded = weights.load(published if published.is_dir() and not Path(name).is_dir() else Path(name))
    made = config_of(loaded).stage.get("kind")
    if kind is not None and made != kind:
        raise InputError(f"weights {name}: of stage {made}, not {kind}; choose weights of that stage")
    return loaded


def config_of(loaded: Weights) -> TrainConfig:
    """Return the configuration of the training that made weights, one's own to change."""
    return deepcopy(_stored_config(loaded.config))


@lru_cache(maxsize=16)  # each step of the pipeline asks several times, and YAML is slow
def _stored_config(text: str) -> TrainConfig:
    config: TrainConfig = stored(text, (), TrainConfig).root
    return config


def model_of(loaded: Weights, model: Model[S]) -> ModelRecipe[S]:
    """Return the recipe of the network of weights; raise InputError for settings that it no longer takes."""
    return parse_model(model, config_of(loaded))


def alphabet_of(loaded: Weights) -> Alphabet:
    """Return the alphabet that weights read; raise InputError where they read no text."""
    if loaded.alphabet is None:
        raise InputError(f"weights {loaded.folder}: without an alphabet; choose weights of stage line")
    return loaded.alphabet


def with_images(pages: Sequence[Page], problems: Sequence[tuple[str, str]]) -> list[Page]:
    """Return pages without the lines of `problems` (id, reason); InputError where that empties a split."""
    kept = without(pages, dict(problems))
    left = {page.split for page in kept if page.lines}
    for split in {page.split for page in pages if page.lines} - left:
        raise InputError(f"the split {split} has no lines left: {first_reason(problems)}")
    return kept


def first_reason(problems: Sequence[tuple[str, str]]) -> str:
    """Return the first of the (id, reason), and how many more there are."""
    return problems[0][1] + (f" (and {len(problems) - 1} more)" if len(problems) > 1 else "")


def without(pages: Sequence[Page], ids: Collection[str]) -> list[Page]:
    """Return pages without those of `ids`, and without such lines."""

    def left(page: Page) -> Page:
        lines = tuple(line for line in page.lines if line.id not in ids)
        return page if len(lines) == len(page.lines) else replace(page, lines=lines)

    return [left(page) for page in pages if page.id not in ids]


@contextmanager
def _rarely_collecting() -> Iterator[None]:
    """Look for garbage rarely in the block: going through all records again and again costs much time."""
    usual = gc.get_threshold()
    gc.set_threshold(YOUNG, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _without_unusable(
    report: Report, pages: Sequence[Page], reasons: Mapping[str, str], policy: Mapping[str, str]
) -> tuple[Report, list[Page]]:
    """Return report and pages without the lines or pages that could not be cut out, by id.

    Inspection has read the headers of images alone. Raises InputError where the policy refuses them.
    """
    kept = without(pages, reasons)
    rule = LeftOut.between("no image", pages, kept)
    if not rule:
        return report, list(pages)
    name = "no_sample" if rule.pages else "no_area"
    found = replace(report, findings={**report.findings, name: {**report.findings[name], **reasons}})
    if "refuse" in (policy.get(name), policy.get("unreadable_image")):
        found.refuse({name: "refuse"})
    return found.after([rule], kept), kept


def _taken(recipe: Recipe[Any], start: Weights, built: Built) -> weights.Transfer:
    """Start the network of a training from weights; raise InputError where not one layer of them fits."""
    taken = weights.transfer(built.stage.network, start, built.alphabet, heads=recipe.kind.heads)
    if not taken.layers:
        reason = "no layer of these weights fits the network; choose others, or leave init out"
        raise InputError(f"init={recipe.init}: {reason}")
    return taken


def _part(name: str, folder: Path, kind: str | None) -> Path:
    """Return the folder of a stage's weights; a registered model holds those of several stages."""
    if not (folder / "MLmodel").is_file():
        return folder
    parts = {path.parent.name: path.parent for path in sorted(folder.glob(f"*/*/{weights.MANIFEST}"))}
    if kind in parts:
        return parts[kind]
    held = f"{name}: holds weights of {', '.join(parts) or 'no stage'}"
    if kind is None and parts:
        raise InputError(f"{held}; name the folder of one: {next(iter(parts.values()))}")
    raise InputError(f"{held}, not of {kind or 'hwr'}; choose others")


def _downloaded(name: str, config: StoreConfig) -> Path:
    """Return the folder that the weights of a run or of the registry were downloaded to."""
    from hwr import tracking  # MLflow takes seconds: most weights are folders

    folder = Path(config.folder)
    store = tracking.open_store(config.tracking.uri, folder, config.tracking.experiment)
    uri = name if name.startswith("models:/") or name.count("/") > 1 else name + "/weights/best"
    return tracking.download(uri, store, folder / "cache" / "weights")
