"""The likelihood of one label."""

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.models.likelihoods.likelihood import Likelihood, require_integers

__all__ = ["Label"]


class Label(Likelihood):
    """p(y | z) = softmax(l)_y, for a label y in {0, ..., K - 1}, int64 `(B,)`. The decoder emits the K logits l.

    Unlike the entries of `Categorical`, a label has no dimension of its own.

    Args:
        classes: the number of labels, K, at least 2.

    Raises:
        SettingError: `classes` is below 2.
        SupportError: in `check`, y is not one of the labels.
    """

    def __init__(self, classes: int) -> None:
        super().__init__((), check_count("classes", classes, 2, write="int(y.max()) + 1"))  # params of shape (K,)
        self.classes = self.settings["classes"] = classes

    def forward(self, params: Tensor) -> TorchDistribution:
        return dist.Categorical(logits=params)

    def start(self, x: Tensor) -> Tensor:
        counts = torch.nn.functional.one_hot(x.long().flatten(), self.classes).sum(0) + 1.0
        return (counts / counts.sum()).log()

    def check(self, x: Tensor) -> None:
        instead = "Number the labels from 0, or write Label(int(y.max()) + 1)."
        require_integers(
            x, self.classes - 1, f"likelihood Label requires labels in {{0, ..., {self.classes - 1}}}", instead
        )
