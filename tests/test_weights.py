import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet.gluon import nn

from hwr import networks, weights
from hwr.errors import InputError
from hwr.files import sha256
from hwr.networks import arrays, read_params
from hwr.text import Alphabet

AB = Alphabet("ab")


class Reader(nn.HybridBlock):
    """A trunk and two heads with a row for every class."""

    def __init__(self, alphabet: Alphabet, units: int = 4) -> None:
        super().__init__()
        with self.name_scope():
            self.trunk = nn.Dense(units, in_units=3)
            self.output = nn.Dense(len(alphabet), in_units=units)
            self.shortcut = nn.Dense(len(alphabet), in_units=units, use_bias=False)


def reader(alphabet: Alphabet = AB, *, units: int = 4, seed: int = 1) -> Any:
    mx.random.seed(seed)
    network = Reader(alphabet, units)
    network.initialize(mx.init.Normal(1))
    for parameter in network.collect_params(".*bias").values():
        parameter.set_data(mx.nd.arange(parameter.shape[0]) + 10 * seed)
    return network


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "uint8", "int32", "int8", "int64"])
def test_parameters_are_those_that_mxnet_reads(kind: str, tmp_path: Path) -> None:
    made = {"é.b": mx.nd.array([[1, 2, 3]], dtype=kind), "a": mx.nd.arange(24, dtype=kind).reshape((2, 3, 4))}
    mx.nd.save(str(tmp_path / "p"), made)
    read = read_params(tmp_path / "p")
    assert {name: value.dtype for name, value in read.items()} == dict.fromkeys(made, np.dtype(kind))
    for name, value in mx.nd.load(str(tmp_path / "p")).items():
        np.testing.assert_array_equal(read[name], value.asnumpy())


def saved(folder: Path, alphabet: Alphabet = AB, **made: Any) -> weights.Weights:
    return weights.save(folder, reader(alphabet, **made), "name: test\n", alphabet, about={"run": "r1"})


def finder(*, units: int = 4, seed: int = 1) -> Any:
    """Return a network that reads no text."""
    network = nn.HybridSequential()
    network.add(nn.Dense(units, in_units=3), nn.Dense(4, in_units=units))
    mx.random.seed(seed)
    network.initialize(mx.init.Normal(1))
    return network


def saved_finder(folder: Path, **made: Any) -> weights.Weights:
    return weights.save(folder, finder(**made), "name: area\n", None, about={"run": "r2"})


def as_lists(network: Any) -> dict[str, Any]:
    return {name: value.tolist() for name, value in arrays(network).items()}


def test_weights_come_back_when_a_folder_is_filled_in(tmp_path: Path) -> None:
    saved(tmp_path / "w")
    network = reader(seed=2)
    weights.fill(network, weights.load(tmp_path / "w"))
    assert as_lists(network) == as_lists(reader(seed=1))


@pytest.mark.parametrize(("form", "share", "error"), [("half", 0.7, 0.001), ("int8", 0.4, 0.011)])
def test_fewer_bytes_give_nearly_the_same_network(
    tmp_path: Path, form: str, share: float, error: float
) -> None:
    whole = saved(tmp_path / "w", units=64)
    small = weights.copy_smaller(whole, tmp_path / "small", form)
    assert (small.config, small.alphabet, small.about) == (whole.config, whole.alphabet, whole.about)
    sizes = [(own.folder / weights.PARAMS).stat().st_size for own in (small, whole)]
    assert sizes[0] < share * sizes[1]
    network = reader(units=64, seed=2)
    weights.fill(network, small)
    for name, value in arrays(network).items():
        assert value.dtype == np.float32
        expected = arrays(reader(units=64, seed=1))[name]
        np.testing.assert_allclose(value, expected, atol=error * np.abs(expected).max() + 1e-9)
    again = weights.copy_smaller(small, tmp_path / "again", form)
    assert again.sha256 == small.sha256


@pytest.mark.parametrize("form", ["half", "int8"])
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_parameter_that_is_no_number_is_refused(tmp_path: Path, form: str, value: float) -> None:
    network = reader(seed=1)
    matrix = next(own for own in network.collect_params().values() if len(own.shape) > 1)
    matrix.set_data(matrix.data() * value)
    whole = weights.save(tmp_path / "w", network, "name: test\n", AB, about={})
    with pytest.raises(InputError, match="is too large or no number"):
        weights.copy_smaller(whole, tmp_path / "small", form)
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize("change", [
    lambda data: data[:-1],
    lambda data: data[: len(data) // 2] + b"xx" + data[len(data) // 2 + 2 :],
    lambda data: data + b"more",
    lambda data: data[:2],
    lambda data: gzip.compress(b"no parameters"),
])  # fmt: skip
def test_damaged_compressed_parameters_are_refused(tmp_path: Path, change: Callable[[bytes], bytes]) -> None:
    small = weights.copy_smaller(saved(tmp_path / "w"), tmp_path / "small", "int8")
    file = small.folder / weights.PARAMS
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=r".+"):
        read_params(file)


def test_compressed_parameters_that_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = weights.copy_smaller(saved(tmp_path / "w"), tmp_path / "small", "int8")
    monkeypatch.setattr(networks, "_LARGEST", 100)
    with pytest.raises(InputError, match="holds no parameters"):
        weights.fill(reader(), small)


def test_row_of_zeros_stays_zeros_in_int8(tmp_path: Path) -> None:
    network = reader(seed=1)
    for parameter in network.collect_params().values():
        parameter.set_data(parameter.data() * 0)
    whole = weights.save(tmp_path / "w", network, "name: test\n", AB, about={})
    other = reader(seed=2)
    weights.fill(other, weights.copy_smaller(whole, tmp_path / "small", "int8"))
    assert not any(value.any() for value in arrays(other).values())


def test_half_is_refused_where_it_cannot_hold_a_parameter_or_would_replace_other_things(
    tmp_path: Path,
) -> None:
    network = reader(seed=1)
    first = next(iter(network.collect_params().values()))
    first.set_data(first.data() + 1e6)
    whole = weights.save(tmp_path / "w", network, "name: test\n", AB, about={})
    with pytest.raises(InputError, match="is too large or no number; keep them as they are"):
        weights.copy_smaller(whole, tmp_path / "half", "half")
    (tmp_path / "mine").mkdir()
    with pytest.raises(InputError, match="mine: is there, and no weights folder; choose another --output"):
        weights.copy_smaller(whole, tmp_path / "mine", "int8")


def test_folder_tells_what_made_it(tmp_path: Path) -> None:
    saved(tmp_path / "w")
    found = weights.load(tmp_path / "w")
    assert (found.config, found.alphabet, found.about) == ("name: test\n", AB, {"run": "r1"})
    assert found.sha256 == sha256(tmp_path / "w" / weights.PARAMS)
    names = sorted(path.name for path in (tmp_path / "w").iterdir())
    assert names == [weights.ALPHABET, weights.CONFIG, weights.MANIFEST, weights.PARAMS]


def test_folder_of_weights_that_read_no_text_has_no_alphabet(tmp_path: Path) -> None:
    saved_finder(tmp_path / "w")
    found = weights.load(tmp_path / "w")
    assert (found.config, found.alphabet, found.about) == ("name: area\n", None, {"run": "r2"})
    names = sorted(path.name for path in (tmp_path / "w").iterdir())
    assert names == [weights.CONFIG, weights.MANIFEST, weights.PARAMS]
    network = finder(seed=2)
    weights.fill(network, found)
    assert as_lists(network) == as_lists(finder(seed=1))


def test_alphabet_beside_weights_that_read_no_text_counts_for_nothing(tmp_path: Path) -> None:
    saved_finder(tmp_path / "w")
    (tmp_path / "w" / weights.ALPHABET).write_text(AB.to_json(), encoding="utf-8")
    assert weights.load(tmp_path / "w").alphabet is None  # the manifest does not vouch for it


@pytest.mark.parametrize("alphabet", [AB, None])
def test_copy_has_the_same_parameters_and_alphabet_and_its_own_configuration(
    tmp_path: Path, alphabet: Alphabet | None
) -> None:
    found = saved(tmp_path / "w") if alphabet else saved_finder(tmp_path / "w")
    copied = weights.copy(found, tmp_path / "copy", "name: other\n")
    assert weights.load(tmp_path / "copy") == copied
    assert (copied.config, copied.alphabet, copied.sha256) == ("name: other\n", alphabet, found.sha256)
    assert copied.about == found.about


@pytest.mark.parametrize("name", [weights.PARAMS, weights.CONFIG, weights.ALPHABET])
def test_changed_byte_is_refused(name: str, tmp_path: Path) -> None:
    saved(tmp_path / "w")
    path = tmp_path / "w" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=rf"weights {tmp_path}/w: {name} was changed since; fetch or train them again"
    ):
        weights.load(tmp_path / "w")


@pytest.mark.parametrize("name", [weights.PARAMS, weights.CONFIG, weights.ALPHABET, weights.MANIFEST])
def test_missing_file_is_refused(name: str, tmp_path: Path) -> None:
    saved(tmp_path / "w")
    (tmp_path / "w" / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        weights.load(tmp_path / "w")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"format": 1, "sha256": []}',
        '{"format": 2, "sha256": {}}',
        '{"format": 1, "sha256": {"../other": ""}}',
        f'{{"format": 1, "sha256": {{"{"a" * 300}": ""}}}}',
    ],
)
def test_damaged_manifest_is_refused(text: str, tmp_path: Path) -> None:
    saved(tmp_path / "w")
    (tmp_path / "w" / weights.MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"manifest.json is missing or damaged"):
        weights.load(tmp_path / "w")


@pytest.mark.parametrize("inner", ["weights", "weights/best", "best"])
def test_folder_around_weights_is_refused_with_theirs(inner: str, tmp_path: Path) -> None:
    saved(tmp_path / inner)
    with pytest.raises(InputError, match=f"holds its weights in a folder of its own; name .*/{inner}$"):
        weights.load(tmp_path)


def test_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="no such folder; use a weights folder, a published name or runs:/ID"
    ):
        weights.load(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"no parameters", b"\x80\x04K\x01."])
def test_parameters_that_mxnet_cannot_read_are_refused(content: bytes, tmp_path: Path) -> None:
    saved(tmp_path / "w")
    (tmp_path / "w" / weights.PARAMS).write_bytes(content)
    manifest = json.loads((tmp_path / "w" / weights.MANIFEST).read_text(encoding="utf-8"))
    manifest["sha256"][weights.PARAMS] = sha256(tmp_path / "w" / weights.PARAMS)
    (tmp_path / "w" / weights.MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(InputError, match=r"network.params holds no parameters"):
        weights.fill(reader(), weights.load(tmp_path / "w"))


def test_network_of_other_shapes_is_refused_and_left_alone(tmp_path: Path) -> None:
    network = reader(units=5, seed=2)
    before = as_lists(network)
    with pytest.raises(InputError, match=r"trunk.weight has shape 4 x 3, the network wants 5 x 3"):
        weights.fill(network, saved(tmp_path / "w"))
    assert as_lists(network) == before


def test_network_without_a_stored_parameter_is_refused(tmp_path: Path) -> None:
    class Trunk(nn.HybridBlock):
        def __init__(self) -> None:
            super().__init__()
            self.trunk = nn.Dense(4, in_units=3)

    trunk = Trunk()
    trunk.initialize()
    with pytest.raises(InputError, match=r"of another network, the network has no (output|shortcut)\."):
        weights.fill(trunk, saved(tmp_path / "w"))
    stored = weights.save(tmp_path / "t", trunk, "", AB, about={})
    with pytest.raises(InputError, match=r"of another network, the file has no (output|shortcut)\."):
        weights.fill(reader(), stored)


def test_transfer_takes_the_rows_of_shared_characters(tmp_path: Path) -> None:
    found, wanted = saved(tmp_path / "w", Alphabet("abc"), seed=1), Alphabet("bxa")
    network = reader(wanted, seed=2)
    old, fresh = arrays(reader(Alphabet("abc"), seed=1)), arrays(network)
    said = weights.transfer(network, found, wanted, heads=("output", "shortcut"))
    now = arrays(network)
    assert now["trunk.weight"].tolist() == old["trunk.weight"].tolist()
    for name in (
        "output.weight",
        "output.bias",
        "shortcut.weight",
    ):  # rows b, x, a, blank from a, b, c, blank
        rows = [old[name][1], fresh[name][1], old[name][0], old[name][3]]
        assert now[name].tolist() == np.array(rows).tolist()
    assert (said.characters, said.other_layers, said.other_characters) == ("ba", (), "x")
    assert str(said) == "took 3 layers, output rows of 2 characters; not taken: characters 'x'"


def test_transfer_says_what_has_another_shape(tmp_path: Path) -> None:
    network = reader(units=5, seed=2)
    before = as_lists(network)
    said = weights.transfer(network, saved(tmp_path / "w"), AB, heads=("output", "shortcut"))
    assert said == weights.Transfer((), "", ("output", "shortcut", "trunk"), "ab")
    assert as_lists(network) == before


def test_transfer_takes_everything_when_nothing_differs(tmp_path: Path) -> None:
    network = reader(seed=2)
    said = weights.transfer(network, saved(tmp_path / "w"), AB, heads=("output", "shortcut"))
    assert as_lists(network) == as_lists(reader(seed=1))
    assert said == weights.Transfer(("trunk", "output", "shortcut"), "ab")


def test_transfer_between_networks_that_read_no_text_takes_whole_layers(tmp_path: Path) -> None:
    network = finder(seed=2)
    said = weights.transfer(network, saved_finder(tmp_path / "w"), None, heads=())
    assert as_lists(network) == as_lists(finder(seed=1))
    assert said == weights.Transfer(("0", "1"), "")
    assert str(said) == "took 2 layers"


def test_transfer_leaves_layers_of_another_shape_where_no_text_is_read(tmp_path: Path) -> None:
    network = finder(units=5, seed=2)
    before = as_lists(network)
    said = weights.transfer(network, saved_finder(tmp_path / "w"), None, heads=())
    assert str(said) == "took 0 layers; not taken: 0, 1"
    assert as_lists(network) == before


def test_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    saved(tmp_path / "w", seed=1)
    (tmp_path / "w" / "stray").write_text("", encoding="utf-8")
    saved(tmp_path / "w", Alphabet("xyz"), seed=2)
    assert weights.load(tmp_path / "w").alphabet == Alphabet("xyz")
    assert [path.name for path in tmp_path.iterdir()] == ["w"]
    assert not (tmp_path / "w" / "stray").exists()
    saved_finder(tmp_path / "w")
    assert not (tmp_path / "w" / weights.ALPHABET).exists()


def test_older_folder_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = saved(tmp_path / "w", seed=1)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(weights.Alphabet, "to_json", full)
    with pytest.raises(OSError, match="No space"):
        saved(tmp_path / "w", seed=2)
    assert weights.load(tmp_path / "w") == before
    assert [path.name for path in tmp_path.iterdir()] == ["w"]


def test_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    class Full:
        def save_parameters(self, path: str) -> None:
            raise mx.MXNetError("FileStream.Write incomplete")

    with pytest.raises(OSError, match="No space left on device"):
        weights.save(tmp_path / "w", Full(), "", None, about={})
    assert not (tmp_path / "w").exists()
