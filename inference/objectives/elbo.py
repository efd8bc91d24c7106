"""The evidence lower bound, and what is done to its rate: weight, annealing, free bits, capacity."""

from typing import Literal

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.objectives.objective import Draws, Objective
from pyrovae.inference.objectives.schedules import Schedule, at
from pyrovae.inference.pair.divergence import closed_kl, factors, in_both_orders
from pyrovae.inference.pair.scoring import Layout, spread
from pyrovae.inference.pair.tracing import PairTrace

__all__ = ["ELBO", "check_factors", "per_dimension"]


class ELBO(Objective):
    """E_q log p(x | z) - kl_weight * sum_l KL_l, where KL_l is the rate of the latent site l given those above it.

    Args:
        num_particles: draws per datum.
        kl_weight: beta, a number or a schedule; 1 is the ELBO itself.
        free_bits: lambda, in nats: KL_l becomes max(lambda, KL_l), KL_l being the mean over the batch, so that a rate
            below lambda costs nothing more.
        group: what lambda is for: `"site"`, each latent site, or `"dimension"`, each of its dimensions.
        capacity: C, a number or a schedule, in nats: the rate's term becomes kl_weight * |KL - C|, KL being that of all
            latents, the mean over the batch.
        analytic: take KL_l in closed form where there is one, and the latents above l in the model come before it in
            the guide; elsewhere it is estimated by log q - log p.

    Raises:
        PairError: free bits and capacity together; free bits per dimension at a site whose prior or guide is not a
            product over dimensions.

    References: Higgins et al. (2017) for beta; Bowman et al. (2016), arXiv:1511.06349, for annealing; Kingma et al.
    (2016), arXiv:1606.04934, for free bits; Burgess et al. (2018), arXiv:1804.03599, for capacity.
    """

    def __init__(
        self,
        num_particles: int = 1,
        *,
        kl_weight: float | Schedule = 1.0,
        free_bits: float = 0.0,
        group: Literal["site", "dimension"] = "site",
        capacity: float | Schedule | None = None,
        analytic: bool = False,
    ) -> None:
        super().__init__(num_particles)
        if free_bits and capacity is not None:
            raise PairError("ELBO takes free_bits or capacity, not both: each says at what rate the penalty ends.")
        if group not in ("site", "dimension"):
            raise PairError(f"group is 'site' or 'dimension', got {group!r}.")
        self.kl_weight, self.free_bits, self.group = kl_weight, free_bits, group
        self.capacity, self.analytic = capacity, analytic

    def bound(self, draws: Draws) -> Tensor:
        return draws.terms.log_likelihood.mean(0) - at(self.kl_weight, self.step) * self._penalty(draws)

    def elbo(self, draws: Draws) -> Tensor:
        return draws.terms.log_likelihood.mean(0) - self._rate(draws)

    def _penalty(self, draws: Draws) -> Tensor:
        """What kl_weight multiplies: `(B,)`, or one number for the batch."""
        if self.free_bits:
            by_dimension = self.group == "dimension"
            rates = per_dimension(draws, self._depth, self.analytic) if by_dimension else self._rates(draws).values()
            means = [rate.mean() if self.group == "site" else rate for rate in rates]
            return torch.stack([mean.clamp_min(self.free_bits).sum() for mean in means]).sum()
        rate = self._rate(draws)
        return rate if self.capacity is None else (rate.mean() - at(self.capacity, self.step)).abs()

    def _rate(self, draws: Draws) -> Tensor:
        """The rate of all latents, `(B,)`."""
        return torch.stack([rate.mean(0) for rate in self._rates(draws).values()]).sum(0)

    def _rates(self, draws: Draws) -> dict[str, Tensor]:
        """The rate of each latent, `(S, B)`, in closed form where that is asked for and there is one."""
        rates = {name: level.rate for name, level in draws.terms.levels.items()}
        for name in in_both_orders(draws.pair) if self.analytic else ():
            inner, outer = draws.pair.latent()[name]
            closed = closed_kl(inner["fn"], outer["fn"])
            if closed is not None:
                closed = scale_and_mask(closed, 1.0, inner["mask"])
                rates[name] = spread(closed, inner, draws.shape, self._depth, draws.full_size)
        return rates

    def extra_repr(self) -> str:
        names = ("num_particles", "kl_weight", "free_bits", "group", "capacity", "analytic")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)

    def check(self, pair: PairTrace, layout: Layout) -> None:
        super().check(pair, layout)
        if self.free_bits and self.group == "dimension":
            check_factors(pair)


def check_factors(pair: PairTrace) -> None:
    """Raise PairError where a latent's prior or guide is no product over dimensions."""
    for inner, outer in pair.latent().values():
        factors(inner, "guide"), factors(outer, "model")


def per_dimension(draws: Draws, depth: int, analytic: bool) -> list[Tensor]:
    """For each latent the rates of its dimensions, means over draws and data."""
    closed = in_both_orders(draws.pair) if analytic else []
    means = []
    for name, (inner, outer) in draws.pair.latent().items():
        q, p = factors(inner, "guide"), factors(outer, "model")
        rate = closed_kl(q, p) if name in closed else None
        if rate is None:
            rate = q.log_prob(inner["value"]) - p.log_prob(outer["value"])
        last = len(inner["fn"].batch_shape) - 1
        means.append(rate.mean((0, last) if last == depth else last))
    return means
