"""Published results: their tables, models of them, and their reproduction; the command models.

A model is what reads pages together, weights and decoder, under one name of conf/model/.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hwr.config import CONF, EXPERIMENTS, compose
from hwr.config.messages import REGISTERED, registered
from hwr.config.roots import ModelsConfig, TranscribeConfig
from hwr.errors import InputError
from hwr.evaluation import RECORDS, publish
from hwr.language import MODEL, TextRecord, find_language_file
from hwr.published.stores import CHOICE, get_model, place_of, publish_model
from hwr.stages.build import find_weights
from hwr.stages.exchange import import_original
from hwr.tables import markdown_table, text_table
from hwr.transcription.files import page_reader
from hwr.transcription.page_reader import STEPS

_ACTIONS = ("list", "show", "verify", "get", "publish", "import")


def run_models(composed: compose.Composed, *, words: Sequence[str], output: str | None = None) -> int:
    """Print the published results, or do what the first word says; return 1 where a model is not whole."""
    config: ModelsConfig = composed.root
    action, *names = words or [""]
    if action and action not in _ACTIONS:
        raise InputError(f"models {action}: unknown; use one of {', '.join(_ACTIONS)}, or nothing")
    if output is not None and action != "import":
        raise InputError("--output is for models import; leave it out")
    if action in ("show", "get") and not names:
        raise InputError(f"models {action}: which? {_known(action, config)}")
    if action == "verify":
        return verify_models(names or model_names(config), config)
    if action == "show":
        print("\n\n".join(describe_model(name, config) for name in names))
    elif action == "list":
        models = {name: load_model(name, config) for name in model_names(config)}
        rows = [(name, _purpose(name, config), own.choices["decoder"]) for name, own in models.items()]
        print(text_table(("model", "reads", "decoder"), rows))
    elif action == "get":
        for name in names:
            get_model(name, config)
    elif action == "publish":
        _publish(names, config)
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


def model_names(config: ModelsConfig) -> list[str]:
    """Return the names of the models that come with hwr, are the user's own, or were fetched."""
    folders = (CONF, *([] if config.own is None else [Path(config.own)]))
    here = {path.stem for folder in folders for path in (folder / "model").glob("*.yaml")}
    return sorted({*here, *place_of(config).names()})


def load_model(name: str, config: ModelsConfig) -> compose.Composed:
    """Return how pages are read with a model; InputError for a name that is none."""
    if name.startswith(REGISTERED):
        raise InputError(registered(name))
    if name not in (known := model_names(config)):
        raise InputError(f"{name}: no such model; use one of {', '.join(known)}, or fetch it: hwr models get")
    words = [f"+model={name}", f"folder={config.folder}"]
    return compose.composed("transcribe", words, TranscribeConfig, config_dir=config.own)


def describe_model(name: str, config: ModelsConfig) -> str:
    """Return the parts of a model with the beginning of their SHA-256, scores, and cards."""
    model = load_model(name, config)
    reading, rows = model.root, []
    for step in STEPS:
        part = getattr(reading.weights, step)
        found = find_weights(part, step, reading)
        card = f"experiments/{part}/{publish.CARD}" if _ships(part) else ""
        rows.append((step, part, found.sha256[:16], _score(part), card))
    rows.append(("decoder", model.choices["decoder"], "", "", ""))
    models = reading.decoder.get("models") or {"": reading.decoder.get("model")}
    for language in filter(_ships, filter(None, models.values())):
        digest = TextRecord.load(find_language_file(language, MODEL)).sha256
        rows.append(("language model", language, digest[:16], "", f"experiments/{language}/{publish.CARD}"))
    return (
        f"{name}: {_purpose(name, config)}\n\n{text_table(('part', 'name', 'sha256', 'score', 'card'), rows)}"
    )


def verify_models(names: Sequence[str], config: ModelsConfig) -> int:
    """Load all of each model, whose files have to be as they were published; return 1 where one is not."""
    broken = 0
    for name in names:
        model = load_model(name, config)
        try:
            page_reader(model.root)
        except InputError as error:
            broken += 1
            print(f"{name}: {error}")
        else:
            print(f"{name}: whole")
    return 1 if broken else 0


def import_models(files: Sequence[str], output: str | None) -> None:
    """Write parameter files of the original program as weights to `output`; tell what reads with them."""
    if not files or output is None:
        raise InputError("models import: name the .params files, and --output DIR for their weights")
    for file in files:
        folder = import_original(Path(file), Path(output)).folder
        print(f"{file}: weights.{folder.name}={folder}")


def _ships(name: str) -> bool:
    """Tell whether weights or a language model come with hwr."""
    return not Path(name).is_dir() and (EXPERIMENTS / name).is_dir()


def _publish(names: Sequence[str], config: ModelsConfig) -> None:
    if len(names) != 2:
        raise InputError("models publish: name a model, and a store: a folder, or mlflow")
    name, store = names
    publish_model(load_model(name, config), name, _purpose(name, config), config, store)
    print(f"{name}: published to {store}")


def _known(action: str, config: ModelsConfig) -> str:
    return "name one of a store" if action == "get" else f"name one of {', '.join(model_names(config))}"


def _purpose(name: str, config: ModelsConfig) -> str:
    """Return what a model's file says that it reads."""
    folders = (CONF, Path(config.own or CONF), place_of(config).of(name) / CHOICE)
    path = next(path for folder in folders if (path := folder / "model" / f"{name}.yaml").is_file())
    second = path.read_text(encoding="utf-8").splitlines()[1]
    return second.removeprefix("# ").partition(":")[0]


def _score(part: str) -> str:
    """Return the first figure of a published result."""
    result: dict[str, Any] = publish.published_results().get(part, {})
    for key, name in (("cer", "CER"), ("f1_50", "F1"), ("mean_iou", "mean IoU")):
        if key in result:
            return f"{name} {result[key]:.4f}"
    return ""
