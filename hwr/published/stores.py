"""Stores of models: folders with an index, over HTTPS or here, and MLflow's registry.

A model in a store is a folder of plain files; the index names each with its size and SHA-256. There are no
archives to unpack. What was fetched is kept under the folder models/, where `--model NAME` finds it.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urljoin, urlparse

import requests
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from hwr import weights
from hwr.config import CONF, EXPERIMENTS
from hwr.config.bind import current_target, texts
from hwr.config.compose import Composed, portable
from hwr.config.messages import REGISTERED, registered
from hwr.config.roots import ModelsConfig
from hwr.errors import InputError, first_line, masked, tell
from hwr.files import (
    as_input_error,
    copy_files,
    held,
    make_folder,
    parse_json,
    path_exists,
    recovered,
    replacing_folder,
    scratch_folder,
    sha256,
    write_json,
    write_text,
)
from hwr.stages.build import find_weights
from hwr.text import shortened
from hwr.transcription.page_reader import STEPS

INDEX, DESCRIPTION, REGISTRY = "index.json", "model.json", "mlflow"
CHOICE = "conf"  # folder in that of a model, where Hydra finds how it is chosen by name; no model brings it
_INDEX_BYTES = 4 << 20
_BLOCK = 1 << 16  # bytes; what arrived of an unfinished one is lost
_REDIRECTS = 5
_TELL = "tell who keeps the store"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_DECODER_FILES = ("weights", "model", "word_model", "lexicon", "confusions")  # keys that name files
_STRICT = ConfigDict(extra="forbid", strict=True)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"
_LONGEST = 64

Name = Annotated[str, Field(pattern=_NAME, max_length=_LONGEST)]
# Parts that begin with a dot are none, so that no path leaves the folder of its model.
Relative = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$", max_length=200)
]


@checked(config=_STRICT, frozen=True)
class StoredFile:
    """A file of a model in a store."""

    path: Relative
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


@checked(config=_STRICT, frozen=True)
class StoredModel:
    """A model in a store: what it reads, and its files."""

    about: Annotated[str, Field(pattern=r"^[^:\p{C}]+$", max_length=200)]
    files: Annotated[list[StoredFile], Field(min_length=1, max_length=200)]

    @property
    def size(self) -> int:
        """The bytes of all files."""
        return sum(file.size for file in self.files)


@checked(config=_STRICT, frozen=True)
class StoreIndex:
    """What a store holds, by name."""

    format: Literal[1]
    models: dict[Name, StoredModel]


@checked(config=_STRICT, frozen=True)
class Description:
    """How a model reads: the file of conf/decoder/ and its settings, files named within the model."""

    decoder: Name
    settings: dict[str, Any]


@dataclass(frozen=True)
class Place:
    """Where fetched models are kept: a folder for each, and one for what arrived of their files."""

    models: Path

    def of(self, name: str) -> Path:
        """Return the folder of a model, or where it would be."""
        return recovered(self.models / name)

    def names(self) -> list[str]:
        """Return the names of the models that are kept."""
        return sorted(path.stem for path in self.models.glob(f"[!.]*/{CHOICE}/model/*.yaml"))


def place_of(config: ModelsConfig) -> Place:
    """Return where a configuration keeps models."""
    return Place(Path(config.folder) / "models")


def get_model(name: str, config: ModelsConfig) -> None:
    """Fetch a model from the first store that has it; one that is kept stays where no store answers.

    Raises InputError for a name that no store has, and for files that are not what the index says.
    """
    if name.startswith(REGISTERED):
        raise InputError(registered(name))
    if len(name) > _LONGEST or not re.match(_NAME, name):
        raise InputError(f"{shortened(name, 80)}: no name of a model; use letters, digits, - and _")
    if (CONF / "model" / f"{name}.yaml").is_file():
        raise InputError(f"{name}: a model of this name comes with hwr; it needs no get")
    if not config.stores:
        raise InputError("models get: no store is named; add +stores.NAME=https://HOST/FOLDER")
    place, reasons, known = place_of(config), list[str](), set[str]()
    make_folder(place.models)
    for address in config.stores.values():
        try:
            with _readable(address, name, config) as source:
                index = _index(source, config)
                if name in index.models:
                    _get(source, name, index.models[name], config)
                    return
                known |= set(index.models)
        except UnreachableError as error:
            reasons.append(str(error))
    if reasons and name in place.names():
        tell(f"{name}: kept as it is; {reasons[0]}")
        return
    offered = f" (they have {shortened(', '.join(sorted(known)), 200)})" if known else ""
    raise InputError(reasons[0] if reasons else f"{name}: in none of the stores{offered}; name another")


def publish_model(model: Composed, name: str, about: str, config: ModelsConfig, address: str) -> None:
    """Write a model into a store: a folder, whose index then names it, or MLflow's registry."""
    address = config.stores.get(address, address)
    if "://" in address:
        raise InputError(f"{address}: models are published to a folder, or to mlflow; let a server show that")
    with scratch_folder() as scratch:
        _write_model(model, scratch / name)
        files = [path for path in sorted((scratch / name).rglob("*")) if path.is_file()]
        entry = {
            "about": about.replace(":", ","),
            "files": [
                {"path": path.relative_to(scratch / name).as_posix(), "size": path.stat().st_size,
                 "sha256": sha256(path)} for path in files
            ],
        }  # fmt: skip
        if address == REGISTRY:
            _write_index(scratch, {name: entry})
            from hwr import tracking  # MLflow takes seconds
            from hwr.published import served

            store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
            tracking.describe_pages(scratch, served.__name__, served.example())
            tracking.register(store, name, scratch, config.alias)
            return
        folder = Path(address)
        make_folder(folder)
        with held(folder / f".{INDEX}.lock"), as_input_error(folder, "choose another folder"):
            index, kept = folder / INDEX, {}
            if index.exists():
                kept = TypeAdapter(StoreIndex).dump_python(parsed_index(index, index.read_bytes()))["models"]
            with replacing_folder(folder / name) as fresh:
                copy_files(scratch / name, fresh)
            _write_index(folder, {**kept, name: entry})


class UnreachableError(InputError):
    """A store that does not answer."""


@contextlib.contextmanager
def _readable(address: str, name: str, config: ModelsConfig) -> Iterator[str]:
    """Give the address of a folder with an index: the store's own, or what the registry holds of a model."""
    if address != REGISTRY:
        _check_address(address)
        yield address.rstrip("/")
        return
    from hwr import tracking

    with scratch_folder() as scratch:
        try:
            store = tracking.open_store(config.tracking.uri, Path(config.folder), config.tracking.experiment)
            found = tracking.download(f"models:/{name}@{config.alias}", store, scratch)
        except InputError as error:
            raise UnreachableError(str(error)) from None
        yield str(found)


def _get(source: str, name: str, model: StoredModel, config: ModelsConfig) -> None:
    """Fetch the files of a model that are not there, check all, and put the model in its place."""
    place = place_of(config)
    if model.size > config.max_bytes:
        raise InputError(f"{name}: {model.size} bytes; set max_bytes to take that much")
    paths = [file.path for file in model.files]
    if len(set(paths)) < len(paths) or CHOICE in {path.partition("/")[0] for path in paths}:
        raise InputError(f"{source}/{INDEX}: names a file of {name} twice, or one in {CHOICE}/; {_TELL}")
    parts = place.models / ".parts"
    with held(place.models / ".lock"), as_input_error(place.models, "choose another folder"):
        there = ((place.of(name) / file.path, file.sha256) for file in model.files)
        if all(path.is_file() and sha256(path) == digest for path, digest in there):
            print(f"{name}: there already, unchanged")
            return
        parts.mkdir(exist_ok=True)
        for file in model.files:
            _fetch(f"{source}/{name}/{file.path}", file, parts / file.sha256, config.timeout_s)
        with replacing_folder(place.of(name)) as fresh:
            for file in model.files:
                (fresh / file.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(parts / file.sha256, fresh / file.path)
            choice = model_choice(fresh, place.models / name, name, model.about)
            write_text(fresh / CHOICE / "model" / f"{name}.yaml", choice)
        for file in model.files:
            (parts / file.sha256).unlink(missing_ok=True)
    print(f"{name}: {len(model.files)} files, {model.size / 1e6:.1f} MB; hwr transcribe … --model {name}")


def _fetch(address: str, file: StoredFile, part: Path, timeout_s: float) -> None:
    """Bring the part of a file that is here to its size, and check it; what arrived is kept for later."""
    have = part.stat().st_size if part.exists() else 0
    if have < file.size or not part.exists():
        with _opened(address, have, timeout_s) as (start, blocks), part.open("r+b" if start else "wb") as out:
            have = out.seek(start)
            for block in blocks:
                have += out.write(block)
                if have > file.size:
                    break
    if have < file.size:
        raise InputError(
            f"{address}: {have} of {file.size} bytes arrived; the same command goes on from there"
        )
    if have > file.size or sha256(part) != file.sha256:
        part.unlink()
        raise InputError(
            f"{address}: not what the index says (size or SHA-256); nothing is installed; {_TELL}"
        )


@contextlib.contextmanager
def _opened(address: str, offset: int, timeout_s: float) -> Iterator[tuple[int, Iterable[bytes]]]:
    """Give the bytes at an address, from `offset` on where that is possible, and where they begin.

    Proxies are those of the environment (HTTPS_PROXY, NO_PROXY). Raises UnreachableError where they end.
    """
    if "://" not in address:
        try:
            file = Path(address).open("rb")  # noqa: SIM115  (what fails later is another error)
        except OSError as error:
            remedy = "name another store"
            raise UnreachableError(f"{address}: cannot be read ({error.strerror}); {remedy}") from None
        with file:
            yield file.seek(offset), iter(lambda: file.read(_BLOCK), b"")
        return
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={offset}-"} if offset else {})
    try:
        with _answer(address, headers, timeout_s) as answer:
            answer.raise_for_status()
            resumed = answer.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            yield offset if answer.status_code == 206 and resumed else 0, answer.iter_content(_BLOCK)
    except requests.RequestException as error:
        remedy = "try again, it goes on from what arrived"
        raise UnreachableError(f"{masked(address)}: cannot be fetched ({_reason(error)}); {remedy}") from None


def _answer(address: str, headers: dict[str, str], timeout_s: float) -> requests.Response:
    """Ask for an address, and for where it redirects to, each of which is checked before."""
    for _ in range(_REDIRECTS):
        _check_address(address)
        answer = requests.get(address, headers=headers, stream=True, timeout=timeout_s, allow_redirects=False)
        if not answer.is_redirect:
            return answer
        answer.close()
        address = urljoin(address, answer.headers["Location"])
    raise requests.TooManyRedirects("too many redirects")


def _reason(error: BaseException) -> str:
    """Return the root cause of an error of a request."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"{error.response.status_code} {error.response.reason}"
    while inner := error.__cause__ or error.__context__:
        error = inner
    return masked((error.strerror if isinstance(error, OSError) else None) or first_line(error))


def _check_address(address: str) -> None:
    """Refuse an address whose answers anybody on the way could change."""
    parsed = urlparse(address)
    private = parsed.scheme == "https" or (parsed.scheme == "http" and parsed.hostname in _LOOPBACK)
    if "://" in address and not private:
        raise InputError(f"{masked(address)}: not https; name a store as https://… or as a folder")


def _index(source: str, config: ModelsConfig) -> StoreIndex:
    text = b""
    with _opened(f"{source}/{INDEX}", 0, config.timeout_s) as (_, blocks):
        for block in blocks:
            text += block
            if len(text) > _INDEX_BYTES:
                raise InputError(f"{source}/{INDEX}: larger than any index; {_TELL}")
    return parsed_index(f"{source}/{INDEX}", text)


def parsed_index(source: str | Path, text: bytes) -> StoreIndex:
    """Return the index of a store; InputError for a text that is none."""
    try:
        parse_json(text)  # refuses what is nested too deeply
        return TypeAdapter(StoreIndex).validate_json(text)
    except ValidationError as error:
        found = error.errors()[0]
        where = shortened(".".join(map(str, found["loc"])), 100)
        raise InputError(f"{source}: no index of models ({where}: {found['msg']}); {_TELL}") from None
    except ValueError as error:
        raise InputError(f"{source}: no index of models ({first_line(error)}); {_TELL}") from None


def _write_index(folder: Path, models: dict[str, Any]) -> None:
    index = {"format": 1, "models": models}
    parsed_index(folder / INDEX, json.dumps(index).encode())  # refuses names that get would refuse
    write_json(folder / INDEX, index)


def _write_model(model: Composed, folder: Path) -> None:
    """Write what a model consists of: its weights, and its decoder with the files that it names."""
    for step in STEPS:
        found = find_weights(getattr(model.root.weights, step), step, model.root)
        weights.copy(found, folder / step, portable(found.config))
    settings = json.loads(json.dumps(model.root.decoder))
    for key, text in list(texts(settings, "decoder")):
        node, name = _parent(settings, key)
        source = next((p for p in (Path(text), EXPERIMENTS / text) if p.exists()), None)
        if not _names_file(key) or source is None:
            continue
        node[name] = key.replace(".", "/")
        (folder / node[name]).mkdir(parents=True)
        if source.is_dir():
            copy_files(source, folder / node[name])
        else:
            node[name] += f"/{source.name}"
            shutil.copyfile(source, folder / node[name])
    write_json(folder / DESCRIPTION, {"decoder": model.choices["decoder"], "settings": settings})


def model_choice(fresh: Path, folder: Path, name: str, about: str) -> str:
    """Check the files of a model, which will lie in `folder`, and return the file that chooses it by name."""
    for step in STEPS:
        weights.load(fresh / step)
    try:
        described = TypeAdapter(Description).validate_json((fresh / DESCRIPTION).read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{name}: without a {DESCRIPTION} that says how it reads; {_TELL}") from None
    settings, known = described.settings, _decoders()
    if described.decoder not in known:
        raise InputError(
            f"{name}: decoder={described.decoder}, which this hwr has not; install another version"
        )
    for key, text in list(texts(settings, "decoder")):
        node, last = _parent(settings, key)
        if "${" in text or (last == "_target_" and current_target(text) not in known.values()):
            raise InputError(f"{name}: {key}={text!r} is no setting of a decoder; {_TELL}")
        if _names_file(key) and path_exists(fresh / text):
            node[last] = str(folder / text)
    chosen = {"weights": {step: str(folder / step) for step in STEPS}, "decoder": settings}
    head = f"# @package _global_\n# {about}: hwr transcribe scans/ --model {name}\n"
    defaults = f"defaults:\n  - override /decoder: {described.decoder}\n\n"
    body = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in chosen.items())
    return head + defaults + body


def _names_file(key: str) -> bool:
    """Tell whether a key of a decoder names a file or folder: decoder.model, decoder.models.english."""
    *_, node, name = key.split(".")
    return name in _DECODER_FILES or node == "models"


def _parent(settings: dict[str, Any], key: str) -> tuple[dict[str, Any], str]:
    """Return the node of settings that holds a dotted key, and its last part."""
    _, *inner, name = key.split(".")
    for part in inner:
        settings = settings[part]
    return settings, name


def _decoders() -> dict[str, str]:
    """Return what the files of conf/decoder/ construct, by name."""
    found = {path.stem: path.read_text("utf-8") for path in (CONF / "decoder").glob("*.yaml")}
    return {name: text.partition("_target_: ")[2].split()[0] for name, text in found.items()}
