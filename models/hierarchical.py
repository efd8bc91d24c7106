"""Hierarchies of latents z1, ..., zL, of which zL is the top: a Markov chain, and a ladder with skip connections."""

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import cast

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size
from pyrovae.recorded import Recorded

__all__ = ["Draw", "HierarchicalVAE", "Hierarchy", "LadderVAE", "Level"]

Draw = Callable[[str, TorchDistribution], Tensor]
"""How a level is drawn: `draw(latent, distribution) -> value`, given the name of the latent, such as `"z1"`."""


class Hierarchy(Program):
    """The interface of hierarchies: `top_down` draws the latents, and x is drawn given what it returns.

    The model draws with `pyro.sample`. A guide that infers from the top down calls `top_down` with another way to draw.
    """

    likelihood: Likelihood
    decoder: nn.Module
    depth: int
    """The number of latents, L."""

    @abstractmethod
    def top_down(self, draw: Draw) -> Tensor:
        """Draw zL, ..., z1 in this order by `draw`, and return the input of the decoder."""

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        """Score `x`, or generate `size` data points."""
        with pyro.plate("data", plate_size(x, size), dim=-1):
            h = self.top_down(pyro.sample)  # zL ~ p(zL), ..., z1 ~ p(z1 | z2, ..., zL)
            return pyro.sample("x", self.likelihood(self.decoder(h)), obs=x)  # x ~ p(x | z1, ..., zL)


class HierarchicalVAE(Hierarchy):
    """p(x, z) = p(zL) p(z_{L-1} | zL) ... p(z1 | z2) p(x | decoder(z1)), for any L >= 2.

    Args:
        prior: `prior() -> p(zL)`.
        conditionals: `conditional(z_{l+1}) -> p(z_l | z_{l+1})`, from the top down; the last one is p(z1 | z2).
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network from z1 to `(*, *likelihood.params_shape)`.

    Raises:
        PairError: there is no conditional.

    References: Rezende et al. (2014), arXiv:1401.4082; Burda et al. (2016), arXiv:1509.00519. With
    `guides.TopDownGuide` it is the ladder VAE of Sonderby et al. (2016), arXiv:1602.02282.
    """

    def __init__(
        self, prior: nn.Module, conditionals: Iterable[nn.Module], likelihood: Likelihood, decoder: nn.Module
    ) -> None:
        super().__init__()
        self.prior, self.conditionals = prior, nn.ModuleList(conditionals)
        self.likelihood, self.decoder = likelihood, decoder
        self.depth = _depth(self.conditionals, "HierarchicalVAE", "conditionals=[p(z1 | z2)]")

    def top_down(self, draw: Draw) -> Tensor:
        z = draw(f"z{self.depth}", self.prior())  # zL ~ p(zL)
        for number, conditional in zip(range(self.depth - 1, 0, -1), self.conditionals, strict=True):
            z = draw(f"z{number}", conditional(z))  # z_l ~ p(z_l | z_{l+1})
        return z


class Level(Recorded, nn.Module):
    """One level of a ladder: p(z_l | h_l), and the map to the next state, h_{l-1} = step(h_l, z_l).

    Args:
        conditional: `conditional(h) -> p(z | h)`.
        step: `step(h, z) -> h`, such as `DenseBlock` or `ConvBlock`.
    """

    def __init__(self, conditional: nn.Module, step: nn.Module) -> None:
        super().__init__()
        self.conditional, self.step = conditional, step


class LadderVAE(Hierarchy):
    """p(x, z) = p(zL) p(z_{L-1} | h_{L-1}) ... p(z1 | h_1) p(x | decoder(h_0)), for any L >= 2.

    The states are h_{L-1} = first(zL) and h_{l-1} = step_l(h_l, z_l). So x and each latent depend on all latents above:
    p(z_l | h_l) = p(z_l | z_{l+1}, ..., zL).

    Args:
        prior: `prior() -> p(zL)`.
        first: a network from zL to the first state.
        levels: one `Level` for each of z_{L-1}, ..., z1, from the top down.
        likelihood: `likelihood(params) -> p(x | params)`.
        decoder: a network from the last state to `(*, *likelihood.params_shape)`.

    Raises:
        PairError: there is no level.

    References: Sonderby et al. (2016), arXiv:1602.02282; Kingma et al. (2016), arXiv:1606.04934, for the deterministic
    path from all latents to x.
    """

    def __init__(
        self,
        prior: nn.Module,
        first: nn.Module,
        levels: Iterable[Level],
        likelihood: Likelihood,
        decoder: nn.Module,
    ) -> None:
        super().__init__()
        self.prior, self.first, self.levels = prior, first, nn.ModuleList(levels)
        self.likelihood, self.decoder = likelihood, decoder
        self.depth = _depth(self.levels, "LadderVAE", "levels=[Level(p(z1 | h), step)]")

    def top_down(self, draw: Draw) -> Tensor:
        h = self.first(draw(f"z{self.depth}", self.prior()))  # zL ~ p(zL)
        for number, level in zip(range(self.depth - 1, 0, -1), cast(Iterable[Level], self.levels), strict=True):
            z = draw(f"z{number}", level.conditional(h))  # z_l ~ p(z_l | h_l)
            h = level.step(h, z)
        return h


def _depth(below_top: nn.ModuleList, owner: str, instead: str) -> int:
    if not len(below_top):
        raise PairError(f"{owner} requires at least two latents, got one. Pass {instead}, or take models.VAE.")
    return len(below_top) + 1
