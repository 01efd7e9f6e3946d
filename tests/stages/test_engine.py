"""Engines read alike: equal texts and boxes, probabilities to 1e-4; what is not possible is refused."""

import ctypes
import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwr import weights
from hwr.__main__ import main
from hwr.config import EXPERIMENTS, ROOT
from hwr.config.compose import composed
from hwr.config.roots import TranscribeConfig
from hwr.decoding.greedy import GreedyDecoder
from hwr.errors import InputError
from hwr.images.page_files import load_page
from hwr.networks import read_params
from hwr.runtime import computes_bfloat16
from hwr.runtime.termination import _Stack
from hwr.stages import engine as engines
from hwr.stages.build import alphabet_of, config_of, find_weights
from hwr.stages.engine import Engine
from hwr.stages.line import load_line_reader
from hwr.transcription.page_reader import STEPS, Found, build_page_reader
from tests.refusal import refused, tells
from tests.stages.line.lines import line
from tests.stages.small import CPU

SCRIPT = (ROOT / "docs/how-to/export.md").read_text(encoding="utf-8").partition("```python\n")[2]
ALONE = "import sys; sys.modules.update(dict.fromkeys(('mxnet', 'hwr', 'onnx', 'PIL', 'cv2')));"
PACKAGES = {"onnx": "onnxruntime", "openvino": "openvino"}


@pytest.mark.parametrize("name", PACKAGES)
def test_lines_are_read_alike_alone_and_in_batches(name: str) -> None:
    pytest.importorskip(PACKAGES[name])
    loaded, images = synthetic(), [line(width, seed) for seed, width in enumerate((40, 200, 64, 200, 333))]
    images = [np.repeat(image, 2, axis=0)[:48] for image in images]  # 48 px high
    expected = load_line_reader(loaded, batch_size=1, context=CPU).probs(images)
    for size in (1, 4):
        reader = load_line_reader(loaded, batch_size=size, context=CPU, engine=Engine(name))
        for own, other in zip(reader.probs(images), expected, strict=True):
            np.testing.assert_allclose(own, other, atol=1e-4)


def test_openvino_computes_one_image_at_a_time_and_lstms_of_all_lines_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("openvino")
    start, shapes = engines._STARTS["openvino"], list[tuple[int, ...]]()

    def started(*words: Any) -> Any:
        run = start(*words)
        return lambda *given: shapes.append(given[0].shape) or run(*given)

    monkeypatch.setitem(engines._STARTS, "openvino", started)
    images = [np.repeat(line(width, 1), 2, axis=0)[:48] for width in (200, 200, 64)]
    reader = load_line_reader(synthetic(), batch_size=4, context=CPU, engine=Engine("openvino"))
    assert len(reader.probs(images)) == len(images)
    assert [shape[0] for shape in shapes if len(shape) == 4] == [1, 1, 1]
    assert [shape[1] for shape in shapes if len(shape) == 3] == [3]


@pytest.mark.skipif(not computes_bfloat16(), reason="this processor does not compute in bfloat16")
def test_lines_are_read_nearly_alike_in_bfloat16() -> None:
    loaded, images = synthetic(), [np.repeat(line(200, seed), 2, axis=0)[:48] for seed in range(4)]
    exact = load_line_reader(loaded, batch_size=2, context=CPU).probs(images)
    near = load_line_reader(loaded, batch_size=2, context=CPU, engine=Engine("mxnet", "bfloat16")).probs(
        images
    )
    gaps = [np.abs(own - other).max() for own, other in zip(near, exact, strict=True)]
    assert 0 < max(gaps) < 0.1


@pytest.mark.parametrize("name", PACKAGES)
def test_engine_leaves_the_stack_of_signals_as_it_was(name: str) -> None:
    pytest.importorskip(PACKAGES[name])
    before, image = signal_stack(), np.repeat(line(200, 1), 2, axis=0)[:48]
    reader = load_line_reader(synthetic(), batch_size=1, context=CPU, engine=Engine(name))
    assert reader.probs([image])[0].size
    assert signal_stack() == before


def signal_stack() -> tuple[int | None, int]:
    """Return where this thread handles signals, and the size of that: sigaltstack(2)."""
    stack = _Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    return stack.start, stack.size


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_page_of_real_handwriting_is_read_alike(shared: Path, name: str) -> None:
    pytest.importorskip(PACKAGES[name])
    expected, found = (page_read(shared, engine) for engine in ("mxnet", name))
    assert [line.text for line in found.lines] == [line.text for line in expected.lines]
    assert len(expected.lines) > 10
    for own, other in zip(found.lines, expected.lines, strict=True):
        np.testing.assert_allclose(own.box, other.box, atol=1e-3)
        assert own.confidence == pytest.approx(other.confidence, abs=5e-3)  # cut out a pixel apart


def test_exported_line_is_read_by_the_documented_script_without_mxnet(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    loaded, image = synthetic(), np.repeat(line(300, 5), 2, axis=0)[:48]
    main(["export", "line/synthetic", "--output", str(tmp_path / "line.onnx")])
    np.save(tmp_path / "line.npy", image)
    script = f"{ALONE}\n{SCRIPT.partition('```')[0]}"
    words = [sys.executable, "-c", script, tmp_path / "line.onnx", tmp_path / "line.npy"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    (probs,) = load_line_reader(loaded, batch_size=1, context=CPU).probs([image])
    assert said.stderr == ""
    assert said.stdout.strip() == GreedyDecoder(alphabet_of(loaded))(probs).text != ""


def test_openvino_reports_to_nobody() -> None:
    pytest.importorskip("openvino")
    code = "import sys, hwr; from hwr.stages.engine import _openvino as start\n"
    code += "try: start(b'', [], [], 'float32')\nexcept RuntimeError: pass\n"
    code += "assert 'openvino' in sys.modules; print([n for n in sys.modules if 'openvino_telemetry' in n])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("stage", STEPS)
def test_exported_file_tells_what_it_holds(tmp_path: Path, stage: str) -> None:
    runtime, path = pytest.importorskip("onnxruntime"), tmp_path / "new" / "network.onnx"
    name = "segmentation/synthetic_line" if stage == "segmentation" else f"{stage}/synthetic"
    main(["export", f"weights={name}", f"output={path}"])
    session = runtime.InferenceSession(path)
    about, loaded = session.get_modelmeta().custom_metadata_map, find_weights(name, stage, transcription())
    assert (about["stage"], about["weights_sha256"]) == (stage, loaded.sha256)
    settings = json.loads(about["settings"])
    size = [settings["crop"]["height"], "W"] if stage == "line" else settings["size"]
    assert session.get_inputs()[0].shape == ["N", 1, *size]
    if loaded.alphabet is not None:
        assert "".join(json.loads(about["alphabet"])) == loaded.alphabet.symbols
        assert int(about["blank"]) == loaded.alphabet.blank


def test_export_changes_settings_and_keeps_parameters(tmp_path: Path) -> None:
    small, name = tmp_path / "small", "segmentation/latin"
    main(["export", name, "+stage.min_c=0.25", "+stage.topk=7", "--format", "int8", "--output", str(small)])
    before, after = (find_weights(own, "segmentation", transcription()) for own in (name, str(small)))
    kept, found = (read_params(own.folder / weights.PARAMS) for own in (before, after))
    assert kept.keys() == found.keys()  # they were int8 already
    for own, value in kept.items():
        np.testing.assert_array_equal(found[own], value)
    assert config_of(after).stage == {**config_of(before).stage, "min_c": 0.25, "topk": 7}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["denoiser/copiste", "--output", "FILE"], ("weights", "denoiser", "choose")),
        (["no/such", "--output", "FILE"], ("weights no/such", "no such folder")),
        (["line/synthetic", "--output", "FILE", "--format", "tensorflow"], ("format", "onnx")),
        (["line/synthetic"], ("output is not set", "output=")),
        (["segmentation/latin", "+stage.min_c=2", "output=FILE"], ("stage.min_c=2", "less than 1")),
        (["segmentation/latin", "+stage.min_q=0.4", "output=FILE"], ("stage.min_q", "mean min_c")),
        (["segmentation/latin", "+stage.kind=line", "output=FILE"], ("stage.kind", "leave it out")),
        (["line/synthetic", "--output", "/dev/null/line.onnx"], ("/dev/null", "")),
        (
            ["line/synthetic", "average=[line/latin]", "output=FILE"],
            ("average: weights", "line/latin", "choose weights"),
        ),
        (
            ["line/synthetic", "average=[segmentation/latin]", "output=FILE"],
            ("weights segmentation/latin", "of stage"),
        ),
    ],
)
def test_export_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: tuple[str, ...]
) -> None:
    given = [word.replace("FILE", str(tmp_path / "line.onnx")) for word in words]
    tells(refused(capsys, lambda: main(["export", *given])), *said)
    assert not list(tmp_path.iterdir())


def test_mean_of_weights_has_the_mean_of_their_parameters_and_the_first_alphabet(tmp_path: Path) -> None:
    names, mean = ("line/copiste", "line/latin_cc"), tmp_path / "mean"
    main(["export", names[0], f"average=[{names[1]}]", "--format", "half", "--output", str(mean)])
    made = weights.load(mean)
    one, other = (find_weights(name, "line", transcription()) for name in names)
    assert made.alphabet == one.alphabet
    assert made.about["mean of"] == [one.sha256, other.sha256]
    layer = "trunk.2.body.1.weight"
    first, second, both = (weights._stored(own)[layer] for own in (one, other, made))
    np.testing.assert_allclose(both, (first + second) / 2, atol=1e-3)
    assert np.abs(first - second).max() > 0.01


@pytest.mark.parametrize(
    ("keys", "hidden", "said"),
    [
        (["engine=onnx"], "onnxruntime", r"onnxruntime is not installed.*pip install 'hwr\[onnx\]'"),
        (["engine=openvino"], "openvino", r"openvino is not installed.*pip install 'hwr\[openvino\]'"),
        (["engine=onnx", "device=gpu"], "", "engine=onnx computes on the processor; set device=cpu"),
        (["engine=onnx", "precision=bfloat16"], "", "engine=onnx computes in float32; leave precision"),
        (["precision=bfloat16"], "", "precision=bfloat16: this processor computes without it"),
        (["engine=tensorflow"], "", "engine='tensorflow' is not possible; .*mxnet, onnx"),
    ],
)
def test_engine_is_refused_where_it_is_not_possible(
    monkeypatch: pytest.MonkeyPatch, keys: list[str], hidden: str, said: str
) -> None:
    monkeypatch.setattr(engines, "import_module", lambda name: _missing(name, hidden))
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
    with pytest.raises(InputError, match=said):
        Engine.of(transcription(*keys))


def _missing(name: str, hidden: str) -> None:
    if name == hidden:
        raise ModuleNotFoundError(name)


def synthetic() -> Any:
    return find_weights("line/synthetic", "line", transcription())


def transcription(*keys: str) -> TranscribeConfig:
    config: TranscribeConfig = composed("transcribe", keys, TranscribeConfig).root
    return config


@functools.cache
def page_read(shared: Path, name: str) -> Found:
    config = transcription(f"engine={name}")
    reader = build_page_reader(
        {step: find_weights(str(EXPERIMENTS / step / "copiste/weights"), step, config) for step in STEPS},
        config,
    )
    image = min((shared / "data/copiste/pages").glob("*.jpg"))
    return reader(load_page(image, config.loading))
