"""Evaluations: find the target, score weights on data, and log scores and pictures to a run."""

from dataclasses import replace
from importlib import metadata
from pathlib import Path

from hwr import pictures, runtime, weights
from hwr.config.compose import Composed
from hwr.config.messages import no_such_key
from hwr.config.roots import EvaluateConfig
from hwr.data.records import LeftOut, fingerprint
from hwr.errors import InputError, optional
from hwr.evaluation import boxes, decoders, lines, page, publish
from hwr.evaluation import task as common
from hwr.evaluation.task import Evaluation, Outcome, Scored, Target, check_reading, open_task
from hwr.files import make_folder, replacing_contents
from hwr.scoring.report import LINES, read_tsv
from hwr.stages.build import config_of, without
from hwr.stages.kind import kind_named, kind_names
from hwr.stages.recipe import parse_recipe

_ALL = (boxes.PARAGRAPH, boxes.SEGMENTATION, lines.LINE, lines.DENOISER, page.TARGET)
OWN = {target.name: target for target in _ALL}
RECORDS = {name: target.record for name, target in OWN.items() if target.record is not None}
RECORDS[decoders.TARGET] = decoders.RECORD
GROUP = "hwr.targets"  # of entry points, by which installed packages add targets


def evaluate(composed: Composed) -> float:
    """Evaluate as configured, print the scores, and return the error: CER, or one minus the mean IoU."""
    config: EvaluateConfig = composed.root
    check_evaluation(config)
    runtime.start()
    target, output = target_named(config.target), Path(config.output)
    make_folder(output)
    task = open_task(config)
    loaded = target.load(task)
    if config.publish is not None:
        publish.check_weights_published(config.target, loaded)
    name = common.evaluation_name(task, loaded)
    with common.new_run(name, loaded, task.store, composed) as current:
        with replacing_contents(output) as fresh:
            evaluation = Evaluation(task, loaded, current, fresh)
            outcome = target.score(evaluation)
            evaluation.log(common.lost(outcome.summary))
            count = outcome.summary["lines" if "lines" in outcome.summary else "pages"]
            task.log_data(current, outcome.summary["data_fingerprint"], count)
            current.folder(f"evaluation/{config.split}", fresh)
            if (fresh / LINES).is_file():
                current.table(f"evaluation/{config.split}/lines.json", read_tsv(fresh / LINES))
        current.flush()
        print(outcome.table, *common.told_of(outcome.summary), sep="\n")
        if config.publish is not None:
            print(f"published in {publish.publish_result(config.publish, loaded, outcome.summary)}")
        print(f"written to {output}\nrun {current.id}\nlook: {current.url}")
    return outcome.error


def check_evaluation(config: EvaluateConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    if config.publish is not None:
        publish.check_publishable(config.publish, config.target, config.decoder)
    for name in config.weights:
        if name not in kind_names():
            raise InputError(no_such_key(f"weights.{name}", kind_names()))
    target_named(config.target).check(config)
    check_reading(config)


def target_named(name: str) -> Target:
    """Return the target of a name, of which any stage has one; raise InputError where there is none."""
    if name in OWN:
        return OWN[name]
    for entry in metadata.entry_points(group=GROUP, name=name):
        target = entry.load()
        if isinstance(target, Target):
            return target
    if name in kind_names():  # which is scored by its own errors
        stage = kind_named(name).name
        return Target(
            name=stage, check=_check_split, load=lambda task: [task.weights(stage)], score=_score_stage
        )
    known = dict.fromkeys([*OWN, *kind_names()])
    raise InputError(f"target={name}: unknown; use one of {', '.join(known)}")


def _check_split(config: EvaluateConfig) -> None:
    if config.split == "train":
        raise InputError("split=train: a stage is built of these pages; score it on valid or test")


def _score_stage(evaluation: Evaluation) -> Outcome:
    """Build the stage with the split in place of its validation split, and write its errors and a picture."""
    task, config, (own,) = evaluation.task, evaluation.config, evaluation.loaded
    trained = config_of(own)
    trained.data, trained.folder = config.data, config.folder
    trained.max_pixels, trained.working_pixels = config.max_pixels, config.working_pixels
    trained.batch_size, trained.device, trained.init = config.batch_size, config.device, None
    trained.precision = "float32"
    recipe = parse_recipe(trained)
    whole = not recipe.kind.learns_text
    dataset = task.dataset(whole=whole)
    split = dataset.pages
    train = [page for page in recipe.data.read(whole=whole).pages if page.split == "train"]
    built = recipe.kind.build(recipe, [*train, *(replace(page, split="valid") for page in split)], True)
    weights.fill(built.stage.network, own)
    errors = {name.rpartition("/")[2]: value for name, value in built.stage.validate().items()}
    with optional("samples.png"):
        pictures.save_picture(evaluation.output / "samples.png", built.predicted(config.pictures))
    error = errors[recipe.plan.monitor.rpartition("/")[2]]
    useless = LeftOut.between("no image", split, without(split, built.unusable))
    scored = Scored(fingerprint(split), [*dataset.left_out, *filter(None, [useless])], {})
    return evaluation.outcome(errors, scored, len(split) - len(useless.pages), error=error)
