"""Settings become the arguments of what they configure, or one clear line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwr.config import CONF
from hwr.config.bind import bind, current_targets, make, target, texts
from hwr.decoding import beam
from hwr.errors import InputError
from hwr.networks import crnn, ssd
from hwr.runs import study
from hwr.stages import denoiser


def maker(
    given: str, *, size: int, rate: float, name: str | None, many: Sequence[int],
    by_name: Mapping[str, float], flag: bool = True,
) -> tuple[object, ...]:  # fmt: skip
    if size > 100:
        raise ValueError("size is above 100")
    return given, size, rate, name, list(many), dict(by_name), flag


GOOD = {"size": 3, "rate": 1, "name": None, "many": [1, 2], "by_name": {"a": 1, "b": 0.5}}


def test_make_hands_over_settings_and_what_is_given() -> None:
    made = make(maker, {**GOOD, "_target_": "hwr.something"}, "node", given="g")
    assert made == ("g", 3, 1.0, None, [1, 2], {"a": 1, "b": 0.5}, True)
    assert type(made[2]) is float


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"sise": 3},
            r"node.sise: no such key \(did you mean size\?\); known are size, rate, name, many,",
        ),
        ({"given": "x"}, "node.given: no such key"),
        ({"size": 3.5}, "node.size=3.5 is not a whole number"),
        ({"size": True}, "node.size=True is not a whole number"),
        ({"size": None}, "node.size=None is not a whole number"),
        ({"rate": "1"}, "node.rate='1' is not a number"),
        ({"name": 3}, "node.name=3 is not a text"),
        ({"many": 3}, "node.many=3 is not a list"),
        ({"many": "12"}, "node.many='12' is not a list"),
        ({"many": [1, "2"]}, "node.many.1='2' is not a whole number"),
        ({"by_name": {"a": "x"}}, "node.by_name.a='x' is not a number"),
        ({"flag": 1}, "node.flag=1 is not true or false"),
        ({"size": 101}, "node: size is above 100"),
    ],
)
def test_make_refuses_what_the_maker_does_not_take(change: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(maker, GOOD | change, "node", given="g")


NETWORKS = sorted((CONF / "network").glob("*.yaml"))


@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_sizes_of_a_network_are_checked_before_it_is_built(path: Path) -> None:
    node = yaml.safe_load(path.read_text(encoding="utf-8"))
    network, given = target(node, "network"), {"classes"} if "height" in node or "layers" in str(node) else ()
    bind(network, node, "network", given)
    for key, value in node.items():
        wrong = {int: -1, float: -1.0}.get(type(value))
        if key != "mean" and wrong is not None:  # a mean may be any number
            with pytest.raises(InputError, match=f"network.{key}=-1(.0)? is not possible; it must be"):
                bind(network, node | {key: wrong}, "network", given)
        if isinstance(value, list) and isinstance(value[0], int):
            with pytest.raises(InputError, match=f"network.{key}.0=-1 is not possible"):
                bind(network, node | {key: [-1, *value[1:]]}, "network", given)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("extent", {"channels": []}, r"network.channels=\[\] is not possible"),
        ("crnn", {"channels": [], "blocks": []}, r"network.channels=\[\] is not possible"),
        ("ssd_line", {"anchors": [[]]}, r"network.anchors.0=\[\] is not possible"),
        ("ssd_line", {"anchors": [[[0.1]]]}, r"network.anchors.0.0=\[0.1\] is not possible"),
        ("ssd_line", {"strides": [[2], [2], [1], [1]]}, r"network.strides.0=\[2\] is not possible"),
        ("ssd_line", {"blocks": [0, 1, 1, 1]}, "network.blocks.0=0 is not possible"),
    ],
)
def test_lists_of_a_network_have_their_lengths(name: str, change: dict[str, object], said: str) -> None:
    node = yaml.safe_load((CONF / "network" / f"{name}.yaml").read_text(encoding="utf-8"))
    with pytest.raises(InputError, match=said):
        bind(target(node, "network"), node | change, "network", {"classes"} if name == "crnn" else ())


def test_bind_names_a_missing_key() -> None:
    with pytest.raises(InputError, match=r"node\.size is not set"):
        bind(maker, {key: value for key, value in GOOD.items() if key != "size"}, "node", ["given"])


@pytest.mark.parametrize("name", ["os.system", "hwr.nothing", "hwr.losses.Nothing", "", None])
def test_target_is_a_part_of_this_project_or_refused(name: str | None) -> None:
    with pytest.raises(InputError, match=r"loss\._target_"):
        target({"_target_": name}, "loss")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("hwr.searching.proposals.tpe", study.tpe),
        ("hwr.runs.search_space.median", study.median),
        ("hwr.decoding.languages.language_decoder", beam.language_decoder),
        ("hwr.networks.resnet_bilstm.ResnetBilstm", crnn.ResnetBilstm),
        ("hwr.networks.ssd.resnet34", ssd.ssd_resnet34),
        ("hwr.stages.denoiser.model.denoise_decoder", denoiser.denoise_decoder),
    ],
)
def test_target_that_moved_is_found_by_its_old_name(before: str, now: Any) -> None:
    assert target({"_target_": before}, "node") is now
    renamed = current_targets({"base": {"_target_": before}, "width": 3})
    assert renamed == {"base": {"_target_": f"{now.__module__}.{now.__name__}"}, "width": 3}


def test_texts_are_found_with_their_keys() -> None:
    settings = {"model": "a/b", "width": 3, "base": {"words": "c"}, "texts": ["d", 1], "none": None}
    assert list(texts(settings, "")) == [("model", "a/b"), ("base.words", "c"), ("texts.0", "d")]
    assert list(texts("e", "stage.file")) == [("stage.file", "e")]


def test_node_that_is_no_mapping_is_refused() -> None:
    with pytest.raises(InputError, match=r"phases\.ctc=None is not a mapping; give its keys"):
        bind(dict, None, "phases.ctc")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"decoder=greedy is not a mapping"):
        target("greedy", "decoder")  # type: ignore[arg-type]
