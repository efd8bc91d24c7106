"""Guides of codes: the nearest vectors of a codebook, and a straight-through Gumbel-softmax."""

from collections.abc import Callable

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_number, check_positive
from pyrovae.errors import SettingError, ShapeError
from pyrovae.guides.amortized import AmortizedGuide
from pyrovae.models.distributions.codes import CertainCodes, GumbelCodes, straight_through
from pyrovae.networks.codebooks import Codebook, Levels, vectors_first, vectors_last
from pyrovae.networks.shape import Shape, as_shape

__all__ = ["GumbelCodeGuide", "QuantisedGuide"]


class QuantisedGuide(AmortizedGuide):
    """q(z | x) = 1 at z = e_c, where c_i is the code of the vector nearest to h_i, h = encoder(x).

    A `Codebook` makes it vector-quantised, with h as it is; `Levels` makes it finite scalar, with tanh(h). The codes
    are certain given x, so the rate is -log p(z), the code length under the prior, and the ELBO is
    log p(x | z) + log p(z): what training tracks and every tool reports.

    The gradient of the loss with respect to z passes to h unchanged (straight-through). The commitment,
    commitment |h - e|^2 summed over the grid, adds its gradient alone: it is the gradient of log q(z | x), whose value
    stays 0. Where the vectors of the codebook are a parameter, |h - e|^2 moves them in the same way. In training, a
    codebook with a decay follows h, unless the encoder is frozen (`requires_grad_(False)`).

    Args:
        encoder: a network `(*, *event) -> (*, D, *grid)`.
        codebook: that of the model's prior.
        grid: the shape of the grid of codes, as in the prior.
        commitment: the weight of the commitment; by default that of the codebook, 0.25 for `Codebook`, 0 for `Levels`.

    Raises:
        SettingError: a negative commitment.
        ShapeError: in a call, the encoder emits another shape than `(D, *grid)`.

    References: van den Oord et al. (2017), arXiv:1711.00937; Mentzer et al. (2023), arXiv:2309.15505.
    """

    def __init__(
        self, encoder: nn.Module, codebook: Codebook | Levels, grid: Shape, commitment: float | None = None
    ) -> None:
        super().__init__(encoder)
        self._codebook = (codebook,)  # the tuple keeps what the model owns from being registered a second time
        self.grid = as_shape(grid)
        self.commitment = codebook.commitment if commitment is None else check_number("commitment", commitment, 0)

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, D, *grid)`, event shape `(D, *grid)`."""
        (codebook,) = self._codebook
        dims = len(self.grid)
        _check_shape(self, params, (codebook.dim, *self.grid))
        h = codebook.bounded(vectors_last(params, dims))
        if self.training and params.requires_grad:
            codebook.follow(h)
        e = codebook(codebook.codes(h))
        cost = self.commitment * (h - e.detach()).square()
        if e.requires_grad:
            cost = cost + (h.detach() - e).square()
        total = cost.flatten(-1 - dims).sum(-1)
        z = vectors_first(straight_through(e, h), dims)
        return CertainCodes(z, log_density=total - total.detach(), event_dim=1 + dims)

    def extra_repr(self) -> str:
        return f"{self._codebook[0]!r}, grid={self.grid}, commitment={self.commitment}"


class GumbelCodeGuide(AmortizedGuide):
    """q(z | x) = prod_i Categorical(c_i; logits_i(x)) at z = e_c, trained by the straight-through Gumbel-softmax.

    Draws are exact at every temperature, so is the ELBO; the temperature changes the gradient alone. With
    `ELBO(analytic=True)` and a `UniformCodePrior` the rate is exact, and so is its gradient.

    Args:
        encoder: a network `(*, *event) -> (*, K, *grid)`, the logits of the codes.
        codebook: that of the model's prior, `Levels` or a `Codebook` with `decay=None`, which learns by gradient.
        grid: the shape of the grid of codes, as in the prior.
        temperature: the temperature, or a schedule: a function of the number of training steps taken, a 0-dim tensor,
            such as `inference.Linear(1.0, 0.5, 10_000)`.

    Attributes:
        step: the number of training steps taken, a 0-dim tensor.

    Raises:
        SettingError: a temperature that is not positive, or a codebook that has a decay.
        ShapeError: in a call, the encoder emits another shape than `(K, *grid)`.

    References: Jang et al. (2017), arXiv:1611.01144; Maddison et al. (2017), arXiv:1611.00712.
    """

    step: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        codebook: Codebook | Levels,
        grid: Shape,
        temperature: float | Callable[[Tensor], Tensor] = 1.0,
    ) -> None:
        super().__init__(encoder)
        if codebook.decay is not None:
            raise SettingError(
                f"GumbelCodeGuide requires a codebook that learns by gradient, got decay={codebook.decay}. Write "
                f"Codebook({codebook.size}, {codebook.dim}, decay=None)."
            )
        self._codebook = (codebook,)  # the tuple keeps what the model owns from being registered a second time
        self.grid = as_shape(grid)
        self.temperature = temperature if callable(temperature) else check_positive("temperature", temperature)
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))

    def posterior(self, params: Tensor) -> TorchDistribution:
        """q(z | params), `params` of shape `(*, K, *grid)`, event shape `(D, *grid)`."""
        (codebook,) = self._codebook
        _check_shape(self, params, (codebook.size, *self.grid))
        temperature = self.temperature(self.step.clone()) if callable(self.temperature) else self.temperature
        if self.training and params.requires_grad:
            self.step.add_(1)
        return GumbelCodes(vectors_last(params, len(self.grid)), codebook, len(self.grid), temperature)

    def extra_repr(self) -> str:
        return f"{self._codebook[0]!r}, grid={self.grid}, temperature={self.temperature}"


def _check_shape(guide: AmortizedGuide, params: Tensor, event: tuple[int, ...]) -> None:
    """Raise ShapeError where an encoder emits another event shape."""
    if tuple(params.shape[-len(event) :]) != event:
        raise ShapeError(
            f"{type(guide).__name__} requires an encoder that emits (*, {', '.join(map(str, event))}), got "
            f"{tuple(params.shape)}. Build it with out_shape={event}."
        )
