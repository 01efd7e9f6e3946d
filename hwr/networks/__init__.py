"""Networks in MXNet Gluon.

A line network maps images (N, 1, H, W) to logits (T, N, C). Its class states `stride`, the width of a time
step in px, and `width_multiple`: if W is a multiple of it, T = W / stride.
"""
