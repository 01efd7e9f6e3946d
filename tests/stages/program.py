"""The original program's networks, for parameter files as it saved them, and what it made of images.

They follow paragraph_segmentation_dcnn, word_and_line_segmentation and handwriting_line_recognition
of awslabs/handwritten-text-recognition-for-apache-mxnet, which differ in nothing that is saved or computed.
"""

from typing import Any

import mxnet as mx
import numpy as np
from mxnet import nd
from mxnet.gluon import Block, nn, rnn
from mxnet.gluon.model_zoo.vision import resnet34_v1

MEAN, DEVIATION = 0.942532484060557, 0.15926149044640417
SIZES = [[0.1, 0.2], [0.2, 0.3], [0.2, 0.4], [0.3, 0.4], [0.3, 0.5], [0.4, 0.6]]
RATIOS = [[1, 3, 5], [1, 3, 5], [1, 6, 8], [1, 4, 7], [1, 6, 8], [1, 5, 7]]


def sequence(*layers: Any) -> Any:
    made = nn.HybridSequential()
    made.add(*layers)
    return made


def trunk(end: int) -> list[Any]:
    first = nn.Conv2D(64, (7, 7), padding=(3, 3), strides=(2, 2), in_channels=1, use_bias=False)
    return [first, *resnet34_v1(pretrained=False).features[1:end]]


def down_sampler(filters: int) -> Any:
    layers: list[Any] = []
    for _ in range(2):
        layers += [nn.Conv2D(filters, 3, strides=1, padding=1), nn.BatchNorm(in_channels=filters)]
        layers.append(nn.Activation("relu"))
    return sequence(*layers, nn.MaxPool2D(2))


class Area(Block):
    """x y width height (N, 4) of page images (N, 1, H, W), paper 1."""

    def __init__(self) -> None:
        super().__init__()
        dense = nn.Dense(64, activation="relu"), nn.Dropout(0.5), nn.Dense(64, activation="relu")
        head = sequence(nn.Flatten(), *dense, nn.Dropout(0.5), nn.Dense(4, activation="sigmoid"))
        self.cnn = sequence(*trunk(6), head)

    def forward(self, images: Any) -> Any:
        return self.cnn(images)


class Words(Block):
    """Anchors (1, A, 4), class scores (N, A, 3), offsets (N, 4 A) of area images (N, 1, H, W), paper 1."""

    def __init__(self) -> None:
        super().__init__()
        self.body = sequence(*trunk(-3))
        self.downsamples = sequence(*(down_sampler(32) for _ in range(3)))
        self.class_preds = sequence(*(nn.Conv2D(4 * 3, kernel_size=3, padding=1) for _ in SIZES))
        self.box_preds = sequence(*(sequence(nn.Conv2D(4 * 4, kernel_size=3, padding=1)) for _ in SIZES))

    def forward(self, images: Any) -> Any:
        x, found = self.body(images), []
        for i, (sizes, ratios) in enumerate(zip(SIZES, RATIOS, strict=True)):
            flat = [nd.flatten(nd.transpose(own[i](x), axes=(0, 2, 3, 1))) for own in self._heads()]
            found.append((nd.contrib.MultiBoxPrior(x, sizes=sizes, ratios=ratios), *flat))
            if i < 3:
                x = self.downsamples[i](x)
            elif i == 3:
                x = nd.Pooling(x, global_pool=True, pool_type="max", kernel=(4, 4))
        anchors, scores, offsets = (nd.concat(*own, dim=1) for own in zip(*found, strict=True))
        return anchors, nd.reshape(scores, shape=(0, -1, 3)), offsets

    def _heads(self) -> tuple[Any, Any]:
        return self.class_preds, self.box_preds


class EncoderLayer(Block):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = rnn.LSTM(512, 2, bidirectional=True)

    def forward(self, x: Any) -> Any:
        pieces = nd.flatten(x.transpose((0, 3, 1, 2))).split(num_outputs=160, axis=1)
        return self.lstm(nd.stack(*pieces, axis=0)).transpose((1, 0, 2))


class Line(Block):
    """Logits (N, 160, 81) of line images (N, 1, 60, 800), standardised."""

    def __init__(self) -> None:
        super().__init__()
        self.body = sequence(*trunk(-4))
        self.encoders = nn.Sequential()
        for _ in range(2):
            encoder = nn.Sequential()
            encoder.add(EncoderLayer(), nn.Dropout(0.5))
            self.encoders.add(encoder)
        self.decoder = nn.Dense(81, flatten=False)
        self.downsampler = down_sampler(64)

    def forward(self, images: Any) -> Any:
        fine = self.body(images)
        coarse = self.downsampler(fine)
        return self.decoder(nd.concat(self.encoders[0](fine), self.encoders[1](coarse), dim=2))


PROGRAM: dict[str, tuple[type[Block], tuple[int, ...]]] = {
    "paragraph": (Area, (1, 1, 373, 266)),
    "segmentation": (Words, (1, 1, 350, 350)),
    "line": (Line, (2, 1, 60, 800)),
}


def drawn(stage: str, seed: int = 0) -> Any:
    """Return a network with every parameter drawn, also what training would have counted."""
    maker, shape = PROGRAM[stage]
    mx.random.seed(seed)
    network = maker()
    network.initialize(mx.init.Xavier(magnitude=2.24))
    network(nd.zeros(shape))
    for name, parameter in network._collect_params_with_prefix().items():
        kind = name.rpartition(".")[2]
        if kind in ("gamma", "running_var"):
            parameter.set_data(nd.random.uniform(0.5, 1.5, parameter.shape))
        elif kind in ("beta", "running_mean") or kind.endswith("bias"):
            parameter.set_data(nd.random.normal(0, 0.1, parameter.shape))
    return network


def images(stage: str, seed: int = 0) -> np.ndarray:
    """Return grey images (N, H, W) for a network."""
    count, _, *size = PROGRAM[stage][1]
    return np.random.default_rng(seed).integers(0, 256, (count, *size), dtype=np.uint8)


def read(stage: str, network: Any, pictures: np.ndarray) -> Any:
    """Return what the program computes of grey images."""
    x = nd.array(pictures[:, None]) / 255.0
    return network((x - MEAN) / DEVIATION if stage == "line" else x)
