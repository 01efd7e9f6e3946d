"""Networks and what reads with them, of every stage, from a configuration and from weights."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr import weights
from hwr.config.compose import Composed, TrainConfig, composed
from hwr.errors import InputError
from hwr.images.canvas import PageFit
from hwr.images.line_crop import LineCrop
from hwr.stages import build as assembly
from hwr.stages.denoiser.stage import TextDenoiser
from hwr.stages.line.stage import LineReader
from hwr.stages.paragraph.stage import AreaFinder
from hwr.stages.segmentation.stage import BoxDetector, Detecting
from hwr.text import Alphabet
from hwr.training.checkpoint import Arrays, arrays

ABC = Alphabet("abc")
CPU = mx.cpu()
SMALL = {
    "line": ["experiments=line/smoke"],
    "paragraph": ["stage=paragraph", "stage.size=[32,48]", "network=paragraph_resnet34", "network.hidden=4"],
    "segmentation": [
        "stage=segmentation", "stage.size=[32,64]", "network.stem=4", "network.channels=[4,4,4,4]",
    ],
    "denoiser": [
        "stage=denoiser", "network.width=8", "network.encoder_layers=1", "network.decoder_layers=1",
        "network.hidden=8", "stage.longest=30",
    ],
}  # fmt: skip
NETWORKS: dict[str, Callable[[TrainConfig], Any]] = {
    "line": lambda config: assembly.line_network(config, ABC, CPU),
    "paragraph": lambda config: assembly.paragraph_network(config, CPU),
    "segmentation": lambda config: assembly.detector(config, batch_size=1, context=CPU).network,
    "denoiser": lambda config: assembly.denoiser_network(config, ABC, CPU),
}
READERS: dict[str, tuple[type, Callable[..., Any]]] = {
    "line": (LineReader, assembly.line_reader),
    "paragraph": (AreaFinder, assembly.area_finder),
    "segmentation": (BoxDetector, assembly.box_detector),
    "denoiser": (TextDenoiser, assembly.text_denoiser),
}
STAGES = list(SMALL)


def made(stage: str, *overrides: str) -> Composed:
    return composed("train", [*SMALL[stage], *overrides], TrainConfig)


def saved(folder: Path, stage: str) -> tuple[weights.Weights, Arrays]:
    """Write weights that no seed of their configuration gives; return them and their values."""
    network = NETWORKS[stage](made(stage, "seed=7").root)
    alphabet = ABC if stage in ("line", "denoiser") else None
    return weights.save(folder, network, made(stage).yaml, alphabet, about={}), arrays(network)


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


# device


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_device_is_a_context(name: str) -> None:
    assert assembly.device(name) == mx.cpu()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpu", "device=gpu: this MXNet sees 0 GPUs"),
        ("gpu:7", "device=gpu:7: this MXNet sees 0 GPUs; use device=cpu"),
        ("gpu:x", "device=gpu:x: use cpu, gpu or gpu:N"),
        ("cuda", "device=cuda: use cpu, gpu or gpu:N"),
    ],
)
def test_device_is_refused_when_it_is_not_there(name: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        assembly.device(name)


# networks


@pytest.mark.parametrize("stage", STAGES)
def test_network_is_drawn_from_the_seed(stage: str) -> None:
    one, again, other = (arrays(NETWORKS[stage](made(stage, f"seed={seed}").root)) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


@pytest.mark.parametrize("stage", STAGES)
def test_weight_decay_spares_biases_and_normalisations(stage: str) -> None:
    decayed = {
        name.rpartition("_")[2]: parameter.wd_mult
        for name, parameter in NETWORKS[stage](made(stage).root).collect_params().items()
        if parameter.grad_req != "null"
    }
    assert {decayed[name] for name in ("bias", "gamma", "beta") if name in decayed} == {0.0}
    assert decayed["weight"] == 1.0


def test_line_network_has_a_row_for_every_character_and_blank() -> None:
    assert NETWORKS["line"](made("line").root).output.weight.shape == (4, 64)


def test_line_network_is_drawn_alike_whatever_the_height_of_its_lines() -> None:
    low, high = (NETWORKS["line"](made("line", f"stage.crop.height={height}").root) for height in (32, 48))
    assert np.array_equal(low.output.weight.data().asnumpy(), high.output.weight.data().asnumpy())


@pytest.mark.parametrize("height", [50, 60])
def test_line_network_takes_any_height(height: int) -> None:
    small = ["network=resnet_bilstm", "network.channels=8", "network.hidden=8", "network.layers=1"]
    config = composed("train", ["stage=line", *small, f"stage.crop.height={height}"], TrainConfig).root
    network = assembly.line_network(config, ABC, CPU)
    assert network(mx.nd.zeros((1, 1, height, 64)))[0].shape == (16, 1, 4)  # a step for every 4 px


def test_detector_has_the_anchors_of_its_map() -> None:
    # stem and stages shrink 32 x 64 px to 4 x 2 cells, each with the eight anchors of the YAML file
    detector = assembly.detector(made("segmentation").root, batch_size=1, context=CPU)
    assert detector.grid.shape == (4 * 2 * 8, 4)
    scores, offsets = detector.network(mx.nd.zeros((1, 1, 32, 64)))
    assert (scores.shape, offsets.shape) == ((1, 2, 64), (1, 256))


@pytest.mark.parametrize(("width", "steps"), [(8, 8), (32, 8), (33, 16), (640, 160)])
def test_steps_are_the_columns_of_the_padded_width(width: int, steps: int) -> None:
    assert assembly.steps_of(made("line").root)(width) == steps


# settings of the stages


def test_settings_are_those_of_the_configuration() -> None:
    crop = {"height": 40, "max_width": 900, "margin": 0.25, "mask": False, "deskew": True, "normalise": False}
    line = made("line", *(f"stage.crop.{name}={value}" for name, value in crop.items())).root
    assert assembly.crop_of(line) == LineCrop(**crop)
    paragraph = made("paragraph", "stage.size=[90,70]", "stage.normalise=false").root
    assert assembly.page_fit(paragraph) == PageFit(size=(90, 70), normalise=False)
    kept = ("stage.min_c=0.25", "stage.overlap_thres=0.125", "stage.topk=9")
    segmentation = made("segmentation", "stage.size=[90,70]", "stage.normalise=true", *kept).root
    assert assembly.area_fit(segmentation) == PageFit(size=(90, 70), normalise=True)
    assert assembly.detecting(segmentation) == Detecting(min_c=0.25, overlap_thres=0.125, topk=9)


@pytest.mark.parametrize(
    ("stage", "override", "read", "said"),
    [
        ("line", "+stage.planted=1", assembly.crop_of, "stage.planted: no such key"),
        ("line", "stage.crop.height=2", assembly.crop_of, "height 2 is too small"),
        ("paragraph", "+stage.unit=line", assembly.page_fit, "stage.unit: no such key"),
        (
            "paragraph",
            "stage.growth=1.5",
            assembly.page_fit,
            "stage.growth=1.5 is not between 0 and 1; it is a",
        ),
        ("segmentation", "stage.growth=-1", assembly.area_fit, "stage.growth=-1 is not between 0 and 1"),
        (
            "segmentation",
            "stage.unit=page",
            assembly.area_fit,
            "stage.unit=page: unknown; use one of line, word",
        ),
        ("segmentation", "stage.size=[640]", assembly.area_fit, r"size \[640\] does not fit"),
    ],
)
def test_setting_of_a_stage_is_refused(
    stage: str, override: str, read: Callable[[TrainConfig], Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read(made(stage, override).root)


# weights


@pytest.mark.parametrize("stage", STAGES)
def test_weights_come_with_the_configuration_that_made_them(tmp_path: Path, stage: str) -> None:
    found, _ = saved(tmp_path / "w", stage)
    assert assembly.config_of(found) == made(stage).root


@pytest.mark.parametrize("stage", STAGES)
def test_reader_reads_with_the_weights_it_is_given(tmp_path: Path, stage: str) -> None:
    found, values = saved(tmp_path / "w", stage)
    kind, build = READERS[stage]
    reader = build(found, batch_size=3, context=CPU)
    assert isinstance(reader, kind)
    assert reader.batch_size == 3
    assert same(arrays(reader.network), values)


def test_detector_of_weights_keeps_what_their_configuration_says(tmp_path: Path) -> None:
    network = NETWORKS["segmentation"](made("segmentation").root)
    text = made("segmentation", "stage.topk=3", "stage.min_c=0.25", "stage.overlap_thres=0.5").yaml
    found = weights.save(tmp_path / "w", network, text, None, about={})
    detector = assembly.box_detector(found, batch_size=1, context=CPU)
    assert detector.keep == Detecting(min_c=0.25, overlap_thres=0.5, topk=3)


def test_denoiser_of_weights_takes_texts_as_long_as_it_learnt(tmp_path: Path) -> None:
    denoiser = assembly.text_denoiser(saved(tmp_path / "w", "denoiser")[0], batch_size=2, context=CPU)
    assert (denoiser.longest, denoiser.alphabet) == (30, ABC)


def test_alphabet_is_that_of_the_weights(tmp_path: Path) -> None:
    assert assembly.alphabet_of(saved(tmp_path / "w", "line")[0]) == ABC


@pytest.mark.parametrize("stage", ["paragraph", "segmentation"])
def test_weights_without_an_alphabet_read_no_lines(tmp_path: Path, stage: str) -> None:
    found, _ = saved(tmp_path / "w", stage)
    with pytest.raises(InputError, match="w: without an alphabet; choose weights of stage line"):
        assembly.alphabet_of(found)


@pytest.mark.parametrize(
    ("stage", "asked"),
    [
        ("line", "paragraph"),
        ("paragraph", "segmentation"),
        ("segmentation", "line"),
        ("line", "denoiser"),
        ("denoiser", "line"),
    ],
)
def test_weights_of_another_stage_are_refused(tmp_path: Path, stage: str, asked: str) -> None:
    place = saved(tmp_path / "w", stage)[0].folder
    assert assembly.find(str(place), kind=stage).folder == place
    with pytest.raises(InputError, match=f"weights {place}: of stage {stage}, not {asked}; choose weights"):
        assembly.find(str(place), kind=asked)


def test_weights_are_refused_when_there_are_none() -> None:
    with pytest.raises(InputError, match="weights line/nothing: no such folder"):
        assembly.find("line/nothing", kind="line")


def test_weights_with_a_published_name_are_found_unless_a_folder_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assembly, "EXPERIMENTS", tmp_path / "checkout" / "experiments")
    monkeypatch.chdir(tmp_path)
    published = saved(tmp_path / "checkout" / "experiments" / "line" / "known" / "weights", "line")[0].folder
    assert assembly.find("line/known", kind="line").folder == published
    saved(tmp_path / "line" / "known", "line")
    assert assembly.find("line/known", kind="line").folder == Path("line/known")


def test_weights_of_a_run_are_not_looked_up_without_a_store() -> None:
    with pytest.raises(
        InputError, match="weights runs:/ID: runs are not looked up here; name outputs/runs/ID"
    ):
        assembly.find("runs:/ID", kind="line")
