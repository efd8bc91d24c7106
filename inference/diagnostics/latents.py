"""Rate, moments, activity and correlation of each latent dimension under the guide."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrovae.display import Cells, Shown, shortened
from pyrovae.errors import PairError
from pyrovae.inference.evidence.estimate import Estimate
from pyrovae.inference.pair.divergence import closed_kl, in_both_orders, marginals, masked
from pyrovae.inference.pair.on_data import PairOnData, ScoredDraws, by_dimension, is_point
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import PairTrace
from pyrovae.models.distributions.codes import CertainCodes
from pyrovae.numeric import wide

__all__ = ["ACTIVE", "LatentSummary", "Tally", "tallies"]

ACTIVE = 0.01
"""The activity above which a dimension is active; Burda et al. (2016)."""

WIDEST = 512  # most dimensions for which correlations are computed
MANY, LEAST = 6, 0.01  # standard errors, and nats, by which a rate by draws differs from the closed form
PAIRED = 8  # draws of each chunk that the correlations are computed from


@dataclass(frozen=True, repr=False)
class LatentSummary(Shown):
    """One latent site under the guide, over N data points. Its D dimensions are those of event and inner plates.

    A quantity that has no meaning for the site is None, and `absent` gives the reason.

    Attributes:
        rate: KL(q(z_d | x) || p(z_d)) of each data point and dimension, `(N, D)`, in nats. In a hierarchy both q and p
            are conditional on the levels above.
        rate_error: the Monte Carlo standard error of the rate, `(N, D)`.
        how: how the rate was computed: in closed form or by draws, from the factors of q or from its marginals. The sum
            over marginals leaves out what the dimensions share.
        by_draws: the rate of the site by the same draws, the mean over the data; None, unless it differs from the
            closed form by many standard errors, so that one of the two is wrong.
        mean, variance: the moments of q(z_d | x), computed from draws, `(N, D)`.
        activity: Var_x(E_q[z_d]), `(D,)`, unbiased: the noise of the draws is subtracted.
        correlation: the correlations under the aggregate posterior 1/N sum_n q(z | x_n), `(D, D)`.
        absent: why a quantity is None, by name.

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
    by_draws: Estimate | None = None

    @property
    def active(self) -> Tensor | None:
        """Which dimensions are active, Var_x(E_q[z_d]) > 0.01, `(D,)`."""
        return None if self.activity is None else self.activity > ACTIVE

    @property
    def aggregate_variance(self) -> Tensor | None:
        """Var(z_d) under the aggregate posterior, `(D,)`: the activity plus the mean of the variance."""
        if self.activity is None or self.variance is None:
            return None
        return self.activity + self.variance.mean(0)

    def cells(self) -> Cells:
        columns = {"rate": self._over_data(self.rate), "mean": self._over_data(self.mean)}
        columns |= {"variance": self._over_data(self.variance), "activity": self.activity}
        present = {name: column.tolist() for name, column in columns.items() if column is not None}
        marks = ["active" if active else "" for active in (() if self.active is None else self.active)]
        rows = []
        for d, numbers in enumerate(zip(*present.values(), strict=True)):
            rows.append((str(d), *(f"{number:.3f}" for number in numbers), marks[d] if marks else ""))
        shown, more = shortened(rows)
        notes = [f"means over the data points; rate in nats, {self.how}"] if self.rate is not None else []
        notes += [f"{name}: {reason}" for name, reason in self.absent.items()]
        head = ("dimension", *present, "") if present else ()
        return Cells(shown, head, after=[*more, *notes], words=(0, len(present) + 1))

    @staticmethod
    def _over_data(moment: Tensor | None) -> Tensor | None:
        return None if moment is None else moment.mean(0)


class Tally:
    """Sums over the draws of one latent site, in float64.

    Args:
        pair: the pair on N data points.
        probe: a scored run on the first two data points.
        name: the name of the latent site.
    """

    def __init__(self, pair: PairOnData, probe: PairTrace, name: str) -> None:
        inner, outer = probe.latent()[name]
        self.name, self.depth, self.size = name, pair.layout.depth, pair.size
        self.absent: dict[str, str] = {}
        self.count = self.paired = 0
        drawn = by_dimension(inner["value"], inner, (1, len(next(iter(pair.first.values())))), self.depth)
        self.dims = drawn.shape[-1]
        self.moments = torch.zeros(2, self.size, self.dims, dtype=torch.float64)
        self.rates = torch.zeros(2, self.size, self.dims, dtype=torch.float64)
        self.excess = torch.zeros(2, self.size, dtype=torch.float64)
        self.products = torch.zeros(self.dims, self.dims, dtype=torch.float64) if self.dims <= WIDEST else None
        self.how = self._method(probe, inner, outer)
        if not drawn.is_floating_point():
            self._leave_out("labels have no mean and no variance", "mean", "activity", "correlation")
        elif self.size < 2:
            self._leave_out("one data point has no variance over the data", "activity", "correlation")
        elif self.dims > WIDEST:
            self._leave_out(f"computed for at most {WIDEST} dimensions, the site has {self.dims}", "correlation")

    def _leave_out(self, reason: str, *names: str) -> None:
        self.absent |= dict.fromkeys(names, reason)

    def _method(self, probe: PairTrace, inner: Any, outer: Any) -> str:
        q: Any = marginals(inner["fn"])
        p: Any = marginals(outer["fn"])
        if is_point(inner):
            certain = isinstance(inner["fn"], CertainCodes)
            self._leave_out("certain codes: see their length" if certain else "a point mass has no density", "rate")
        elif q is None or p is None:
            whose, fn = ("guide", inner["fn"]) if q is None else ("model", outer["fn"])
            self._leave_out(f"the {whose}'s {type(fn).__name__} has no marginals in closed form", "rate")
        elif len(outer["fn"].batch_shape) > len(inner["fn"].batch_shape):
            self._leave_out("its prior is a mixture over a latent that is summed out", "rate")
        if "rate" in self.absent:
            return ""
        closed = self.name in in_both_orders(probe) and closed_kl(q, p) is not None
        product = all(site["fn"].event_dim == 0 or hasattr(site["fn"], "base_dist") for site in (inner, outer))
        return f"{'closed form' if closed else 'by draws'}, from {'factors' if product else 'marginals'}"

    def add(self, rows: slice, scored: ScoredDraws) -> None:
        """Add the draws for some rows of the data to the sums.

        Args:
            rows: which rows of the data.
            scored: the draws.
        """
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
            closed, drawn = (
                wide(by_dimension(masked(rate, inner), inner, shape, self.depth)) for rate in self._rates(inner, outer)
            )
            self.rates[:, rows] += torch.stack([closed.sum(0), closed.square().sum(0)]).cpu()
            excess = (drawn - closed).sum(-1)
            self.excess[:, rows] += torch.stack([excess.sum(0), excess.square().sum(0)]).cpu()

    def _rates(self, inner: Any, outer: Any) -> tuple[Tensor, Tensor]:
        """The rate in closed form, if there is one, and that of the draws."""
        q: Any = marginals(inner["fn"])
        p: Any = marginals(outer["fn"])
        drawn = q.log_prob(inner["value"]) - p.log_prob(inner["value"])
        closed = closed_kl(q, p) if self.how.startswith("closed") else None
        return drawn if closed is None else closed, drawn

    def result(self) -> LatentSummary:
        """The summary of all draws added so far."""
        has = {name: name not in self.absent for name in ("rate", "mean", "activity", "correlation")}
        rate, rate_variance = self._mean_and_variance(self.rates)
        mean, variance = self._mean_and_variance(self.moments)
        activity = (mean.var(0) - variance.mean(0) / self.count).clamp_min(0) if has["activity"] else None
        return LatentSummary(
            rate=rate if has["rate"] else None,
            rate_error=(rate_variance / self.count).sqrt() if has["rate"] else None,
            how=self.how,
            mean=mean if has["mean"] else None,
            variance=variance if has["mean"] else None,
            activity=activity,
            correlation=self._correlation(mean.mean(0)) if has["correlation"] else None,
            absent=self.absent,
            by_draws=self._by_draws(rate) if has["rate"] else None,
        )

    def _by_draws(self, rate: Tensor) -> Estimate | None:
        """The rate by draws, where it differs from the closed form by more than draws do."""
        if not self.how.startswith("closed") or self.count < 2:
            return None
        excess, variance = self._mean_and_variance(self.excess)
        more, error = excess.mean().item(), (variance.sum() / self.count).sqrt().item() / self.size
        differs = abs(more) > MANY * error + LEAST
        return Estimate(rate.sum(-1).mean().item() + more, error) if differs else None

    def _mean_and_variance(self, sums: Tensor) -> tuple[Tensor, Tensor]:
        mean, square = sums / self.count
        return mean, (square - mean.square()).clamp_min(0) * self.count / max(self.count - 1, 1)

    def _correlation(self, mean: Tensor) -> Tensor:
        covariance = torch.as_tensor(self.products) / self.paired - mean.outer(mean)
        scale = covariance.diagonal().clamp_min(1e-300).sqrt()
        return covariance / scale.outer(scale)


def tallies(pair: PairOnData) -> tuple[dict[str, Tally], dict[str, str]]:
    """Empty sums for each latent site in the plate "data", and the reasons why other latents have none, by name.

    Args:
        pair: the pair on its data.

    Raises:
        PairError: the guide draws no latent.
    """
    kept, absent = {}, {}
    probe = pair.score(pair.first, 1).pair  # unlike `pair.traces` it has the latents that are summed out
    for name, (inner, _) in pair.traces.latent().items():
        if is_global(inner):
            absent[name] = "all data points share it"
        else:
            kept[name] = Tally(pair, probe, name)
    absent |= dict.fromkeys(pair.traces.undrawn(), "summed out, so the guide does not draw it")
    if not kept and not absent:
        raise PairError("the guide draws no latent. Add pyro.sample(...) to it for each latent of the model.")
    return kept, absent
