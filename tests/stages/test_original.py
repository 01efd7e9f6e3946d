"""hwr models import: parameter files of the original program compute what they computed there."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr import weights
from hwr.__main__ import main
from hwr.decoding.greedy import GreedyDecoder
from hwr.stages.build import alphabet_of
from hwr.stages.line import line_crop, load_line_reader
from hwr.stages.paragraph import load_area_finder
from hwr.stages.segmentation import load_box_detector
from hwr.weights import Weights
from tests.refusal import refused
from tests.stages import program

LOADING = {"batch_size": 2, "context": mx.cpu()}
NAMES = {"paragraph": "area", "segmentation": "words", "line": "line"}  # in the list of its parameters


def imported(stage: str, folder: Path) -> tuple[Any, Weights]:
    """Return a network of the program, and what its file was imported as."""
    network, file = program.drawn(stage), folder / f"{stage}.params"
    network.save_parameters(str(file))
    main(["models", "import", str(file), "--output", str(folder / "w")])
    return network, weights.load(folder / "w" / stage)


def test_area_is_what_the_program_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, loaded = imported("paragraph", tmp_path)
    assert f"weights.paragraph={tmp_path}/w/paragraph" in capsys.readouterr().out
    pictures = program.images("paragraph")
    ((x, y, width, height),) = program.read("paragraph", network, pictures).asnumpy()
    found = load_area_finder(loaded, **LOADING).boxes(list(pictures))
    np.testing.assert_allclose(found, [[x, y, x + width, y + height]], atol=1e-5)


def test_words_are_what_the_program_found(tmp_path: Path) -> None:
    network, loaded = imported("segmentation", tmp_path)
    pictures = program.images("segmentation")
    anchors, scores, offsets = (own.asnumpy() for own in program.read("segmentation", network, pictures))
    detector = load_box_detector(loaded, **LOADING)
    np.testing.assert_allclose(detector.grid, anchors[0], atol=1e-6)
    ink = mx.nd.array((255 - pictures[:, None]) / 255)
    own = [part.asnumpy() for part in detector.network(ink)]
    np.testing.assert_allclose(own[0].transpose(0, 2, 1), scores, atol=1e-5)
    np.testing.assert_allclose(own[1], offsets, atol=1e-5)
    assert np.ptp(scores) > 0.1


def test_lines_are_read_as_the_program_read_them(tmp_path: Path) -> None:
    network, loaded = imported("line", tmp_path)
    pictures = program.images("line")
    logits = program.read("line", network, pictures)  # (N, 160, 81)
    reader, alphabet = load_line_reader(loaded, **LOADING), alphabet_of(loaded)
    probs = reader.probs(list(pictures))
    np.testing.assert_allclose(np.stack(probs), logits.softmax(axis=2).asnumpy(), atol=1e-5)
    ink = mx.nd.array((255 - pictures[:, None]) / 255)
    own = reader.network(ink)[0].asnumpy().transpose(1, 0, 2)
    np.testing.assert_allclose(own, logits.asnumpy(), atol=1e-5)
    assert (len(alphabet), alphabet.blank, alphabet.symbols[:6]) == (81, 80, ' !"#&\\')
    assert len(GreedyDecoder(alphabet).read(probs)[0].text) > 0
    crop = line_crop(loaded)
    assert (crop.height, crop.max_width, crop.canvas) == (60, 800, True)


@pytest.mark.parametrize("stage", program.PROGRAM)
def test_program_saves_the_listed_names_and_shapes(shared: Path, stage: str) -> None:
    listed = shared / "published" / "parameters.json"
    if not listed.is_file():
        pytest.skip(f"no {listed}: its names are not compared")
    known = json.loads(listed.read_text("utf-8"))[NAMES[stage]]["parameters"]
    network = program.drawn(stage)
    assert {name: list(own.shape) for name, own in network._collect_params_with_prefix().items()} == known


def _other(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], object]:
    """Return what writes a parameter file with a few arrays, changed."""

    def write(path: Path) -> None:
        arrays = {"cnn.6.5.weight": mx.nd.zeros((4, 64)), "cnn.6.5.bias": mx.nd.zeros(4)}
        mx.nd.save(str(path), change(arrays) or arrays)

    return write


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (_other(dict), "of another network, the file has no cnn.0.weight"),
        (_other(lambda a: {"net0_weight": a["cnn.6.5.bias"]}), "of none of the original program's networks"),
        (_other(lambda a: list(a.values())), "not a parameter file of MXNet, or damaged"),
        (
            _other(lambda a: {**a, "cnn.6.5.bias": mx.nd.array([np.nan])}),
            "cnn.6.5.bias holds numbers that are",
        ),
        (
            lambda path: path.write_bytes(pickle.dumps({"cnn.6.5.weight": [1]})),
            "not a parameter file of MXNet",
        ),
        (lambda path: path.write_bytes(b""), "not a parameter file of MXNet, or damaged"),
        (lambda path: path.write_bytes(b"PK\3\4" + bytes(100)), "not a parameter file of MXNet, or damaged"),
        (lambda path: path.mkdir(), "cannot be read (Is a directory)"),
        (lambda path: None, "cannot be read (No such file or directory)"),
    ],
)
def test_bad_file_is_refused_in_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], write: Callable[[Path], object], said: str
) -> None:
    file = tmp_path / "a.params"
    write(file)
    line = refused(capsys, lambda: main(["models", "import", str(file), "--output", str(tmp_path / "w")]))
    assert str(file) in line and said in line
    assert not (tmp_path / "w").exists()


def test_cut_file_and_other_shapes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network, file, cut = program.drawn("segmentation"), tmp_path / "a.params", tmp_path / "cut.params"
    network.save_parameters(str(file))
    cut.write_bytes(file.read_bytes()[:-1000])
    asked = ["models", "import", str(cut), "--output", str(tmp_path / "w")]
    assert "not a parameter file of MXNet, or damaged" in refused(capsys, lambda: main(asked))
    arrays = mx.nd.load(str(file))
    mx.nd.save(str(file), {**arrays, "class_preds.0.bias": mx.nd.zeros(8)})
    line = refused(capsys, lambda: main([*asked[:2], str(file), *asked[3:]]))
    assert "class_preds.0.bias has shape 8, the network wants 12" in line


@pytest.mark.parametrize("words", [[], ["a.params"]])
def test_import_without_files_or_folder_is_refused(
    capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert "--output DIR" in refused(capsys, lambda: main(["models", "import", *words]))
