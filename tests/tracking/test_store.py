"""Stores are opened, or refused in a line before anything is recorded."""

import base64
import http.server
import ipaddress
import json
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from mlflow import MlflowClient

from hwr import tracking
from hwr.errors import InputError
from hwr.text import shortened
from hwr.tracking import Store, flatten, forget, open_store, tagged
from hwr.tracking import store as stores
from hwr.tracking.runs import safe
from tests.tracking.seen import history


def test_reason_of_an_error_is_at_its_bottom() -> None:
    with pytest.raises(ValueError, match="wrapped twice") as raised:
        try:
            raise ConnectionRefusedError(111, "Connection refused")
        except OSError as error:
            raise ValueError("wrapped twice") from error
    assert stores.reason(raised.value) == "Connection refused"
    assert stores.reason(KeyError()) == "KeyError"


def test_downloads_of_two_runs_do_not_mix(store: Store, tmp_path: Path) -> None:
    fetched = []
    for text in ("one", "two"):
        with tracking.start_run(store, text, tags={}) as one:
            one.text("weights/best/config.yaml", text)
            fetched.append(tracking.download(f"runs:/{one.id}/weights/best", store, tmp_path))
    assert [(folder / "config.yaml").read_text(encoding="utf-8") for folder in fetched] == ["one", "two"]


def test_download_goes_to_a_folder_that_is_named_by_way_of_another(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with tracking.start_run(store, "one", tags={}) as one:
        one.text("weights/best/config.yaml", "one")
    found = tracking.download(f"runs:/{one.id}/weights/best", store, tmp_path / "a" / ".." / "b")
    assert (found / "config.yaml").read_text(encoding="utf-8") == "one"
    assert (tmp_path / "b").is_dir()


def test_download_replaces_what_the_alias_named_before(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.client.create_registered_model("moving")
    for version, name in enumerate(("old", "new"), 1):
        with tracking.start_run(store, name, tags={}) as run:
            run.text(f"weights/best/{name}", name)
        place = f"{store.client.get_run(run.id).info.artifact_uri}/weights/best"
        store.client.create_model_version("moving", place, run.id)
        store.client.set_registered_model_alias("moving", "best", str(version))
        fetched = tracking.download("models:/moving@best", store, tmp_path)
    assert [path.name for path in fetched.iterdir()] == ["new"]

    def cut_off(dst_path: str, **_: str) -> None:
        (Path(dst_path) / "new").write_text("n")
        raise OSError("no room")

    monkeypatch.setattr("hwr.tracking.store.download_artifacts", cut_off)
    with pytest.raises(InputError, match="no room"):
        tracking.download("models:/moving@best", store, tmp_path)
    assert (fetched / "new").read_text(encoding="utf-8") == "new"  # another process may be reading it


@pytest.mark.parametrize("uri", ["runs:/0000/weights/best", "models:/none@best", "models:/none"])
def test_download_of_what_is_not_there_is_refused(uri: str, store: Store, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{uri}: cannot be fetched") as refused:
        tracking.download(uri, store, tmp_path)
    assert "\n" not in str(refused.value)


def test_embedded_store_lies_in_the_folder(store: Store) -> None:
    path = Path(store.uri.removeprefix("sqlite:///"))
    assert path.is_absolute()
    location = store.client.get_experiment(store.experiment).artifact_location
    assert location == (path.parent / "artifacts").as_uri()


def test_relative_database_is_made_absolute(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(database, tmp_path / "runs.db")
    monkeypatch.chdir(tmp_path)
    assert open_store("sqlite:///runs.db", Path("unused"), "x").uri == f"sqlite:///{tmp_path}/runs.db"
    assert not Path("unused").exists()


def test_experiment_is_found_when_the_store_is_opened_again(store: Store) -> None:
    assert open_store(store.uri, Path(), "tests") == store
    assert open_store(store.uri, Path(), "others").experiment != store.experiment


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(InputError, match=rf"{tmp_path}/file/outputs: cannot be written \(Not a directory\)"):
        open_store(None, tmp_path / "file" / "outputs", "x")


def test_database_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database, whatever its name is")
    with pytest.raises(InputError, match=r"tracking.uri=sqlite:///.*mlflow.db: ") as refused:
        open_store(None, tmp_path, "x")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("uri", ["outputs/mlruns", "localhost:5000"])
def test_uri_of_no_server_is_refused(uri: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"tracking.uri={uri}: not a tracking server"):
        open_store(uri, tmp_path, "x")


def test_uri_that_mlflow_does_not_know_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"tracking.uri=gopher://a: ") as refused:
        open_store("gopher://a", tmp_path, "x")
    assert "\n" not in str(refused.value)


def closed_port() -> int:
    with socket.socket() as once:
        once.bind(("127.0.0.1", 0))
        return int(once.getsockname()[1])


def test_server_that_is_not_there_is_refused_at_once(tmp_path: Path) -> None:
    uri = f"http://127.0.0.1:{closed_port()}"
    start = time.monotonic()
    with pytest.raises(
        InputError, match=f"tracking.uri={uri}: no tracking server answers there .*; start it or use null"
    ):
        open_store(uri, tmp_path, "x")
    assert time.monotonic() - start < 5


def test_server_that_does_not_answer_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"http://127.0.0.1:{mute.getsockname()[1]}"
        with pytest.raises(InputError, match=r"no tracking server answers there .*timed out"):
            open_store(uri, tmp_path, "x")


def answering(code: int) -> Any:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b"{}" if code == 404 else b"no")

        def log_message(self, *_: Any) -> None:
            pass

    return Answer


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (503, "no tracking server answers there .too many 503"),
        (404, "tracking.uri="),
        (401, "it refuses the login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or"),
    ],
)
def test_other_servers_are_refused_in_one_line(code: int, said: str, tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), answering(code)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(InputError, match=said) as refused:
                open_store(f"http://127.0.0.1:{server.server_port}", tmp_path, "x")
        finally:
            server.shutdown()
    assert "\n" not in str(refused.value)


def test_mlflow_tells_nothing_of_its_tables() -> None:
    assert not logging.getLogger("mlflow.store.db.utils").isEnabledFor(logging.INFO)
    assert not logging.getLogger("alembic").isEnabledFor(logging.INFO)


@pytest.mark.slow
def test_fresh_store_is_made_once_and_loses_nothing_when_processes_start_together(
    tmp_path: Path,
) -> None:
    code = (
        "import sys, hwr; from pathlib import Path; from hwr import tracking\n"
        "store = tracking.open_store(None, Path(sys.argv[1]), 'x')\n"
        "with tracking.start_run(store, 'job', tags={}) as run:\n"
        "    for step in range(100):\n"
        "        run.metrics({'loss': step, 'cer': step / 100}, step)\n"
        "        if step % 10 == 0: run.tags({f'at{step}': 'here'})\n"
        "print(store.experiment, run.id)"
    )
    jobs = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    ended = [(*job.communicate(timeout=300), job.returncode) for job in jobs]
    assert [(out.split()[0], err, code) for out, err, code in ended] == [("1", "", 0)] * 3
    store = open_store(None, tmp_path, "x")
    for out, _, _ in ended:
        run = out.split()[1]
        assert history(store, run, "loss") == [(step, float(step)) for step in range(100)]
        assert history(store, run, "cer") == [(step, step / 100) for step in range(100)]
        found = store.client.get_run(run)
        assert sum(tag.startswith("at") for tag in found.data.tags) == 10
        assert found.info.status == "FINISHED"


def test_experiment_that_another_process_creates_meanwhile_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = open_store(None, tmp_path, "same")
    find, answers = MlflowClient.get_experiment_by_name, iter([True, False])
    monkeypatch.setattr(
        MlflowClient,
        "get_experiment_by_name",
        lambda self, name: None if next(answers, False) else find(self, name),
    )
    assert open_store(None, tmp_path, "same").experiment == other.experiment


def test_server_is_waited_for(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    answers = iter([False, False, True])

    def check(uri: str) -> None:
        if not next(answers):
            raise InputError("no tracking server answers there")

    monkeypatch.setattr(stores, "answering", check)
    monkeypatch.setattr(stores, "PAUSE_S", 0.0)
    stores.await_answer("http://there:5000", 300.0)
    assert capsys.readouterr().err == (
        "tracking: no tracking server answers there; waiting for it up to 5 min\n"
    )
    stores.await_answer(None, 0.0)  # an embedded one is there
    monkeypatch.setattr(stores, "answering", lambda uri: check_never())
    with pytest.raises(InputError, match="never"):
        stores.await_answer("http://there:5000", 0.0)


def check_never() -> None:
    raise InputError("never")


# a server that wants a login, with a certificate of its own

NAME, PASSWORD = "me", "s3cr%2Fet"  # s3cr/et
AUTHORIZATION = "Basic " + base64.b64encode(b"me:s3cr/et").decode()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a key and a certificate that it signed itself, in a file."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = (Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    path.write_bytes(key.private_bytes(*plain) + signed.public_bytes(Encoding.PEM))
    return path


@pytest.fixture
def guarded(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return the address, without https://, of a server that knows one experiment and who may ask for it."""

    class Guard(answering(200)):  # type: ignore[misc]
        def do_GET(self) -> None:  # noqa: N802
            known = self.headers.get("Authorization") in (AUTHORIZATION, "Bearer t0ken")
            self.send_response(200 if known else 401)
            self.end_headers()
            experiment = {"experiment_id": "7", "name": "hwr", "lifecycle_stage": "active"}
            self.wfile.write(json.dumps({"experiment": experiment}).encode() if known else b"no")

        do_POST = do_GET  # noqa: N815

    for name in ("URI", "USERNAME", "PASSWORD", "TOKEN", "INSECURE_TLS", "SERVER_CERT_PATH"):
        monkeypatch.delenv(f"MLFLOW_TRACKING_{name}", raising=False)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with http.server.HTTPServer(("127.0.0.1", 0), Guard) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


LOGIN = f"{NAME}:{PASSWORD}@"


@pytest.mark.parametrize(
    ("login", "environment"),
    [
        (LOGIN, {}),
        ("", {"URI": f"https://{LOGIN}SERVER/"}),  # as a resumed run, whose own address has no login
        ("", {"USERNAME": NAME, "PASSWORD": "s3cr/et"}),
        ("", {"TOKEN": "t0ken"}),
    ],
)
def test_server_is_asked_with_the_login_and_the_certificate_that_mlflow_knows(
    login: str,
    environment: dict[str, str],
    guarded: str,
    certificate: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_SERVER_CERT_PATH", str(certificate))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")  # which open_store may replace
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value.replace("SERVER", guarded))
    store = open_store(f"https://{login}{guarded}", tmp_path, "hwr")
    assert (store.experiment, store.uri) == ("7", f"https://{guarded}")
    stores.await_answer(f"https://{login}{guarded}", 0.0)


@pytest.mark.parametrize(
    ("login", "environment", "said"),
    [
        (f"{NAME}:wrong@", {"INSECURE_TLS": "true"}, "it refuses the login; set MLFLOW_TRACKING_USERNAME"),
        (LOGIN, {}, ".*certificate verify failed.*; set MLFLOW_TRACKING_SERVER_CERT_PATH"),
    ],
)
@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_server_that_refuses_is_told_with_the_remedy_and_without_the_password(
    login: str,
    environment: dict[str, str],
    said: str,
    guarded: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://other")
    for name, value in environment.items():
        monkeypatch.setenv(f"MLFLOW_TRACKING_{name}", value)
    with pytest.raises(InputError, match=f"^tracking.uri=https://{guarded}: {said}") as refused:
        open_store(f"https://{login}{guarded}", tmp_path, "hwr")
    assert PASSWORD not in str(refused.value) and "wrong" not in str(refused.value)


def test_deleted_experiment_is_refused_with_the_command_that_restores_it(store: Store) -> None:
    gone = open_store(store.uri, store.folder, "gone")
    gone.client.delete_experiment(gone.experiment)
    remedy = f"mlflow experiments restore --experiment-id {gone.experiment}"
    with pytest.raises(InputError, match=f"tracking.experiment=gone: was deleted; .*{remedy}"):
        open_store(store.uri, store.folder, "gone")


def test_models_are_asked_for_in_the_store_of_the_run(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where MLflow's own default would lie
    with tracking.start_run(store, "test", tags={}) as run:
        run.text("weights/best/config.yaml", "lr: 1")
    store.client.create_registered_model("reader")
    place = f"{store.client.get_run(run.id).info.artifact_uri}/weights/best"
    store.client.create_model_version("reader", place, run.id)
    store.client.set_registered_model_alias("reader", "best", "1")
    found = tracking.download("models:/reader@best", store, tmp_path)
    assert (found / "config.yaml").read_text(encoding="utf-8") == "lr: 1"
    assert "MLFLOW_TRACKING_URI" not in os.environ


# runs in a store


def test_runs_are_found_by_a_tag_with_what_they_reached(store: Store) -> None:
    with tracking.start_run(store, "sweep", tags={}) as parent:
        with tracking.start_run(store, "job", tags={tracking.PARENT: parent.id}) as child:
            child.metrics({"best/valid/cer": 0.5}, 1)
            child.parameters({"lr": 1})
        with tracking.start_run(store, "other", tags={}):
            pass
        (found,) = tagged(store, tracking.PARENT, parent.id)
    assert (found.id, found.status) == (child.id, "FINISHED")
    assert (found.metrics, found.parameters) == ({"best/valid/cer": 0.5}, {"lr": "1"})
    assert found.tags[tracking.PARENT] == parent.id


def test_runs_are_found_by_a_tag_and_other_conditions(store: Store) -> None:
    for name, kind in (("a", "one"), ("b", "one"), ("c", "other")):
        with tracking.start_run(store, name, tags={"kind": kind, "letter": name}):
            pass
    (found,) = tagged(store, "kind", "one", "tags.letter = 'b'", "attributes.status = 'FINISHED'")
    assert found.tags["letter"] == "b"


def test_all_runs_are_found_once_when_they_take_several_requests(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwr.tracking.store.RUNS_A_REQUEST", 2)
    made = [
        store.client.create_run(store.experiment, 1000 + number, tags={"kind": "many"}).info.run_id
        for number in range(5)
    ]
    assert [run.id for run in tagged(store, "kind", "many")] == made[::-1]


def test_forgotten_run_is_not_found(store: Store) -> None:
    with tracking.start_run(store, "job", tags={"kind": "forgotten"}) as job:
        pass
    forget(store, job.id)
    assert tagged(store, "kind", "forgotten") == []


def test_store_that_does_not_tell_is_refused_in_one_line(tmp_path: Path) -> None:
    nowhere = Store("http://127.0.0.1:1", "0", tmp_path)
    with pytest.raises(InputError, match=r"tracking.uri=http://127.0.0.1:1: ") as refused:
        tagged(nowhere, "kind", "job")
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match=r"tracking.uri=http://127.0.0.1:1: "):
        forget(nowhere, "r1")


# what a store takes


def test_flatten_joins_names_with_dots() -> None:
    assert flatten({"a": {"b": {"c": 1}}, "d": "é"}) == {"a.b.c": "1", "d": "é"}


@pytest.mark.parametrize(
    ("name", "taken"), [("valid/cer", "valid/cer"), ("a[0]", "a_0_"), ("b%c=d", "b_c_d"), ("é", "é")]
)
def test_name_keeps_what_mlflow_takes(name: str, taken: str) -> None:
    assert safe(name) == taken


@pytest.mark.parametrize(("text", "shown"), [("abc", "abc"), ("abcd", "ab…")])
def test_text_is_cut_visibly_when_it_is_too_long(text: str, shown: str) -> None:
    assert shortened(text, 3) == shown


def test_database_of_which_the_making_was_killed_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("mlflow.store.tracking.sqlalchemy_store.SqlAlchemyStore.search_experiments", killed)
        open_store(None, tmp_path, "hwr")
    assert not list(tmp_path.glob("*.db"))
    assert open_store(None, tmp_path, "hwr").client.search_experiments()
