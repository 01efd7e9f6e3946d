"""What the server answers, keeps and refuses."""

import contextlib
import http.client
import io
import json
import os
import socket
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from PIL import Image

from hwr.data.sources.alto import read_alto
from tests.serving.serving import LOWER, TWO, UPPER, Client, Networks, file_of, serving, shades
from tests.transcription.export.read_pages import SPLITTING
from tests.transcription.test_page_reader import page

PAGE = file_of()
_ENTITIES = b'<!DOCTYPE a [<!ENTITY b "b"><!ENTITY c "&b;&b;&b;">]><alto>&c;</alto>'


def _archive() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", bytes(1 << 24))
    return made.getvalue()


def _pixels(side: int) -> bytes:
    made = io.BytesIO()
    Image.new("1", (side, side)).save(made, "PNG")
    return made.getvalue()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return who asks a server that keeps nothing from test to test."""
    with serving(
        tmp_path_factory.mktemp("pages") / "kept", "max_bytes=200000", "max_pages=2", "max_boxes=2"
    ) as asking:
        yield asking


# For programs


@pytest.mark.parametrize(
    ("query", "accept", "media", "held"),
    [
        ("", "*/*", "application/json", b'"text": "10"'),
        ("?format=txt", "application/json", "text/plain; charset=utf-8", b"10\n20\n"),
        (
            "?name=a.png",
            "text/html, application/xml;q=0.9",
            "application/alto+xml",
            b"<fileName>a.png</fileName>",
        ),
        ("?format=page", "", "application/vnd.prima.page+xml", b"<Unicode>20</Unicode>"),
        ("", "image/*", "image/png", b"\x89PNG"),
    ],
)
def test_page_is_answered_in_the_format_that_is_asked_for(
    client: Client, query: str, accept: str, media: str, held: bytes
) -> None:
    answer = client("POST", f"/v1/pages{query}", PAGE, Accept=accept)
    assert (answer.status, answer.headers["content-type"]) == (200, media)
    assert held in answer.body


def test_file_of_several_pages_is_answered_whole_or_by_page(client: Client) -> None:
    file = file_of(TWO, page((UPPER, 30)))
    assert client("POST", "/v1/pages?format=txt", file).body == b"10\n20\n\f30\n"
    assert client("POST", "/v1/pages?format=txt&page=2", file).body == b"30\n"
    assert [len(own["lines"]) for own in client("POST", "/v1/pages", file).json["pages"]] == [2, 1]
    archive = zipfile.ZipFile(io.BytesIO(client("POST", "/v1/pages?format=alto&name=b.tif", file).body))
    assert archive.namelist() == ["b-001.alto.xml", "b-002.alto.xml"]


def test_pages_without_text_are_told(client: Client) -> None:
    answer = client("POST", "/v1/pages?name=b.tif", file_of(TWO, page())).json
    assert answer["pages"][1]["lines"] == []
    assert answer["doubts"] == ["b-002: no text found; look whether the page is blank"]


def test_pictures_of_a_file_that_are_not_read_are_told(client: Client) -> None:
    made = io.BytesIO()
    first, second = (Image.fromarray(own) for own in (TWO, page((UPPER, 30))))
    first.save(made, "WEBP", save_all=True, append_images=[second], lossless=True)
    said = ["a.webp: one of 2 pictures is read; save the others as files of their own, or as a TIFF"]
    answer = client("POST", "/v1/pages?name=a.webp", made.getvalue()).json
    assert (len(answer["pages"]), answer["doubts"]) == (1, said)
    assert client("POST", "/v1/work?name=a.webp", made.getvalue()).json["doubts"] == said
    assert "doubts" not in client("POST", "/v1/pages", PAGE).json


def test_line_is_read_whole_or_in_boxes(client: Client) -> None:
    assert client("POST", "/v1/lines?format=txt", shades(77)[0]).body == b"77\n"
    boxes = "&".join("box=" + ",".join(map(str, box)) for box in (LOWER, UPPER))
    lines = client("POST", f"/v1/lines?{boxes}", PAGE).json["lines"]
    assert [(line["text"], line["confidences"]) for line in lines] == [("20", [0.5, 0.5]), ("10", [0.5, 0.5])]


@pytest.mark.parametrize(
    ("path", "body", "status", "said"),
    [
        ("/v1/pages?name=x.png", b"no image", 422, "x.png: damaged, or no image"),
        ("/v1/pages?name=../../x.png", PAGE[:60], 422, "x.png: "),
        ("/v1/pages", b"", 400, "an empty body"),
        ("/v1/pages", b"0" * 200_001, 413, "200001 bytes are more than 200000"),
        ("/v1/pages?page=2", PAGE, 422, "there is no page 2"),
        ("/v1/pages?page=0", PAGE, 422, "page: input should be greater than or equal to 1"),
        ("/v1/pages", file_of(TWO, TWO, TWO), 422, "more than max_pages=2"),
        (
            "/v1/pages?format=docx",
            PAGE,
            422,
            "format=docx: unknown; use one of json, alto, page, txt, overlay",
        ),
        ("/v1/pages?name=a.zip", _archive(), 422, "a.zip: damaged, or no image"),
        ("/v1/pages?name=a.xml", _ENTITIES, 422, "a.xml: damaged, or no image"),
        ("/v1/pages?name=a.png", _pixels(14_000), 422, "a.png: the image is too large to decode safely"),
        ("/v1/lines?box=1,2,3", PAGE, 422, "box=1,2,3: not four numbers"),
        ("/v1/lines?box=0.5,nan,0.2,1", PAGE, 422, "without area on the page"),
        ("/v1/lines?box=0,0,1,1&box=0,0,1,1&box=0,0,1,1", PAGE, 422, "3 boxes are more than max_boxes=2"),
        ("/v1/lines?name=a.tif", file_of(TWO, TWO), 422, "a.tif: holds 2 pages; send each as an image"),
        ("/v1/work?name=x.png", b"no image", 422, "x.png: damaged, or no image"),
        (
            "/v1/pages?fomat=alto",
            PAGE,
            422,
            "fomat: no such key (did you mean format?); known are name, format, page",
        ),
        ("/v1/lines?format=txt&page=1", PAGE, 422, "page: no such key; known are name, format, box"),
        ("/v1/adapt?x=1", b"", 422, "x: no such key; this address takes none"),
        ("/v1/nothing", b"", 404, "/v1/nothing: Not Found"),
        ("/healthz", b"", 405, "/healthz: Method Not Allowed"),
    ],
)
def test_bad_request_is_refused_in_one_line(
    client: Client, path: str, body: bytes, status: int, said: str
) -> None:
    answer = client("POST", path, body)
    assert answer.status == status
    assert said in answer.error
    assert "/tmp" not in answer.error


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Host": "evil.example"}, 421, "evil.example: not a name of this server"),
        ({"Host": "localhost:99"}, 200, ""),
        ({"Origin": "http://evil.example"}, 403, "another site"),
        ({"Origin": "null"}, 403, "another site"),
        ({"Sec_Fetch_Site": "cross-site"}, 403, "another site"),
        ({"Accept": "audio/mpeg"}, 406, "Accept: audio/mpeg"),
        ({"Content_Type": "multipart/form-data; boundary=x"}, 415, "send the file itself as the body"),
    ],
)
def test_request_is_refused_by_its_headers(
    client: Client, headers: dict[str, str], status: int, said: str
) -> None:
    answer = client("POST", "/v1/pages", PAGE, **headers)
    assert answer.status == status
    if said:
        assert said in answer.error


def test_own_page_may_send(client: Client) -> None:
    own = {"Origin": f"http://127.0.0.1:{client.port}", "Sec_Fetch_Site": "same-origin"}
    assert client("POST", "/v1/pages?format=txt", PAGE, **own).status == 200


@pytest.mark.parametrize("path", ["/v1/pages", "/v1/work/x/lines"])
def test_body_without_stated_length_is_cut_off_at_the_limit(client: Client, path: str) -> None:
    def blocks() -> Iterator[bytes]:
        for _ in range(1000):  # 64 MB
            yield b"0" * 65536

    with contextlib.suppress(ConnectionError, http.client.HTTPException):  # cut off while it was being sent
        assert client("POST", path, blocks()).status == 413
    assert client("GET", "/healthz").json["status"] == "ok"


@pytest.mark.parametrize("path", ["/v1/pages", "/v1/work/x/lines"])
@pytest.mark.parametrize("stated", [True, False])
def test_client_that_sends_too_much_still_reads_why(client: Client, path: str, stated: bool) -> None:
    body = b"0" * 4_000_000
    answer = client("POST", path, body if stated else iter([body[:1_000_000]] * 4))
    assert answer.status == 413
    assert "send less" in answer.error


def test_upload_that_is_cut_off_frees_its_place(client: Client) -> None:
    with socket.create_connection(("127.0.0.1", client.port)) as cut:
        cut.sendall(b"POST /v1/pages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
        _until(lambda: client.service.taken == 1)
    _until(lambda: client.service.taken == 0)


def test_counts_are_in_the_metrics(client: Client) -> None:
    client("POST", "/v1/pages", PAGE)
    text = client("GET", "/metrics").body.decode()
    counts = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(counts['hwr_requests_total{route="/v1/pages",status="200"}']) >= 1
    assert float(counts["hwr_lines_total"]) >= 2
    assert counts["hwr_queue_limit"] == "32"
    assert float(counts["process_resident_memory_bytes"]) > 1e6


def test_pages_of_the_server_ask_no_other_host(client: Client) -> None:
    for path in ("/", "/docs", "/login", "/static/page.js", "/static/page.css", "/static/docs.js"):
        answer = client("GET", path)
        assert answer.status == 200
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.body.replace(b"http://www.w3.org/2000/svg", b"").find(b"http") == -1
    assert {"/v1/pages", "/v1/lines", "/v1/work/{name}"} <= set(client("GET", "/openapi.json").json["paths"])
    assert client("GET", "/static/..%2fapp.py").status == 404


# Several at once


def test_lines_of_concurrent_requests_are_read_together_and_a_bad_one_fails_alone(tmp_path: Path) -> None:
    networks = Networks(bad=13)
    with serving(tmp_path, networks=networks) as client:
        networks.free.clear()
        answers = dict[int, object]()

        def ask(value: int, body: bytes) -> None:
            answer = client("POST", "/v1/lines?format=txt", body)
            answers[value] = answer.body.decode() if answer.status == 200 else answer.error

        asking = [
            threading.Thread(target=ask, args=own)
            for own in zip((1, 13, 3, 4, 5), shades(1, 13, 3, 4, 5), strict=True)
        ]
        for thread in asking:
            thread.start()
        _until(lambda: client.service.taken == 5)
        networks.free.set()
        for thread in asking:
            thread.join()
    assert answers.pop(13) == "RuntimeError: a shade that no network bears; this is a defect of hwr"
    assert answers == {1: "1\n", 3: "3\n", 4: "4\n", 5: "5\n"}
    assert max(networks.batches) > 1


def test_request_is_put_off_when_the_queue_is_full(tmp_path: Path) -> None:
    networks = Networks()
    with serving(tmp_path, "queue=1", networks=networks) as client:
        networks.free.clear()
        first = threading.Thread(target=client, args=("POST", "/v1/pages", PAGE))
        first.start()
        _until(lambda: client.service.taken == 1)
        answer = client("POST", "/v1/pages", PAGE)
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert "try again in 1 s" in answer.error
        assert client("GET", "/healthz").status == 200
        networks.free.set()
        first.join()
        assert client("POST", "/v1/pages", PAGE).status == 200


def test_slow_upload_is_ended(tmp_path: Path) -> None:
    with serving(tmp_path, "upload_s=0.2") as client:
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as slow:
            slow.sendall(b"POST /v1/pages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nabc")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")
        _until(lambda: client.service.taken == 0)


# The token


def test_nothing_is_told_without_the_token(tmp_path: Path) -> None:
    with serving(tmp_path, "token=sesame") as client:
        assert client("GET", "/healthz").status == 200
        for path in ("/v1/work", "/metrics", "/openapi.json", "/static/page.js"):
            assert client("GET", path, Authorization="Bearer open").status == 401
            assert client("GET", path, Authorization="Bearer sesame").status == 200
        assert client("GET", "/").headers["location"] == "/login"
        assert client("POST", "/login", "token=open").headers["location"] == "/login?wrong"
        cookie = client("POST", "/login", "token=sesame").headers["set-cookie"]
        assert "HttpOnly" in cookie and "SameSite=strict" in cookie
        assert client("GET", "/", Cookie=cookie.partition(";")[0]).status == 200


# The folder


def test_page_is_read_corrected_and_opened_as_it_was_left(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        assert client("POST", "/v1/work?name=C:%5Cx%5Ca%20b.png", PAGE).json["pages"] == ["a b"]
        found = client.until("/v1/work/a%20b", "state", "read")
        assert [line["text"] for line in found["lines"]] == ["10", "20"]
        change = json.dumps({"text": "one  and\ttwo", "was": "10"})
        corrected = client("PUT", "/v1/work/a%20b/lines/0", change).json
        assert [(line["text"], line["corrected"]) for line in corrected["lines"]] == [
            ("one and two", True),
            ("20", False),
        ]
        again = client("PUT", "/v1/work/a%20b/lines/0", change)
        assert again.status == 409
        assert client("DELETE", "/v1/work/a%20b/lines/1?was=20").json["lines"] == corrected["lines"][:1]
        added = client("POST", "/v1/work/a%20b/lines", json.dumps({"box": LOWER})).json
        assert (added["added"], added["lines"][1]["text"]) == (1, "20")
        alto = client("GET", "/v1/work/a%20b/file?format=alto")
        assert alto.headers["content-disposition"].startswith('attachment; filename="a b.alto.xml"')
        assert client("GET", "/v1/work/a%20b/picture?turn=90").body.startswith(b"\xff\xd8")
        archive = zipfile.ZipFile(io.BytesIO(client("GET", "/v1/work.zip?format=txt").body))
        assert archive.read("a b.txt") == b"one and two\n20\n"
        left = client("GET", "/v1/work?text=true").json["pages"]
    with serving(tmp_path) as client:
        assert client("GET", "/v1/work/a%20b").json["lines"] == added["lines"]
        assert client("GET", "/v1/work?text=true").json["pages"] == left
        assert left[0]["text"] == "one and two\n20"
    ((one, two),) = (own.lines for own in read_alto(tmp_path, **SPLITTING).pages)
    assert (one.text, two.text) == ("one and two", "20")
    line = fromstring(alto.body).find(".//{*}TextLine")
    assert line is not None and line.get("CS") == "true"


def test_correction_is_undone_with_what_was_read(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        client("POST", "/v1/work?name=a.png", PAGE)
        before = client.until("/v1/work/a", "state", "read")["lines"][0]
        client("PUT", "/v1/work/a/lines/0", json.dumps({"text": "other", "was": "10"}))
        back = {"text": "10", "was": "other", "confidences": before["confidences"]}
        after = client("PUT", "/v1/work/a/lines/0", json.dumps(back)).json["lines"][0]
        assert (after["text"], after["corrected"], after["confidences"]) == (
            "10",
            False,
            before["confidences"],
        )
        removed = client("DELETE", "/v1/work/a/lines/0?was=10").json
        given = {key: after[key] for key in ("box", "text", "polygon", "baseline", "confidences")}
        restored = client("POST", "/v1/work/a/lines", json.dumps(given)).json["lines"]
        assert [line["text"] for line in removed["lines"]] == ["20"]
        assert {key: restored[0][key] for key in given} == given


def test_what_lies_in_the_folder_is_read_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(PAGE)
    (tmp_path / "b.png").write_bytes(PAGE[:60])
    (tmp_path / "c.tif").write_bytes(file_of(TWO, TWO))
    (tmp_path / "d.png").symlink_to("/etc/hostname")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(PAGE)
    with serving(tmp_path) as client:
        client.until("/v1/work/a", "state", "read")
        assert "b.png: " in client.until("/v1/work/b", "state", "failed")["reason"]
        assert "2 page(s)" in client.until("/v1/work/c", "state", "failed")["reason"]
        assert [own["name"] for own in client("GET", "/v1/work").json["pages"]] == [
            "a",
            "b",
            "c",
            "caf\\udce9",
        ]
        assert "rename the file" in client.until("/v1/work/caf%5Cudce9", "state", "failed")["reason"]
        for name in ("..%2Fa", "d", "x", ".hwr-serve"):
            assert client("GET", f"/v1/work/{name}").status == 404


def test_pages_of_a_dropped_file_are_kept_as_png(tmp_path: Path) -> None:
    with serving(tmp_path) as client:
        assert client("POST", "/v1/work?name=c.tif", file_of(TWO, TWO)).json["pages"] == ["c-001", "c-002"]
        assert client("POST", "/v1/work?name=c-001.png", PAGE).json["pages"] == ["c-001-2"]
        client.until("/v1/work/c-002", "state", "read")


def test_changes_at_once_are_all_kept(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(file_of(np.asarray(TWO)))
    with serving(tmp_path) as client:
        client.until("/v1/work/a", "state", "read")
        changes = [(n, json.dumps({"text": f"line {n}", "was": was})) for n, was in ((0, "10"), (1, "20"))]
        asking = [
            threading.Thread(target=client, args=("PUT", f"/v1/work/a/lines/{n}", own)) for n, own in changes
        ]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        assert [line["text"] for line in client("GET", "/v1/work/a").json["lines"]] == ["line 0", "line 1"]


def _until(holds: object) -> None:
    end = time.monotonic() + 10
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)
