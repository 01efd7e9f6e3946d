"""train.py as a user starts it: what it refuses, that it repeats itself and goes on where it was ended."""

import itertools
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hwr import tracking
from hwr.config.compose import composed
from hwr.config.roots import StoreConfig, TrainConfig
from hwr.runs import train
from hwr.stages import build
from hwr.training import checkpoint
from hwr.training.loop import Step
from tests.alto_folder import write_folder, write_page
from tests.refusal import refused, tells
from tests.smoke import Smoke, script

SHORT = ("experiments=line/smoke", "phases.ctc.epochs=2", "phases.plain.epochs=1")
STEPS = 17  # batches in an epoch of the smoke experiment
TEXTS = {"train": "tea and toast", "valid": "toast", "test": "tea"}

Run = Callable[..., Path]


def run(folder: Path, *overrides: str) -> float:
    return train.train_stage(composed("train", [f"folder={folder}", *overrides], TrainConfig))


@pytest.fixture
def started(smoke: Smoke) -> Iterator[Run]:
    """Return a function that trains beside the smoke run, on its pages, and gives the new run's folder."""
    runs = smoke.folder / "runs"

    def start(*overrides: str, ends: type[BaseException] | None = None) -> Path:
        before = set(runs.iterdir())
        if ends is None:
            run(smoke.folder, *SHORT, *overrides)
        else:
            with pytest.raises(ends):
                run(smoke.folder, *SHORT, *overrides)
        (fresh,) = set(runs.iterdir()) - before
        return fresh

    yield start


# the scripts themselves, in a process of their own


def test_configuration_is_shown_at_once_and_without_heavy_imports() -> None:
    start = time.monotonic()
    done = script("train.py", "--cfg", "job", environment={"PYTHONPROFILEIMPORTTIME": "1"})
    seconds = time.monotonic() - start
    assert done.returncode == 0
    assert "batch_size: 16" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "hydra" in imported
    assert not imported & {"mxnet", "mlflow", "cv2", "albumentations", "PIL"}
    assert seconds < 3  # under one on an idle machine


@pytest.mark.parametrize(
    ("name", "override", "key", "remedy"),
    [
        ("train.py", "+lrr=1", "lrr: ", "did you mean lr?"),
        ("train.py", "stage=lien", "stage=lien: ", "use one of denoiser, line, paragraph, segmentation"),
        ("evaluate.py", "data=alto", "data.root ", "give data.root="),
    ],
)
def test_script_refuses_in_one_line_with_status_2(name: str, override: str, key: str, remedy: str) -> None:
    done = script(name, override)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    tells(done.stderr, f"error: {key}", remedy)


# what is refused once parts or data are looked at


@pytest.mark.parametrize(
    ("override", "remedy"),
    [
        ("lrr=1", "did you mean lr?"),
        ("lr=fast", "number"),
        ("augmentation.shiftx=1", "did you mean shift_x?"),
        ("+augmentation.shiftx=1", "did you mean shift_x?"),
        ("device=gpu:7", "use device=cpu"),
        ("monitor=valid/cre", "use one of valid/cer, valid/wer"),
        ("resume=nonsense", "no training in"),
        ("tracking.uri=ftp:/nowhere", "use http"),
    ],
)
def test_setting_is_refused_before_anything_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], override: str, remedy: str
) -> None:
    said = refused(capsys, lambda: run(tmp_path / "outputs", override))
    tells(said, override.lstrip("+").partition("=")[0], remedy)
    assert not list((tmp_path / "outputs").glob("*/*"))


def test_output_folder_is_refused_when_it_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()  # root may write anywhere, but not below a file
    said = refused(capsys, lambda: run(file / "outputs"))
    tells(said, f"{file / 'outputs'}: ", "Not a directory", "choose another folder")


def test_tracking_server_is_refused_in_seconds_when_nothing_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{free.getsockname()[1]}"
    start = time.monotonic()
    said = refused(capsys, lambda: run(tmp_path / "outputs", f"tracking.uri={uri}"))
    assert said.startswith(f"tracking.uri={uri}: no tracking server answers there")
    assert time.monotonic() - start < 15


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (
            "line/nothing",
            "weights line/nothing: no such folder; ",
        ),
        ("runs:/0123", "runs:/0123/weights/best: cannot be fetched from sqlite"),
        ("models:/name@alias", "models:/name@alias: cannot be fetched from sqlite"),
    ],
)
def test_weights_to_start_from_are_refused_when_there_are_none(
    smoke: Smoke, capsys: pytest.CaptureFixture[str], init: str, said: str
) -> None:
    assert refused(capsys, lambda: run(smoke.folder, f"init={init}")).startswith(said)


@pytest.mark.parametrize("stage", ["paragraph", "segmentation"])
def test_weights_of_another_stage_are_no_start(
    smoke: Smoke, capsys: pytest.CaptureFixture[str], stage: str
) -> None:
    said = refused(capsys, lambda: run(smoke.folder, f"stage={stage}", f"init={smoke.weights}"))
    tells(said, f"weights {smoke.weights}: ", "line", stage, "choose weights of that stage")


def _missing(root: Path) -> str:
    for path in root.iterdir():
        path.unlink()
    root.rmdir()
    return f"data folder {root} does not exist; set data.root to a folder that does"


def _empty_split(root: Path) -> str:
    (root / "pages.csv").write_text(
        "page,writer,split\np-train,w,train\np-valid,w,train\np-test,w,test\n", encoding="utf-8"
    )
    return "the split valid has no lines; see data.splits and data.shares"


def _truncated(root: Path) -> str:
    image = root / "p-train.jpg"
    image.write_bytes(image.read_bytes()[:3000])
    return f"the split train has no lines left: {image}: truncated"


_LEFT = "the split train has no lines left; left out:"
_NO_DTD = f"{_LEFT} 1 file by damaged_file (p-train.xml: {{}}: refused, it carries a DTD or entities; remove "


def _bomb(root: Path) -> str:
    path = root / "p-train.xml"
    entities = '<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">'
    path.write_text(f"<!DOCTYPE alto [{entities}]><alto>&b;</alto>", encoding="utf-8")
    return _NO_DTD.format(path)


def _external(root: Path) -> str:
    path = root / "p-train.xml"
    path.write_text(
        '<!DOCTYPE alto [<!ENTITY x SYSTEM "file:///etc/hostname">]><alto>&x;</alto>', encoding="utf-8"
    )
    return _NO_DTD.format(path)


def _outside(root: Path) -> str:
    (root / "p-train.jpg").rename(root.parent / "secret.jpg")
    write_page(root / "p-train.xml", "tea", image="../secret.jpg")
    (root / "p-train.jpg").unlink()
    reason = f"p-train: {root / 'p-train.xml'}: path '{root}/../secret.jpg' leads outside"
    return f"{_LEFT} 1 page (train 1) with 1 line by inspect.policy.unreadable_image=drop ({reason}"


def _gigapixel(root: Path) -> str:
    image = root / "p-train.jpg"
    data = bytearray(image.read_bytes())
    start = data.index(b"\xff\xc0") + 5  # of height and width in the frame header
    data[start : start + 4] = (60_000).to_bytes(2, "big") * 2
    image.write_bytes(bytes(data))
    reason = f"p-train: {image}: "
    return f"{_LEFT} 1 page (train 1) with 1 line by inspect.policy.unreadable_image=drop ({reason}"


def _other_letters(root: Path) -> str:
    write_page(root / "p-valid.xml", "thé")
    return "line p-valid/l: 'hé' is not in the alphabet; train with it or set unknown=keep"


@pytest.mark.parametrize(
    "spoil", [_missing, _empty_split, _truncated, _bomb, _external, _outside, _gigapixel, _other_letters]
)
def test_data_are_refused_without_a_run(
    smoke: Smoke, tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path], str]
) -> None:
    root = write_folder(tmp_path / "data", TEXTS)
    begins = spoil(root)
    before = set((smoke.folder / "runs").iterdir())
    said = refused(capsys, lambda: run(smoke.folder, "data=alto", f"data.root={root}", "unknown=error"))
    assert said.startswith(begins), said
    assert set((smoke.folder / "runs").iterdir()) == before


# runs


def test_same_command_gives_the_same_bits(started: Run) -> None:
    one, other = started("~phases.plain"), started("~phases.plain")
    assert _bits(one, "last") == _bits(other, "last")
    assert _bits(one, "best") == _bits(other, "best")


def test_other_seed_gives_other_bits(started: Run) -> None:
    one, other = (started("max_epochs=1", f"seed={seed}") for seed in (1, 2))
    assert _bits(one, "last") != _bits(other, "last")


@pytest.fixture(scope="module")
def uninterrupted(smoke: Smoke) -> Path:
    before = set((smoke.folder / "runs").iterdir())
    run(smoke.folder, *SHORT)
    (fresh,) = set((smoke.folder / "runs").iterdir()) - before
    return fresh


@pytest.mark.parametrize("step", [STEPS + 3, 2 * STEPS], ids=["within an epoch", "at the end of one"])
def test_killed_run_keeps_its_best_weights_and_ends_at_the_same_bits_when_resumed(
    smoke: Smoke, started: Run, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    with monkeypatch.context() as patched:
        counter = itertools.count(1)
        patched.setattr(train.Bar, "__call__", lambda bar, at: _kill_at(step, next(counter)))
        killed = started(ends=tracking.Terminated)
    assert _status(smoke, killed) == "KILLED"
    assert (killed / "weights" / "best" / "network.params").exists()
    assert _bits(killed, "last") != _bits(uninterrupted, "last")

    run(smoke.folder, f"resume={killed.name}")
    assert _status(smoke, killed) == "FINISHED"
    assert _bits(killed, "last") == _bits(uninterrupted, "last")
    assert _bits(killed, "best") == _bits(uninterrupted, "best")
    assert _history(smoke, killed) == _history(smoke, uninterrupted)


def test_finished_run_goes_on_when_a_limit_is_lifted(smoke: Smoke, started: Run, uninterrupted: Path) -> None:
    short = started("max_epochs=1")
    run(smoke.folder, f"resume={short.name}", "max_epochs=null")
    assert _bits(short, "last") == _bits(uninterrupted, "last")


def test_finished_run_says_that_nothing_is_left(
    smoke: Smoke, started: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    short = started("max_epochs=1")
    bits, before = _bits(short, "last"), _history(smoke, short)
    capsys.readouterr()
    run(smoke.folder, f"resume={short.name}", "data.text=/nowhere")
    assert capsys.readouterr().out == (
        f"resume={short.name}: finished at epoch 1, best valid/cer {min(before['valid/cer']):.4f}; "
        "nothing is left to train\n"
    )
    assert (_bits(short, "last"), _history(smoke, short)) == (bits, before)


def test_run_goes_on_from_the_command_line_when_its_data_were_moved(tmp_path: Path, database: Path) -> None:
    root, folder = write_folder(tmp_path / "data", TEXTS), tmp_path / "outputs"
    folder.mkdir()
    shutil.copy(database, folder)
    small = ["network.stem=4", "network.channels=[4,4]", "network.blocks=[1,1]", "network.hidden=4"]
    run(
        folder, "stage=line", *small, "stage.crop.height=32", "data=alto", f"data.root={root}", "max_epochs=1"
    )
    root.rename(tmp_path / "moved")
    words = ["resume=last", f"folder={folder}", f"data.root={tmp_path / 'moved'}", "max_epochs=2"]
    done = script("train.py", *words, "hydra.job.chdir=true")
    assert done.returncode == 0, done.stderr
    assert "resume: on from epoch 2, batch 1\n" in done.stdout
    done = script("train.py", *words)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    write_page(tmp_path / "moved" / "p-train.xml", "tea and a toast")
    done = script("train.py", *words, "max_epochs=3")
    assert done.returncode == 2
    tells(done.stderr, "error: resume=", "the data changed since", "bring back what was there")


def test_last_run_goes_on_when_it_was_killed_and_its_newest_state_is_damaged(
    smoke: Smoke,
    started: Run,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with monkeypatch.context() as patched:
        counter = itertools.count(1)
        patched.setattr(train.Bar, "__call__", lambda bar, at: _kill_at(2 * STEPS + 3, next(counter)))
        killed = started("save_every=1e-9", ends=tracking.Terminated)
    newest = max((killed / "state").glob("*.npz"))
    newest.write_bytes(newest.read_bytes()[:1000])
    run(smoke.folder, "resume=last")
    said = capsys.readouterr().out
    assert f"{killed / 'state'}: the newest state is damaged; going on from the one before it\n" in said
    assert "resume: on from epoch 3, batch 2\n" in said
    assert _bits(killed, "last") == _bits(uninterrupted, "last")
    assert _history(smoke, killed) == _history(smoke, uninterrupted)


def test_full_disk_ends_the_run_in_one_line_and_loses_nothing(
    smoke: Smoke,
    started: Run,
    uninterrupted: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fill(bar: object, step: Step) -> None:
        if step.step == STEPS + 3:  # the state of epoch 2 finds no room
            (place / f".state-000002.npz.{os.getpid()}").symlink_to("/dev/full")

    with monkeypatch.context() as patched:
        made = checkpoint.Checkpoint.__init__
        place = Path()

        def note(self: Any, network: Any, folder: Path) -> None:
            nonlocal place
            place = folder
            made(self, network, folder)

        patched.setattr(checkpoint.Checkpoint, "__init__", note)
        patched.setattr(train.Bar, "__call__", fill)
        said = refused(capsys, lambda: run(smoke.folder, *SHORT))
    tells(said, f"{place}/state-000002.npz", "No space left on device", "make room", "resume")
    assert _status(smoke, place.parent) == "FAILED"
    run(smoke.folder, f"resume={place.parent.name}")
    assert _bits(place.parent, "last") == _bits(uninterrupted, "last")
    assert _history(smoke, place.parent) == _history(smoke, uninterrupted)


def test_resumed_run_needs_no_weights_that_it_started_from(
    smoke: Smoke, started: Run, tmp_path: Path
) -> None:
    start = shutil.copytree(smoke.weights, tmp_path / "start")
    short = started("max_epochs=1", f"init={start}")
    shutil.rmtree(start)
    run(smoke.folder, f"resume={short.name}", "max_epochs=2")
    assert len(_history(smoke, short)["train/loss"]) == 2


def test_resumed_run_keeps_to_its_data(
    smoke: Smoke, started: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    short = started("max_epochs=1")
    said = refused(capsys, lambda: run(smoke.folder, f"resume={short.name}", "data.pages.train=11"))
    tells(said, f"resume={short.name}: data.pages.train=11", "12", "leave data.pages.train=11 out")
    start = json.loads((short / "start.json").read_text(encoding="utf-8"))
    (short / "start.json").write_text(json.dumps(start | {"fingerprint": "0123"}), encoding="utf-8")
    said = refused(capsys, lambda: run(smoke.folder, f"resume={short.name}", "max_epochs=2"))
    assert said.startswith(f"resume={short.name}: the data changed since (0123, now ")


def test_resumed_run_tells_what_its_bits_depend_on_when_that_differs(
    smoke: Smoke, started: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    short = started("max_epochs=1")
    start = json.loads((short / "start.json").read_text(encoding="utf-8"))
    (short / "start.json").write_text(json.dumps(start | {"threads": "64"}), encoding="utf-8")
    capsys.readouterr()
    run(smoke.folder, f"resume={short.name}", "max_epochs=2")
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("resume: threads")]
    assert told == [
        f"resume: threads 64, now {start['threads']}: the bits may be others than without an interruption"
    ]
    tags = smoke.store.client.get_run(short.name).data.tags
    assert [text for name, text in tags.items() if name.startswith("resumed ")] == [
        f"threads 64, now {start['threads']}"
    ]


def test_training_that_diverges_says_so_and_fails(
    smoke: Smoke, started: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hwr.stages.line.training.LineStage.loss", _broken_loss)
    failed: list[Path] = []
    said = refused(capsys, lambda: failed.append(started("max_epochs=1")))
    assert said.startswith("phase ctc, epoch 1: loss not finite for s0")
    latest = max((smoke.folder / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
    assert _status(smoke, latest) == "FAILED"


def test_weights_of_a_run_are_a_start(smoke: Smoke, started: Run, capsys: pytest.CaptureFixture[str]) -> None:
    started("max_epochs=1", f"init=runs:/{smoke.run}")
    assert "output rows of" in capsys.readouterr().out


def test_run_holds_what_it_was_made_from(smoke: Smoke) -> None:
    run_info = smoke.store.client.get_run(smoke.run)
    assert run_info.info.status == "FINISHED"
    assert run_info.data.params["phases.plain.augmentation.probability"] == "0.0"
    assert run_info.data.tags["overrides"].startswith("experiments=line/smoke folder=")
    assert run_info.data.tags["left_out"] == "nothing"
    report = json.loads((smoke.folder / "runs" / smoke.run / "inspection.json").read_text(encoding="utf-8"))
    assert report["left_out"] == []
    artifacts = smoke.folder / "artifacts" / smoke.run / "artifacts"
    kept = {str(path.relative_to(artifacts)) for path in artifacts.rglob("*") if path.is_file()}
    assert {
        "config.yaml", "overrides.txt", "environment.json", "data/inspection.json", "pictures/augmented.png",
        "pictures/predictions.png", "weights/best/network.params", "weights/last/network.params",
    } <= kept  # fmt: skip
    for name in ("augmented", "predictions"):
        with Image.open(artifacts / "pictures" / f"{name}.png") as picture:
            assert np.ptp(np.asarray(picture)) > 100


BOXES = {
    "paragraph": [
        "stage.size=[32,64]", "network=paragraph_resnet34", "network.hidden=4", "phases.mse.epochs=1",
        "phases.iou.epochs=1",
    ],
    "segmentation": [
        "stage.size=[32,64]", "network.stem=4", "network.channels=[4,4,4,4]", "phases.multibox.epochs=2",
    ],
}  # fmt: skip


def test_packages_of_a_run_pass_over_one_that_is_half_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    packages = train._packages()
    assert packages["numpy"] == np.__version__
    assert not any("half" in name for name in packages)


@pytest.mark.parametrize("stage", BOXES)
def test_run_of_a_stage_that_finds_boxes_keeps_weights_without_an_alphabet(
    smoke: Smoke, tmp_path: Path, stage: str
) -> None:
    root = write_folder(tmp_path / "data", TEXTS)
    before = set((smoke.folder / "runs").iterdir())
    often = "system_metrics=0.01"
    best = run(smoke.folder, f"stage={stage}", "data=alto", f"data.root={root}", often, *BOXES[stage])
    (place,) = set((smoke.folder / "runs").iterdir()) - before
    assert 0 <= best <= 1
    found = build.find_weights(str(place / "weights" / "best"), stage, StoreConfig())
    assert found.alphabet is None
    assert found.about["run"] == place.name
    logged = smoke.store.client.get_run(place.name)
    assert (logged.info.status, logged.data.tags["stage"]) == ("FINISHED", stage)
    assert "alphabet" not in logged.data.tags
    assert "system/system_memory_usage_megabytes" in logged.data.metrics
    artifacts = smoke.folder / "artifacts" / place.name / "artifacts"
    assert {path.name for path in (artifacts / "pictures").iterdir()} == {"augmented.png", "predictions.png"}
    assert not list(artifacts.rglob("alphabet.json"))


def test_few_shapes_are_kept_where_asked(started: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[str] = []
    monkeypatch.setattr(train.runtime, "keep_few_shapes", lambda: kept.append("few"))
    started("few_shapes=true", "max_epochs=1")
    assert kept == ["few"]


def test_latest_leads_to_the_run_that_ended_last(smoke: Smoke, started: Run) -> None:
    fresh = started("max_epochs=1")
    assert (smoke.folder / "latest").resolve() == fresh.resolve()


def _kill_at(step: int, now: int) -> None:
    if now == step:
        signal.raise_signal(signal.SIGTERM)


def _broken_loss(stage: Any, phase: Any, batch: Any) -> Any:
    logits, _ = stage.network(_array(batch.images))
    return logits.sum(axis=(0, 2)) * float("nan")


def _array(images: Any) -> Any:
    import mxnet as mx

    return mx.nd.array(images)


def _bits(place: Path, weights: str) -> str:
    manifest = json.loads((place / "weights" / weights / "manifest.json").read_text(encoding="utf-8"))
    return str(manifest["sha256"]["network.params"])


def _status(smoke: Smoke, place: Path) -> str:
    return str(smoke.store.client.get_run(place.name).info.status)


def _history(smoke: Smoke, place: Path) -> dict[str, list[float]]:
    of_run = Smoke(smoke.folder, place.name)
    return {metric: of_run.history(metric) for metric in ("train/loss", "valid/cer", "train/lr")}
