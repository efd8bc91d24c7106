"""What a pair says of a datum: log-weights of draws from the guide, and the estimates made of them.

With z ~ q(z | x), the log-weight is log w = log p(x | z) + log p(z) - log q(z | x), unscaled, per draw and datum.
Its mean is the ELBO, and log E[w] is the evidence log p(x).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, nn

from pyrovae.data import Scale
from pyrovae.errors import PairError
from pyrovae.inference.compile import Compiled
from pyrovae.inference.pair import (
    Batch,
    PairTrace,
    Program,
    Site,
    batch_size,
    local_params,
    modules,
    sites,
    trace_pair,
    unscaled_log_prob,
)

COMPILE_FROM = 2**31
"""Numbers to score (data x draws x numbers in a datum) from which an evaluation is compiled by default."""

__all__ = ["Estimate", "Evaluation", "Terms", "evaluate", "log_evidence", "log_terms"]


class Terms(NamedTuple):
    """The three parts of a log-weight, each of shape `(S, B)`, in nats."""

    log_likelihood: Tensor
    log_prior: Tensor
    log_guide: Tensor

    @property
    def log_weight(self) -> Tensor:
        return self.log_likelihood + self.log_prior - self.log_guide


class Layout(NamedTuple):
    """How many dimensions the plates of a pair take, and whether a latent lies outside the plate "data"."""

    depth: int
    has_global: bool


def layout(model: Program, guide: Program, batch: Batch, **extra: Any) -> Layout:
    """The layout of a pair, read off a run on two data."""
    pair = trace_pair(model, guide, {name: tensor[:2] for name, tensor in batch.items()}, **extra)
    if pair.undrawn():
        raise PairError(
            f"the guide draws no {', '.join(map(repr, pair.undrawn()))}, so there is no weight. Evaluation cannot sum "
            "out enumerated latents yet: add the site to the guide, or leave validation data out (valid={})."
        )
    frames = [f for trace in pair for site in sites(trace).values() for f in site["cond_indep_stack"]]
    depth = max((-frame.dim for frame in frames if frame.dim is not None), default=1)
    return Layout(depth, any(is_global(site) for _, site in pair.latent().values()))


def log_terms(model: Program, guide: Program, batch: Batch, num_samples: int, depth: int = 1, **extra: Any) -> Terms:
    """Draw `num_samples` times from the guide, vectorised, and score: terms of shape `(S, B)`."""
    with pyro.plate("samples", num_samples, dim=-depth - 1):
        pair = trace_pair(model, guide, batch, **extra)
    return _sum_terms(pair, (num_samples, batch_size(batch)), depth, extra.get("data_size"))


def _sum_terms(pair: PairTrace, shape: tuple[int, int], depth: int, data_size: int | None) -> Terms:
    """Sum the log-probabilities per draw and datum; a latent of all data is shared out over `data_size`."""

    def per_datum(site: Site) -> Tensor:
        log_prob = unscaled_log_prob(site)
        inner = tuple(range(-min(depth, log_prob.dim()), -1))
        log_prob = log_prob.sum(inner) if inner else log_prob
        if is_global(site):
            log_prob = log_prob.sum(-1, keepdim=True) / (data_size or shape[1])
        return log_prob.expand(shape)

    latent = pair.latent().values()
    zero = torch.zeros(())
    return Terms(
        sum((per_datum(site) for site in pair.observed().values()), zero),
        sum((per_datum(outer) for _, outer in latent), zero),
        sum((per_datum(site) for site in sites(pair.guide).values()), zero),
    )


def is_global(site: Site) -> bool:
    """Whether a site is one for all data, outside the plate "data"."""
    return all(frame.name != "data" for frame in site["cond_indep_stack"])


class Estimate(NamedTuple):
    """A mean over the data and its Monte Carlo standard error, in nats per datum."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ± {self.error:.2f}"


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
        per_datum: `elbo`, `rate`, `distortion`, `log_evidence`, `log_evidence_error`, each of shape `(N,)`.
    """

    elbo: Estimate
    rate: Estimate
    distortion: Estimate
    log_evidence: Estimate
    num_samples: int
    dims: int
    per_datum: dict[str, Tensor]

    @property
    def bits_per_dim(self) -> float:
        """-log_evidence in bits per number: for pixels in {0..255} scored as x / 255, add 8 for a density."""
        return -self.log_evidence.value / (self.dims * math.log(2))

    def __str__(self) -> str:
        rows = [f"{name:<13}{getattr(self, name)}" for name in ("elbo", "rate", "distortion", "log_evidence")]
        return "\n".join(rows) + f"\n{'num_samples':<13}{self.num_samples}, nats per datum"


class Sums(NamedTuple):
    """Sums of a chunk of draws per datum, in float64: of log w, rate, distortion and their squares, shape `(6, B)`,
    and in logarithms of w and its square, shape `(2, B)`."""

    moments: Tensor
    evidence: Tensor

    @classmethod
    def of(cls, terms: Terms) -> "Sums":
        log_weight = _wide(terms.log_weight)
        parts = (log_weight, _wide(terms.log_guide - terms.log_prior), -_wide(terms.log_likelihood))
        moments = torch.stack([total for part in parts for total in (part.sum(0), part.square().sum(0))])
        return cls(moments, torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)]))

    def merge(self, other: "Sums") -> "Sums":
        """The sums of both chunks."""
        return Sums(self.moments + other.moments, torch.logaddexp(self.evidence, other.evidence))

    def per_datum(self, count: int) -> dict[str, Tensor]:
        """Means over `count` draws and their standard errors; of the evidence by the delta method."""
        result = {}
        for i, name in enumerate(("elbo", "rate", "distortion")):
            mean, square = self.moments[2 * i] / count, self.moments[2 * i + 1] / count
            result[name], result[f"{name}_error"] = mean, _error(square - mean.square(), count)
        log_mean, log_square = self.evidence - math.log(count)
        result["log_evidence"] = log_mean
        result["log_evidence_error"] = _error((log_square - 2 * log_mean).exp() - 1, count)
        return result


def _wide(tensor: Tensor) -> Tensor:
    return tensor if tensor.device.type == "mps" else tensor.double()  # Apple's GPUs have no float64


def _error(variance: Tensor, count: int) -> Tensor:
    return (variance.clamp_min(0) / max(count - 1, 1)).sqrt()


def evaluate(
    model: Program,
    guide: Program,
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
        depth, has_global = layout(model, guide, first, data_size=size)
        rows, draws = _chunk(first, num_samples, memory)

        def score(batch: Batch, count: int) -> Sums:
            return Sums.of(log_terms(model, guide, batch, count, depth, data_size=size))

        pays = size * num_samples * numbers(first) > COMPILE_FROM
        scored = Compiled(score, model, guide) if (pays if compile is None else compile) else score
        parts = []
        for start in range(0, size, rows):
            batch = transform({n: t[start : start + rows].to(device) for n, t in data.items()})
            chunks = [min(draws, num_samples - done) for done in range(0, num_samples, draws)]
            sums = reduce(Sums.merge, (scored(batch, count) for count in chunks))
            parts.append(sums.per_datum(num_samples))
    per_datum = {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}
    if has_global:
        per_datum["log_evidence"].fill_(math.nan)
    dims = sum(t[0].numel() for n, t in first.items() if n == "x")
    return Evaluation(
        elbo=_summary(per_datum, "elbo"),
        rate=_summary(per_datum, "rate"),
        distortion=_summary(per_datum, "distortion"),
        log_evidence=_summary(per_datum, "log_evidence"),
        num_samples=num_samples,
        dims=dims,
        per_datum=per_datum,
    )


def log_evidence(model: Program, guide: Program, data: Batch, *, num_samples: int = 5000, **options: Any) -> Estimate:
    """The importance-sampled estimate of log p(x), nats per datum: `evaluate(...).log_evidence`.

    Raises:
        PairError: a latent outside the plate "data": log p(x) of one datum does not exist then.
    """
    evidence = evaluate(model, guide, data, num_samples=num_samples, **options).log_evidence
    if math.isnan(evidence.value):
        raise PairError(
            "a latent of the pair is outside the plate 'data', so the data are not independent and log p(x) of one "
            "datum does not exist. Condition on it (pyro.condition), or move it into the plate."
        )
    return evidence


def _summary(per_datum: dict[str, Tensor], name: str) -> Estimate:
    values, errors = per_datum[name], per_datum[f"{name}_error"]
    return Estimate(values.mean().item(), (errors.square().sum().sqrt() / len(errors)).item())


def numbers(batch: Batch) -> int:
    """How many numbers one datum has."""
    return sum(tensor[0].numel() for tensor in batch.values())


def _chunk(batch: Batch, num_samples: int, memory: int) -> tuple[int, int]:
    """Rows and draws of one chunk: some sixteen floats per number of a datum live at once."""
    pairs = max(1, memory // (64 * max(numbers(batch), 128)))
    draws = min(num_samples, pairs)
    return max(1, pairs // draws), draws


def device_of(*programs: Program) -> torch.device:
    for module in modules(*programs):
        for tensor in (*module.parameters(), *module.buffers()):
            return tensor.device
    return torch.device("cpu")


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Fixed random numbers inside, the global state untouched outside."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield


@contextmanager
def evaluating(*programs: Program) -> Iterator[None]:
    """Evaluation mode, no gradients, local parameters, and the modes as before afterwards."""
    owned: list[nn.Module] = [m for owner in modules(*programs) for m in owner.modules()]
    training = [module.training for module in owned]
    for module in owned:
        module.training = False
    try:
        with torch.no_grad(), local_params(*programs), pyro.validation_enabled(False):
            yield
    finally:
        for module, mode in zip(owned, training, strict=True):
            module.training = mode
