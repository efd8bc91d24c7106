"""The mixture guide: a posterior that may have several modes."""

from pyro.distributions import MixtureOfDiagNormals, TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import ShapeError
from pyrovae.guides.amortized import AmortizedGuide, check_width
from pyrovae.numeric import bounded_scale

__all__ = ["MixtureGuide"]


class MixtureGuide(AmortizedGuide):
    """q(z | x) = sum_k w_k(x) prod_d Normal(z_d; loc_kd(x), scale_kd(x)).

    Draws have a pathwise gradient with respect to all parameters, the weights included, without enumeration of the
    components: it solves a transport equation of the whole mixture. A draw takes K^2 D numbers.

    Args:
        encoder: a network `(*, *event) -> (*, K (2 D + 1))`, which emits logits `(K,)`, locs and raw scales `(K, D)`.
        components: the number of normals, K, at least 2.

    Raises:
        ShapeError: K is below 2; in a call, the encoder has another number of outputs.

    References: Jankowiak & Karaletsos (2019), arXiv:1806.01856, for the gradient.
    """

    def __init__(self, encoder: nn.Module, components: int) -> None:
        super().__init__(encoder)
        if components < 2:
            raise ShapeError(
                f"MixtureGuide requires components >= 2, got components={components}. Write NormalGuide(encoder)."
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
    """Pyro's mixture, with a mean."""

    @property
    def mean(self) -> Tensor:
        return (self.probs.unsqueeze(-1) * self.locs).sum(-2)
