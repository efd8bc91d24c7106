"""What the guide does with each latent dimension: its rate, whether it is active, and what it shares with others."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.divergence import closed_kl, in_both_orders, marginals, masked
from pyrovae.inference.pair.on_data import PairOnData, ScoredDraws, by_dimension, is_point
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import PairTrace
from pyrovae.numeric import wide

__all__ = ["ACTIVE", "Latent", "Tally", "tallies"]

ACTIVE = 0.01  # Burda et al. (2016)
WIDEST = 512  # dimensions up to which correlations are taken
PAIRED = 8  # draws of a chunk that they are taken of


@dataclass(frozen=True)
class Latent:
    """One latent site of D dimensions (event and inner plates side by side) under the guide, over N data.

    A quantity without a meaning here is None, and `absent` says why, by name.

    Attributes:
        rate: KL(q(z_d | x) || p(z_d)) of each datum and dimension, `(N, D)`, in nats; in a hierarchy both given the
            levels above.
        rate_error: its Monte Carlo standard error, `(N, D)`.
        how: how the rate was had: in closed form or by draws; of the factors of q, or of its marginals, whose sum
            leaves out what the dimensions share.
        mean, variance: of q(z_d | x), by draws, `(N, D)`.
        activity: Cov_x(E_q[z_d]), `(D,)`, unbiased: the part of it that is noise of the draws is taken off.
        correlation: of the aggregate posterior 1/N sum_n q(z | x_n), `(D, D)`.

    References: Burda et al. (2016), arXiv:1509.00519, for activity; Hoffman & Johnson (2016), ELBO surgery, for the
    aggregate posterior.
    """

    rate: Tensor | None
    rate_error: Tensor | None
    how: str
    mean: Tensor | None
    variance: Tensor | None
    activity: Tensor | None
    correlation: Tensor | None
    absent: dict[str, str]

    @property
    def active(self) -> Tensor | None:
        """Which dimensions are active, Cov_x(E_q[z_d]) > 0.01, `(D,)`."""
        return None if self.activity is None else self.activity > ACTIVE

    @property
    def aggregate_variance(self) -> Tensor | None:
        """Var(z_d) under the aggregate posterior, `(D,)`: activity and mean variance together."""
        if self.activity is None or self.variance is None:
            return None
        return self.activity + self.variance.mean(0)


class Tally:
    """Sums over the draws of one latent site, in float64."""

    def __init__(self, subject: PairOnData, probe: PairTrace, name: str) -> None:
        inner, outer = probe.latent()[name]
        self.name, self.depth, self.size = name, subject.layout.depth, subject.size
        self.absent: dict[str, str] = {}
        self.count = self.paired = 0
        drawn = by_dimension(inner["value"], inner, (1, len(next(iter(subject.first.values())))), self.depth)
        self.dims = drawn.shape[-1]
        self.moments = torch.zeros(2, self.size, self.dims, dtype=torch.float64)
        self.rates = torch.zeros(2, self.size, self.dims, dtype=torch.float64)
        self.products = torch.zeros(self.dims, self.dims, dtype=torch.float64) if self.dims <= WIDEST else None
        self.how = self._method(probe, inner, outer)
        if not drawn.is_floating_point():
            self._leave_out("labels have no mean and no variance", "mean", "activity", "correlation")
        elif self.size < 2:
            self._leave_out("one datum has no variance over data", "activity", "correlation")
        elif self.dims > WIDEST:
            self._leave_out(f"{self.dims} dimensions are more than the {WIDEST} that are paired", "correlation")

    def _leave_out(self, reason: str, *names: str) -> None:
        self.absent |= dict.fromkeys(names, reason)

    def _method(self, pair: PairTrace, inner: Any, outer: Any) -> str:
        q: Any = marginals(inner["fn"])
        p: Any = marginals(outer["fn"])
        if is_point(inner):
            self._leave_out("a point mass has no density", "rate")
        elif q is None or p is None:
            whose, fn = ("guide", inner["fn"]) if q is None else ("model", outer["fn"])
            self._leave_out(f"the {whose}'s {type(fn).__name__} has no marginals in closed form", "rate")
        elif len(outer["fn"].batch_shape) > len(inner["fn"].batch_shape):
            self._leave_out("its prior is mixed by a latent that is summed out", "rate")
        if "rate" in self.absent:
            return ""
        closed = self.name in in_both_orders(pair) and closed_kl(q, p) is not None
        product = all(site["fn"].event_dim == 0 or hasattr(site["fn"], "base_dist") for site in (inner, outer))
        return f"{'closed form' if closed else 'by draws'}, of {'factors' if product else 'marginals'}"

    def add(self, rows: slice, scored: ScoredDraws) -> None:
        """Take some draws for some rows of the data into the sums."""
        inner, outer = scored.pair.latent()[self.name]
        samples, size = scored.terms.log_likelihood.shape
        shape = samples, size
        z = wide(by_dimension(inner["value"], inner, shape, self.depth))
        if rows.start == 0:
            self.count += len(z)
        self.moments[:, rows] += torch.stack([z.sum(0), z.square().sum(0)]).cpu()
        if "correlation" not in self.absent and self.products is not None:
            few = z[:PAIRED].flatten(0, 1)
            self.products += (few.T @ few).cpu()
            self.paired += len(few)
        if "rate" not in self.absent:
            rate = wide(by_dimension(self._rate(scored.pair, inner, outer), inner, shape, self.depth))
            self.rates[:, rows] += torch.stack([rate.sum(0), rate.square().sum(0)]).cpu()

    def _rate(self, pair: PairTrace, inner: Any, outer: Any) -> Tensor:
        q: Any = marginals(inner["fn"])
        p: Any = marginals(outer["fn"])
        rate = closed_kl(q, p) if self.how.startswith("closed") else None
        if rate is None:
            rate = q.log_prob(inner["value"]) - p.log_prob(inner["value"])
        return masked(rate, inner)

    def result(self) -> Latent:
        """What the sums say."""
        there = {name: name not in self.absent for name in ("rate", "mean", "activity", "correlation")}
        rate, rate_variance = self._mean_and_variance(self.rates)
        mean, variance = self._mean_and_variance(self.moments)
        activity = (mean.var(0) - variance.mean(0) / self.count).clamp_min(0) if there["activity"] else None
        return Latent(
            rate=rate if there["rate"] else None,
            rate_error=(rate_variance / self.count).sqrt() if there["rate"] else None,
            how=self.how,
            mean=mean if there["mean"] else None,
            variance=variance if there["mean"] else None,
            activity=activity,
            correlation=self._correlation(mean.mean(0)) if there["correlation"] else None,
            absent=self.absent,
        )

    def _mean_and_variance(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        mean, square = sums / self.count
        return mean, (square - mean.square()).clamp_min(0) * self.count / max(self.count - 1, 1)

    def _correlation(self, mean: Tensor) -> Tensor:
        covariance = torch.as_tensor(self.products) / self.paired - mean.outer(mean)
        scale = covariance.diagonal().clamp_min(1e-300).sqrt()
        return covariance / scale.outer(scale)


def tallies(subject: PairOnData) -> tuple[dict[str, Tally], dict[str, str]]:
    """Empty sums for each latent of a datum, and why other latents have none."""
    kept, absent = {}, {}
    probe = subject.score(subject.first, 1).pair  # unlike `subject.traces`, with what is summed out
    for name, (inner, _) in subject.traces.latent().items():
        if is_global(inner):
            absent[name] = "one for all data"
        else:
            kept[name] = Tally(subject, probe, name)
    absent |= dict.fromkeys(subject.traces.undrawn(), "summed out, so the guide says nothing of it")
    if not kept and not absent:
        raise PairError("the guide draws no latent. Add pyro.sample(...) of each latent of the model to it.")
    return kept, absent
