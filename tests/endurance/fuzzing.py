"""Reads mutated files and settings: each is read, or refused by an InputError.

A kind of input is fuzzed in a process of its own, so that a crash, a hang and memory are seen. The last
input stays in FOLDER.

python -m tests.endurance.fuzzing KIND FOLDER SEED COUNT
"""

import faulthandler
import json
import random
import shutil
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from hwr import runtime
from hwr.errors import InputError
from tests import alto_folder, iam_folder

HANG_S = 30  # an input that takes longer is a hang
OUTSIDE = "outside"  # a folder beside the data: nothing in it may be opened
MAX_PIXELS = 4_000_000

_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<PcGts xmlns="http://schema.primaresearch.org/PAGE/gts/pagecontent/2019-07-15">
<Page imageFilename="p.jpg" imageWidth="400" imageHeight="60"><ReadingOrder><OrderedGroup id="o">
<RegionRefIndexed index="0" regionRef="r"/></OrderedGroup></ReadingOrder>
<TextRegion id="r" custom="readingOrder {index:0;}"><Coords points="0,0 400,0 400,60 0,60"/>
<TextLine id="l" custom="readingOrder {index:0;}"><Coords points="10,10 390,10 390,50 10,50"/>
<Baseline points="10,45 390,45"/><TextEquiv index="0"><Unicode>Hello &amp; good\u2010bye</Unicode></TextEquiv>
</TextLine></TextRegion></Page></PcGts>
"""
_TABLE = (
    'file,text,writer,split\np.jpg,"Hello, world",a,train\nq.jpg,good bye,b,valid\nr.jpg,"a ""b""",c,test\n'
)
# What mutations put into a file besides its own bytes.
_TOKENS = [
    b"", b"-1", b"0", b"1e309", b"nan", b"inf", b"99999999999999999999", b"-0.5", b"1,", b",", b";", b"\t",
    b'"', b"'", b"\n", b"\r", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\xc2\xad", b"\xe2\x80\x8f",
    b"<", b">", b"&", b"&#0;", b"&lol;", b"]]>", b"<!--", b"<a/>", b"<TextLine/>", b"<a>" * 9999,
    b'<!DOCTYPE a [<!ENTITY lol SYSTEM "../outside/secret.xml">]>', b"../outside/secret.jpg", b"/dev/zero",
    b"..\\outside\\secret.jpg", b"file:../outside/secret.jpg", b"{", b"}", b"[", b"]", b"null", b"{}",
    b"[" * 100_000, b'{"a":' * 50_000, b"${oc.env:HOME}", b"a" * 5000, "é".encode("latin-1"), "𝔘".encode(),
    b"cos\nsystem\n(S'false'\ntR.", b"\x80\x04\x95",
]  # fmt: skip


@dataclass(frozen=True)
class Target:
    """What is fuzzed: files that are right, by name, and what reads them in their folder."""

    files: Callable[[Path], None]
    read: Callable[[Path], object]
    mutated: str  # a pattern of the files that are mutated
    prepare: Callable[[Path, str], None] = lambda folder, name: None  # what follows a mutation


def mutated(data: bytes, rng: random.Random) -> bytes:
    """Return bytes with one to six changes: bits, bytes, runs, tokens; rarely cut short or repeated."""
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        data = rng.choice(_MUTATIONS)(data, rng, rng.randrange(len(data) + 1))
    return data[: 4 << 20]


def _flip(data: bytes, rng: random.Random, at: int) -> bytes:
    changed = bytearray(data)
    if at < len(changed):
        changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _insert(data: bytes, rng: random.Random, at: int) -> bytes:
    return data[:at] + rng.choice(_TOKENS) + data[at:]


def _replace(data: bytes, rng: random.Random, at: int) -> bytes:
    """Replace a word or a number as a whole, so that what stays is still well-formed."""
    words = [word for word in data.replace(b'"', b" ").replace(b",", b" ").split() if len(word) < 40]
    return data.replace(rng.choice(words), rng.choice(_TOKENS), 1) if words else data


def _remove(data: bytes, rng: random.Random, at: int) -> bytes:
    return data[:at] + data[at + rng.choice((1, 2, 8, 64, 512)) :]


def _double(data: bytes, rng: random.Random, at: int) -> bytes:
    return data[:at] + data[max(0, at - rng.choice((4, 40, 400))) :]


def _cut(data: bytes, rng: random.Random, at: int) -> bytes:
    return data[:at] if rng.random() < 0.2 else data


def _integer(data: bytes, rng: random.Random, at: int) -> bytes:
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 127, 255, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 64) - 1)) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


_MUTATIONS = (_flip, _insert, _replace, _replace, _remove, _double, _cut, _integer)


# Data sets: read, inspected, and their lines cut


def _alto(folder: Path) -> None:
    alto_folder.write_folder(folder, {"train": "Hello", "valid": "good", "test": "bye"})


def _pagexml(folder: Path) -> None:
    _alto(folder)
    for path in folder.glob("*.xml"):
        path.write_text(_PAGE.replace("p.jpg", f"{path.stem}.jpg"), encoding="utf-8")


def _iam(folder: Path) -> None:
    iam_folder.write_form(folder, "a01-000")
    iam_folder.write_lists(folder, trainset="a01-000-00\na01-000-02")


def _line_list(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "lines.csv").write_text(_TABLE, encoding="utf-8")
    for name in "pqr":
        iam_folder.picture(folder / f"{name}.jpg", (200, 30))


def _reads_data(source: str) -> Callable[[Path], object]:
    """Return what inspects a folder as `source`, and cuts the lines that a training would get."""
    recipes: dict[Path, Any] = {}

    def read(folder: Path) -> object:
        from hwr.data.cache import line_images
        from hwr.stages import build
        from tests.stages.small import recipe_of

        if folder not in recipes:
            wanted = [f"data={source}", f"data.root={folder}", f"folder={folder.parent / 'outputs'}"]
            recipes[folder] = recipe_of("line", *wanted, f"max_pixels={MAX_PIXELS}")
        recipe = recipes[folder]
        report, pages = build.inspect_data(recipe, full=True)
        report.table(examples=2)
        crop, cache = recipe.model.settings.crop, folder.parent / "cache"
        images = line_images(pages, crop, folder=cache, loading=recipe.loading, progress=False)
        shutil.rmtree(cache)
        return len(images)

    return read


# Single files


def _image(folder: Path) -> None:
    folder.mkdir(parents=True)
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60), np.uint8))
    exif = Image.Exif()
    exif[274] = 6
    for suffix, mode, more in (
        ("jpg", "L", {"exif": exif}), ("png", "LA", {}), ("tif", "I;16", {}), ("webp", "RGB", {}),
        ("bmp", "L", {}), ("pdf", "L", {}), ("png8", "P", {}), ("tiff", "L", {}), ("gif", "P", {}),
        ("jp2", "L", {}), ("avif", "RGB", {}), ("ppm", "RGB", {}), ("tif32", "F", {}), ("tiff32", "I", {}),
    ):  # fmt: skip
        form = {
            "tif": "TIFF",
            "tiff": "TIFF",
            "jpg": "JPEG",
            "png8": "PNG",
            "jp2": "JPEG2000",
            "tif32": "TIFF",
            "tiff32": "TIFF",
        }.get(suffix, suffix.upper())
        grey.convert(mode).save(folder / f"i.{suffix}", format=form, **more)


def _read_images(folder: Path) -> object:
    from hwr.images.page_files import Loading, count_pages, load_page

    loading = Loading(max_pixels=MAX_PIXELS, working_pixels=MAX_PIXELS, pdf_dpi=100)
    for path in folder.iterdir():
        for number in range(1, min(count_pages(path), 3) + 1):
            load_page(path, loading, number)
    return None


def _weights(folder: Path) -> None:
    from tests.stages.small import save

    save(folder, "line")


def _digest_mended(folder: Path, name: str) -> None:
    """Let the manifest name the mutated file as it is, so that what reads the file is reached."""
    from hwr.files import sha256

    if name != "manifest.json":
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["sha256"][name] = sha256(folder / name)
        (folder / "manifest.json").write_text(json.dumps(manifest))


def _read_weights(folder: Path) -> object:
    import mxnet as mx

    from hwr.config.roots import StoreConfig
    from hwr.stages import build
    from hwr.stages.line import load_line_reader

    loaded = build.find_weights(str(folder), "line", StoreConfig())
    return load_line_reader(loaded, batch_size=1, context=mx.cpu())


def _json(folder: Path) -> None:
    from hwr.language import Origin, TextSource, arpa, ngrams, write_record
    from hwr.language.lexicon import Lexicon
    from tests.stages.small import write_confusions

    folder.mkdir(parents=True)
    lines = ["hello world", "good bye", "see you"]
    origin = Origin.of_file(TextSource("t.txt", "0" * 64, "", 3), lines)
    arpa.write_arpa(
        folder / "model.arpa",
        ngrams.estimate_ngrams(lines, unit="character", order=3, min_count=1, symbols=""),
    )
    write_record(folder / "model.arpa", origin, unit="character", order=3, symbols="abc")
    Lexicon.of(lines).write(folder / "words.tsv")
    write_confusions(folder / "confusions.json", {("a", "a"): 3, ("a", "o"): 1, (None, "e"): 1})


def _read_json(folder: Path) -> object:
    from hwr.language import TextRecord
    from hwr.language.arpa import NgramModel
    from hwr.language.confusions import Confusions
    from hwr.language.lexicon import Lexicon

    NgramModel.load(folder / "model.arpa")
    TextRecord.load(folder / "model.arpa")
    Lexicon.load(str(folder / "words.tsv"))
    return Confusions.load(str(folder / "confusions.json"))


def _settings(folder: Path) -> None:
    from tests.stages.small import configuration

    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(configuration("line").yaml, encoding="utf-8")


def _read_settings(folder: Path) -> object:
    from hwr.config.compose import stored
    from hwr.config.roots import TrainConfig
    from hwr.stages.recipe import parse_recipe

    text = (folder / "config.yaml").read_bytes().decode("utf-8", "replace")
    return parse_recipe(stored(text, (), TrainConfig).root)


def _run(folder: Path) -> None:
    from hwr.runs import resume
    from hwr.tracking.spool import Spool
    from hwr.training import checkpoint
    from tests.stages.small import configuration

    folder.mkdir(parents=True)
    start = {"fingerprint": "f", "started": "2026-01-01T00:00:00+00:00", "overrides": '["stage=line"]'}
    resume.describe(folder, configuration("line").yaml, start)
    (folder / "state").mkdir()
    checkpoint.write_state(
        folder / "state", {"progress": {"epoch": 1}}, {"a": np.zeros(3, np.float32)}, before=0
    )
    spool = Spool(folder / "spool")
    spool.append("metrics", {"values": {"valid/cer": 0.5}, "step": 1})
    spool.append_files("", lambda place: (place / "t.txt").write_text("text"))
    spool.append("status", {"status": "FINISHED"})


def _read_run(folder: Path) -> object:
    from hwr.runs import resume
    from hwr.tracking.spool import Spool
    from hwr.training import checkpoint

    resume.configuration(folder, _composed())
    resume.compare(folder, {"fingerprint": "f"})
    checkpoint.newest_state(folder / "state")
    spool = Spool(folder / "spool")
    spool.ended()
    spool.steps("valid/cer")
    waiting = spool.waiting()
    for record in waiting:
        if record.kind == "files":
            spool.drop_files(record)
    return waiting


@cache
def _composed() -> Any:
    from tests.stages.small import configuration

    return configuration("line")


def _overrides(folder: Path) -> None:
    folder.mkdir(parents=True)
    words = "stage=line lr=1e-3 network.channels=[4,4] augmentation.shift_x=0.1 phases.ctc.epochs=3 seed=1 "
    words += (
        "decoder=beam inspect.policy.empty_text=drop data.exclude.pattern='[<>]' device=cpu optimizer=adam"
    )
    (folder / "words").write_text(words.replace(" ", "\n"), encoding="utf-8")


def _read_overrides(folder: Path) -> object:
    from hwr.config.compose import composed
    from hwr.config.messages import clear_errors
    from hwr.config.roots import TrainConfig
    from hwr.stages.recipe import parse_recipe

    words = (folder / "words").read_bytes().decode("utf-8", "surrogateescape").split("\n")
    with clear_errors():
        return parse_recipe(composed("train", words, TrainConfig).root)


TARGETS: Mapping[str, Target] = {
    "alto": Target(_alto, _reads_data("alto"), "*.xml"),
    "pagexml": Target(_pagexml, _reads_data("pagexml"), "*.xml"),
    "iam": Target(_iam, _reads_data("iam"), "*/*.xml"),
    "line_list": Target(_line_list, _reads_data("line_list"), "*.csv"),
    "splits": Target(_alto, _reads_data("alto"), "pages.csv"),
    "images": Target(_image, _read_images, "*"),
    "weights": Target(_weights, _read_weights, "*", _digest_mended),
    "language": Target(_json, _read_json, "*"),
    "settings": Target(_settings, _read_settings, "*"),
    "overrides": Target(_overrides, _read_overrides, "words"),
    "run": Target(_run, _read_run, "**/*.*[!k]"),
}


def fuzz(target: Target, folder: Path, seed: int, count: int) -> dict[str, Any]:
    """Read `count` inputs; return how many were read and refused, failures by their last place, memory."""
    good = folder / "good"
    target.files(good)
    secrets = folder / OUTSIDE
    secrets.mkdir()
    iam_folder.picture(secrets / "secret.jpg", (60, 20))
    (secrets / "secret.xml").write_text("secret")
    opened = _watched(secrets)
    names = sorted(path.relative_to(good).as_posix() for path in good.glob(target.mutated))
    data = folder / "data"
    shutil.copytree(good, data)
    target.read(data)  # what is right is read
    outcomes, failures = Counter[str](), {}
    for number in range(count):
        shutil.rmtree(data)
        shutil.copytree(good, data)
        rng = random.Random(f"{seed}/{number}")
        name = rng.choice(names)
        (data / name).write_bytes(mutated((good / name).read_bytes(), rng))
        if rng.random() < 0.5:
            target.prepare(data, name)
        faulthandler.dump_traceback_later(HANG_S, exit=True)
        outcome, why = _outcome(target, data, opened)
        faulthandler.cancel_dump_traceback_later()
        outcomes[outcome] += 1
        if why:
            failures.setdefault(why, f"seed {seed}, number {number}, {name}")
    return {"outcomes": outcomes, "failures": failures, "peak_mib": _peak_mib()}


def _peak_mib() -> int:
    """Return the most memory that this program has had; `ru_maxrss` would count what started it as well."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _outcome(target: Target, data: Path, opened: list[str]) -> tuple[str, str]:
    """Return what became of an input, and, where that is a failure, what failed."""
    opened.clear()
    try:
        target.read(data)
        outcome, why = "read", ""
    except InputError as error:
        said = str(error)
        outcome, why = (
            "refused",
            f"a message of several lines: {said[:200]!r}" if "\n" in said.strip() else "",
        )
    except SystemExit as error:  # after one line on standard error
        outcome, why = "refused", "" if error.code == 2 else f"exit status {error.code}"
    except Exception as error:  # every other kind is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-1]
        outcome, why = (
            "failed",
            f"{type(error).__name__} at {last.filename}:{last.lineno}: {str(error)[:200]}",
        )
    return ("failed", f"opened {opened[0]}") if opened else (outcome, why)


def _watched(secrets: Path) -> list[str]:
    """Return a list that tells of each file of `secrets` that is opened, and of everything unpickled."""
    told: list[str] = []
    forbidden = str(secrets.resolve())

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str) and OUTSIDE in arguments[0]:
            if str(Path(arguments[0]).resolve()).startswith(forbidden):
                told.append(arguments[0])
        elif event == "pickle.find_class":
            told.append(f"a pickle of {arguments}")

    sys.addaudithook(hook)
    return told


def _main(kind: str, folder: Path, seed: int, count: int) -> None:
    runtime.start()
    print(json.dumps(fuzz(TARGETS[kind], folder, seed, count)))


if __name__ == "__main__":
    _main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
