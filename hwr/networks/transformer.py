"""Network of stage `denoiser`: a small transformer over characters that corrects misread text."""

from typing import Any, NamedTuple

from mxnet.gluon import nn

from hwr.errors import InputError
from hwr.ranges import Amount, Count, Share

HIDDEN = -1e9  # added to the score of a place that is not to be looked at
STEEPER = 8.0  # slopes from what is written to what was read, than within either: there is a diagonal
POINTER_SLOPE = 1.0  # of the distance to the diagonal, in the scores of the places that are copied from
_LEAST = 1e-10  # added to every probability: its logarithm stays finite


class Memory(NamedTuple):
    """Keys and values of N encoded texts, for the decoder."""

    keys: list[Any]  # of each layer, (N * heads, S, width / heads)
    values: list[Any]  # the same
    pointer: Any  # its keys, (N, S, width)
    copied: Any  # (N, S, C), ones where a place holds a class


class Transformer(nn.HybridBlock):
    """Rewrite texts: classes as read (N, S) and as written so far (N, T) to log-probabilities (N, T, C).

    Encoder and decoder with normalisation before each layer (Vaswani et al., NIPS 2017; Xiong et al., ICML
    2020; root mean squares alone, Zhang and Sennrich, NeurIPS 2019, with the gain left to the next layer).
    Most characters stay as they are, so the network is built for copying:

    - each position sees its neighbours (in the decoder, those before it) through one dense layer;
    - heads prefer near positions, in the decoder those near the diagonal, by fixed slopes (Press et al., ICLR
      2022), so there are no position embeddings and texts of any length are alike;
    - p = g * p_copied + (1 - g) * p_written, where p_copied adds up the attention of a pointer over the
      text as read (See et al., ACL 2017) and the gate g is learnt.

    The last class, blank elsewhere, marks the end of a text: it follows the text as read and precedes the
    first character written. Padding is -1, on the right. conf/network/denoiser.yaml explains the sizes.
    """

    def __init__(
        self, classes: int, *, width: Count, heads: Count, encoder_layers: Count, decoder_layers: Count,
        hidden: Count, reach: Amount, dropout: Share, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(**kwargs)
        if width % heads:
            raise InputError(f"network.width={width}: no multiple of network.heads={heads}; choose one")
        self.classes, self.heads, self.reach, self.scale = classes, heads, reach, width**-0.5
        with self.name_scope():
            self.embedding = nn.Embedding(classes, width, prefix="embedding_")
            self.reading = _dense(width, (2 * reach + 1) * width, "reading_")
            self.writing = _dense(width, (reach + 1) * width, "writing_")
            self.encoder, self.decoder = nn.HybridSequential(), nn.HybridSequential()
            for _ in range(encoder_layers):
                self.encoder.add(_EncoderLayer(width, heads, hidden, dropout))
            for _ in range(decoder_layers):
                self.decoder.add(_DecoderLayer(width, heads, hidden, dropout))
            self.norm = _Norm(width)
            self.pointer_key = _dense(width, width, "pointer_key_")
            self.pointer = _dense(width, width, "pointer_")
            self.gate = _dense(1, width, "gate_")
            self.output = _dense(classes, width, "output_")

    def hybrid_forward(self, F: Any, noisy: Any, before: Any) -> Any:
        """Return the log-probabilities of each next character, (N, T, C)."""
        memory = self.remember(F, noisy)
        across, back = _distances(F, before, noisy), _distances(F, before, before)  # (T, S), (T, T)
        nothing = F.zeros_like(F.expand_dims(before, axis=1))  # (N, 1, T)
        to_come = F.broadcast_add(nothing, F.expand_dims(HIDDEN * (back < 0), axis=0))  # (N, T, T)
        back = _for_heads(F, back, self.heads, to_come)
        padding = _padding(F, noisy)  # (N, 1, S)
        bias = _for_heads(F, STEEPER * across, self.heads, padding)
        x = self.writing(_shifted(F, self.embed(F, before), self.reach, 0))  # (N, T, width)
        for number, layer in enumerate(self.decoder):
            x = layer.look_back(F, x, *layer.own.remember(F, self.norm(x)), back)
            x = layer.look_up(F, x, memory.keys[number], memory.values[number], bias)
        pointed = F.broadcast_add(F.expand_dims(-POINTER_SLOPE * F.abs(across), axis=0), padding)
        return self.choose(F, x, memory, pointed)

    def embed(self, F: Any, classes: Any) -> Any:
        """Return the vectors of classes (N, T), zeros for padding: (N, T, width)."""
        return F.broadcast_mul(self.embedding(F.maximum(classes, 0)), F.expand_dims(classes >= 0, axis=2))

    def remember(self, F: Any, noisy: Any) -> Memory:
        """Encode texts as read (N, S)."""
        bias = _for_heads(F, _distances(F, noisy, noisy), self.heads, _padding(F, noisy))
        x = self.reading(_shifted(F, self.embed(F, noisy), self.reach, self.reach))  # (N, S, width)
        for layer in self.encoder:
            x = layer(x, bias)
        x = self.norm(x)
        looked_up = [layer.read.remember(F, x) for layer in self.decoder]
        copied = F.one_hot(noisy, self.classes)
        keys, values = ([one[kind] for one in looked_up] for kind in (0, 1))
        return Memory(keys, values, self.pointer_key(x), copied)

    def choose(self, F: Any, x: Any, memory: Memory, bias: Any) -> Any:
        """Return log-probabilities (N, T, C) of the decoder's vectors; `bias` (N, T, S) is the pointer's."""
        x = self.norm(x)
        pointed = self.scale * self.pointer(x)
        scores = F.batch_dot(pointed, memory.pointer, transpose_b=True)  # (N, T, S)
        copied = F.batch_dot(F.softmax(F.broadcast_add(scores, bias)), memory.copied)  # (N, T, C)
        gate = F.sigmoid(self.gate(x))  # (N, T, 1)
        written = F.broadcast_mul(1 - gate, F.softmax(self.output(x)))
        return F.log(F.broadcast_mul(gate, copied) + written + _LEAST)


class _Attention(nn.HybridBlock):
    """Attention of several heads, to keys and values that are made once."""

    def __init__(self, width: int, heads: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.heads, self.scale = heads, (width // heads) ** -0.5
        with self.name_scope():
            self.query = _dense(width, width, "query_", use_bias=False)
            self.key = _dense(width, width, "key_", use_bias=False)
            self.value = _dense(width, width, "value_", use_bias=False)
            self.output = _dense(width, width, "output_")

    def remember(self, F: Any, x: Any) -> tuple[Any, Any]:
        """Return keys and values of vectors (N, S, width), (N * heads, S, width / heads) each."""
        return _split(F, self.key(x), self.heads), _split(F, self.value(x), self.heads)

    def look(self, F: Any, x: Any, keys: Any, values: Any, bias: Any) -> Any:
        """Return what vectors (N, T, width) attend to; `bias` (N * heads, T, S) is added to the scores."""
        queries = _split(F, self.scale * self.query(x), self.heads)
        found = F.batch_dot(F.softmax(F.batch_dot(queries, keys, transpose_b=True) + bias), values)
        return self.output(_joined(F, found, self.heads))


class _Dense(nn.HybridBlock):
    """Two dense layers with a rectifier between them."""

    def __init__(self, width: int, hidden: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.inner = _dense(hidden, width, "inner_", activation="relu")
            self.outer = _dense(width, hidden, "outer_")

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return vectors (N, T, width)."""
        return self.outer(self.inner(x))


class _EncoderLayer(nn.HybridBlock):
    """Self-attention and two dense layers, each added to what it is given."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.own = _Attention(width, heads)
            self.dense = _Dense(width, hidden)
            self.norm, self.drop = _Norm(width), nn.Dropout(dropout)

    def hybrid_forward(self, F: Any, x: Any, bias: Any) -> Any:
        """Return vectors (N, S, width)."""
        seen = self.norm(x)
        x = x + self.drop(self.own.look(F, seen, *self.own.remember(F, seen), bias))
        return x + self.drop(self.dense(self.norm(x)))


class _DecoderLayer(nn.HybridBlock):
    """Attention to what was written, attention to the text as read, and two dense layers."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        with self.name_scope():
            self.own, self.read = _Attention(width, heads), _Attention(width, heads)
            self.dense = _Dense(width, hidden)
            self.norm, self.drop = _Norm(width), nn.Dropout(dropout)

    def look_back(self, F: Any, x: Any, keys: Any, values: Any, bias: Any) -> Any:
        """Add self-attention to the text written so far."""
        return x + self.drop(self.own.look(F, self.norm(x), keys, values, bias))

    def look_up(self, F: Any, x: Any, keys: Any, values: Any, bias: Any) -> Any:
        """Add attention to the text as read, and the dense layers."""
        x = x + self.drop(self.read.look(F, self.norm(x), keys, values, bias))
        return x + self.drop(self.dense(self.norm(x)))


def slopes(heads: int) -> list[float]:
    """Return how much each head's scores fall with the distance: 1/4, 1/16, … for four heads."""
    return [2.0 ** (-8.0 * (head + 1) / heads) for head in range(heads)]


def _dense(units: int, inputs: int, prefix: str, **settings: Any) -> Any:
    return nn.Dense(units, flatten=False, in_units=inputs, prefix=prefix, **settings)


class _Norm(nn.HybridBlock):
    """Divide vectors (N, T, width) by the root of the mean of their squares.

    MXNet's LayerNorm takes six times as long on a CPU, nearly all of it for the gradients of its gain.
    """

    def __init__(self, width: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = width**0.5

    def hybrid_forward(self, F: Any, x: Any) -> Any:
        """Return vectors (N, T, width)."""
        rows = F.L2Normalization(F.reshape(x, shape=(-3, 0)), mode="instance")
        return self.root * F.reshape_like(rows, x)


def _split(F: Any, x: Any, heads: int) -> Any:
    """Give each head its share: (N, T, width) to (N * heads, T, width / heads)."""
    shares = F.transpose(F.reshape(x, shape=(0, 0, heads, -1)), axes=(0, 2, 1, 3))
    return F.reshape(shares, shape=(-3, 0, 0))


def _joined(F: Any, x: Any, heads: int) -> Any:
    """Undo `_split`."""
    shares = F.transpose(F.reshape(x, shape=(-4, -1, heads, 0, 0)), axes=(0, 2, 1, 3))
    return F.reshape(shares, shape=(0, 0, -3))


def _shifted(F: Any, x: Any, left: int, right: int) -> Any:
    """Concatenate each vector (N, T, width) with those up to `left` before and `right` after it."""
    nothing = F.zeros_like(F.slice_axis(x, axis=1, begin=0, end=1))
    framed = F.concat(*[nothing] * left, x, *[nothing] * right, dim=1)
    starts = (F.slice_axis(framed, axis=1, begin=k, end=None) for k in range(left + right + 1))
    return F.concat(*(F.slice_like(start, x, axes=(1,)) for start in starts), dim=2)


def _distances(F: Any, one: Any, other: Any) -> Any:
    """Return the distance of each position of texts (N, T) behind each of others (N, S): (T, S)."""
    first = (F.slice_axis(x, axis=0, begin=0, end=1) for x in (one, other))
    rows, columns = (F.contrib.arange_like(x, axis=1) for x in first)
    return F.broadcast_sub(F.expand_dims(rows, axis=1), F.expand_dims(columns, axis=0))


def _padding(F: Any, classes: Any) -> Any:
    """Return HIDDEN at the padding of texts (N, S), else 0: (N, 1, S)."""
    return F.expand_dims(HIDDEN * (classes < 0), axis=1)


def _for_heads(F: Any, distances: Any, heads: int, hidden: Any) -> Any:
    """Return each head's bias (N * heads, T, S): by distances (T, S), and `hidden` (N, 1 or T, S) for all."""
    sloped = F.stack(*(-slope * F.abs(distances) for slope in slopes(heads)), axis=0)  # (heads, T, S)
    bias = F.broadcast_add(F.expand_dims(hidden, axis=1), F.expand_dims(sloped, axis=0))
    return F.reshape(bias, shape=(-3, 0, 0))
