"""A likelihood that does not depend on z: its parameters are its own."""

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.models.likelihoods.likelihood import Likelihood

__all__ = ["Marginal"]


class Marginal(Likelihood):
    """p(x | z) = p(x): a likelihood whose parameters are learned numbers, the same for every z. The decoder emits none.

    As a block of `Heterogeneous`, it keeps columns that z does not explain, at the cost of no output of the decoder.

        Heterogeneous({"reals": Normal(3), "codes": Marginal(Categorical(100, values=5))})

    Args:
        likelihood: the family of p(x).
    """

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__(likelihood.event_shape, 0)
        self.likelihood = likelihood
        self.own = nn.Parameter(torch.zeros(likelihood.params_shape))

    def forward(self, params: Tensor) -> TorchDistribution:
        return self.likelihood(self.own).expand(params.shape[: params.dim() - len(self.params_shape)])

    def start(self, x: Tensor) -> Tensor:
        self.own.data.copy_(self.likelihood.start(x))
        return self.own.data.new_zeros(self.params_shape)

    def check(self, x: Tensor) -> None:
        self.likelihood.check(x)
