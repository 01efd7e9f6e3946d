"""The training of stage `denoiser`: texts of a data set, with errors drawn from a recogniser's confusions."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwr.data.batches.texts import Passage, draw_samples, passages, running_text
from hwr.data.records import Page
from hwr.files import read_text
from hwr.language.confusions import Confusions
from hwr.language.noise import Noise, Recogniser
from hwr.language.record import shared_texts
from hwr.losses import TextLoss
from hwr.pictures import cards
from hwr.scoring import edits
from hwr.stages import boxes
from hwr.stages.denoiser.model import MODEL, DenoiserSettings, text_denoiser
from hwr.stages.denoiser.stage import METRICS, DenoiserStage, TextTask
from hwr.stages.kind import Built, Kind, Picture, Recipe
from hwr.stages.line.training import check_characters, lines_of
from hwr.text import Alphabet, nfc

SAMPLES = 24  # misread texts in a run's picture
NEVER = 2**31 - 1  # the epoch in which validation texts are misread


def build_denoiser(recipe: Recipe[DenoiserSettings], pages: Sequence[Page], progress: bool) -> Built:
    """Take running text from the pages, and build the stage that is trained on it."""
    alphabet, task = _task(recipe, pages)
    denoiser = text_denoiser(recipe.model, alphabet, batch_size=recipe.batch_size, context=recipe.context)
    stage = DenoiserStage(denoiser, task, batch_size=recipe.batch_size, seed=recipe.seed)
    lines = sum(len(passage.lines) for passage in task.train)
    return Built(
        stage=stage,
        alphabet=alphabet,
        size=f"{lines} training and {len(task.valid)} validation lines",
        augmented=lambda seed: _misread(task, recipe.plan.phases[0].name, seed),
        predicted=lambda count: _rewritten(stage, count),
    )


KIND = Kind(
    model=MODEL,
    losses=(TextLoss,),
    augmentation=Noise,
    metrics=METRICS,
    heads=("embedding", "output"),
    learns_text=True,
    limits=boxes.limits,
    build=build_denoiser,
)


def extra_texts(files: Sequence[str], pages: Sequence[Page]) -> list[Passage]:
    """Return the running text of UTF-8 files, without lines that the valid or test split holds.

    Empty lines part passages. Raises InputError for a file that cannot be read.
    """
    held = [line.text for page in pages if page.split in ("valid", "test") for line in page.lines]
    found = []
    for file in files:
        texts = [nfc(text) for text in read_text(Path(file), key="stage.texts").splitlines()]
        known = shared_texts(texts, held)
        own = ["" if text in known else text for text in texts]
        found += running_text([f"{file}:{number}" for number in range(1, len(own) + 1)], own)
    return found


def _task(recipe: Recipe[DenoiserSettings], pages: Sequence[Page]) -> tuple[Alphabet, TextTask]:
    settings = recipe.settings
    known = Confusions.load(settings.confusions)
    train = [*passages(pages, "train"), *extra_texts(settings.texts, pages)]
    lines_of(pages, "train")  # refuses a split without any
    alphabet = Alphabet.of([*(line for passage in train for line in passage.lines), *_readable(known)])
    valid = lines_of(pages, "valid")
    check_characters(valid, alphabet, recipe.unknown)
    noises = recipe.augmentations
    recognisers = {phase: Recogniser(known, noise) for phase, noise in noises.items()}
    texts = [(line.id, line.text) for line in valid]
    noised = _noised(texts, recognisers[next(iter(noises))], alphabet, seed=recipe.seed)
    noised = [text[: settings.longest] for text in noised]
    return alphabet, TextTask(train, texts, noised, settings.sampling, recipe.losses, recognisers)


def _readable(known: Confusions) -> list[str]:
    """Return the characters that the recogniser was seen to read."""
    return [read for _, read in known.counts if read is not None]


def _noised(
    texts: Sequence[tuple[str, str]], recogniser: Recogniser, alphabet: Alphabet, *, seed: int
) -> list[str]:
    """Return texts misread; characters that no recogniser of this alphabet can read are missing."""
    read = [recogniser(text, seed=seed, epoch=NEVER, index=n) for n, (_, text) in enumerate(texts)]
    return ["".join(character for character in text if character in alphabet.symbols) for text in read]


def _misread(task: TextTask, phase: str, seed: int) -> Picture:
    """Draw training texts with what the recogniser makes of them."""
    pairs = draw_samples(task.train, task.sampling, seed=(seed, 0))
    chosen = np.random.default_rng(seed).choice(len(pairs), min(SAMPLES, len(pairs)), replace=False)
    read = [task.recognisers[phase](pairs[i][1], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return cards.readings({"training texts": [
        _item(pairs[i], {"misread": text}) for i, text in zip(chosen, read, strict=True)
    ]})  # fmt: skip


def _rewritten(stage: DenoiserStage, count: int) -> Picture:
    """Draw validation texts as misread and as rewritten."""
    task = stage.task
    chosen = np.linspace(0, len(task.valid) - 1, min(count, len(task.valid))).astype(int)
    noised = [task.noised[i] for i in chosen]
    return cards.readings({"validation texts": [
        _item(task.valid[i], {"misread": before, "rewritten": after})
        for i, before, after in zip(chosen, noised, stage.denoiser.greedy(noised), strict=True)
    ]})  # fmt: skip


def _item(pair: tuple[str, str], read: dict[str, str]) -> cards.LineCard:
    """Return an (id, text) and what was read, without an image, for `cards.readings`."""
    name, text = pair
    shown = {
        label: cards.ReadText(own, edits.character_edits(text, own).errors) for label, own in read.items()
    }
    return cards.LineCard(np.full((1, 1), 255, np.uint8), name, text, shown)
