"""Objectives that look at the codes of a whole batch: beta-TCVAE, and the maximum mean discrepancy."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Draws, Objective
from pyrovae.inference.objectives.schedules import Schedule, at
from pyrovae.inference.pair.contract import Site
from pyrovae.inference.pair.divergence import factors
from pyrovae.inference.pair.scoring import Layout
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["MMD", "BetaTCVAE", "Decomposition", "mean_discrepancy"]


class Decomposition(NamedTuple):
    """The rate of each datum in three parts, `(B,)` each, whose sum it is; q(z) is the mean of q(z | x) over the data.

    Attributes:
        information: log q(z | x) - log q(z), on average the mutual information of x and z.
        correlation: log q(z) - sum_d log q(z_d), on average the total correlation.
        dimensions: sum_d log q(z_d) - log p(z), on average the divergence of the dimensions from the prior.
    """

    information: Tensor
    correlation: Tensor
    dimensions: Tensor


class BetaTCVAE(Objective):
    """E_q log p(x | z) - alpha * information - beta * correlation - gamma * dimensions (see `Decomposition`).

    With weights of one it is the ELBO. q(z) is estimated by minibatch-weighted sampling, log q(z) = log 1/(N B)
    sum_j q(z | x_j) over the batch.

    Args:
        alpha, beta, gamma: numbers or schedules.
        data_size: the number N of training data.

    Raises:
        PairError: at the first run, a pair with more than one latent, or a guide that is no product over dimensions.

    References: Chen et al. (2018), arXiv:1802.04942.
    """

    independent = True

    def __init__(
        self,
        alpha: float | Schedule = 1.0,
        beta: float | Schedule = 6.0,
        gamma: float | Schedule = 1.0,
        *,
        data_size: int,
    ) -> None:
        super().__init__()
        self.alpha, self.beta, self.gamma, self.data_size = alpha, beta, gamma, data_size

    def bound(self, draws: Draws) -> Tensor:
        parts = self.decompose(draws)
        weights = (at(weight, self.step) for weight in (self.alpha, self.beta, self.gamma))
        penalties = (weight * part for weight, part in zip(weights, parts, strict=True))
        return draws.terms.log_likelihood.squeeze(0) - sum(penalties)

    def decompose(self, draws: Draws) -> Decomposition:
        """The rate in its three parts."""
        ((name, level),) = draws.terms.levels.items()
        site = sites(draws.pair.guide)[name]
        # q(z_i | x_j) of each dimension, (B, B, D)
        pairs = factors(site, "guide").log_prob(site["value"].unsqueeze(1)).flatten(2)
        count = math.log(self.data_size * len(pairs))
        log_q = pairs.sum(-1).logsumexp(1) - count
        log_product = (pairs.logsumexp(1) - count).sum(-1)
        log_guide, log_prior = level.log_guide.squeeze(0), level.log_prior.squeeze(0)
        return Decomposition(log_guide - log_q, log_q - log_product, log_product - log_prior)

    def check(self, pair: PairTrace, layout: Layout) -> None:
        super().check(pair, layout)
        guide = sites(pair.guide)
        if len(guide) != 1 or layout.depth != 1:
            names = ", ".join(map(repr, guide))
            raise PairError(
                f"BetaTCVAE wants one latent, directly in the plate 'data', the guide has {names}. Use "
                "ELBO(kl_weight=...)."
            )
        for site in guide.values():
            factors(site, "guide")

    def extra_repr(self) -> str:
        return f"{self.alpha}, {self.beta}, {self.gamma}, data_size={self.data_size}"


class MMD(Objective):
    """E_q log p(x | z) - kl_weight * KL - weight * MMD^2, between the codes of the batch and draws from the model.

    With `kl_weight=0` this is the WAE, with more the InfoVAE. Codes of a hierarchy are those of all its latents
    together.

    Args:
        weight: of the discrepancy, a number or a schedule.
        kl_weight: of the rate.
        kernel: `"imq"`, a sum of inverse multiquadratics of seven widths, or `"rbf"`.

    References: Zhao et al. (2017), arXiv:1706.02262 (InfoVAE: weight = alpha + lambda - 1, kl_weight = 1 - alpha);
    Tolstikhin et al. (2018), arXiv:1711.01558 (WAE).
    """

    independent = True

    def __init__(
        self, weight: float | Schedule, *, kl_weight: float | Schedule = 0.0, kernel: Literal["imq", "rbf"] = "imq"
    ) -> None:
        super().__init__()
        if kernel not in _KERNELS:
            raise PairError(f"kernel is one of {', '.join(map(repr, _KERNELS))}, got {kernel!r}.")
        self.weight, self.kl_weight, self.kernel = weight, kl_weight, kernel

    def draw(self, model: Callable[[], Any], guide: Callable[[], Any], **handlers: Any) -> Draws:
        draws = super().draw(model, guide, **handlers)
        with poutine.trace() as free:
            model()
        return draws._replace(free=free.trace)

    def bound(self, draws: Draws) -> Tensor:
        free = sites(draws.free or draws.pair.model)
        codes = _codes([site for site, _ in draws.pair.latent().values()])
        prior = _codes([free[name] for name in draws.pair.latent()])
        discrepancy = mean_discrepancy(codes, prior, self.kernel)
        bound = draws.terms.log_likelihood.squeeze(0) - at(self.weight, self.step) * discrepancy
        if self.kl_weight == 0:  # where a guide has no density, a Delta say, its rate is no number to train on
            return bound
        return bound - at(self.kl_weight, self.step) * (draws.terms.log_guide - draws.terms.log_prior).squeeze(0)

    def extra_repr(self) -> str:
        return f"{self.weight}, kl_weight={self.kl_weight}, kernel={self.kernel!r}"


def mean_discrepancy(x: Tensor, y: Tensor, kernel: Literal["imq", "rbf"] = "imq") -> Tensor:
    """MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y) of samples `(N, D)` and `(M, D)`; zero for equal ones.

    Distances are measured in units of sqrt(D), which is about how far draws of a standard normal lie apart.

    References: Gretton et al. (2012), A kernel two-sample test.
    """
    k = _KERNELS[kernel]
    return k(_squares(x, x)).mean() + k(_squares(y, y)).mean() - 2 * k(_squares(x, y)).mean()


def _squares(x: Tensor, y: Tensor) -> Tensor:
    """Squared distances over D, `(N, M)`."""
    norms = x.square().sum(-1).unsqueeze(-1) + y.square().sum(-1)
    return (norms - 2 * x @ y.mT).clamp_min(0) / x.shape[-1]


def _imq(squares: Tensor) -> Tensor:
    widths = torch.tensor([0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], dtype=squares.dtype, device=squares.device) * 2
    widths = widths.reshape(-1, 1, 1)
    return (widths / (widths + squares)).sum(0)


def _rbf(squares: Tensor) -> Tensor:
    return (-squares / 2).exp()


_KERNELS = {"imq": _imq, "rbf": _rbf}


def _codes(latent: list[Site]) -> Tensor:
    """The values of all latents, one row for each datum."""
    values = [site["value"].movedim(-1 - site["fn"].event_dim, 0) for site in latent]
    return torch.cat([value.flatten(1) if value.dim() > 1 else value.unsqueeze(-1) for value in values], dim=-1)
