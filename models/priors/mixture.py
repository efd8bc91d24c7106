"""Mixture."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models.distributions.mixture import DiagonalMixture
from pyrovae.numeric import bounded_scale

__all__ = ["MixtureOfNormals", "VampPrior"]


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
