"""A whole evaluation: weights and data become readings or boxes, scores, pictures, and metrics of a run."""

from pathlib import Path
from types import ModuleType

from hwr import runtime, tracking
from hwr.config.compose import Composed, EvaluateConfig
from hwr.evaluation import boxes, denoiser, lines, page, publish
from hwr.evaluation import task as common
from hwr.evaluation.task import Task
from hwr.stages import build, parts

TARGETS: dict[str, ModuleType] = {
    "paragraph": boxes,
    "segmentation": boxes,
    "line": lines,
    "denoiser": denoiser,
    "page": page,
}


def run(composed: Composed) -> float:
    """Evaluate as configured, print the scores, and return the error: CER, or one minus the mean IoU."""
    config: EvaluateConfig = composed.root
    check(config)
    runtime.start()
    kind, output = TARGETS[config.target], Path(config.output)
    tracking.make_folder(output)
    task = Task(
        config, tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    )
    found = kind.prepare(task)
    if config.publish is not None:
        publish.check_weights(config.target, found)
    with common.run_of(found, task.store, composed) as current:
        with common.fresh_in(output) as fresh:
            outcome: common.Outcome = kind.run(task, found, current, fresh)
            current.folder(f"evaluation/{config.split}", fresh)
        current.flush()
        print(outcome.table)
        if config.publish is not None:
            print(f"published in {publish.publish(config.publish, found, outcome.summary)}")
        print(f"written to {output}\nrun {current.id}\nlook: {current.url}")
    return outcome.error


def check(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    if config.publish is not None:
        publish.check(config.publish, config.target, config.decoder)
    TARGETS[config.target].check(config)
    parts.check_data(config.data)
    build.device(config.device)
