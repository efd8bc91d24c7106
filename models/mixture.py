"""Mixtures of diagonal normals as priors: learned components, and the VampPrior, whose components the guide makes."""

import math
from collections.abc import Callable
from typing import Any

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.errors import PairError
from pyrovae.networks import bounded_scale, wide

__all__ = ["DiagonalMixture", "MixtureOfNormals", "VampPrior"]


class DiagonalMixture(TorchDistribution):
    """p(z) = sum_k w_k prod_d Normal(z_d; loc_kd, scale_kd).

    Scored by two matrix products, in float64 because they cancel: S x B x K numbers for draws `(S, B, D)`, not
    S x B x K x D. Draws have no gradient.

    Args:
        loc, scale: `(K, D)`.
        logits: `(K,)`, the logarithms of w up to a constant.
    """

    arg_constraints = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, loc: Tensor, scale: Tensor, logits: Tensor, batch_shape: Any = torch.Size()) -> None:  # noqa: B008
        self.loc, self.scale, self.logits = loc, scale, logits
        super().__init__(torch.Size(batch_shape), loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiagonalMixture":
        return DiagonalMixture(self.loc, self.scale, self.logits, batch_shape)

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1) @ self.loc).expand(self.batch_shape + self.event_shape)

    def sample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        with torch.no_grad():
            k = dist.Categorical(logits=self.logits).sample(self._extended_shape(sample_shape)[:-1])
            return torch.normal(self.loc[k], self.scale[k])

    def log_prob(self, value: Tensor) -> Tensor:
        loc, scale, z = wide(self.loc), wide(self.scale), wide(value)
        precision = scale.square().reciprocal()
        # log N(z; k) = z . (precision_k loc_k) - z^2 . precision_k / 2 + constant_k, each a product. (A sum over d of
        # parameters that the same graph updates is more than inductor can do: pytorch issue 196570.)
        constant = -(loc.square() * precision + 2 * scale.log() + math.log(2 * math.pi)) / 2
        weights = torch.cat([(precision * loc).mT, -precision.mT / 2])
        log_prob = torch.cat([z, z.square()], -1) @ weights + (z.new_ones(1, z.shape[-1]) @ constant.mT)[0]
        log_prob = (log_prob.to(value.dtype) + self.logits.log_softmax(-1)).logsumexp(-1)
        return log_prob.expand(torch.broadcast_shapes(log_prob.shape, self.batch_shape))


class MixtureOfNormals(nn.Module):
    """p(z) = sum_k w_k prod_d Normal(z_d; loc_kd, scale_kd), all of them learned.

    Args:
        dim: the latent dimension D.
        components: K.

    References: Dilokthanakul et al. (2016), arXiv:1611.02648; Tomczak & Welling (2018), arXiv:1705.07120, section 4.
    """

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.randn(components, dim))
        self.raw_scale = nn.Parameter(torch.zeros(components, dim))
        self.logits = nn.Parameter(torch.zeros(components))

    def forward(self) -> TorchDistribution:
        return DiagonalMixture(self.loc, bounded_scale(self.raw_scale), self.logits)

    def extra_repr(self) -> str:
        components, dim = self.loc.shape
        return f"{dim}, {components}"


class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z | u_k): the guide's own posterior, averaged over K learned pseudo-inputs u.

    The guide's weights stay the guide's: they are no parameters of this prior, and get a gradient from it too. Copy the
    pair together, `copy.deepcopy((model, guide))`.

    Args:
        posterior: x -> q(z | x), diagonal normals: a guide's bound method, `guide.given`.
        pseudo_inputs: where they start, `(K, *event)`: some of the training data, as the guide sees them.
        bounds: the range in which they stay by a sigmoid, None for data without one. (The paper clamps them; a pixel
            that has left the range has no gradient then.)

    Raises:
        PairError: q(z | x) is not diagonal normal.

    References: Tomczak & Welling (2018), arXiv:1705.07120.
    """

    def __init__(
        self,
        posterior: Callable[[Tensor], TorchDistribution],
        pseudo_inputs: Tensor,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.posterior, self.bounds = (posterior,), bounds  # in a tuple: no submodule of this one
        raw = pseudo_inputs.detach().clone()
        if bounds is not None:
            low, high = bounds
            raw = ((raw - low) / (high - low)).clamp(0.05, 0.95).logit()
        self.raw = nn.Parameter(raw)

    def pseudo_inputs(self) -> Tensor:
        """u, `(K, *event)`."""
        if self.bounds is None:
            return self.raw
        low, high = self.bounds
        return low + (high - low) * self.raw.sigmoid()

    def forward(self) -> TorchDistribution:
        u = self.pseudo_inputs()
        q = self.posterior[0](u)
        normal = getattr(q, "base_dist", None)
        if not isinstance(normal, dist.Normal) or len(q.event_shape) != 1:
            raise PairError(
                f"VampPrior wants a posterior of diagonal normals over vectors, got {type(q).__name__} with event "
                f"shape {tuple(q.event_shape)}. Write VampPrior(guide.given, ...) with a NormalGuide."
            )
        return DiagonalMixture(normal.loc, normal.scale, u.new_zeros(len(u)))

    def extra_repr(self) -> str:
        return f"{len(self.raw)} pseudo-inputs {tuple(self.raw.shape[1:])}"
