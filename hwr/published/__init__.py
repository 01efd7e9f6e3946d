"""Published results: their tables, models of them, and their reproduction; the command models.

A model is what reads pages together, weights and decoder, under one name of conf/model/.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwr.config import CONF, EXPERIMENTS
from hwr.config.compose import Composed, composed
from hwr.config.roots import TranscribeConfig
from hwr.errors import InputError
from hwr.evaluation import publish
from hwr.evaluation.targets import RECORDS
from hwr.files import parse_json
from hwr.stages.build import find_weights
from hwr.stages.original import import_original
from hwr.tables import markdown_table, text_table
from hwr.transcription.files import page_reader
from hwr.transcription.page_reader import STEPS

_ACTIONS = ("", "list", "show", "verify", "import")


def run_models(
    overrides: Sequence[str],
    *,
    words: Sequence[str],
    output: str | None = None,
    config_dir: str | None = None,
) -> int:
    """Print the published results, or do what the first word says; return 1 where a model is not whole."""
    action, *names = words or [""]
    if overrides or config_dir is not None:
        refused = overrides[0] if overrides else "--config-dir"
        raise InputError(f"models takes no {refused}; see hwr models --help")
    if action not in _ACTIONS:
        raise InputError(f"models {action}: unknown; use one of {', '.join(_ACTIONS[1:])}, or nothing")
    if action == "show" and not names:
        raise InputError(f"models show: whose? name one of {', '.join(model_names())}")
    if output is not None and action != "import":
        raise InputError("--output is for models import; leave it out")
    if action == "verify":
        return verify_models(names or model_names())
    if action == "show":
        print("\n\n".join(map(describe_model, names)))
    elif action == "list":
        print(text_table(("model", "reads", "decoder"), [_row(name) for name in model_names()]))
    elif action == "import":
        import_models(names, output)
    else:
        print("\n\n".join(tables().values()))
    return 0


def tables() -> dict[str, str]:
    """Return the published results as Markdown tables by target."""
    found = publish.published_results()
    made = {}
    for target, record in RECORDS.items():
        own = {name: result for name, result in found.items() if result["target"] == target}
        links = {name: f"[`{name}`](experiments/{name}/{publish.CARD})" for name in own}
        rows = [row for name, result in own.items() for row in record.rows(links[name], result)]
        if rows:
            made[target] = markdown_table(record.head, rows)
    return made


def model_names() -> list[str]:
    """Return the names of the models."""
    return sorted(path.stem for path in (CONF / "model").glob("*.yaml"))


def load_model(name: str) -> Composed:
    """Return how pages are read with a model; InputError for a name that is none."""
    if name not in model_names():
        raise InputError(f"{name}: no such model; use one of {', '.join(model_names())}")
    return composed("transcribe", [f"+model={name}"], TranscribeConfig)


def describe_model(name: str) -> str:
    """Return the parts of a model with the beginning of their SHA-256, scores, and cards."""
    model = load_model(name)
    config, rows = model.root, []
    for step in STEPS:
        part = getattr(config.weights, step)
        found = find_weights(part, step, config)
        rows.append((step, part, found.sha256[:16], _score(part), f"experiments/{part}/{publish.CARD}"))
    rows.append(("decoder", model.choices["decoder"], "", "", ""))
    if (language := str(config.decoder.get("model") or "")) and (EXPERIMENTS / language).is_dir():
        digest = parse_json((EXPERIMENTS / language / "model.json").read_text("utf-8"))["sha256"]
        rows.append(("language model", language, digest[:16], "", f"experiments/{language}/{publish.CARD}"))
    return f"{name}: {_purpose(name)}\n\n{text_table(('part', 'name', 'sha256', 'score', 'card'), rows)}"


def verify_models(names: Sequence[str]) -> int:
    """Load all of each model, whose files have to be as they were published; return 1 where one is not."""
    broken = 0
    for name in names:
        model = load_model(name)
        try:
            page_reader(model.root)
        except InputError as error:
            broken += 1
            print(f"{name}: {error}")
        else:
            print(f"{name}: whole")
    return 1 if broken else 0


def import_models(files: Sequence[str], output: str | None) -> None:
    """Write parameter files of the published program as weights to `output`; tell what reads with them."""
    if not files or output is None:
        raise InputError("models import: name the .params files, and --output DIR for their weights")
    for file in files:
        folder = import_original(Path(file), Path(output)).folder
        print(f"{file}: weights.{folder.name}={folder}")


def _row(name: str) -> tuple[str, str, str]:
    return name, _purpose(name), load_model(name).choices["decoder"]


def _purpose(name: str) -> str:
    """Return what a model's file says that it reads."""
    second = (CONF / "model" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1]
    return second.removeprefix("# ").partition(":")[0]


def _score(part: str) -> str:
    """Return the first figure of a published result."""
    result: dict[str, Any] = publish.published_results().get(part, {})
    for key, name in (("cer", "CER"), ("f1_50", "F1"), ("mean_iou", "mean IoU")):
        if key in result:
            return f"{name} {result[key]:.4f}"
    return ""
