"""Averages of the weights along a training: the mean over many epochs overfits less than the weights of any of them."""

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.training import pair_weights

__all__ = ["RunningMean", "averaged"]


@torch.no_grad()
def averaged(mean: Any, weights: Any, decay: float, count: int) -> Any:
    """The mean of the weights w_1, ..., w_n of n epochs: sum_k d^(n-k) w_k / sum_k d^(n-k), where d is the decay.

    Args:
        mean: the mean over the n - 1 epochs before, with the structure of the weights; None for n = 1.
        weights: w_n, tensors in dicts and lists; of integers the last value is kept.
        decay: 0 <= d < 1; the mean is over about 1 / (1 - d) epochs.
        count: n.

    References: Polyak & Juditsky (1992), Acceleration of stochastic approximation by averaging; Izmailov et al. (2018),
    arXiv:1803.05407; the division by the sum of the weights is that of Kingma & Ba (2015), arXiv:1412.6980.
    """
    return _moved(mean or weights, weights, (1 - decay) / (1 - decay**count))


def _moved(old: Any, new: Any, share: float) -> Any:
    """The new weights, each tensor of floats at a share of the way from the old one."""
    if type(new) in (dict, OrderedDict):
        return type(new)((name, _moved(old[name], part, share)) for name, part in new.items())
    if type(new) in (list, tuple):
        return type(new)(_moved(*parts, share) for parts in zip(old, new, strict=True))
    return old.lerp(new, share) if isinstance(new, Tensor) and new.is_floating_point() else new


class RunningMean:
    """The running mean of a pair's weights over the epochs of a training.

    Args:
        decay: 0 <= d < 1; the mean is over about 1 / (1 - d) epochs; 0 for none.

    Raises:
        PairError: a decay outside this range.

    Attributes:
        mean: the mean so far; None before the first epoch, and where the decay is 0.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise PairError(f"fit requires 0 <= average < 1, got {decay}. 0.95 is a start, and 0 means no average.")
        self.decay = decay
        self.mean: dict[str, Any] | None = None

    @contextmanager
    def in_place(self, model: ProgramLike, guide: ProgramLike, count: int) -> Iterator[None]:
        """Add the weights of an epoch to the mean; inside the context the pair has the mean as its weights.

        Args:
            model, guide: the pair.
            count: the number of epochs, this one included.
        """
        if not self.decay:
            yield
            return
        last = copy.deepcopy(pair_weights.weights(model, guide))
        self.mean = averaged(self.mean, last, self.decay, count)
        pair_weights.restore(model, guide, self.mean)
        try:
            yield
        finally:
            pair_weights.restore(model, guide, last)
