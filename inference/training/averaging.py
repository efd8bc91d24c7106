"""Averages of the weights along a training: the mean of many epochs overfits less than any of them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

__all__ = ["averaged"]


@torch.no_grad()
def averaged(mean: Any, weights: Any, decay: float, count: int) -> Any:
    """The mean of the weights w_1, ..., w_n of n epochs, sum_k d^(n-k) w_k / sum_k d^(n-k), d the decay.

    Args:
        mean: of the n - 1 epochs before, of the same structure as the weights; None for n = 1.
        weights: w_n, tensors in dicts and lists; integers are taken as they are.
        decay: 0 <= d < 1; the mean is over some 1 / (1 - d) epochs.
        count: n.

    References: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; Izmailov et al. (2018),
    arXiv:1803.05407; the weights' sum as in Kingma & Ba (2015), arXiv:1412.6980.
    """
    share = (1 - decay) / (1 - decay**count)

    def one(old: Any, new: Any) -> Any:
        return old.lerp(new, share) if isinstance(new, Tensor) and new.is_floating_point() else new

    return pytree.tree_map(one, mean or weights, weights)
