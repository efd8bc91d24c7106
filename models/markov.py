"""The deep Markov model of sequences: p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | z_t)."""

import pyro
import torch
from pyro.distributions import Normal, TorchDistribution
from torch import Tensor, nn

from pyrovae.models.distributions.markov import Markov
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size
from pyrovae.networks.recurrent import going_on
from pyrovae.numeric import bounded_scale
from pyrovae.recorded import Recorded

__all__ = ["DeepMarkovModel", "GatedTransition"]


class GatedTransition(Recorded, nn.Module):
    """p(z_t | z_(t-1)) = Normal(z_t; (1 - g) * (W z + b) + g * m(z), scale(m(z))), z = z_(t-1), g = g(z) in (0, 1).

    One gate per dimension chooses between a linear and a nonlinear step. W starts at the identity.

    Args:
        dim: the dimension of z, D.
        hidden: the number of hidden units of each of the networks g and m.

    References: Krishnan et al. (2017), arXiv:1609.09869, section 5.
    """

    def __init__(self, dim: int, hidden: int = 200) -> None:
        super().__init__()
        self.hidden = nn.Linear(dim, 2 * hidden)
        self.gate, self.proposal = nn.Linear(hidden, dim), nn.Linear(hidden, dim)
        self.linear, self.raw_scale = nn.Linear(dim, dim), nn.Linear(dim, dim)
        nn.init.eye_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, z: Tensor) -> TorchDistribution:
        to_gate, to_proposal = torch.relu(self.hidden(z)).chunk(2, -1)
        gate, proposal = torch.sigmoid(self.gate(to_gate)), self.proposal(to_proposal)
        loc = torch.lerp(self.linear(z), proposal, gate)
        return Normal(loc, bounded_scale(self.raw_scale(torch.relu(proposal)))).to_event(1)


class DeepMarkovModel(Program):
    """p(x, z) = prod_t p(z_t | z_(t-1)) p(x_t | decoder(z_t)), where z_0 is learned.

    The latent z is one site of event shape `(T, D)`; the sequences of a batch may end at different steps.

    Args:
        transition: `transition(z_(t-1)) -> p(z_t | z_(t-1))`, such as `GatedTransition`.
        likelihood: the likelihood of one step, `likelihood(params) -> p(x_t | params)`.
        decoder: a network `(*, D) -> (*, *likelihood.params_shape)`.
        dim: the dimension of z_t, D.
        length: the number of steps T of a generated sequence, unless `within` is given.

    Call it with a batch `x` of shape `(B, T, *event)` and `within`, bool `(B, T)`, true up to the end of each sequence;
    without `within`, every sequence has T steps. With `within` alone, or with `size`, it generates.

    Raises:
        ShapeError: in a call, `x` and `within` differ in their first two dimensions.

    References: Krishnan et al. (2017), arXiv:1609.09869.
    """

    def __init__(
        self, transition: nn.Module, likelihood: Likelihood, decoder: nn.Module, dim: int, length: int = 64
    ) -> None:
        super().__init__()
        self.transition, self.likelihood, self.decoder, self.length = transition, likelihood, decoder, length
        self.start = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor | None = None, within: Tensor | None = None, *, size: int | None = None) -> Tensor:
        batch = plate_size(x if within is None else within, size)
        within = going_on(x, within, (batch, self.length))
        with pyro.plate("data", batch, dim=-1):
            z = pyro.sample("z", Markov(self.transition, self.start, within))  # z ~ prod_t p(z_t | z_(t-1))
            steps = self.likelihood(self.decoder(z))
            return pyro.sample("x", steps.mask(within).to_event(1), obs=x)  # x ~ prod_t p(x_t | z_t)
