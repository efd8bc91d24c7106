"""What a pair says of a datum: log-weights of draws from the guide, and the estimates made of them.

With z ~ q(z | x), the log-weight is log w = log p(x | z) + log p(z) - log q(z | x), unscaled, per draw and datum.
Its mean is the ELBO, and log E[w] is the evidence log p(x).
"""

import math
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.running import (
    COMPILE_FROM,
    batches,
    chunk_sizes,
    device_of,
    evaluating,
    numbers,
    portions,
    seeded,
)
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, Terms, layout, log_terms
from pyrovae.inference.pair.tracing import sites, trace_pair
from pyrovae.numeric import wide

__all__ = ["Estimate", "Evaluation", "Sums", "evaluate", "log_evidence", "summary"]


class Estimate(NamedTuple):
    """A mean over the data and its Monte Carlo standard error, in nats per datum."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"

    def bits_per_dim(self, dims: int) -> "Estimate":
        """Of a log-evidence, -log p(x) in bits per number, of data of `dims` numbers."""
        return Estimate(-self.value / (dims * math.log(2)), self.error / (dims * math.log(2)))


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured, in nats per datum.

    `elbo = -(rate + distortion) <= log_evidence`. The errors are Monte Carlo standard errors, of the draws alone.

    Attributes:
        elbo: E_q log w.
        rate: KL(q(z | x) || p(z)), by E_q [log q - log p].
        distortion: -E_q log p(x | z).
        log_evidence: log 1/S sum_s w_s, an estimate from below of log p(x).
        num_samples: S, draws per datum.
        dims: numbers in one datum.
        per_datum: `elbo`, `rate`, `distortion`, `log_evidence`, `rate_z` of each latent site z, and `*_error` of each,
            all of shape `(N,)`.
        rates: the rate of each latent site; of a hierarchy, of each level given those above it.
    """

    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    log_evidence: Estimate
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
        return text + f"\n{'num_samples':<13}{self.num_samples}, nats per datum"


class Sums(NamedTuple):
    """Sums of a chunk of draws per datum, in float64: by name, of a quantity and its square, shape `(2, B)`, and in
    logarithms of w and its square, shape `(2, B)`."""

    moments: dict[str, Tensor]
    evidence: Tensor

    @classmethod
    def of(cls, terms: Terms) -> "Sums":
        log_weight = wide(terms.log_weight)
        parts = {"elbo": log_weight, "rate": terms.log_guide - terms.log_prior, "distortion": -terms.log_likelihood}
        parts |= {f"rate_{name}": level.rate for name, level in terms.levels.items()}
        moments = {n: torch.stack([wide(part).sum(0), wide(part).square().sum(0)]) for n, part in parts.items()}
        return cls(moments, torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)]))

    def merge(self, other: "Sums") -> "Sums":
        """The sums of both chunks."""
        moments = {name: total + other.moments[name] for name, total in self.moments.items()}
        return Sums(moments, torch.logaddexp(self.evidence, other.evidence))

    def per_datum(self, count: int) -> dict[str, Tensor]:
        """Means over `count` draws and their standard errors; of the evidence by the delta method."""
        result = {}
        for name, total in self.moments.items():
            mean, square = total / count
            result[name], result[f"{name}_error"] = mean, _error(square - mean.square(), count)
        log_mean, log_square = self.evidence - math.log(count)
        result["log_evidence"] = log_mean
        result["log_evidence_error"] = _error((log_square - 2 * log_mean).exp() - 1, count)
        return result


def _error(variance: Tensor, count: int) -> Tensor:
    return (variance.clamp_min(0) / max(count - 1, 1)).sqrt()


def evaluate(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 100,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Evaluation:
    """ELBO, rate, distortion and importance-sampled log-evidence of a pair on `data`.

    Args:
        data: named tensors of N data, all of them used.
        num_samples: draws per datum, S.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of draws may take; it changes time, not the result's meaning.
        seed: of the draws; the global random state is left alone.
        compile: replay a compiled graph; by default where there is so much to draw that compiling pays.

    Raises:
        PairError: no data, or no samples.

    With a latent outside the plate "data" the data are not independent given x: `log_evidence` is NaN then.

    References: Burda et al. (2016), arXiv:1509.00519, for the bound; the error is the delta method's.
    """
    size = batch_size(data)
    if size == 0:
        raise PairError("evaluate wants data, got an empty batch. Pass a split that is not empty, data.train say.")
    if num_samples < 1:
        raise PairError(f"evaluate wants num_samples >= 1, got {num_samples}. 100 is a start.")
    transform = transform or Scale()
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        pair = trace_pair(model, guide, first, data_size=size)
        (depth, has_global), levels = layout(pair), list(sites(pair.guide))
        rows, draws = chunk_sizes(first, num_samples, memory)

        def score(batch: Batch, count: int) -> Sums:
            return Sums.of(log_terms(model, guide, batch, count, depth, data_size=size))

        pays = size * num_samples * numbers(first) > COMPILE_FROM
        scored = Compiled(score, model, guide) if (pays if compile is None else compile) else score
        per_datum: dict[str, Tensor] = {}
        for start, batch in zip(range(0, size, rows), batches(data, rows, transform, device), strict=True):
            sums = reduce(Sums.merge, (scored(batch, count) for count in portions(num_samples, draws)))
            for name, part in sums.per_datum(num_samples).items():
                # Written in place: small results that stay break up the freed memory of each chunk, which then grows.
                whole = per_datum.setdefault(name, torch.empty(size, dtype=part.dtype))
                whole[start : start + rows] = part
    if has_global:
        per_datum["log_evidence"].fill_(math.nan)
    dims = sum(t[0].numel() for n, t in first.items() if n == "x")
    return Evaluation(
        elbo=summary(per_datum, "elbo"),
        rate=summary(per_datum, "rate"),
        distortion=summary(per_datum, "distortion"),
        log_evidence=summary(per_datum, "log_evidence"),
        num_samples=num_samples,
        dims=dims,
        per_datum=per_datum,
        rates={name: summary(per_datum, f"rate_{name}") for name in levels},
    )


def log_evidence(
    model: ProgramLike, guide: ProgramLike, data: Batch, *, num_samples: int = 5000, **options: Any
) -> Estimate:
    """The importance-sampled estimate of log p(x), nats per datum: `evaluate(...).log_evidence`.

    Raises:
        PairError: a latent outside the plate "data": log p(x) of one datum does not exist then.
    """
    evidence = evaluate(model, guide, data, num_samples=num_samples, **options).log_evidence
    if math.isnan(evidence.value):
        raise PairError(NOT_INDEPENDENT)
    return evidence


def summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    """The mean over the data of a part, whose errors `name_error` are independent."""
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())
