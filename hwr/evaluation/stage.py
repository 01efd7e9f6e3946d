"""The target of any stage that has none of its own: the errors that it validates with, on another split."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hwr import weights
from hwr.config.roots import EvaluateConfig
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.evaluation import task as common
from hwr.evaluation.task import Outcome, Target, Task
from hwr.pictures import cards
from hwr.stages.build import config_of
from hwr.stages.kind import Kind
from hwr.stages.recipe import parse_recipe
from hwr.tables import text_table
from hwr.tracking import Run
from hwr.weights import Weights


def target_of(kind: Kind[Any]) -> Target:
    """Return the target that scores weights of a stage by its own errors."""
    return Target(name=kind.name, check=_check, load=lambda task: [task.weights(kind.name)], score=_score)


def _check(config: EvaluateConfig) -> None:
    if config.split == "train":
        raise InputError("split=train: a stage is built of these pages; score it on valid or test")


def _score(task: Task[EvaluateConfig], loaded: Sequence[Weights], current: Run, output: Path) -> Outcome:
    """Build the stage with the split in place of its validation split, and write its errors and a picture."""
    config, (own,) = task.config, loaded
    trained = config_of(own)
    trained.data, trained.folder, trained.max_pixels = config.data, config.folder, config.max_pixels
    trained.batch_size, trained.device, trained.init = config.batch_size, config.device, None
    recipe = parse_recipe(trained)
    whole = not recipe.kind.learns_text
    split = task.pages(whole=whole)
    built = recipe.kind.build(recipe, _with_split(recipe.data.pages(whole=whole), split), True)
    weights.fill(built.stage.network, own)
    errors = {name.rpartition("/")[2]: value for name, value in built.stage.validate().items()}
    about = common.about(config, config.target, loaded, fingerprint(split), current)
    summary = {**errors, "pages": len(split), **about}
    text = json.dumps(summary, ensure_ascii=False, indent=1) + "\n"
    (output / "scores.json").write_text(text, encoding="utf-8")
    cards.save(output / "samples.png", built.predicted(config.pictures))
    current.metrics(common.metrics(config.split, errors), 0)
    rows = [(name, f"{value:.4f}") for name, value in errors.items()]
    title = f"{config.split}: {len(split)} pages, target {config.target}"
    table = f"{title}\n{text_table(('error', 'value'), rows)}"
    return Outcome(summary, table, errors[recipe.plan.monitor.rpartition("/")[2]])


def _with_split(pages: Sequence[Page], split: Sequence[Page]) -> list[Page]:
    """Return the training pages, and those of `split` as the ones to validate on."""
    train = [page for page in pages if page.split == "train"]
    return [*train, *(replace(page, split="valid") for page in split)]
