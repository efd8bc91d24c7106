"""Guides on the unit sphere: von Mises-Fisher and power spherical."""

from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.nn.functional import normalize

from pyrovae.guides.amortized import AmortizedGuide, check_width
from pyrovae.models.distributions import PowerSpherical, VonMisesFisher
from pyrovae.models.program import Program
from pyrovae.numeric import bounded_scale

__all__ = ["PowerSphericalGuide", "VonMisesFisherGuide"]


class VonMisesFisherGuide(AmortizedGuide):
    """q(z | x) proportional to exp(concentration(x) loc(x) . z) on the unit sphere of R^D.

    Draws are reparameterised, and KL(q(z | x) || uniform) has a closed form.

    Args:
        encoder: a network `(*, *event) -> (*, D + 1)`, which emits loc, whose length is set to 1, and the raw
            concentration. The concentration is between 1 and 8,104: a guide that may become uniform does so before
            the decoder has learnt to read its draws.

    Raises:
        ShapeError: in a call, the encoder has fewer than 3 outputs.

    References: Davidson et al. (2018), arXiv:1804.00891.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, D + 1)`, event shape `(D,)`."""
        return VonMisesFisher(*_directed(self, params), validate_args=False)


class PowerSphericalGuide(AmortizedGuide):
    """q(z | x) proportional to (1 + loc(x) . z)^concentration(x) on the unit sphere of R^D.

    Draws are reparameterised, and KL(q(z | x) || uniform) has a closed form.

    Args:
        encoder: a network `(*, *event) -> (*, D + 1)`, as that of `VonMisesFisherGuide`.

    Raises:
        ShapeError: in a call, the encoder has fewer than 3 outputs.

    References: De Cao & Aziz (2020), arXiv:2006.04437.
    """

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, D + 1)`, event shape `(D,)`."""
        return PowerSpherical(*_directed(self, params), validate_args=False)


def _directed(guide: Program, params: Tensor) -> tuple[Tensor, Tensor]:
    """The mean direction `(*, D)` and the concentration `(*)`."""
    check_width(guide, params, "D + 1 (D >= 2)", params.shape[-1] >= 3)
    loc, raw = params.split([params.shape[-1] - 1, 1], -1)
    return normalize(loc, dim=-1), 1 + bounded_scale(raw.squeeze(-1), bound=9.0)
