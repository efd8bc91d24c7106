"""Priors of shares that sum to one: the Dirichlet distribution, and the logistic normal near it."""

from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_count, check_positive
from pyrovae.errors import SettingError
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["Dirichlet", "LogisticNormal"]


class Dirichlet(Recorded, nn.Module):
    """p(z) = Dirichlet(z; a): shares z_k >= 0 of K parts that sum to 1.

    With a_k < 1 few of the shares are large, as few topics make a document.

    Args:
        dim: the number of parts, K, at least 2.
        concentration: a, one number for all parts, or one for each.

    Raises:
        SettingError: fewer than two parts, or a concentration that is not positive, or another number of them.

    References: Blei, Ng & Jordan (2003), Latent Dirichlet allocation.
    """

    concentration: Tensor

    def __init__(self, dim: int, concentration: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        self.register_buffer("concentration", _concentration(dim, concentration), persistent=False)

    def forward(self) -> TorchDistribution:
        return dist.Dirichlet(self.concentration)

    def extra_repr(self) -> str:
        return _shown(self.concentration)


class LogisticNormal(Recorded, nn.Module):
    """p(z) = Normal(z; mu, diag(s^2)), for which the shares softmax(z) are nearly Dirichlet(a).

    It is the Laplace approximation of the Dirichlet distribution in the coordinates of the softmax, without its
    correlations: mu_k = log a_k - mean_i log a_i, s_k^2 = (1 - 2 / K) / a_k + sum_i 1 / a_i / K^2. The latent z in R^K
    is normal, and the decoder takes the softmax.

    Args:
        dim: the number of parts, K, at least 2.
        concentration: a, one number for all parts, or one for each.

    Raises:
        SettingError: fewer than two parts, or a concentration that is not positive, or another number of them.

    References: Srivastava & Sutton (2017), arXiv:1703.01488; Hennig et al. (2012), Kernel topic models.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, dim: int, concentration: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        a = _concentration(dim, concentration)
        self.shown = _shown(a)
        self.register_buffer("loc", a.log() - a.log().mean(), persistent=False)
        variance = (1 - 2 / dim) / a + (1 / a).sum() / dim**2
        self.register_buffer("scale", variance.sqrt(), persistent=False)

    def forward(self) -> TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        return self.shown


def _concentration(dim: int, concentration: float | Sequence[float]) -> Tensor:
    """The concentration of each part."""
    dim = check_count("dim", dim, 2, most=LARGEST)
    several = isinstance(concentration, Sequence)
    values = list(concentration) if isinstance(concentration, Sequence) else [concentration] * dim
    if several and len(values) != dim:
        raise SettingError(
            f"concentration requires one number, or one for each of {dim} parts, got {len(values)}. Write "
            "concentration=1.0."
        )
    return torch.tensor([check_positive("concentration", value, write=1.0) for value in values])


def _shown(concentration: Tensor) -> str:
    """How `repr` writes the parts and their concentration."""
    least, most = concentration.min().item(), concentration.max().item()
    return f"{len(concentration)}, concentration={f'{least:g}' if least == most else f'{least:g} to {most:g}'}"
