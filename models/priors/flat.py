"""The flat prior: p(z) proportional to 1, under which every code is equally probable."""

from typing import Any, NoReturn

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import constraints

from pyrovae.checks import check_count
from pyrovae.errors import PairError
from pyrovae.networks.shape import LARGEST
from pyrovae.recorded import Recorded

__all__ = ["Flat"]


class Flat(Recorded, nn.Module):
    """p(z) = 1 for every z of shape `(D,)`. It is improper, so it has no draws.

    The rate of a point mass under it is 0: a model with this prior and `guides.DeltaGuide` is a deterministic
    autoencoder.

    Args:
        dim: the latent dimension D.

    Raises:
        PairError: a draw is asked for.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = check_count("dim", dim, most=LARGEST)

    def forward(self) -> TorchDistribution:
        return _Flat(self.dim)

    def extra_repr(self) -> str:
        return f"{self.dim}"


class _Flat(TorchDistribution):
    """log p(z) = 0 for every vector z of shape `(D,)`."""

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012
    support = constraints.real_vector

    def __init__(self, dim: int, batch_shape: Any = torch.Size()) -> None:  # noqa: B008
        super().__init__(torch.Size(batch_shape), torch.Size([dim]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "_Flat":
        return _Flat(self.event_shape[0], batch_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_zeros(torch.broadcast_shapes(value.shape[:-1], self.batch_shape))

    def sample(self, sample_shape: Any = torch.Size()) -> NoReturn:  # noqa: B008
        raise PairError(
            "A draw of z requires a proper prior, got Flat: a flat prior is improper. Decode codes of data, "
            "decode(model, encode(...)), or train with priors.StandardNormal(dim)."
        )
