"""A whole evaluation: weights and data become readings or boxes, scores, pictures, and metrics of a run."""

from importlib import metadata
from pathlib import Path

from hwr import runtime, tracking
from hwr.config.compose import Composed
from hwr.config.messages import no_such_key
from hwr.config.roots import EvaluateConfig
from hwr.errors import InputError
from hwr.evaluation import boxes, denoiser, lines, page, publish, stage
from hwr.evaluation import task as common
from hwr.evaluation.task import Target, Task
from hwr.files import make_folder, replacing_contents
from hwr.stages.kind import kind_named, kind_names
from hwr.stages.recipe import data_source, device_context

_ALL = (boxes.PARAGRAPH, boxes.SEGMENTATION, lines.TARGET, denoiser.TARGET, page.TARGET)
OWN = {target.name: target for target in _ALL}
GROUP = "hwr.targets"  # of entry points, by which installed packages add targets


def evaluate(composed: Composed) -> float:
    """Evaluate as configured, print the scores, and return the error: CER, or one minus the mean IoU."""
    config: EvaluateConfig = composed.root
    check_evaluation(config)
    runtime.start()
    target, output = target_named(config.target), Path(config.output)
    make_folder(output)
    store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
    task = Task(config, store)
    loaded = target.load(task)
    if config.publish is not None:
        publish.check_weights(config.target, loaded)
    with common.run_of(loaded, task.store, composed) as current:
        with replacing_contents(output) as fresh:
            outcome = target.score(task, loaded, current, fresh)
            current.folder(f"evaluation/{config.split}", fresh)
        current.flush()
        print(outcome.table)
        if config.publish is not None:
            print(f"published in {publish.publish(config.publish, loaded, outcome.summary)}")
        print(f"written to {output}\nrun {current.id}\nlook: {current.url}")
    return outcome.error


def check_evaluation(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    if config.publish is not None:
        publish.check(config.publish, config.target, config.decoder)
    for name in config.weights:
        if name not in kind_names():
            raise InputError(no_such_key(f"weights.{name}", kind_names()))
    target_named(config.target).check(config)
    data_source(config.data, config.folder)
    device_context(config.device)


def target_named(name: str) -> Target:
    """Return the target of a name, of which any stage has one; raise InputError where there is none."""
    if name in OWN:
        return OWN[name]
    for entry in metadata.entry_points(group=GROUP, name=name):
        target = entry.load()
        if isinstance(target, Target):
            return target
    if name in kind_names():
        return stage.target_of(kind_named(name))
    known = dict.fromkeys([*OWN, *kind_names()])
    raise InputError(f"target={name}: unknown; use one of {', '.join(known)}")
