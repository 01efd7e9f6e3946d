"""Build decoders from configuration; a decoder that corrects another one holds it as `base`."""

from collections.abc import Mapping
from typing import Any

from hwr.config.bind import bind, make, target
from hwr.decoding.reading import Decoder
from hwr.errors import InputError
from hwr.text import Alphabet


def check_decoder(node: Mapping[str, Any], where: str = "decoder") -> None:
    """Raise InputError for settings that no decoder takes; nothing is loaded."""
    given = ["alphabet"]
    if "base" in node:
        check_decoder(_base(node, where), f"{where}.base")
        given.append("base")
    own = {name: value for name, value in node.items() if name != "base"}
    bind(target(node, where), own, where, given)


def build_decoder(node: Mapping[str, Any], alphabet: Alphabet, where: str = "decoder") -> Decoder:
    """Return the decoder that a node describes, for probabilities over the classes of `alphabet`.

    Raises InputError for settings that it does not take, and for files that do not fit the alphabet.
    """
    given: dict[str, Any] = {"alphabet": alphabet}
    if "base" in node:
        given["base"] = build_decoder(_base(node, where), alphabet, f"{where}.base")
    own = {name: value for name, value in node.items() if name != "base"}
    made: Decoder = make(target(node, where), own, where, **given)
    return made


def _base(node: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    base = node["base"]
    if not isinstance(base, Mapping):
        raise InputError(f"{where}.base={base}: not a decoder; choose one with decoder@{where}.base=greedy")
    return base
