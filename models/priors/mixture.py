"""Mixture priors: of learned normals, and of the posteriors of learned pseudo-inputs (the VampPrior)."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count
from pyrovae.errors import PairError
from pyrovae.models.distributions.mixture import DiagonalMixture
from pyrovae.networks.shape import LARGEST
from pyrovae.numeric import bounded_scale, raw_scale
from pyrovae.recorded import Recorded

__all__ = ["MixtureOfNormals", "VampPrior"]


class MixtureOfNormals(Recorded, nn.Module):
    """p(z) = sum_k w_k prod_d Normal(z_d; loc_kd, scale_kd), with learned weights, means and scales.

    Args:
        dim: the latent dimension D.
        components: the number of normals, K.

    References: Dilokthanakul et al. (2016), arXiv:1611.02648; Tomczak & Welling (2018), arXiv:1705.07120, section 4.
    """

    def __init__(self, dim: int, components: int) -> None:
        super().__init__()
        components, dim = check_count("components", components, most=LARGEST), check_count("dim", dim, most=LARGEST)
        self.loc = nn.Parameter(torch.randn(components, dim))
        self.raw_scale = nn.Parameter(torch.zeros(components, dim))
        self.logits = nn.Parameter(torch.zeros(components))

    @torch.no_grad()
    def start(self, codes: Tensor) -> None:
        """Set the means to codes that are drawn at random, and the scales to the spread of the codes around them.

        Args:
            codes: codes of data, `(N, D)`, such as draws of q(z | x).
        """
        components, dim = self.loc.shape
        rows = torch.randint(len(codes), (components,), device=codes.device)
        spread = codes.std(0, correction=0) * components ** (-1 / dim)
        self.loc.copy_(codes[rows])
        self.raw_scale.copy_(raw_scale(spread).expand_as(self.raw_scale))
        self.logits.zero_()

    def forward(self) -> TorchDistribution:
        return DiagonalMixture(self.loc, bounded_scale(self.raw_scale), self.logits)

    def extra_repr(self) -> str:
        components, dim = self.loc.shape
        return f"{dim}, {components}"


class VampPrior(Recorded, nn.Module):
    """p(z) = 1/K sum_k q(z | u_k): the guide's posterior, averaged over K learned pseudo-inputs u_k.

    The guide owns its weights: they are not among the parameters of this prior, although its density has a gradient
    with respect to them. Copy a pair in one call, `copy.deepcopy((model, guide))`, so that the copies belong together.

    Args:
        posterior: x -> q(z | x), diagonal normals; a guide's bound method, such as `guide.given`.
        pseudo_inputs: their initial values, `(K, *event)`, such as some training data as the guide sees them.
        bounds: the range of the data, in which a sigmoid keeps the pseudo-inputs; None for unbounded data. (The paper
            clamps them, and a clamped pixel has no gradient.)

    Raises:
        PairError: in a call, q(z | x) is not diagonal normal.

    References: Tomczak & Welling (2018), arXiv:1705.07120.
    """

    def __init__(
        self,
        posterior: Callable[[Tensor], TorchDistribution],
        pseudo_inputs: Tensor,
        bounds: tuple[float, float] | None = (0.0, 1.0),
    ) -> None:
        super().__init__()
        self.posterior, self.bounds = (posterior,), bounds  # the tuple keeps the guide from becoming a submodule
        raw = pseudo_inputs.detach().clone()
        if bounds is not None:
            low, high = bounds
            raw = ((raw - low) / (high - low)).clamp(0.05, 0.95).logit()
        self.raw = nn.Parameter(raw)

    def pseudo_inputs(self) -> Tensor:
        """The pseudo-inputs u_1, ..., u_K, `(K, *event)`."""
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
                f"VampPrior requires a posterior of diagonal normals over vectors, got {type(q).__name__} with event "
                f"shape {tuple(q.event_shape)}. Write VampPrior(guide.given, ...) with a NormalGuide."
            )
        return DiagonalMixture(normal.loc, normal.scale, u.new_zeros(len(u)))

    def extra_repr(self) -> str:
        return f"{len(self.raw)} pseudo-inputs {tuple(self.raw.shape[1:])}"
