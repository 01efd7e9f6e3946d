"""Networks in MXNet Gluon.

A line network maps images (N, 1, H, W) to logits (T, N, C). Its class states `stride`, the width of a time
step in px, and `width_multiple`: if W is a multiple of it, T = W / stride.
"""

from typing import Any

import mxnet as mx
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]


def network_parameters(network: Any) -> dict[str, Any]:
    """Return the network's parameters by their path in it (`trunk.0.0.weight`), not MXNet's names."""
    return dict(network._collect_params_with_prefix())


def arrays(network: Any) -> Arrays:
    """Return a copy of the network's parameters as NumPy arrays."""
    return {name: parameter.data().asnumpy() for name, parameter in network_parameters(network).items()}


def set_arrays(network: Any, values: Arrays) -> None:
    """Set every parameter of the network that `values` names."""
    for name, parameter in network_parameters(network).items():
        if name in values:
            parameter.set_data(mx.nd.array(values[name], dtype=values[name].dtype))
