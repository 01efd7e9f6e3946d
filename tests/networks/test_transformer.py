"""The denoiser's network: probabilities over classes, no look ahead, no trace of padding, copying at once."""

from typing import Any

import mxnet as mx
import numpy as np
import pytest
from mxnet import autograd

from hwr.errors import InputError
from hwr.networks.transformer import Transformer, slopes

CLASSES = 9
END = CLASSES - 1
SMALL: dict[str, Any] = {
    "width": 16, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "hidden": 32, "reach": 2,
    "dropout": 0.0,
}  # fmt: skip


def network(**changes: Any) -> Transformer:
    made = Transformer(CLASSES, **(SMALL | changes))
    mx.random.seed(0)
    made.initialize(mx.init.Xavier(magnitude=2.24))
    return made


def texts(count: int, length: int, *, seed: int = 0) -> Any:
    return mx.nd.array(np.random.default_rng(seed).integers(0, END, (count, length)))


def test_probabilities_of_each_place_sum_to_one() -> None:
    found = mx.nd.exp(network()(texts(3, 5), texts(3, 7, seed=1)))
    assert found.shape == (3, 7, CLASSES)
    np.testing.assert_allclose(found.sum(axis=2).asnumpy(), 1, atol=1e-5)


def test_log_probabilities_are_the_same_when_hybridized() -> None:
    made, noisy, before = network(), texts(2, 6), texts(2, 4, seed=1)
    plain = made(noisy, before).asnumpy()
    made.hybridize()
    np.testing.assert_allclose(made(noisy, before).asnumpy(), plain, atol=1e-5)


def test_place_does_not_see_what_is_written_later() -> None:
    made, noisy, before = network(), texts(1, 6), texts(1, 8, seed=1)
    changed = before.copy()
    changed[:, 5:] = (changed[:, 5:] + 1) % END
    one, other = made(noisy, before).asnumpy(), made(noisy, changed).asnumpy()
    np.testing.assert_allclose(one[:, :5], other[:, :5], atol=1e-6)
    assert np.abs(one[:, 5:] - other[:, 5:]).max() > 1e-3


def test_place_sees_what_is_written_before_and_all_that_was_read() -> None:
    made, noisy, before = network(), texts(1, 12), texts(1, 12, seed=1)
    plain = made(noisy, before).asnumpy()[0, -1]
    for changed in (0, 11):
        other = noisy.copy()
        other[:, changed] = END
        assert np.abs(made(other, before).asnumpy()[0, -1] - plain).max() > 1e-5
    other = before.copy()
    other[:, 0] = END
    assert np.abs(made(noisy, other).asnumpy()[0, -1] - plain).max() > 1e-5


@pytest.mark.parametrize("more", [1, 8])
def test_padding_changes_nothing(more: int) -> None:
    made, noisy, before = network(), texts(2, 6), texts(2, 5, seed=1)
    wider = mx.nd.concat(noisy, -mx.nd.ones((2, more)), dim=1)
    longer = mx.nd.concat(before, -mx.nd.ones((2, more)), dim=1)
    found = made(wider, longer).asnumpy()[:, :5]
    np.testing.assert_allclose(found, made(noisy, before).asnumpy(), atol=1e-5)


def test_network_that_has_learnt_nothing_prefers_what_it_read() -> None:
    # the gate is half open, and the pointer looks near the diagonal
    made, noisy = network(), texts(20, 12)
    before = mx.nd.concat(END * mx.nd.ones((20, 1)), noisy[:, :-1], dim=1)
    probs = mx.nd.exp(made(noisy, before))
    own = mx.nd.pick(probs, noisy).mean().asscalar()
    assert own > 1.3 / CLASSES


def test_every_parameter_gets_a_gradient() -> None:
    made, noisy, before = network(), texts(2, 6), texts(2, 5, seed=1)
    with autograd.record():
        loss = -mx.nd.pick(made(noisy, before), texts(2, 5, seed=2)).sum()
    loss.backward()
    still = [
        name for name, parameter in made.collect_params().items() if not parameter.grad().asnumpy().any()
    ]
    assert still == []


def test_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(InputError, match=r"network\.width=16: no multiple of network.heads=3"):
        network(heads=3)


def test_heads_see_further_and_further() -> None:
    assert slopes(4) == [1 / 4, 1 / 16, 1 / 64, 1 / 256]
