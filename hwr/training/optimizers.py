"""Optimizers and learning rate schedules by name: MXNet's own, and AdamW on MXNet's fused operator."""

from collections.abc import Callable
from typing import Any, Literal

import mxnet as mx
from mxnet import optimizer

from hwr.ranges import NonNegative, Share

Schedule = Literal["constant", "cosine"]


class AdamW(optimizer.Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, algorithm 2).

    In step t = 1, 2, … with gradient g:
    m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g^2
    w -= lr * (sqrt(1 - beta2^t) / (1 - beta1^t) * m / (sqrt(v) + epsilon) + wd * w)
    with epsilon inside of the correction, as in MXNet's Adam and in section 2 of Kingma and Ba (ICLR 2015).
    """

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        """Update `weight` in place from `grad` and the running moments in `state`."""
        self._update_count(index)
        step = self._index_update_count[index]
        lr, decay = self._get_lr(index), self._get_wd(index)
        correction = (1.0 - self.beta2**step) ** 0.5 / (1.0 - self.beta1**step)
        scale = mx.nd.array([self.rescale_grad], ctx=weight.context)
        mx.nd.contrib.adamw_update(
            weight, grad, *state, scale, out=weight, lr=lr * correction, eta=1.0, wd=lr * decay,
            beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon,
        )  # fmt: skip


OPTIMIZERS = {"adam": optimizer.Adam, "adamw": AdamW}


def create(
    name: Literal["adam", "adamw"], *, lr: float, beta1: Share, beta2: Share, weight_decay: NonNegative
) -> Any:
    """Return the optimizer `name` with a learning rate that schedules change later.

    `weight_decay` of adam joins the gradient, that of adamw does not.
    """
    return OPTIMIZERS[name](learning_rate=lr, beta1=beta1, beta2=beta2, wd=weight_decay)


def schedule(name: Schedule, *, lr: float, steps: int, warmup: float) -> Callable[[int], float]:
    """Return the learning rate of each step, 0-based: constant or cosine, after a linear warm-up.

    `warmup` is the share of `steps` in which the rate climbs from 0 to `lr`; cosine falls to 0 at `steps`.
    """
    climb = round(warmup * steps)
    if name == "cosine":
        scheduler = mx.lr_scheduler.CosineScheduler(max(steps, climb + 1), lr, warmup_steps=climb)
    else:
        scheduler = mx.lr_scheduler.FactorScheduler(max(steps, 1), 1.0, warmup_steps=climb, base_lr=lr)
    return lambda step: float(scheduler(step))
