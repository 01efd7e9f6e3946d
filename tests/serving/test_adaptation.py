"""Fine-tuning from the page: the process, what is told of it, and the weights it makes."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hwr.config.compose import composed
from hwr.config.roots import AdaptConfig, ServeConfig
from hwr.errors import InputError
from hwr.evaluation.adapt import _count
from hwr.serving import service as serving_service
from hwr.serving.adaptation import FEWEST
from hwr.transcription.page_reader import PageReader
from tests.serving.serving import Client, file_of, serving
from tests.transcription.test_page_reader import LOWER, UPPER, Detector, reader

# Stands in for hwr adapt: waits for a file, then does what it says.
PROCESS = """
import json, pathlib, sys, time
given = dict(word.split("=", 1) for word in sys.argv[1:])
print("adapt: 10%", flush=True)
go = pathlib.Path(given["folder"]) / "go"
while not go.exists():
    time.sleep(0.02)
if go.read_text():
    sys.exit("error: " + go.read_text())
output = pathlib.Path(given["output"])
output.mkdir(parents=True)
scores = [{"lines": 0, "cer": 0.2, "wer": 0.5}, {"lines": 8, "cer": 0.1, "wer": 0.4}]
(output / "report.json").write_text(json.dumps({"scores": scores, "held_out": 2, "given": given}))
"""


def corrected(client: Client, pages: int) -> None:
    """Put pages of two lines into the folder, and confirm their lines."""
    for number in range(pages):
        client("POST", f"/v1/work?name=p{number}", file_of())
        client.until(f"/v1/work/p{number}", "state", "read")
        for line, text in enumerate(("10", "20")):
            client("PUT", f"/v1/work/p{number}/lines/{line}", json.dumps({"text": text, "was": text}))


@pytest.mark.parametrize("ends_with", ["", "scans/: 3 lines are too few"])
def test_training_on_the_corrected_lines_is_started_watched_and_its_weights_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_with: str
) -> None:
    place = f"pages={tmp_path / 'scans'}", f"folder={tmp_path}", "tracking.experiment=scans 2"
    with serving(tmp_path / "scans", *place) as client:
        client.service.adaptation.command = (sys.executable, "-c", PROCESS)
        assert client("GET", "/v1/adapt").json == {"state": "none", "corrected": 0, "fewest": FEWEST}
        assert client("POST", "/v1/adapt").status == 409
        assert client("POST", "/v1/adapt/use").status == 409
        corrected(client, 5)
        assert client("POST", "/v1/adapt").status == 202
        assert client.until("/v1/adapt", "told", "adapt: 10%")["state"] == "running"
        assert client("POST", "/v1/adapt").json["error"].startswith("a training runs already")
        (tmp_path / "go").write_text(ends_with)
        if ends_with:
            assert client.until("/v1/adapt", "state", "failed")["told"] == ends_with
            assert client("POST", "/v1/adapt/use").status == 409
            return
        assert client.until("/v1/adapt", "state", "done")["scores"][1] == {"lines": 8, "cer": 0.1, "wer": 0.4}
        output = tmp_path / "adapted" / "scans"
        given = json.loads((output / "report.json").read_text())["given"]
        assert (given["data.root"], given["weights.line"]) == (str(tmp_path / "scans"), "line/latin")
        assert given["tracking.experiment"] == "scans 2"
        loaded: list[Any] = []
        made = reader(Detector(UPPER, LOWER))
        monkeypatch.setattr(serving_service, "page_reader", lambda own: loaded.append(own) or made)
        used = {"weights": str(output / "weights"), "without_language_model": ""}
        assert client("POST", "/v1/adapt/use").json == used
        assert [own.weights.line for own in loaded] == [str(output / "weights")]


def test_lines_are_counted_as_the_training_counts_them(tmp_path: Path) -> None:
    with serving(scans := tmp_path / "scans", f"pages={scans}", f"folder={tmp_path}") as client:
        corrected(client, 3)
        for line, text in (("p0/lines/0", ""), ("p1/lines/1", ">left out<")):
            was = "20" if line.endswith("1") else "10"
            client("PUT", f"/v1/work/{line}", json.dumps({"text": text, "was": was}))
        assert [page["corrected"] for page in client("GET", "/v1/work").json["pages"]] == [2, 2, 2]
        assert client("GET", "/v1/adapt").json["corrected"] == 4
        said = client("POST", "/v1/adapt").json["error"]
        assert said == f"4 corrected lines; correct {FEWEST - 4} more"
    config: AdaptConfig = composed("adapt", [f"data.root={scans}", f"folder={tmp_path}"], AdaptConfig).root
    with pytest.raises(InputError, match="4 corrected lines, 1 of them to test on"):
        _count(config)


def test_weights_that_write_what_the_language_model_lacks_are_used_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = reader(Detector(UPPER, LOWER))

    def page_reader(config: ServeConfig) -> PageReader:
        if "GreedyDecoder" not in config.decoder["_target_"]:
            raise InputError(
                "model m.arpa: does not know '€' of the recogniser's alphabet; use decoder=greedy"
            )
        return made

    with serving(tmp_path / "scans", f"pages={tmp_path / 'scans'}", f"folder={tmp_path}") as client:
        service = client.service
        weights = replace(service.config.weights, line="new")
        config = replace(service.config, weights=weights, decoder={"_target_": "LanguageDecoder"})
        monkeypatch.setattr(service.adaptation, "weights", lambda: config)
        monkeypatch.setattr(serving_service, "page_reader", page_reader)
        without = "model m.arpa: does not know '€' of the recogniser's alphabet"
        assert client("POST", "/v1/adapt/use").json == {"weights": "new", "without_language_model": without}
        assert service.reader is made
        assert "GreedyDecoder" in service.config.decoder["_target_"]


def test_training_that_is_killed_is_told_and_may_be_started_again(tmp_path: Path) -> None:
    with serving(tmp_path / "scans", f"pages={tmp_path / 'scans'}", f"folder={tmp_path}") as client:
        client.service.adaptation.command = (sys.executable, "-c", PROCESS)
        corrected(client, 5)
        client("POST", "/v1/adapt")
        client.until("/v1/adapt", "told", "adapt: 10%")
        assert client.service.adaptation.process is not None
        client.service.adaptation.process.kill()
        assert "ended by SIGKILL" in client.until("/v1/adapt", "state", "failed")["told"]
        assert client("POST", "/v1/pages?format=txt", file_of()).body == b"10\n20\n"
        assert client("POST", "/v1/adapt").status == 202


def test_server_that_ends_ends_the_training(tmp_path: Path) -> None:
    with serving(tmp_path / "scans", f"pages={tmp_path / 'scans'}", f"folder={tmp_path}") as client:
        client.service.adaptation.command = (sys.executable, "-c", PROCESS)
        corrected(client, 5)
        client("POST", "/v1/adapt")
        process = client.service.adaptation.process
        assert process is not None and process.poll() is None
    assert process.poll() is not None
