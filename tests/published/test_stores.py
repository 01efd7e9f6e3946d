"""hwr models get and publish: what arrives is what the index says, whatever the way does to it."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hwr import weights
from hwr.__main__ import main
from hwr.config import CONF
from hwr.config.bind import target, texts
from hwr.config.compose import composed
from hwr.config.roots import TranscribeConfig
from hwr.decoding.beam import language_decoder
from hwr.files import sha256
from tests.published.store_server import FolderServer, serving
from tests.refusal import refused

NAME = "forms"  # what the model `synthetic` is called in the store
LARGE = "line/network.params"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store with one model."""
    store = tmp_path_factory.mktemp("store")
    main(["models", "publish", "synthetic", str(store)])
    (store / "synthetic").rename(store / NAME)
    index = json.loads((store / "index.json").read_text("utf-8"))
    (store / "index.json").write_text(
        json.dumps({"format": 1, "models": {NAME: index["models"]["synthetic"]}})
    )
    return store


@pytest.fixture
def server(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FolderServer]:
    """Serve a copy of the store; there is no proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    shutil.copytree(published, tmp_path / "store")
    with serving(tmp_path / "store") as running:
        yield running


def get(address: str | Path, folder: Path, *more: str, name: str = NAME) -> Path:
    """Fetch a model, and return its folder."""
    main(["models", "get", name, f"+stores.here={address}", f"folder={folder}", *more])
    return folder / "models" / name


def changed_index(store: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    index = json.loads((store / "index.json").read_text("utf-8"))
    text = change(index)
    (store / "index.json").write_text(text if isinstance(text, str) else json.dumps(index))


def described(published: Path, store: Path, settings: Any) -> Path:
    """Copy a store, and describe its model otherwise; return the copy."""
    shutil.copytree(published, store)
    path = store / NAME / "model.json"
    path.write_text(json.dumps(settings))
    own = {"size": path.stat().st_size, "sha256": sha256(path)}
    changed_index(
        store, lambda i: [f.update(own) for f in i["models"][NAME]["files"] if f["path"] == "model.json"]
    )
    return store


def test_fetched_model_is_that_of_the_store_and_is_chosen_by_name(
    server: FolderServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = get(server.address, tmp_path / "o")
    for step, shipped in (("paragraph", "paragraph/synthetic"), ("line", "line/synthetic")):
        own = CONF.parent / "experiments" / shipped / "weights" / "network.params"
        assert sha256(model / step / "network.params") == sha256(own)
    config = composed("transcribe", [f"+model={NAME}", f"folder={tmp_path / 'o'}"], TranscribeConfig).root
    assert config.weights.line == str(model / "line")
    server.asked.clear()
    get(server.address, tmp_path / "o")
    assert [path for path, _ in server.asked] == ["/index.json"]
    capsys.readouterr()
    main(["models", "list", f"folder={tmp_path / 'o'}"])
    assert f"{NAME}  " in capsys.readouterr().out
    main(["models", "show", NAME, f"folder={tmp_path / 'o'}"])
    assert str(model / "line") in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shipped", "key", "file"),
    [("copiste", "model", "model.arpa.gz"), ("latin", "models.french", "model.arpa.gz")],
)
def test_decoder_of_a_model_brings_its_files(tmp_path: Path, shipped: str, key: str, file: str) -> None:
    main(["models", "publish", shipped, str(tmp_path / "s")])
    (tmp_path / "s" / shipped).rename(tmp_path / "s" / "fetched")
    changed_index(tmp_path / "s", lambda i: i["models"].update(fetched=i["models"].pop(shipped)))
    model = get(tmp_path / "s", tmp_path / "o", name="fetched")
    config = composed("transcribe", ["+model=fetched", f"folder={tmp_path / 'o'}"], TranscribeConfig).root
    folder = model / "decoder" / key.replace(".", "/")
    assert (folder / file).is_file()
    assert dict(texts(config.decoder, "decoder"))[f"decoder.{key}"] == str(folder)
    main(["models", "verify", "fetched", f"folder={tmp_path / 'o'}"])


def test_own_model_is_published(tmp_path: Path) -> None:
    own = tmp_path / "conf" / "model" / "mine.yaml"
    own.parent.mkdir(parents=True)
    shipped = (CONF / "model" / "synthetic.yaml").read_text("utf-8")
    own.write_text(
        shipped.replace("Forms drawn in script fonts, English and French", "My hand"), encoding="utf-8"
    )
    main(["models", "publish", "mine", str(tmp_path / "s"), f"own={own.parents[1]}"])
    index = json.loads((tmp_path / "s/index.json").read_text("utf-8"))
    assert index["models"]["mine"]["about"] == "My hand"
    assert weights.load(get(tmp_path / "s", tmp_path / "o", name="mine") / "paragraph").alphabet is None


@pytest.mark.parametrize("ranges", [True, False])
def test_broken_connection_is_gone_on_from(
    server: FolderServer, tmp_path: Path, capsys: pytest.CaptureFixture[str], ranges: bool
) -> None:
    server.cut, server.ranges = 200_000, ranges  # smaller files arrive
    said = refused(capsys, lambda: get(server.address, tmp_path / "o"))
    assert "cannot be fetched" in said and "goes on from what arrived" in said
    assert not (tmp_path / "o/models" / NAME).exists()
    server.cut = None
    server.asked.clear()
    model = get(server.address, tmp_path / "o")
    assert any(wanted == "bytes=196608-" for _, wanted in server.asked)
    assert weights.load(model / "line").sha256 == sha256(server.root / NAME / LARGE)
    assert not list((tmp_path / "o/models/.parts").iterdir())


def test_changed_file_is_refused_and_an_older_model_stays(
    server: FolderServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = get(server.address, tmp_path / "o")
    before = sha256(model / LARGE)
    changed_index(
        server.root,
        lambda i: [f.update(sha256="0" * 64) for f in i["models"][NAME]["files"] if f["path"] == LARGE],
    )
    said = refused(capsys, lambda: get(server.address, tmp_path / "o"))
    assert LARGE in said and "SHA-256" in said
    assert sha256(model / LARGE) == before
    assert not list((tmp_path / "o/models/.parts").glob("0*"))


def test_model_that_is_kept_is_used_where_no_store_answers(
    server: FolderServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    get(server.address, tmp_path / "o")
    get("http://127.0.0.1:9", tmp_path / "o")
    said = capsys.readouterr().err
    assert said.startswith(f"{NAME}: kept as it is; http://127.0.0.1:9/index.json: cannot be fetched (")
    assert said.count("\n") == 1
    assert "127.0.0.1:9" in refused(capsys, lambda: get("http://127.0.0.1:9", tmp_path / "empty"))


def test_proxy_of_the_environment_is_asked(
    server: FolderServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", server.address)
    monkeypatch.setenv("no_proxy", "")
    get("http://localhost:9", tmp_path / "o")
    assert {path.partition("/index")[0] for path, _ in server.asked[:1]} == {"http://localhost:9"}


def _file(**own: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda index: index["models"][NAME]["files"][0].update(own)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *((_file(path=path), "files.0.path") for path in (
            "../../x", "/etc/passwd", "a/../../b", ".ssh/x", "a/./b", "a//b", "a\\b", "C:x", "a\nb", "",
            "x" * 300,
        )),
        (_file(path="conf/model/forms.yaml"), "or one in conf/"),
        (_file(path=LARGE), "names a file of forms twice"),
        (_file(size=10**12), "set max_bytes to take that much"),
        (_file(size=-1), "files.0.size"),
        (_file(size=1), "not what the index says"),
        (_file(sha256="x"), "files.0.sha256"),
        (lambda index: index["models"].update({"../x": index["models"][NAME]}), "../x"),
        (lambda index: index.update(format=2), "format"),
        (lambda index: index["models"][NAME].update(about="a\nb"), "about"),
        (lambda index: "[" * 100_000, "no index of models"),
        (lambda index: "<html>", "no index of models"),
        (lambda index: " " * (5 << 20), "larger than any index"),
    ],
)  # fmt: skip
def test_bad_index_is_refused(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: Any, said: str
) -> None:
    store = tmp_path / "store"
    shutil.copytree(published, store)
    changed_index(store, change)
    assert said in refused(capsys, lambda: get(store, tmp_path / "o"))
    assert not (tmp_path / "o" / "models" / NAME).exists()
    assert {path.name for path in tmp_path.iterdir()} == {"store", "o"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"decoder": "greedy", "settings": {"_target_": "os.system"}}, "decoder._target_='os.system'"),
        ({"decoder": "greedy", "settings": {"a": "${oc.env:HOME}"}}, "decoder.a='${oc.env:HOME}'"),
        ({"decoder": "other", "settings": {}}, "decoder=other"),
        ({"decoder": "greedy"}, "without a model.json"),
    ],
)
def test_bad_description_is_refused(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], settings: Any, said: str
) -> None:
    store = described(published, tmp_path / "store", settings)
    assert said in refused(capsys, lambda: get(store, tmp_path / "o"))
    assert not (tmp_path / "o" / "models" / NAME).exists()


def test_decoder_is_accepted_by_the_name_that_it_had_in_earlier_versions(
    published: Path, tmp_path: Path
) -> None:
    settings = {"_target_": "hwr.decoding.languages.language_decoder"}
    get(described(published, tmp_path / "s", {"decoder": "languages", "settings": settings}), tmp_path / "o")
    config = composed("transcribe", [f"+model={NAME}", f"folder={tmp_path / 'o'}"], TranscribeConfig).root
    assert target(config.decoder, "decoder") is language_decoder


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["get", NAME], "+stores.NAME=https://HOST/FOLDER"),
        (["get", "copiste"], "comes with hwr"),
        (["get", "../x"], "../x: no name of a model"),
        (["get", "x" * 300], "no name of a model"),
        (["show", "x" * 300], "no such model"),
        (["get", NAME, "+stores.a=http://example.org/m"], "http://example.org/m: not https"),
        (["get", NAME, "+stores.a=ftp://127.0.0.1/m"], "not https"),
        (["publish", "synthetic"], "name a model, and a store"),
        (["publish", "synthetic", "https://example.org/m"], "published to a folder, or to mlflow"),
    ],
)
def test_request_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    assert said in refused(capsys, lambda: main(["models", *words, f"folder={tmp_path}"]))


def test_redirect_to_an_open_address_is_not_followed(
    server: FolderServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server.redirect = "http://example.org/index.json"
    assert "not https" in refused(capsys, lambda: get(server.address, tmp_path / "o"))
    server.redirect = "/index.json"
    assert "too many redirects" in refused(capsys, lambda: get(server.address, tmp_path / "o"))


def test_registry_gives_back_what_was_published_to_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    database = f"tracking.uri=sqlite:///{tmp_path}/m/mlflow.db"
    main(["models", "publish", "synthetic", "mlflow", f"folder={tmp_path / 'o'}", database])
    said = refused(capsys, lambda: get("mlflow", tmp_path / "o", database))
    assert f"models:/{NAME}@champion" in said
    # under its own name it comes with hwr, so that another name is registered
    from hwr import tracking
    from hwr.files import copy_files

    store = tracking.open_store(database.partition("=")[2], tmp_path / "o", "hwr")
    bundle = tracking.download("models:/synthetic@champion", store, tmp_path / "found")
    copy_files(bundle, tmp_path / "other")
    (tmp_path / "other/synthetic").rename(tmp_path / "other" / NAME)
    changed_index(tmp_path / "other", lambda i: i["models"].update({NAME: i["models"].pop("synthetic")}))
    tracking.register(store, NAME, tmp_path / "other", "champion")
    model = get("mlflow", tmp_path / "o", database)
    assert weights.load(model / "line").alphabet is not None
