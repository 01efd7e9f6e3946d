"""Optimizers by name: MXNet's own, and AdamW on MXNet's fused operator."""

from typing import Any

import mxnet as mx
from mxnet import optimizer

from hwr.errors import InputError

NAMES = ("adam", "adamw")


class AdamW(optimizer.Adam):  # type: ignore[misc]
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019, algorithm 2).

    w -= lr * (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon) + lr * wd * w
    """

    def update(self, index: int, weight: Any, grad: Any, state: Any) -> None:
        """Update `weight` in place from `grad` and the running moments in `state`."""
        self._update_count(index)
        step = self._index_update_count[index]
        lr, decay = self._get_lr(index), self._get_wd(index)
        correction = ((1.0 - self.beta2**step) ** 0.5) / (1.0 - self.beta1**step)
        mean, var = state
        mx.nd.contrib.adamw_update(
            weight, grad, mean, var, mx.nd.array([self.rescale_grad], ctx=weight.context),
            out=weight, lr=lr * correction, eta=1.0, wd=lr * decay,
            beta1=self.beta1, beta2=self.beta2, epsilon=self.epsilon,
        )  # fmt: skip


def create(name: str, *, lr: float, beta1: float, beta2: float, weight_decay: float) -> Any:
    """Return the optimizer `name` (adam or adamw) with a constant learning rate `lr`, which schedules change later."""
    if name not in NAMES:
        raise InputError(f"optimizer.name={name}: unknown; use one of {', '.join(NAMES)}")
    kind = AdamW if name == "adamw" else optimizer.Adam
    return kind(learning_rate=lr, beta1=beta1, beta2=beta2, wd=weight_decay)


def schedule(name: str, *, lr: float, steps: int, warmup: float) -> Any:
    """Return the learning rate as a function of the step, 0-based: constant or cosine, after a linear warm-up.

    `warmup` is the share of `steps` that the rate climbs from 0 to `lr`; cosine falls to 0 at `steps`.
    """
    warmup_steps = int(round(warmup * steps))
    if name == "cosine":
        return mx.lr_scheduler.CosineScheduler(max(steps, warmup_steps + 1), lr, 0.0, warmup_steps=warmup_steps)
    if name == "constant":
        return mx.lr_scheduler.FactorScheduler(
            step=max(steps, 1), factor=1.0, base_lr=lr, warmup_steps=warmup_steps
        )
    raise InputError(f"schedule={name}: unknown; use constant or cosine")
