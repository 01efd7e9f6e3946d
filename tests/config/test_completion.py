"""What a shell offers, and what an editor knows of configuration files."""

import json
import subprocess
import sys

import pytest
import yaml

from hwr.__main__ import main
from hwr.config import CONF, EXPERIMENTS, ROOT
from hwr.config.completion import SCRIPTS, candidates, schema
from hwr.config.roots import TrainConfig
from tests.refusal import refused


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("hwr tra", ["train", "transcribe"]),
        ("hwr nonsense da", []),
        ("hwr transcribe --f", ["--force", "--format"]),
        ("hwr train data=al", ["data=alto"]),
        ("hwr train data=alto data.spl", ["data.splits="]),
        ("hwr train init=line/c", ["init=line/copiste"]),
        ("hwr evaluate weights.line=line/s", ["weights.line=line/synthetic"]),
        ("hwr evaluate seams=", ["seams=false", "seams=true"]),
        ("hwr search search.tri", ["search.trials="]),
        ("hwr models sh", []),
    ],
)
def test_word_is_completed(line: str, offered: list[str]) -> None:
    assert candidates(line) == offered


def test_every_command_is_offered_with_what_follows_it() -> None:
    assert {"train", "evaluate", "transcribe", "--version"} <= set(candidates("hwr "))
    assert "lr=" in candidates("hwr train ")


def test_bash_gets_what_follows_the_last_equals_sign(capsys: pytest.CaptureFixture[str]) -> None:
    main(["completion", "bash", "hwr train data=al"])
    assert capsys.readouterr().out == "alto\n"
    main(["completion", "zsh", "hwr train data=al"])
    assert capsys.readouterr().out == "data=alto\n"


def test_script_of_bash_completes() -> None:
    code = f'hwr() {{ "{sys.executable}" -m hwr "$@"; }}\n{SCRIPTS["bash"]}\n'
    code += 'COMP_LINE="hwr transcribe dec"; COMP_POINT=${#COMP_LINE}; _hwr; echo "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "decoder=\n"


@pytest.mark.parametrize(
    ("words", "named"), [(["completion", "ksh"], "zsh"), (["schema", "reproduce"], "train")]
)
def test_what_is_not_known_is_refused_with_what_is(
    capsys: pytest.CaptureFixture[str], words: list[str], named: str
) -> None:
    assert named in refused(capsys, lambda: main(words))


def test_schema_knows_the_keys_of_every_overlay_and_what_they_mean() -> None:
    made = schema("train", TrainConfig)
    for file in EXPERIMENTS.glob("*/*.yaml"):
        assert set(yaml.safe_load(file.read_text(encoding="utf-8"))) <= set(made["properties"]), file
    assert "learning rate" in made["properties"]["lr"]["description"]
    assert made["properties"]["lr"]["type"] == "number"
    assert made["properties"]["data"]["properties"]["root"]["description"]
    stage = yaml.safe_load((CONF / "stage" / "line.yaml").read_text(encoding="utf-8"))["stage"]
    assert set(stage) <= set(made["properties"]["stage"]["properties"])
    assert "required" not in made


def test_schema_is_printed_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schema", "evaluate"])
    assert json.loads(capsys.readouterr().out)["title"] == "hwr evaluate"
