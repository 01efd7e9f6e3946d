"""A training of stage `denoiser`: a data set's texts, misread as a recogniser does, to what mends them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hwr import weights
from hwr.config.bind import bind
from hwr.config.compose import TrainConfig
from hwr.data import inspection
from hwr.data.batches.texts import Passage, passages, passages_of, samples
from hwr.data.fingerprint import fingerprint
from hwr.data.records import Page
from hwr.errors import InputError
from hwr.language.confusions import Confusions
from hwr.language.noise import Noise, Recogniser
from hwr.language.record import shared_texts
from hwr.losses import TextLoss
from hwr.pictures import cards
from hwr.scoring import edits
from hwr.stages import boxes, build, parts
from hwr.stages.denoiser.stage import METRICS as METRICS
from hwr.stages.denoiser.stage import DenoiserStage, TextDenoiser, TextTask
from hwr.stages.line.training import check_characters, lines_of
from hwr.stages.parts import Training
from hwr.text import Alphabet, nfc
from hwr.tracking import Store

LOSSES = (TextLoss,)
SAMPLES = 24  # misread texts in a run's picture
NEVER = 2**31 - 1  # the epoch in which validation texts are misread

limits = boxes.limits


def check(config: TrainConfig) -> None:
    """Raise InputError for settings that no part takes; before a folder is made or a page is read."""
    build.sampling_of(config)
    bind(build.maker_of(config), config.network, "network", ["classes"])
    parts.check_common(config)
    parts.phase_parts(config, Noise, LOSSES)


def training(config: TrainConfig, store: Store, *, progress: bool) -> Training:
    """Build the training."""
    folder = Path(config.folder)
    start = parts.find_weights(config.init, store, folder, kind="denoiser") if config.init else None
    pages = parts.load_pages(config.data, folder / "cache")
    report = inspection.inspect(pages, limits(config))
    pages = inspection.apply(pages, report, config.inspect.policy)
    alphabet, task = _task(pages, config)
    context = build.device(config.device)
    network = build.denoiser_network(config, alphabet, context)
    took = start and weights.transfer(network, start, alphabet, heads=("embedding", "output"))
    longest = build.sampling_of(config).longest
    denoiser = TextDenoiser(network, alphabet, longest=longest, batch_size=config.batch_size, context=context)
    stage = DenoiserStage(denoiser, task, batch_size=config.batch_size, seed=config.seed)
    lines = [sum(len(passage.lines) for passage in task.train), len(task.valid)]
    return Training(
        stage=stage,
        plan=parts.plan_of(config),
        alphabet=alphabet,
        report=report,
        fingerprint=fingerprint(pages),
        took=str(took or ""),
        size="{} training and {} validation lines".format(*lines),
        augmented=lambda seed: _misread(task, next(iter(config.phases)), seed),
        predicted=lambda count: _rewritten(stage, count),
    )


def extra_texts(files: Sequence[str], pages: Sequence[Page]) -> list[Passage]:
    """Return the running text of UTF-8 files, without lines that the valid or test split holds.

    Empty lines part passages. Raises InputError for a file that cannot be read.
    """
    held = [line.text for page in pages if page.split in ("valid", "test") for line in page.lines]
    found = []
    for file in files:
        texts = [nfc(text) for text in _read(Path(file)).splitlines()]
        known = shared_texts(texts, held)
        own = ["" if text in known else text for text in texts]
        found += passages_of([f"{file}:{number}" for number in range(1, len(own) + 1)], own)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"stage.texts: {path} cannot be read as UTF-8 ({error}); name another file"
        ) from None


def _task(pages: Sequence[Page], config: TrainConfig) -> tuple[Alphabet, TextTask]:
    known = Confusions.load(config.stage["confusions"])
    train = [*passages(pages, "train"), *extra_texts(config.stage["texts"], pages)]
    lines_of(pages, "train")  # refuses a split without any
    alphabet = Alphabet.of([*(line for passage in train for line in passage.lines), *_readable(known)])
    valid = lines_of(pages, "valid")
    check_characters(valid, alphabet, config.unknown)
    losses, noises = parts.phase_parts(config, Noise, LOSSES)
    recognisers = {phase: Recogniser(known, noise) for phase, noise in noises.items()}
    sampling = build.sampling_of(config)
    texts = [(line.id, line.text) for line in valid]
    noised = _noised(texts, recognisers[next(iter(noises))], alphabet, seed=config.seed)
    noised = [text[: sampling.longest] for text in noised]
    return alphabet, TextTask(train, texts, noised, sampling, losses, recognisers)


def _readable(known: Confusions) -> list[str]:
    """Return the characters that the recogniser was seen to read."""
    return [read for _, read in known.counts if read is not None]


def _noised(
    texts: Sequence[tuple[str, str]], recogniser: Recogniser, alphabet: Alphabet, *, seed: int
) -> list[str]:
    """Return texts misread; characters that no recogniser of this alphabet can read are missing."""
    read = [recogniser(text, seed=seed, epoch=NEVER, index=n) for n, (_, text) in enumerate(texts)]
    return ["".join(character for character in text if character in alphabet.symbols) for text in read]


def _misread(task: TextTask, phase: str, seed: int) -> parts.Picture:
    """Draw training texts with what the recogniser makes of them."""
    pairs = samples(task.train, task.sampling, seed=(seed, 0))
    chosen = np.random.default_rng(seed).choice(len(pairs), min(SAMPLES, len(pairs)), replace=False)
    read = [task.recognisers[phase](pairs[i][1], seed=seed, epoch=0, index=int(i)) for i in chosen]
    return cards.readings({"training texts": [
        _item(pairs[i], {"misread": text}) for i, text in zip(chosen, read, strict=True)
    ]})  # fmt: skip


def _rewritten(stage: DenoiserStage, count: int) -> parts.Picture:
    """Draw validation texts as misread and as rewritten."""
    task = stage.task
    chosen = np.linspace(0, len(task.valid) - 1, min(count, len(task.valid))).astype(int)
    noised = [task.noised[i] for i in chosen]
    return cards.readings({"validation texts": [
        _item(task.valid[i], {"misread": before, "rewritten": after})
        for i, before, after in zip(chosen, noised, stage.denoiser.greedy(noised), strict=True)
    ]})  # fmt: skip


def _item(pair: tuple[str, str], read: dict[str, str]) -> cards.Reading:
    """Return an (id, text) and what was read, without an image, for `pictures.readings`."""
    name, text = pair
    shown = {label: cards.Read(own, edits.character_edits(text, own).errors) for label, own in read.items()}
    return cards.Reading(np.full((1, 1), 255, np.uint8), name, text, shown)
