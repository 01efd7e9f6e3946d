"""A training's settings, parsed: devices, data, phases, and what settings of a stage become."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest

from hwr import runtime
from hwr.config.compose import composed
from hwr.config.roots import StoreConfig, TrainConfig
from hwr.errors import InputError
from hwr.images.canvas import PageFit
from hwr.images.line_crop import LineCrop
from hwr.losses import IouLoss, MseLoss
from hwr.stages.boxes import PageSettings
from hwr.stages.denoiser import DenoiserSettings
from hwr.stages.kind import Recipe
from hwr.stages.line import LineSettings
from hwr.stages.recipe import data_source, device_context, fastest_precision, parse_recipe
from hwr.stages.segmentation import DetectionSettings
from tests.alto_folder import write_folder


def config(*overrides: str) -> TrainConfig:
    made: TrainConfig = composed("train", list(overrides), TrainConfig).root
    return made


def recipe(*overrides: str) -> Recipe[Any]:
    return parse_recipe(config(*overrides))


def smoke(*overrides: str) -> Recipe[Any]:
    return recipe("experiments=line/smoke", *overrides)


# device


@pytest.mark.parametrize("name", ["cpu", "cpu:0"])
def test_device_is_a_context(name: str) -> None:
    assert device_context(name) == mx.cpu()


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
        device_context(name)


# precision


def test_training_computes_in_float32_until_it_is_asked_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: "avx2 avx512bw avx512_bf16")
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    assert smoke().model.precision == "float32"
    assert smoke("precision=bfloat16").model.precision == "bfloat16"
    assert fastest_precision(config("stage=line")) == "bfloat16"
    assert fastest_precision(config("stage=line", "network=resnet_bilstm")) == "float32"
    monkeypatch.setenv("DNNL_MAX_CPU_ISA", "AVX2")
    assert fastest_precision(config("stage=line")) == "float32"


@pytest.mark.parametrize(
    ("channels", "granted", "expected"),
    [
        ("[48,96,128]", True, "float32"),
        ("[64,96,128]", True, "bfloat16"),
        ("[64,96,128]", False, "float32"),
    ],
)
def test_fastest_precision_with_amx_is_that_of_the_channels(
    monkeypatch: pytest.MonkeyPatch, channels: str, granted: bool, expected: str
) -> None:
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: "avx512bw avx512_bf16 amx_bf16")
    monkeypatch.setattr(runtime, "_may_use_tiles", lambda: granted)
    monkeypatch.setattr(runtime._OneDnn, "computes", False)
    monkeypatch.setenv(runtime.LIMIT, "")  # so that it is taken back what the training sets
    monkeypatch.delenv(runtime.LIMIT)
    assert fastest_precision(config("stage=line", f"network.channels={channels}")) == expected


@pytest.mark.parametrize(
    ("flags", "limit", "overrides", "said"),
    [
        ("avx2 avx512bw", None, [], r"processor computes without it \(AVX512_CORE here.*leave it out"),
        ("avx2 avx512_bf16", "AVX2", [], r"processor computes without it \(AVX2 here"),
        ("avx2 avx512_bf16", None, ["network=resnet_bilstm"], "this network computes in float32; .*=crnn"),
    ],
)
def test_bfloat16_is_refused_where_it_is_not_there(
    monkeypatch: pytest.MonkeyPatch, flags: str, limit: str | None, overrides: list[str], said: str
) -> None:
    monkeypatch.setattr(runtime, "_cpuinfo", lambda field: flags)
    monkeypatch.delenv("DNNL_MAX_CPU_ISA", raising=False)
    if limit:
        monkeypatch.setenv("DNNL_MAX_CPU_ISA", limit)
    with pytest.raises(InputError, match=f"precision=bfloat16: .*{said}"):
        recipe("stage=line", "precision=bfloat16", *overrides)


# data


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        (["data=alto", "data.root=some/letters"], "alto/letters"),
        (["data=synthetic"], "synthetic"),
        (["data=sets", "+data@data.sets.b=alto", "data.sets.b.root=x", "+data@data.sets.a=alto",
          "data.sets.a.root=y", "data.only=[a]"], "sets/a"),
        (["data=latin", "data.root=DIR", "data.only=[copiste,hooker_en]"], "sets/copiste+hooker_en"),
        (["data=latin", "data.root=DIR"], "sets/copiste+6"),
    ],
)  # fmt: skip
def test_data_set_is_named_by_format_and_folder(overrides: list[str], name: str) -> None:
    data = recipe("stage=line", *overrides).data
    assert data.name == name
    assert data.root == (Path("some/letters") if name == "alto/letters" else None)


def test_pages_are_drawn_into_the_cache_where_no_folder_is_named(tmp_path: Path) -> None:
    source = smoke("data.pages={train: 1, valid: 0, test: 0}", f"folder={tmp_path}").data
    assert source.cache == tmp_path / "cache"
    drawn = source.read(whole=False).pages
    assert [page.split for page in drawn] == ["train"]
    assert drawn[0].image.is_relative_to(tmp_path / "cache")


@pytest.mark.parametrize(
    ("whole", "counts"), [(False, {"train": 0, "valid": 1}), (True, {"train": 1, "valid": 1})]
)
def test_excluded_lines_stay_only_on_pages_taken_whole(
    tmp_path: Path, whole: bool, counts: dict[str, int]
) -> None:
    root = write_folder(tmp_path, {"train": "tea", "valid": "toast"})
    settings = config("data=alto", f"data.root={root}", "data.exclude.pattern=tea").data
    pages = data_source(settings, str(tmp_path)).read(whole=whole).pages
    assert {page.split: len(page.lines) for page in pages} == counts


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "nowhere"}, "data source 'nowhere' is unknown"),
        ({}, "data source 'None' is unknown"),
        ({"source": "alto"}, "data.root is not set"),
        ({"source": "alto", "root": 3}, "data.root=3 is not a text"),
    ],
)
def test_data_are_refused_before_they_are_read(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        data_source(settings, "outputs")


# stages


@pytest.mark.parametrize(
    ("override", "shown"), [("stage.kind=paragraf", "paragraf"), ("~stage.kind", "None")]
)
def test_unknown_stage_is_refused_with_those_that_there_are(override: str, shown: str) -> None:
    said = rf"stage\.kind={shown}: unknown; use one of denoiser, line, paragraph, segmentation"
    with pytest.raises(InputError, match=said):
        recipe(override)


def test_settings_of_lines_are_their_crop() -> None:
    crop = {"height": 40, "max_width": 900, "margin": 0.25, "mask": False, "deskew": True, "normalise": False}
    overrides = [f"stage.crop.{name}={value}" for name, value in crop.items()]
    assert recipe("stage=line", *overrides).settings == LineSettings(crop=LineCrop(**crop))  # type: ignore[arg-type]


def test_settings_of_pages_are_their_canvas_and_growth() -> None:
    settings = recipe(
        "stage=paragraph", "stage.size=[90,70]", "stage.normalise=false", "stage.growth=0"
    ).settings
    assert settings == PageSettings(size=[90, 70], normalise=False, growth=0.0)
    assert settings.fit == PageFit(size=(90, 70), normalise=False)


def test_settings_of_areas_are_what_is_detected_and_kept() -> None:
    kept = (
        "stage.min_c=0.25",
        "stage.overlap_thres=0.125",
        "stage.topk=9",
        "stage.unit=word",
        "stage.growth=1",
        "stage.views=[0,0.5]",
    )
    settings = recipe("stage=segmentation", "stage.size=[90,70]", "stage.normalise=true", *kept).settings
    assert settings == DetectionSettings(
        unit="word",
        size=[90, 70],
        normalise=True,
        growth=1.0,
        min_c=0.25,
        overlap_thres=0.125,
        topk=9,
        views=[0.0, 0.5],
    )
    assert settings.fit == PageFit(size=(90, 70), normalise=True)


def test_settings_of_texts_are_how_they_are_taken_and_misread() -> None:
    values = ("stage.repeats=2", "stage.windows=0.25", "stage.longest=40", "stage.texts=[a.txt]")
    settings = recipe("stage=denoiser", "stage.confusions=here", *values).settings
    assert settings == DenoiserSettings(
        confusions="here", texts=["a.txt"], repeats=2, windows=0.25, longest=40
    )


@pytest.mark.parametrize(
    ("stage", "override", "said"),
    [
        ("line", "+stage.crop.planted=1", "stage.crop.planted: no such key"),
        ("line", "stage.crop.height=2", "height 2 is too small"),
        ("line", "stage.crop.height=100000", "height 100000 is too large; use 1024 or fewer pixels"),
        ("line", "stage.crop.height=tall", "stage.crop.height='tall' is not a whole number"),
        ("line", "+decoder.planted=1", "decoder.planted: no such key"),
        ("line", "+network.classes=9", "network.classes: no such key"),
        ("paragraph", "+stage.unit=line", "stage.unit: no such key"),
        ("paragraph", "stage.growth=1.5", "stage.growth=1.5 is not possible; it must be 1 or less"),
        ("paragraph", "stage.size=[640]", r"size \[?\(?640.* does not fit"),
        ("segmentation", "stage.growth=-1", "stage.growth=-1.* is not possible; it must be 0 or more"),
        ("segmentation", "stage.unit=page", "stage.unit=.?page.*one of line, word"),
        ("segmentation", "stage.size=[640]", r"size \[?\(?640.* does not fit"),
        ("segmentation", "stage.min_c=0", r"min_c=0.* is not possible; it must be greater than 0"),
        (
            "segmentation",
            "stage.overlap_thres=1",
            r"overlap_thres=1.* is not possible; it must be less",
        ),
        ("segmentation", "stage.topk=0", r"topk=0 is not possible; it must be 1 or more"),
        ("denoiser", "stage.repeats=0", "stage.repeats=0"),
        ("denoiser", "stage.windows=2", "stage.windows=2"),
        ("denoiser", "stage.longest=0", "stage.longest=0"),
        ("denoiser", "stage.texts=a.txt", "stage.texts='a.txt' is not a list"),
    ],
)
def test_setting_of_a_stage_is_refused(stage: str, override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        recipe(f"stage={stage}", override)


def test_network_that_is_none_of_this_project_is_refused() -> None:
    for name in ("os.system", "hwr.nowhere.Crnn", "hwr.networks.crnn.nothing"):
        with pytest.raises(InputError, match=f"network._target_={name}"):
            recipe("stage=line", f"network._target_={name}")


def test_store_of_a_recipe_is_that_of_its_configuration(tmp_path: Path) -> None:
    made = smoke(f"folder={tmp_path}", "init=somewhere", "tracking.experiment=other")
    assert isinstance(made.store, StoreConfig)
    assert (made.store.folder, made.store.tracking.experiment) == (str(tmp_path), "other")
    assert made.init == "somewhere"


# phases


def test_rate_of_a_phase_follows_the_one_flat_rate() -> None:
    plan = smoke("lr=2e-3").plan
    assert [(phase.name, phase.epochs) for phase in plan.phases] == [("ctc", 20), ("plain", 2)]
    assert [phase.lr for phase in plan.phases] == pytest.approx([2e-3, 2e-4])
    assert plan.optimizer(5e-4).learning_rate == 5e-4


def test_plan_has_the_limits_of_the_configuration() -> None:
    limits = (
        "seed=5",
        "max_epochs=3",
        "max_minutes=1.5",
        "patience=2",
        "save_every=4",
        "clip=2",
        "average=0.5",
    )
    plan = smoke(*limits).plan
    assert (plan.seed, plan.max_epochs, plan.max_minutes, plan.patience) == (5, 3, 1.5, 2)
    assert (plan.save_every, plan.clip, plan.average, plan.monitor) == (4.0, 2.0, 0.5, "valid/cer")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("phases.plain.epochs=0", "phases.plain.epochs=0 is not possible; it must be 1 or more"),
        ("phases.plain.lr_scale=0", "phases.plain.lr_scale=0 is not possible; it must be greater"),
        ("phases.plain.schedule=wave", "wave"),
        ("+phases.plain.planted=1", r"phases\.plain\.planted: no such key"),
        ("+phases.plain.augmentation.planted=1", r"phases\.plain\.augmentation\.planted: no such key"),
        ("+phases.plain.loss.planted=1", r"phases\.plain\.loss\.planted: no such key"),
        ("optimizer.name=newton", "newton"),
    ],
)
def test_setting_of_a_phase_is_refused(override: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        smoke(override)


def test_phase_has_the_augmentation_it_asks_for() -> None:
    image = np.tile(np.arange(64, dtype=np.uint8) * 4, (32, 1))
    made = smoke("augmentation.probability=1")
    assert set(made.losses) == set(made.augmentations) == {"ctc", "plain"}
    assert not np.array_equal(made.augmentations["ctc"](image, seed=0, epoch=0, index=0), image)
    assert np.array_equal(made.augmentations["plain"](image, seed=0, epoch=0, index=0), image)


def test_phase_changes_single_keys_of_its_augmentation() -> None:
    made = recipe("stage=paragraph", "augmentation.shift_x=0.07").augmentations
    assert [(own.shift_x, own.shift_y, own.jitter_x) for own in made.values()] == [
        (0.07, 0.15, 0.1),
        (0.0, 0.0, 0.1),
    ]


def test_loss_of_a_phase_that_names_another_one_stands_alone() -> None:
    own = "+phases.mse.loss={_target_: hwr.losses.MseLoss}"  # and does not take the epsilon of the other
    losses = recipe("stage=paragraph", "loss=iou", own).losses
    assert {name: type(loss) for name, loss in losses.items()} == {"mse": MseLoss, "iou": IouLoss}


# networks


@pytest.mark.parametrize(
    ("stage", "network"),
    [("line", "resnet_bilstm"), ("paragraph", "paragraph_resnet34"), ("segmentation", "ssd_resnet34")],
)
def test_other_networks_of_a_stage_are_taken_too(stage: str, network: str) -> None:
    made = recipe(f"stage={stage}", f"network={network}").model
    assert made.maker in made.model.networks
    assert made.maker is not recipe(f"stage={stage}").model.maker
