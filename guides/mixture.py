"""The mixture guide: a posterior with several modes."""

from pyro.distributions import MixtureOfDiagNormals, TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.guides.amortized import AmortizedGuide, check_width
from pyrovae.numeric import bounded_scale

__all__ = ["MixtureGuide"]


class MixtureGuide(AmortizedGuide):
    """q(z | x) = sum_k w_k(x) prod_d Normal(z_d; loc_kd(x), scale_kd(x)).

    Draws have a pathwise gradient, of the weights too: it solves the transport equation for the whole mixture, and no
    component is drawn or enumerated in it. It takes K^2 D numbers for a draw.

    Args:
        encoder: a network `(*, *event) -> (*, K (2 D + 1))`; its output is logits `(K)`, locs and raw scales `(K, D)`.
        components: K, at least 2.

    Raises:
        ShapeError: K below 2; in a call, an encoder with another number of outputs.

    References: Jankowiak & Karaletsos (2019), arXiv:1806.01856, for the gradient.
    """

    def __init__(self, encoder: nn.Module, components: int) -> None:
        super().__init__(encoder)
        if components < 2:
            raise ShapeError(
                f"MixtureGuide wants two components or more, got components={components}. Use NormalGuide."
            )
        self.components = components

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, K (2 D + 1))`, event shape `(D,)`."""
        k = self.components
        dim = (params.shape[-1] // k - 1) // 2
        check_width(self, params, f"{k} (2 D + 1)", params.shape[-1] == k * (2 * dim + 1))
        logits, locs, raw_scales = params.split([k, k * dim, k * dim], -1)
        return _Mixture(locs.unflatten(-1, (k, dim)), bounded_scale(raw_scales).unflatten(-1, (k, dim)), logits)


class _Mixture(MixtureOfDiagNormals):
    """Pyro's, with its mean."""

    @property
    def mean(self) -> Tensor:
        return (self.probs.unsqueeze(-1) * self.locs).sum(-2)
