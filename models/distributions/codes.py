"""Distributions of grids of codes: of integers, one after the other, and of the vectors that a codebook gives them."""

import math
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Independent, constraints, kl_divergence, register_kl
from torch.nn import functional

from pyrovae.networks.codebooks import Codebook, Levels, vectors_first, vectors_last

__all__ = ["CausalCodes", "CertainCodes", "CodeVectors", "GumbelCodes", "straight_through"]

NEAR = 1e-3
"""How far a vector may be from that of its code, in each number, to be in the support."""


def straight_through(value: Tensor, gradient: Tensor) -> Tensor:
    """A tensor that equals `value` exactly, and passes its gradient to `gradient` unchanged.

    Args:
        value: the value; it gets no gradient.
        gradient: a tensor of the same shape, with finite numbers.

    References: Bengio et al. (2013), arXiv:1308.3432.
    """
    return value.detach() + (gradient - gradient.detach())


class _AtVectors(constraints.Constraint):
    """Vectors of a codebook in the channels, `(*, D, *grid)`."""

    is_discrete = True

    def __init__(self, codebook: Codebook | Levels, grid_dims: int) -> None:
        self.codebook, self.grid_dims, self.event_dim = codebook, grid_dims, 1 + grid_dims
        super().__init__()

    def check(self, value: Tensor) -> Tensor:
        z = vectors_last(value, self.grid_dims)
        near = (self.codebook(self.codebook.codes(z)) - z).abs() <= NEAR
        return near.flatten(-self.event_dim).all(-1)


class CodeVectors(TorchDistribution):
    """p(z) = p(c) at z = e_c, the vectors of a grid of codes c; event shape `(D, *grid)`.

    The map from codes to vectors is one to one, so log p(z) is the log-probability of the codes: z is discrete, and its
    probabilities sum to one. `log_prob` takes each vector for the code whose vector is nearest.

    Args:
        over: p(c), over int64 codes of event shape `grid`.
        codebook: the vectors of the codes.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    has_rsample = False

    def __init__(self, over: TorchDistribution, codebook: Codebook | Levels) -> None:
        self.over, self.codebook = over, codebook
        event = torch.Size([codebook.dim, *over.event_shape])
        super().__init__(over.batch_shape, event, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return _AtVectors(self.codebook, len(self.over.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CodeVectors":
        return CodeVectors(self.over.expand(torch.Size(batch_shape)), self.codebook)

    def codes(self, z: Tensor) -> Tensor:
        """The codes of vectors, int64 `(*, *grid)`.

        Args:
            z: vectors, `(*, D, *grid)`.
        """
        return self.codebook.codes(vectors_last(z, len(self.over.event_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.over.log_prob(self.codes(value))

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            return vectors_first(self.codebook(self.over.sample(sample_shape)), len(self.over.event_shape))


class CausalCodes(TorchDistribution):
    """p(c) = prod_i Categorical(c_i; network(c)_i), where the i-th logits depend on c_1, ..., c_(i-1) alone.

    Codes are in the order of the rows of the grid. A density takes one call of the network, a draw one for each code.

    Args:
        network: from codes, int64 `(*, n)`, to logits `(*, n, K)`; `networks.CausalTransformer` is one.
        grid: the event shape, of n codes.
        batch_shape: the batch shape.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    has_rsample = False

    def __init__(self, network: nn.Module, grid: tuple[int, ...], batch_shape: Any = torch.Size()) -> None:  # noqa: B008
        self.network = network
        super().__init__(torch.Size(batch_shape), torch.Size(grid), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "CausalCodes":
        return CausalCodes(self.network, self.event_shape, batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        codes = value.flatten(-len(self.event_shape))
        log_probs = self.network(codes).log_softmax(-1)
        found = log_probs.gather(-1, codes.unsqueeze(-1)).squeeze(-1).sum(-1)
        return found.expand(torch.broadcast_shapes(found.shape, self.batch_shape))

    @torch.no_grad()
    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        lead, device = torch.Size(sample_shape) + self.batch_shape, next(self.network.parameters()).device
        codes = torch.empty(lead.numel(), 0, dtype=torch.int64, device=device)
        for _ in range(math.prod(self.event_shape)):
            logits = self.network(functional.pad(codes, (0, 1)))[:, -1]  # the last code is not looked at
            codes = torch.cat([codes, dist.Categorical(logits=logits).sample().unsqueeze(-1)], -1)
        return codes.reshape(*lead, *self.event_shape)


class CertainCodes(dist.Delta):
    """q(z) = 1 at the vectors z of some codes: a probability, so KL(q || p) = -log p(z).

    Args:
        v: the vectors, `(*, D, *grid)`.
        log_density: a tensor `(*)` of value 0. Its gradient is that of log q(z), also in the closed form of KL(q || p).
        event_dim: the number of dimensions of the event.
        validate_args: whether torch checks the arguments; None for its default.
    """


class GumbelCodes(TorchDistribution):
    """q(z) = prod_i Categorical(c_i; logits_i) at z = e_c, with a gradient by the straight-through Gumbel-softmax.

    A draw is exact: the vectors of the codes that maximise logits + Gumbel noise. Its gradient is that of
    softmax((logits + noise) / temperature) in place of the codes' one-hot vectors, in the draw and, for the draw made
    last, in its log-probability. So the gradient is biased, less at low temperatures, where its variance is larger.

    Args:
        logits: `(*, *grid, K)`.
        codebook: the vectors of the codes.
        grid_dims: the number of dimensions of the grid.
        temperature: the temperature of the softmax, a number or a 0-dim tensor.

    References: Jang et al. (2017), arXiv:1611.01144; Maddison et al. (2017), arXiv:1611.00712.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    has_rsample = True

    def __init__(
        self, logits: Tensor, codebook: Codebook | Levels, grid_dims: int, temperature: float | Tensor = 1.0
    ) -> None:
        self.logits, self.codebook, self.grid_dims, self.temperature = logits, codebook, grid_dims, temperature
        self._drawn: tuple[Tensor, Tensor] | None = None
        batch, grid = logits.shape[: -1 - grid_dims], logits.shape[-1 - grid_dims : -1]
        super().__init__(batch, torch.Size([codebook.dim, *grid]), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return _AtVectors(self.codebook, self.grid_dims)

    @property
    def over(self) -> TorchDistribution:
        """q(c), over int64 codes of event shape `grid`."""
        return dist.Categorical(logits=self.logits).to_event(self.grid_dims)

    @property
    def mean(self) -> Tensor:
        """The vectors of the most probable codes: an average of vectors is the vector of no code."""
        return vectors_first(self.codebook(self.logits.argmax(-1)), self.grid_dims)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "GumbelCodes":
        logits = self.logits.expand(*batch_shape, *self.logits.shape[-1 - self.grid_dims :])
        return GumbelCodes(logits, self.codebook, self.grid_dims, self.temperature)

    def codes(self, z: Tensor) -> Tensor:
        """The codes of vectors, int64 `(*, *grid)`.

        Args:
            z: vectors, `(*, D, *grid)`.
        """
        return self.codebook.codes(vectors_last(z, self.grid_dims))

    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        logits = self.logits.expand(torch.Size(sample_shape) + self.logits.shape)
        noisy = logits - torch.empty_like(logits).exponential_().log()
        one_hot = functional.one_hot(noisy.argmax(-1), self.codebook.size).to(logits)
        chosen = straight_through(one_hot, (noisy / self.temperature).softmax(-1))
        z = vectors_first(chosen @ self.codebook.vectors, self.grid_dims)
        self._drawn = z, chosen
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        log_probs = self.logits.log_softmax(-1)
        if self._drawn is not None and value is self._drawn[0]:
            found = (self._drawn[1] * log_probs).sum(-1)
        else:
            codes = self.codes(value)
            lead = torch.broadcast_shapes(codes.shape, log_probs.shape[:-1])
            found = log_probs.expand(*lead, -1).gather(-1, codes.expand(lead).unsqueeze(-1)).squeeze(-1)
        return found.flatten(-self.grid_dims).sum(-1)


@register_kl(CertainCodes, TorchDistribution)
def _kl_certain(q: CertainCodes, p: TorchDistribution) -> Tensor:
    return q.log_density - p.log_prob(q.v)


@register_kl(GumbelCodes, CodeVectors)
def _kl_product(q: GumbelCodes, p: CodeVectors) -> Tensor:
    """sum_i KL(q(c_i) || p(c_i)), where p too is a product over the grid."""
    if q.codebook is not p.codebook or not isinstance(p.over, Independent):
        raise NotImplementedError
    return kl_divergence(q.over, p.over)
