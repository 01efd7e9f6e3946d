"""Publish results under experiments/: scores with weights, or with the names of published weights."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwr import config, weights
from hwr.config.bind import texts
from hwr.config.compose import portable, without_paths
from hwr.errors import InputError
from hwr.files import as_input_error, parse_json, path_exists, write_json

RESULT, WEIGHTS, CARD = "result.json", "weights", "card.md"
EXPERIMENTS = config.EXPERIMENTS
OF_OTHERS = ("page", "decoders")  # targets without weights of their own


def check_publishable(name: str, target: str, decoder: Mapping[str, Any]) -> None:
    """Raise InputError where an evaluation of `target` with this decoder node cannot be published as `name`.

    A decoder's models have to be published themselves; of the denoiser, the weights are what is published.
    """
    config.require_checkout(f"publish={name}")
    if name.partition("/")[0] != target or not re.fullmatch(r"\w+/\w[\w.-]*", name):
        raise InputError(f"publish={name}: {target} is evaluated; name it {target}/NAME")
    if target not in OF_OTHERS and not (EXPERIMENTS / f"{name}.yaml").is_file():
        raise InputError(
            f"publish={name}: experiments/{name}.yaml is missing; first write there what makes it"
        )
    for key, text in texts(decoder, ""):
        if (Path(text).is_absolute() or path_exists(text)) and (target, key) != ("denoiser", "weights"):
            raise InputError(
                f"publish={name}: {key}={text} is not published itself; name what is, or leave it out"
            )


def check_weights_published(target: str, loaded: Sequence[weights.Weights]) -> None:
    """Raise InputError where scores of `target` are of weights that are not published themselves."""
    if target in OF_OTHERS:
        for own in loaded:
            published_name(own.folder)


def publish_result(name: str, loaded: Sequence[weights.Weights], summary: Mapping[str, Any]) -> Path:
    """Keep scores as the published result `name` (line/copiste), and the weights; an older one is replaced.

    A result of several weights, page/copiste say, names those it was made with, which are published
    themselves. Paths of this machine stay behind. Raises InputError as `check_weights_published` does.
    """
    target = str(summary["target"])
    check_weights_published(target, loaded)
    folder = EXPERIMENTS / name
    if target in OF_OTHERS:
        names = [published_name(own.folder) for own in loaded]
        used: str | list[str] = names if len(names) > 1 else names[0]
        folder.mkdir(parents=True, exist_ok=True)
    else:
        used = name
        with as_input_error(folder, "allow it, or publish from another checkout"):
            weights.copy(loaded[0], folder / WEIGHTS, portable(loaded[0].config))
    kept = _without_folders({**summary, "weights": used})
    write_json(folder / RESULT, kept)
    return folder


def published_results() -> dict[str, dict[str, Any]]:
    """Return the scores of every published result by name; curves of trainings are none."""
    paths = sorted(EXPERIMENTS.glob(f"*/*/{RESULT}"))
    results = {
        path.parent.relative_to(EXPERIMENTS).as_posix(): parse_json(path.read_text("utf-8")) for path in paths
    }
    return {name: result for name, result in results.items() if "target" in result}


def published_name(folder: Path) -> str:
    """Return the name under which a weights folder is published; raise InputError where it is not."""
    place, root = folder.resolve(), EXPERIMENTS.resolve()
    if not place.is_relative_to(root):
        raise InputError(f"publish: {folder} is not published itself; publish these weights first")
    return place.parent.relative_to(root).as_posix()


def _without_folders(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is kept of scores: DIR for places of this machine, names for what is published."""
    kept: dict[str, Any] = without_paths(summary)
    if "settings" in summary:
        kept["settings"] = without_paths(summary["settings"])
    if "line_weights" in summary:
        kept["line_weights"] = published_name(Path(summary["line_weights"]))
    return kept
