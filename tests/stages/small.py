"""Small trainings of every stage: their settings, the pages they learn from, untrained networks."""

from pathlib import Path
from typing import Any

import mxnet as mx

from hwr import weights
from hwr.config.compose import Composed, composed
from hwr.config.roots import TrainConfig
from hwr.language.confusions import Confusions, CountedLines, Pair
from hwr.stages.build import Training, build_training
from hwr.stages.denoiser import text_denoiser
from hwr.stages.kind import Recipe
from hwr.stages.line import line_network
from hwr.stages.paragraph import area_finder
from hwr.stages.recipe import parse_recipe
from hwr.stages.segmentation import box_detector
from hwr.text import Alphabet
from hwr.training.loop import Phase
from hwr.weights import Weights
from tests.alto_folder import write_page

ABC = Alphabet("abc")
CPU = mx.cpu()
STAGES = ("denoiser", "line", "paragraph", "segmentation")
READING = ("denoiser", "line")  # stages with an alphabet
SETTINGS = {
    "line": [
        "network.stem=4", "network.channels=[4,4]", "network.blocks=[1,1]", "network.hidden=4",
        "network.layers=1", "stage.crop.height=16",
    ],
    "paragraph": ["network.stem=4", "network.channels=[4]", "network.hidden=4", "stage.size=[32,64]"],
    "segmentation": ["network.stem=4", "network.channels=[4,4,4,4]", "stage.size=[32,64]"],
    "denoiser": [
        "network.width=8", "network.encoder_layers=1", "network.decoder_layers=1", "network.hidden=8",
        "stage.longest=30", "stage.repeats=2",
    ],
}  # fmt: skip


def phase(name: str) -> Phase:
    """Return a phase of which a stage reads the name alone."""
    return Phase(name, epochs=1, lr=1e-3, schedule="constant", warmup=0.0, settings={})


def configuration(stage: str, *overrides: str) -> Composed:
    """Compose the training of a stage with a small network."""
    return composed("train", [f"stage={stage}", *SETTINGS[stage], *overrides], TrainConfig)


def recipe_of(stage: str, *overrides: str) -> Recipe[Any]:
    """Return the recipe of such a training."""
    return parse_recipe(configuration(stage, *overrides).root)


def training_of(stage: str, *overrides: str) -> Training:
    """Build such a training."""
    return build_training(recipe_of(stage, *overrides), progress=False)


def network_of(stage: str, *overrides: str) -> Any:
    """Return the network of such a training, which reads ABC where it reads text."""
    model = recipe_of(stage, *overrides).model
    if stage == "line":
        return line_network(model, ABC, CPU)
    if stage == "paragraph":
        return area_finder(model, batch_size=1, context=CPU).network
    if stage == "segmentation":
        return box_detector(model, batch_size=1, context=CPU).network
    return text_denoiser(model, ABC, batch_size=1, context=CPU).network


def save(folder: Path, stage: str, *overrides: str) -> Weights:
    """Write weights of a stage that were not trained, of a seed that their configuration does not name."""
    alphabet = ABC if stage in READING else None
    network = network_of(stage, *overrides, "seed=7")
    return weights.save(folder, network, configuration(stage, *overrides).yaml, alphabet, about={})


def write_confusions(path: Path, counts: dict[Pair, int]) -> Path:
    """Write counted confusions, and return the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(Confusions(counts, CountedLines("f", "valid", "w", 1)).to_json(), encoding="utf-8")
    return path


def write_data(folder: Path, stage: str) -> list[str]:
    """Write five pages to train on and two to validate on, a line each; return the overrides for them."""
    root = folder / "data"
    root.mkdir(parents=True)
    rows = ["page,writer,split"]
    texts = {"train": ["tea", "a seat", "tease at", "sat at tea", "east"], "valid": ["at sea", "eat"]}
    for split, lines in texts.items():
        for number, text in enumerate(lines):
            write_page(root / f"{split}{number}.xml", text)
            rows.append(f"{split}{number},writer-{split},{split}")
    (root / "pages.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    overrides = ["data=alto", f"data.root={root}", f"folder={folder / 'outputs'}", "batch_size=2"]
    if stage == "denoiser":
        known = write_confusions(folder / "confusions.json", {("a", "a"): 1, ("a", "o"): 9, ("e", "e"): 1})
        overrides += [f"stage.confusions={known}", "augmentation.clean=0", "augmentation.strength=9"]
    return overrides
