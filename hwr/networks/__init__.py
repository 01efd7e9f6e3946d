"""Networks in MXNet Gluon.

A line network reads images (N, 1, H, W) to logits (T, N, C). Its class tells `stride`, the px of width a time
step, and `width_multiple`: where W is a multiple of it, T = W / stride.
"""
