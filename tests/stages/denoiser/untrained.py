"""A denoiser that has learnt nothing."""

import mxnet as mx

from hwr.networks.transformer import Transformer
from hwr.stages.denoiser import TextDenoiser
from hwr.text import Alphabet

ALPHABET = Alphabet(" abcde")


def denoiser(*, batch_size: int = 4, sure: float = 2.0, alphabet: Alphabet = ALPHABET) -> TextDenoiser:
    """Return a denoiser that has learnt nothing; with higher weights, `sure` times, it is surer of itself."""
    network = Transformer(
        len(alphabet), width=16, heads=2, encoder_layers=1, decoder_layers=2, hidden=16, reach=1, dropout=0.1
    )
    mx.random.seed(3)
    network.initialize(mx.init.Xavier(magnitude=2.24))
    network.hybridize()
    for parameter in network.collect_params().values():
        parameter.set_data(sure * parameter.data())
    return TextDenoiser(network, alphabet, longest=20, batch_size=batch_size, context=mx.cpu())
