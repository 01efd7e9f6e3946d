"""Processes of a training: where they run, what they get, and that all end with one that dies."""

import os
import shlex
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hwr.config import ROOT
from hwr.config.compose import composed
from hwr.config.roots import LaunchConfig
from hwr.files import parse_json
from hwr.runs import launch
from hwr.runs.launch import Host, Job, launch_training, planned_hosts
from tests.refusal import refused, tells
from tests.smoke import PINNED

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
JOB = ["experiments=denoiser/smoke", "phases.text.epochs=2", "network.dropout=0"]  # masks would differ


def config(*overrides: str) -> LaunchConfig:
    made: LaunchConfig = composed("launch", overrides, LaunchConfig).root
    return made


def job(**commands: list[str]) -> Job:
    made = Job(grace_s=0.5)
    for name, command in commands.items():
        made.start(name.replace("_", " "), command, os.environ)
    return made


def script(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(("import os, signal, subprocess, sys, time", *lines))]


def test_dead_process_is_named_with_its_last_words_and_the_others_end() -> None:
    words = script("print('error: no data', file=sys.stderr)", "sys.exit(2)")
    made = job(worker_0=SLEEP, worker_1=words)
    dead = made.first_death()
    assert dead is not None
    assert (dead.name, dead.status) == ("worker 1", 2)
    assert dead.death() == f"worker 1 (process {dead.process.pid}) ended with status 2, error: no data"
    made.end(ask=True)
    assert made.leader.status == 128 + 15


def test_signal_that_killed_a_process_is_named() -> None:
    made = job(worker_0=SLEEP, server_0=script("os.kill(os.getpid(), signal.SIGKILL)"))
    dead = made.first_death()
    made.end(ask=True)
    assert dead is not None
    assert dead.death().endswith("was killed by SIGKILL")
    assert dead.status == 128 + 9


def test_nothing_died_when_the_first_worker_ends_well() -> None:
    made = job(worker_0=script(), server_0=SLEEP)
    assert made.first_death() is None
    made.end(ask=False)
    assert all(child.ended() for child in made.children)


def test_process_that_ignores_the_request_is_killed_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    stubborn = script(
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])",
        f"open({str(note)!r}, 'w').write(str(child.pid))",
        "time.sleep(60)",
    )
    made = job(worker_0=stubborn)
    until = time.monotonic() + 20
    while not (note.exists() and note.read_text()) and time.monotonic() < until:
        time.sleep(0.02)
    child = psutil.Process(int(note.read_text()))
    made.end(ask=True)
    assert made.leader.status == 128 + 9
    assert psutil.wait_procs([child], timeout=5)[1] == []


def test_settings_that_are_wrong_are_told_by_the_first_worker_alone() -> None:
    refusal = script("time.sleep(0.3)", "sys.exit(2)")
    made = job(worker_0=refusal, worker_1=script("sys.exit(2)"))
    dead = made.first_death()
    assert dead is not None
    assert made.told_by_leader(dead)
    made.end(ask=True)


def test_hosts_take_processes_in_turn_and_the_first_one_worker_0(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("one 127.0.0.1  # first\n\nme@two 127.0.0.2\n", encoding="utf-8")
    made = config("launcher=ssh", f"hosts={tmp_path / 'hosts'}", "workers=3")
    hosts = planned_hosts(made)
    assert hosts == [Host("one", "127.0.0.1"), Host("me@two", "127.0.0.2")]
    places = [(name, host.name) for name, _, host in launch._places(made, hosts)]
    assert places == [
        ("scheduler", "one"), ("server 0", "one"),
        ("worker 0", "one"), ("worker 1", "me@two"), ("worker 2", "one"),
    ]  # fmt: skip


def test_remote_process_gets_its_variables_and_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    monkeypatch.setenv("PYTHONPATH", "/a b")
    command, _ = launch._command(Host("two", "10.0.0.2"), ["launch", "lr=1"], {"DMLC_NUM_WORKER": "2"})
    assert (command[0], command[-2]) == ("ssh", "two")
    remote = shlex.split(command[-1])
    assert remote[:5] == ["cd", str(Path.cwd()), "&&", "exec", "env"]
    assert {"PYTHONPATH=/a b", "DMLC_NUM_WORKER=2"} <= set(remote)
    assert remote[-4:] == ["-m", "hwr", "launch", "lr=1"]
    assert "secret" not in command[-1]


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("", "write one in each line"),
        ("# none\n", "write one in each line"),
        ("-oProxyCommand=x\n", "write its name"),
        ("one 127.0.0.1 three\n", "write its name"),
        ("nowhere.invalid\n", "write NAME ADDRESS"),
    ],
)
def test_hosts_are_refused_when_a_line_names_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, remedy: str
) -> None:
    (tmp_path / "hosts").write_text(text, encoding="utf-8")
    keys = ["launch.launcher=ssh", f"launch.hosts={tmp_path / 'hosts'}"]
    tells(refused(capsys, lambda: launch_training(keys)), f"launch.hosts={tmp_path / 'hosts'}: ", remedy)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["launch.workers=0"], ("workers=0", "1 or more")),
        (["launch.launcher=ssh"], ("launch.launcher=ssh", "--hosts FILE")),
        (["launch.launcher=ssh", "launch.hosts=none"], ("launch.hosts: none: ", "name another file")),
        (["launch.hosts=some"], ("launch.hosts=some", "--launcher ssh")),
        (["lr=1,2"], ("lr=1,2", "several values")),
        (["lr=x"], ("lr='x'", "is not a number")),
    ],
)
def test_launch_is_refused_when_settings_are_wrong(
    capsys: pytest.CaptureFixture[str], keys: list[str], said: tuple[str, ...]
) -> None:
    tells(refused(capsys, lambda: launch_training(keys)), *said)


def test_launch_is_refused_when_its_port_is_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        key = f"launch.port={taken.getsockname()[1]}"
        tells(refused(capsys, lambda: launch_training([key])), f"{key}: ", "in use", "choose another")


@pytest.mark.parametrize("value", [None, "two"])
def test_role_is_refused_when_the_environment_names_no_training(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str | None
) -> None:
    for name in launch.VARIABLES:
        monkeypatch.setenv(name, "1")
    monkeypatch.delenv("DMLC_NUM_WORKER")
    if value is not None:
        monkeypatch.setenv("DMLC_NUM_WORKER", value)
    said = refused(capsys, lambda: launch_training([], role="worker"))
    tells(said, "--role worker: DMLC_NUM_WORKER", "leave --role out")


def test_role_is_refused_when_it_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    tells(refused(capsys, lambda: launch_training([], role="king")), "--role king", "scheduler, server")


@pytest.mark.slow
def test_two_workers_over_ssh_learn_what_two_devices_learn(tmp_path: Path) -> None:
    fake, hosts, log = tmp_path / "bin" / "ssh", tmp_path / "hosts", tmp_path / "log"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\nwhile [ "$1" = -o ]; do shift 2; done\necho "$1" >> {log}\nexec sh -c "$2"\n',
        encoding="utf-8",
    )
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    hosts.write_text("one 127.0.0.1\ntwo 127.0.0.1\n", encoding="utf-8")
    path = {"PATH": f"{fake.parent}:{os.environ['PATH']}"}
    alone = _hwr("train", *JOB, "device=cpu:0,1", f"folder={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    words = ["--launcher", "ssh", "--hosts", str(hosts), "--", *JOB]
    shared = _hwr("launch", *words, f"folder={tmp_path / 'shared'}", **path)
    assert shared.returncode == 0, shared.stderr
    assert sorted(log.read_text().split()) == ["one", "one", "one", "two"]
    assert _digests(tmp_path / "shared") == _digests(tmp_path / "alone")


@pytest.mark.slow
def test_workers_refuse_a_batch_that_is_smaller_than_they_are_many(tmp_path: Path) -> None:
    done = _hwr("launch", "--workers", "3", "--", *JOB, "batch_size=2", f"folder={tmp_path}")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: batch_size=2: 3 workers or devices cannot share so few samples; raise it, or take fewer"
    ]


def _hwr(*words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    given = {**os.environ, **PINNED, "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-m", "hwr", *words]
    return subprocess.run(
        command, env=given, cwd=ROOT, capture_output=True, text=True, check=False, timeout=200
    )


def _digests(folder: Path) -> dict[str, str]:
    found = folder.glob("runs/*/weights/*/manifest.json")
    texts = {path.parent.name: path.read_text(encoding="utf-8") for path in found}
    return {name: parse_json(text)["sha256"]["network.params"] for name, text in texts.items()}
