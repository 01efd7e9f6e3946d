"""What holds of every stage: what it refuses, that seeds and weights make it, its batches and errors."""

import itertools
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwr import weights
from hwr.config.compose import composed
from hwr.config.roots import TrainConfig
from hwr.data.records import fingerprint
from hwr.errors import InputError
from hwr.networks import Arrays, arrays, read_params
from hwr.stages.build import Training, alphabet_of, config_of, find_weights
from hwr.stages.denoiser import TextDenoiser, load_text_denoiser
from hwr.stages.kind import kind_named
from hwr.stages.line import LineReader, line_network, load_line_reader
from hwr.stages.paragraph import AreaFinder, area_finder, load_area_finder
from hwr.stages.recipe import parse_recipe
from hwr.stages.segmentation import BoxDetector, load_box_detector
from hwr.text import Alphabet
from tests.stages.small import (
    ABC,
    CPU,
    READING,
    STAGES,
    configuration,
    network_of,
    recipe_of,
    save,
    training_of,
    write_data,
)

METRICS = {
    "line": "valid/cer, valid/wer",
    "paragraph": "valid/iou_error",
    "segmentation": "valid/f1_error, valid/f1_75_error, valid/iou_error",
    "denoiser": "valid/cer, valid/noised_cer",
}
SIZES = {
    "line": "5 training and 2 validation lines",
    "paragraph": "5 training and 2 validation pages",
    "segmentation": "5 training and 2 validation areas, 5 and 2 lines",
    "denoiser": "5 training and 2 validation lines",
}
READERS: dict[str, tuple[type, Callable[..., Any]]] = {
    "line": (LineReader, load_line_reader),
    "paragraph": (AreaFinder, load_area_finder),
    "segmentation": (BoxDetector, load_box_detector),
    "denoiser": (TextDenoiser, load_text_denoiser),
}
NETWORKS = {
    "line": "hwr.networks.crnn.Crnn",
    "paragraph": "hwr.networks.paragraph.Extent",
    "segmentation": "hwr.networks.ssd.compact",
    "denoiser": "hwr.networks.transformer.Transformer",
}
LOSSES = {
    "line": "hwr.losses.CtcLoss",
    "paragraph": "hwr.losses.MseLoss",
    "segmentation": "hwr.losses.MultiBoxLoss",
    "denoiser": "hwr.losses.TextLoss",
}
OTHERS = [pair for pair in itertools.product(STAGES, STAGES) if pair[0] != pair[1]]


@pytest.fixture(scope="module", params=STAGES)
def stage(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, stage: str) -> list[str]:
    return write_data(tmp_path_factory.mktemp(stage), stage)


@pytest.fixture(scope="module")
def training(stage: str, data: list[str]) -> Training:
    return training_of(stage, *data)


def same(one: Arrays, other: Arrays) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def alike(one: Any, other: Any) -> bool:
    """Tell whether two batches hold the same ids and bits."""
    pairs = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(np.array_equal(*pair) if isinstance(pair[0], np.ndarray) else pair[0] == pair[1]
               for pair in pairs)  # fmt: skip


def all_alike(ones: list[Any], others: list[Any]) -> bool:
    return len(ones) == len(others) and all(map(alike, ones, others))


# recipes


def test_recipe_is_that_of_the_file_of_the_stage(stage: str) -> None:
    config: TrainConfig = composed("train", [f"stage={stage}"], TrainConfig).root
    recipe = parse_recipe(config)
    assert recipe.kind is kind_named(stage)
    assert recipe.kind.name == recipe.model.model.name == stage
    assert isinstance(recipe.settings, recipe.kind.model.settings)
    assert list(recipe.losses) == list(recipe.augmentations) == list(config.phases)
    assert [phase.name for phase in recipe.plan.phases] == list(config.phases)
    assert (recipe.plan.monitor, recipe.batch_size) == (config.monitor, config.batch_size)
    assert (recipe.seed, recipe.loading.max_pixels) == (config.seed, config.max_pixels)


def test_recipe_reads_no_page_and_makes_no_folder(stage: str, tmp_path: Path) -> None:
    recipe_of(stage, "data=alto", "data.root=nowhere", f"folder={tmp_path / 'outputs'}", "init=nowhere")
    assert not list(tmp_path.iterdir())


def test_metric_that_a_stage_does_not_give_is_refused(stage: str) -> None:
    said = f"monitor=train/loss: no such metric; use one of {METRICS[stage]}$"
    with pytest.raises(InputError, match=said):
        recipe_of(stage, "monitor=train/loss")


@pytest.mark.parametrize("node", ["stage", "network", "augmentation", "loss", "optimizer", "data"])
def test_key_that_a_node_does_not_have_is_refused(stage: str, node: str) -> None:
    with pytest.raises(InputError, match=rf"{node}\.planted: no such key"):
        recipe_of(stage, f"+{node}.planted=1")


@pytest.mark.parametrize(
    ("stage", "key"),
    [("line", "crop"), ("paragraph", "size"), ("segmentation", "unit"), ("denoiser", "confusions")],
    indirect=["stage"],
)
def test_setting_that_a_stage_lacks_is_refused(stage: str, key: str) -> None:
    config: TrainConfig = composed("train", [f"stage={stage}", f"~stage.{key}"], TrainConfig).root
    with pytest.raises(InputError, match=rf"stage\.{key} is not set"):
        parse_recipe(config)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("device=tpu", "device=tpu: use cpu, gpu or gpu:N"),
        ("inspect.policy.no_area=perhaps", "inspect.policy.no_area=perhaps is unknown; use one of"),
        ("data.source=nowhere", "data source 'nowhere' is unknown; use one of"),
        ("+data.exclude.planted=1", r"data\.exclude\.planted: no such key"),
        ("phases=null", "phases is empty"),
    ],
)
def test_setting_of_any_training_is_refused(stage: str, override: str, said: str) -> None:
    composed_config = configuration(stage, *([] if override == "phases=null" else [override]))
    if override == "phases=null":
        composed_config.root.phases = {}
    with pytest.raises(InputError, match=said):
        parse_recipe(composed_config.root)


@pytest.mark.parametrize(("stage", "other"), OTHERS, indirect=["stage"])
def test_network_of_another_stage_is_refused(stage: str, other: str) -> None:
    said = f"network._target_={NETWORKS[other]}: not a network of stage {stage}"
    with pytest.raises(InputError, match=said):
        recipe_of(stage, f"network._target_={NETWORKS[other]}")


@pytest.mark.parametrize(("stage", "other"), OTHERS, indirect=["stage"])
def test_loss_of_another_stage_is_refused(stage: str, other: str) -> None:
    with pytest.raises(InputError, match=f"loss._target_={LOSSES[other]}: not a loss of stage {stage}"):
        recipe_of(stage, f"loss._target_={LOSSES[other]}")


def test_loss_of_another_stage_is_refused_in_a_phase(stage: str) -> None:
    first = next(iter(configuration(stage).root.phases))
    other = LOSSES["paragraph" if stage == "line" else "line"]
    said = rf"phases\.{first}\.loss\._target_={other}: not a loss of stage {stage}"
    with pytest.raises(InputError, match=said):
        recipe_of(stage, f"+phases.{first}.loss={{_target_: {other}}}")


# networks


def test_network_is_drawn_from_the_seed(stage: str) -> None:
    one, again, other = (arrays(network_of(stage, f"seed={seed}")) for seed in (1, 1, 2))
    assert same(one, again)
    assert not same(one, other)


def test_weight_decay_spares_biases_and_normalisations(stage: str) -> None:
    decayed = {
        name.rpartition("_")[2]: parameter.wd_mult
        for name, parameter in network_of(stage).collect_params().items()
        if parameter.grad_req != "null"
    }
    assert {decayed[name] for name in ("bias", "gamma", "beta") if name in decayed} == {0.0}
    assert decayed["weight"] == 1.0


# weights


def test_weights_come_with_the_configuration_that_made_them(tmp_path: Path, stage: str) -> None:
    assert config_of(save(tmp_path / "w", stage)) == configuration(stage).root


def test_reader_reads_with_the_weights_it_is_given(tmp_path: Path, stage: str) -> None:
    kind, load = READERS[stage]
    reader = load(save(tmp_path / "w", stage), batch_size=3, context=CPU)
    assert isinstance(reader, kind)
    assert (reader.batch_size, reader.context) == (3, CPU)
    assert same(arrays(reader.network), arrays(network_of(stage, "seed=7")))


def test_alphabet_is_that_of_the_weights(tmp_path: Path, stage: str) -> None:
    loaded = save(tmp_path / "w", stage)
    if stage in READING:
        assert alphabet_of(loaded) == ABC
    else:
        with pytest.raises(InputError, match="w: without an alphabet; choose weights of stage line"):
            alphabet_of(loaded)


@pytest.mark.parametrize(("stage", "asked"), OTHERS, indirect=["stage"])
def test_weights_of_another_stage_are_refused(tmp_path: Path, stage: str, asked: str) -> None:
    folder, config = save(tmp_path / "w", stage).folder, configuration(stage).root
    assert find_weights(str(folder), stage, config).folder == folder
    with pytest.raises(InputError, match=f"weights {folder}: of stage {stage}, not {asked}; choose weights"):
        find_weights(str(folder), asked, config)


# trainings


def test_training_tells_what_it_trains_on(stage: str, training: Training, data: list[str]) -> None:
    built = training.built
    assert built.size == SIZES[stage]
    assert (built.alphabet is not None) == (stage in READING)
    assert training.took == ""
    pages = recipe_of(stage, *data).data.read(whole=stage not in READING).pages
    assert training.fingerprint == fingerprint(pages)
    assert {split: own.pages for split, own in training.report.splits.items()} == {
        "train": 5, "valid": 2, "test": 0,
    }  # fmt: skip


def test_network_that_is_trained_is_drawn_from_the_seed(
    stage: str, training: Training, data: list[str]
) -> None:
    again, other = (training_of(stage, *data, f"seed={seed}").built.stage.network for seed in (0, 1))
    assert same(arrays(training.built.stage.network), arrays(again))
    assert not same(arrays(training.built.stage.network), arrays(other))


def test_pictures_show_what_is_trained_and_what_is_predicted(training: Training) -> None:
    for picture in (training.built.augmented(0), training.built.predicted(12)):
        assert picture.dtype == np.uint8
        assert picture.shape[0] > 48
        assert picture.shape[2] == 3
        assert np.ptp(picture) > 100


def test_picture_of_training_samples_is_drawn_from_a_seed(training: Training) -> None:
    one, again, other = (training.built.augmented(seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_epoch_has_the_batches_that_it_says(stage: str, training: Training) -> None:
    own = training.built.stage
    first = recipe_of(stage).plan.phases[0]
    for epoch in (0, 1):
        batches = list(own.batches(first, epoch, start=0))
        assert len(batches) == own.steps() == (5 if stage == "denoiser" else 3)
        names = [name for batch in batches for name in batch.ids]
        taken = 2 if stage == "denoiser" else 1
        assert len(names) == 5 * taken
        assert all(names.count(name) == taken for name in names)
        assert {name.partition("/")[0] for name in names} == {f"train{number}" for number in range(5)}


def test_batches_repeat_for_an_epoch_and_change_with_it(stage: str, training: Training) -> None:
    first = recipe_of(stage).plan.phases[0]
    one, again, other = (list(training.built.stage.batches(first, n, start=0)) for n in (0, 0, 1))
    assert all_alike(one, again)
    assert not all_alike(one, other)


def test_batches_change_with_the_seed(stage: str, training: Training, data: list[str]) -> None:
    first = recipe_of(stage).plan.phases[0]
    other = training_of(stage, *data, "seed=1").built.stage
    ones, others = (list(own.batches(first, 0, start=0)) for own in (training.built.stage, other))
    assert not all_alike(ones, others)


def test_batches_go_on_from_within_an_epoch(stage: str, training: Training) -> None:
    own = training.built.stage
    first = recipe_of(stage).plan.phases[0]
    whole = list(own.batches(first, 1, start=0))
    for start in range(own.steps() + 1):
        assert all_alike(list(own.batches(first, 1, start=start)), whole[start:])


def test_loss_is_one_value_a_sample(stage: str, training: Training) -> None:
    own = training.built.stage
    first = recipe_of(stage).plan.phases[0]
    for batch in own.batches(first, 0, start=0):
        values = own.loss(first, batch).asnumpy()
        assert values.shape == (len(batch.ids),)
        assert np.isfinite(values).all()
        assert (values >= 0).all()  # 0 where augmentation left no box
        assert values.sum() > 0


def test_validation_gives_the_errors_that_the_stage_names(stage: str, training: Training) -> None:
    errors = training.built.stage.validate()
    assert ", ".join(errors) == METRICS[stage]
    assert tuple(errors) == tuple(training.built.stage.metrics) == tuple(kind_named(stage).metrics)
    assert all(isinstance(value, float) and value >= 0 for value in errors.values())
    assert training.built.stage.validate() == errors


def test_training_starts_from_weights(
    stage: str, training: Training, data: list[str], tmp_path: Path
) -> None:
    before = training.built
    folder = weights.save(
        tmp_path / "w", before.stage.network, configuration(stage).yaml, before.alphabet, about={}
    ).folder
    started = training_of(stage, *data, "seed=2", f"init={folder}")
    assert same(arrays(started.built.stage.network), arrays(before.stage.network))
    assert started.took.startswith("took ")
    assert "not taken" not in started.took
    characters = len(before.alphabet.symbols) if before.alphabet is not None else 0
    assert (f"output rows of {characters} characters" in started.took) == (stage in READING)


def test_training_that_starts_from_weights_of_another_stage_is_refused(
    stage: str, data: list[str], tmp_path: Path
) -> None:
    other = "paragraph" if stage != "paragraph" else "line"
    folder = save(tmp_path / "w", other).folder
    with pytest.raises(InputError, match=f"of stage {other}, not {stage}; choose weights of that stage"):
        training_of(stage, *data, f"init={folder}")


def test_split_without_lines_is_refused(stage: str, tmp_path: Path) -> None:
    overrides = write_data(tmp_path, stage)
    table = tmp_path / "data" / "pages.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",valid\n", ",test\n"), encoding="utf-8")
    with pytest.raises(InputError, match="the split valid has no lines"):
        training_of(stage, *overrides)


def test_lines_that_are_excluded_are_left_out_where_texts_are_learnt(stage: str, data: list[str]) -> None:
    pages = recipe_of(stage, *data, "data.exclude.pattern=tease")
    report = training_of(stage, *data, "data.exclude.pattern=tease").report
    assert pages.kind.learns_text == (stage in READING)
    assert report.splits["train"].lines == (4 if stage in READING else 5)


def test_parameter_of_another_shape_is_refused(
    stage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, load = READERS[stage]
    loaded = save(tmp_path / "w", stage)
    whole = read_params(loaded.folder / weights.PARAMS)
    for name, value in whole.items():
        for axis in range(value.ndim):  # also those that a network learns from its input
            longer = np.concatenate([value, value.take([0], axis)], axis)
            monkeypatch.setattr(weights, "read_params", lambda path, own={name: longer}: {**whole, **own})
            with pytest.raises(InputError, match=rf"of another network, {re.escape(name)} has shape"):
                load(loaded, batch_size=1, context=CPU)


@pytest.mark.parametrize(
    ("words", "sizes", "draw", "alphabet"),
    [
        (
            ["stage=line", "network=resnet_bilstm"], ["stage.crop.height=48", "stage.crop.height=32"],
            lambda model: line_network(model, ABC, CPU), ABC,
        ),
        (
            ["stage=paragraph", "network=original_area"], ["stage.size=[64,64]", "stage.size=[64,96]"],
            lambda model: area_finder(model, batch_size=1, context=CPU).network, None,
        ),
    ],
)  # fmt: skip
def test_weights_for_images_of_another_size_are_refused(
    tmp_path: Path, words: list[str], sizes: list[str], draw: Callable[[Any], Any], alphabet: Alphabet | None
) -> None:
    made, changed = (composed("train", [*words, size], TrainConfig) for size in sizes)
    network = draw(parse_recipe(made.root).model)
    stored = weights.save(tmp_path / "w", network, made.yaml, alphabet, about={})
    load = load_line_reader if alphabet else load_area_finder
    load(stored, batch_size=1, context=CPU)
    with pytest.raises(InputError, match=r"of another network, .* has shape"):
        load(weights.copy(stored, tmp_path / "other", changed.yaml), batch_size=1, context=CPU)
