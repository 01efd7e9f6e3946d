"""hwr serve as a process: what it refuses to start with, and how it ends."""

import http.client
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from hwr.__main__ import main
from hwr.files import held
from hwr.serving import LOCK
from tests.refusal import refused
from tests.serving.serving import file_of

SMALL = [
    "weights.paragraph=paragraph/synthetic",
    "weights.segmentation=segmentation/synthetic_line",
    "weights.line=line/synthetic",
]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("host=0.0.0.0", "host=0.0.0.0: open to others without a token; set HWR_TOKEN"),
        ("port=70000", "port=70000 is not possible"),
        ("token=''", "token="),
        ("queue=0", "queue=0 is not possible; it must be 1 or more"),
        ("host=192.0.2.1 token=x", "host=192.0.2.1 port=8000: cannot be listened on"),
    ],
)
def test_start_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], key: str, said: str) -> None:
    assert refused(capsys, lambda: main(["serve", str(tmp_path), *key.split()])).startswith(said)


def test_folder_in_which_another_works_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with held(tmp_path / LOCK):
        said = refused(capsys, lambda: main(["serve", str(tmp_path), "port=0"]))
    assert said == f"{tmp_path}: another hwr serve works there; end it, or give another folder"


@pytest.mark.slow
def test_process_finishes_what_was_accepted_when_it_is_asked_to_end(tmp_path: Path) -> None:
    Image.new("L", (300, 400), 255).save(tmp_path / "blank.png")
    command = [sys.executable, "-m", "hwr", "serve", str(tmp_path), "port=0", "orientation=0", *SMALL]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    address = process.stdout.readline()
    port = int(address.partition("127.0.0.1:")[2].partition("/")[0])
    while not (tmp_path / "blank.alto.xml").exists():  # read because it lies in the folder
        assert process.poll() is None
        time.sleep(0.05)

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    file = file_of(*[_lined() for _ in range(2)])
    connection.request("POST", "/v1/pages?format=txt", file)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(connection.getresponse()))
    waiting.start()
    time.sleep(0.3)  # accepted, and not read yet
    process.send_signal(signal.SIGTERM)
    waiting.join()
    assert answers[0].status == 200
    assert answers[0].read().count(b"\f") == 1
    connection.close()
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")


def _lined() -> "object":
    import numpy as np

    image = np.full((400, 300), 255, np.uint8)
    for top in range(60, 300, 60):
        image[top : top + 8, 40:260:3] = 0
    return image
