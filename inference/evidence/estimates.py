"""ELBO, rate, distortion and log p(x) of each data point, estimated from draws of the guide.

With z ~ q(z | x), the log-weight of a draw is log w = log p(x | z) + log p(z) - log q(z | x), without any scale of the
programs. The mean of log w is the ELBO, and log E[w] is the log-evidence log p(x).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.compile.choice import maybe_compiled
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, chunk_sizes, numbers, portions
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Terms
from pyrovae.inference.pair.tracing import sites
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.numeric import wide

__all__ = ["Estimate", "Evaluation", "Sums", "evaluate", "log_evidence", "summary"]


class Estimate(NamedTuple):
    """An estimate of a mean over the data, and its Monte Carlo standard error, in nats per data point.

    Attributes:
        value: the estimate.
        error: its standard error.
    """

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"

    def bits_per_dim(self, dims: int) -> "Estimate":
        """-log p(x) in bits per number, where this estimate is a log-evidence.

        Args:
            dims: how many numbers one data point has.
        """
        return Estimate(-self.value / (dims * math.log(2)), self.error / (dims * math.log(2)))


@dataclass(frozen=True)
class Evaluation:
    """The estimates of `evaluate`, in nats per data point; print it for a table.

    `elbo = -(rate + distortion) <= log_evidence`. The errors are Monte Carlo standard errors: they measure the
    randomness of the draws, not that of the data.

    Attributes:
        elbo: E_q log w.
        rate: KL(q(z | x) || p(z)), estimated by the mean of log q - log p.
        distortion: -E_q log p(x | z).
        log_evidence: log 1/S sum_s w_s, which is below log p(x) on average.
        effective_sample_size: (sum w)^2 / sum w^2 of the S weights, the mean over the data.
        num_samples: S, the draws of each data point.
        dims: how many numbers `x` has in one data point.
        per_datum: `elbo`, `rate`, `distortion`, `log_evidence`, `rate_z` for each latent site z, and `*_error` for each
            of these, all of shape `(N,)`.
        rates: the rate of each latent site; in a hierarchy, that of each level given the levels above it.
    """

    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    log_evidence: Estimate
    effective_sample_size: float
    num_samples: int
    dims: int
    per_datum: dict[str, Tensor]
    rates: dict[str, Estimate] = field(default_factory=dict)

    @property
    def bits_per_dim(self) -> float:
        """-log_evidence in bits per number: for pixels in {0..255} scored as x / 255, add 8 for a density."""
        return self.log_evidence.bits_per_dim(self.dims).value

    def __str__(self) -> str:
        rows = {name: getattr(self, name) for name in ("elbo", "rate", "distortion", "log_evidence")}
        if len(self.rates) > 1:
            rows |= {f"rate {name}": rate for name, rate in self.rates.items()}
        text = "\n".join(f"{name:<13}{value}" for name, value in rows.items())
        return text + f"\n{'num_samples':<13}{self.num_samples}, nats per data point"


class Sums(NamedTuple):
    """Sums over the draws of each data point, in float64.

    Attributes:
        moments: by name, the sum of a quantity and that of its square, `(2, B)`.
        weights: the sums of the importance weights.
    """

    moments: dict[str, Tensor]
    weights: WeightSums

    @classmethod
    def of(cls, terms: Terms) -> "Sums":
        """The sums over one chunk of draws.

        Args:
            terms: the parts of the log-weights, `(S, B)` each.
        """
        log_weight = wide(terms.log_weight)
        parts = {"elbo": log_weight, "rate": terms.log_guide - terms.log_prior, "distortion": -terms.log_likelihood}
        parts |= {f"rate_{name}": level.rate for name, level in terms.levels.items()}
        moments = {n: torch.stack([wide(part).sum(0), wide(part).square().sum(0)]) for n, part in parts.items()}
        return cls(moments, WeightSums.of(log_weight))

    def merge(self, other: "Sums") -> "Sums":
        """The sums over the draws of both.

        Args:
            other: the sums over other draws of the same data points.
        """
        moments = {name: total + other.moments[name] for name, total in self.moments.items()}
        return Sums(moments, self.weights.merge(other.weights))

    def per_datum(self) -> dict[str, Tensor]:
        """The means over the draws, the log-evidence, and the standard error of each, `(B,)`."""
        count, result = self.weights.num_samples, {}
        for name, total in self.moments.items():
            mean, square = total / count
            variance = (square - mean.square()).clamp_min(0) / max(count - 1, 1)
            result[name], result[f"{name}_error"] = mean, variance.sqrt()
        result["log_evidence"], result["log_evidence_error"] = self.weights.log_mean, self.weights.log_mean_error
        return result


def evaluate(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> Evaluation:
    """Estimate ELBO, rate, distortion and log-evidence of a pair on `data`; log p(x) by importance sampling.

    With a latent outside the plate "data" the data points are not independent, so `log_evidence` is NaN.

    Args:
        model, guide, data: the pair, and named tensors of N data points, all of which are used.
        num_samples: S, the draws of each data point.
        transform: what training applied to a batch; `pyrovae.data.Scale()` by default.
        memory: about how many bytes a chunk of draws may take. Other chunks give other draws of the same distribution.
        seed: the seed of all random numbers; the global random state is left alone.
        compile: whether to replay a compiled graph; by default where the work is so large that compiling pays.
        progress: whether to show a progress bar.

    Raises:
        PairError: there is no data point, or `num_samples` is below 1.

    References: Burda et al. (2016), arXiv:1509.00519, for the bound; its error is that of the delta method.
    """
    check_count("num_samples", num_samples, write=100)
    single = num_samples == 1
    with on_data("evaluate", model, guide, data, transform, memory=memory, seed=seed, single=single) as pair:
        per_datum = _measure(pair, num_samples, compile, progress)
    effective = per_datum.pop("effective_sample_size").mean().item()
    if pair.layout.has_global:
        per_datum["log_evidence"].fill_(math.nan)
    return Evaluation(
        elbo=summary(per_datum, "elbo"),
        rate=summary(per_datum, "rate"),
        distortion=summary(per_datum, "distortion"),
        log_evidence=summary(per_datum, "log_evidence"),
        effective_sample_size=effective,
        num_samples=num_samples,
        dims=pair.first["x"][0].numel() if "x" in pair.first else 0,
        per_datum=per_datum,
        rates={name: summary(per_datum, f"rate_{name}") for name in sites(pair.traces.guide)},
    )


def _measure(pair: PairOnData, num_samples: int, compile: bool | None, progress: bool) -> dict[str, Tensor]:
    """Every estimate for each data point, and its effective sample size, `(N,)`, chunk by chunk."""
    rows, draws = chunk_sizes(pair.first, num_samples, pair.memory)
    counts, score = portions(num_samples, draws), _scorer(pair, num_samples, compile)
    per_datum: dict[str, Tensor] = {}
    with progress_bar(progress, math.ceil(pair.size / rows) * len(counts), "chunk") as bar:
        if isinstance(score, Compiled):
            bar.set_postfix_str("compiling")

        def scored(batch: Batch, count: int) -> Sums:
            sums = score(batch, count)
            bar.set_postfix_str("", refresh=False)
            bar.update()
            return sums

        for where, batch in pair.batches(rows):
            sums = reduce(Sums.merge, (scored(batch, count) for count in counts))
            parts = sums.per_datum() | {"effective_sample_size": sums.weights.effective_sample_size}
            for name, part in parts.items():
                # Written in place: small results that stay break up the freed memory of each chunk, which then grows.
                per_datum.setdefault(name, torch.empty(pair.size, dtype=part.dtype))[where] = part
    return per_datum


def _scorer(pair: PairOnData, num_samples: int, compile: bool | None) -> Callable[[Batch, int], Sums]:
    """From a batch and a number of draws to their sums; compiled where asked for, or where it pays."""

    def score(batch: Batch, count: int) -> Sums:
        return Sums.of(pair.score(batch, count).terms)

    work = pair.size * num_samples * numbers(pair.first)
    return maybe_compiled(score, pair.model, pair.guide, work=work, compile=compile)


def log_evidence(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 5000,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> Estimate:
    """Estimate log p(x) by importance sampling, in nats per data point: `evaluate(...).log_evidence`.

    Args:
        model, guide, data: as in `evaluate`.
        num_samples: S, the draws of each data point.
        transform, memory, seed, compile, progress: as in `evaluate`.

    Raises:
        PairError: as in `evaluate`; a latent is outside the plate "data", so no data point has a log p(x) of its own.
    """
    evaluation = evaluate(
        model,
        guide,
        data,
        num_samples=num_samples,
        transform=transform,
        memory=memory,
        seed=seed,
        compile=compile,
        progress=progress,
    )
    if math.isnan(evaluation.log_evidence.value):
        raise PairError(NOT_INDEPENDENT)
    return evaluation.log_evidence


def summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the data, and its standard error, where the errors of the data points are independent.

    Args:
        per_datum: estimates and their errors, `(N,)` each.
        name: which estimate; its errors are at `name_error`.
    """
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())
