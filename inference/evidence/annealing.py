"""The evidence from both sides: annealed importance sampling, and bidirectional Monte Carlo.

Chains walk from q(z | x), or from p(z), to p(x, z) over temperatures 0 = t_0 < ... < t_T = 1, an HMC transition at each
one between (`inference.hmc`). With pi_t the density of the path at temperature t, and u_k where a chain is at t_k,

    log w = sum over k = 1 ... T of log pi_(t_k)(u_(k-1)) - log pi_(t_(k-1))(u_(k-1)),    E[w] = p(x):

the log of the mean of w is, on average, below log p(x). On data that the model draws together with their latents, the
same walk backwards from those latents, which are exact draws of p(z | x), has E[1/w] = 1/p(x), and bounds log p(x) from
above. With one temperature, T = 1, there is no transition, and what is left is importance sampling.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.evidence.estimates import Estimate, Sums, summary
from pyrovae.inference.evidence.hmc import Path, Start, transition
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.running import (
    COMPILE_FROM,
    batches,
    chunk_sizes,
    device_of,
    evaluating,
    numbers,
    seeded,
)
from pyrovae.numeric import wide

__all__ = ["Annealed", "Annealing", "anneal", "annealed", "effective_sample_size_of"]


SCALE_DRAWS = 32  # of pi_0, whose spread sets the relative scales of the latents


GAIN = 0.5  # of log step, in units of the acceptance rate


THINNING = 4  # the preliminary pass visits every fourth temperature


PRELIMINARY = 40  # transitions that it has at least


@dataclass(frozen=True)
class Annealing:
    """How chains go from one density to the other.

    Attributes:
        num_chains: C, chains for each datum.
        num_temperatures: T, of which T - 1 have an HMC transition.
        num_leapfrog: L, leapfrog steps of a transition.
        start: `"guide"`, from q(z | x), or `"prior"`, from p(z).
        schedule: `"sigmoid"`, temperatures dense at both ends, t = (s(8 k / T - 4) - s(-4)) / (s(4) - s(-4)) with the
            logistic function s; or `"linear"`, t = k / T.
        acceptance: the rate that step sizes are adapted to.

    Raises:
        PairError: a number out of range, a start or schedule of another name.

    References: Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273, for the sigmoid and 0.65.
    """

    num_chains: int = 16
    num_temperatures: int = 100
    num_leapfrog: int = 10
    start: Start = "guide"
    schedule: Literal["sigmoid", "linear"] = "sigmoid"
    acceptance: float = 0.65

    def __post_init__(self) -> None:
        for name in ("num_chains", "num_temperatures", "num_leapfrog"):
            if getattr(self, name) < 1:
                raise PairError(f"Annealing wants {name} >= 1, got {getattr(self, name)}. The default is a start.")
        for name, known in (("start", ("guide", "prior")), ("schedule", ("sigmoid", "linear"))):
            if getattr(self, name) not in known:
                raise PairError(
                    f"Annealing knows the {name}s {known[0]!r} and {known[1]!r}, got {getattr(self, name)!r}."
                )
        if not 0 < self.acceptance < 1:
            raise PairError(f"Annealing wants acceptance between 0 and 1, got {self.acceptance}. Write 0.65.")

    @property
    def temperatures(self) -> list[float]:
        """t_0 = 0, ..., t_T = 1."""
        line = torch.linspace(0, 1, self.num_temperatures + 1, dtype=torch.float64)
        if self.schedule == "linear":
            return line.tolist()
        ends = torch.sigmoid(torch.tensor([-4.0, 4.0], dtype=torch.float64))
        return ((torch.sigmoid(8 * line - 4) - ends[0]) / (ends[1] - ends[0])).tolist()


@dataclass(frozen=True)
class Annealed:
    """What `annealed` measured, in nats per datum.

    Attributes:
        log_evidence: the mean over the data of log 1/C sum_c w_c, below log p(x) on average, and its standard error.
        ess: effective sample size of the C chains, mean over the data.
        acceptance: rate of accepted transitions, mean over the data; NaN with one temperature.
        annealing: how it was done.
        log_weights: of each chain and datum, `(C, N)`, in float64.
        per_datum: `log_evidence`, `log_evidence_error`, `ess`, `acceptance`, of shape `(N,)`.
    """

    log_evidence: Estimate
    ess: float
    acceptance: float
    annealing: Annealing
    log_weights: Tensor
    per_datum: dict[str, Tensor]

    def __str__(self) -> str:
        how = self.annealing
        rows = {
            "log_evidence": f"{self.log_evidence}, nats per datum",
            "ess": f"{self.ess:.1f} of {how.num_chains} chains",
            "acceptance": f"{self.acceptance:.2f}",
            "path": f"from the {how.start}, {how.num_temperatures} temperatures of {how.num_leapfrog} leapfrog steps",
        }
        return "\n".join(f"{name:<14}{value}" for name, value in rows.items())


def annealed(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    annealing: Annealing = Annealing(),
    *,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Annealed:
    """log p(x) by annealed importance sampling with HMC, all data and chains at once.

    The step sizes, one for each datum and temperature, are adapted in a preliminary pass with chains of its own, and
    fixed in the pass that is measured: so each transition leaves its density as it is, and E[w] = p(x) holds exactly.
    (Adaptation along the measured chain itself, which is common, makes transitions depend on the past, and the
    estimate loses its meaning as a bound.) The pass visits every fourth temperature: a fourth of the work,
    or 50 transitions where there are few temperatures.

    Args:
        data: named tensors of N data, all of them used.
        annealing: chains, temperatures, start.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of data may take.
        seed: of all draws; the global random state is left alone.
        compile: replay one compiled graph per leapfrog step; by default where that pays.

    Raises:
        PairError: no data; a latent that is discrete and drawn, outside the plate "data", a point mass.

    References: Neal (2001), arXiv:physics/9803008; Wu et al. (2017), arXiv:1611.04273.
    """
    (measured,) = anneal(model, guide, data, None, annealing, transform, memory, seed, compile)
    return measured


class _Walk(NamedTuple):
    """What chains bring back: the sum of log-weights `(C, B)`, and the mean acceptance rate `(B,)`."""

    log_weights: Tensor
    acceptance: Tensor


def anneal(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    simulated: Any,
    annealing: Annealing,
    transform: Any,
    memory: int,
    seed: int,
    compile: bool | None,
) -> list[Annealed]:
    """Forwards from pi_0; then backwards from the latents of `simulated`, a trace of the model, where there is one."""
    size = batch_size(data)
    if size == 0:
        raise PairError("annealed wants data, got an empty batch. Pass a split that is not empty, data.test say.")
    transform, device = transform or Scale(), device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        steps = annealing.num_chains * (annealing.num_temperatures - 1) * annealing.num_leapfrog
        pays = size * steps * numbers(first) > COMPILE_FROM
        path = Path(model, guide, first, start=annealing.start, size=size, compile=pays if compile is None else compile)
        ends = None if simulated is None else path.find(data, simulated)
        rows, _ = chunk_sizes(first, annealing.num_chains, memory)
        forward, backward = [], []
        for start, batch in zip(range(0, size, rows), batches(data, rows, transform, device), strict=True):
            tuned = _tune(path, batch, annealing)
            u = path.draw(batch, annealing.num_chains)
            forward.append(_walk(path, u, batch, annealing, annealing.temperatures, tuned))
            if ends is not None:
                u = ends[:, start : start + rows].expand_as(u)
                backward.append(_walk(path, u, batch, annealing, annealing.temperatures[::-1], tuned[::-1]))
    return [_measured(forward, annealing), *([_measured(backward, annealing, -1)] if backward else [])]


def _tune(path: Path, batch: Batch, annealing: Annealing) -> list[Tensor]:
    """The step sizes `(B, K)` at each temperature between 0 and 1, by stochastic approximation of log step.

    Up and down as the acceptance rate of the datum's chains is above or below the one wanted; at first where the chains
    start, then along the path. The numbers of u have steps in proportion to their spread under pi_0.
    """
    between = annealing.temperatures[1:-1]
    if not between:
        return []
    scale = path.draw(batch, SCALE_DRAWS).std(0)
    point = path.point(path.draw(batch, annealing.num_chains), batch)
    log_step = scale.new_full((len(scale), 1), -0.25 * math.log(path.dim))
    visited = between[::THINNING]
    times = math.ceil(PRELIMINARY / len(visited))
    tuned = []
    for temperature in [0.0, *visited]:
        for _ in range(times if temperature else PRELIMINARY // 4):
            step = log_step.exp() * scale
            point, rate = transition(path, point, batch, temperature, step, annealing.num_leapfrog)
            log_step = log_step + GAIN * (rate.mean(0).unsqueeze(-1) - annealing.acceptance)
        tuned.append(log_step.exp() * scale)
    return [tuned[1 + index // THINNING] for index in range(len(between))]


def _walk(
    path: Path, u: Tensor, batch: Batch, annealing: Annealing, temperatures: list[float], tuned: Sequence[Tensor]
) -> _Walk:
    """From u at the first temperature to the last, with a transition at each one between."""
    point = path.point(u, batch)
    log_weights, rates = torch.zeros_like(wide(point.log_ratio)), []
    for index, (old, new) in enumerate(pairwise(temperatures)):
        log_weights = log_weights + (new - old) * wide(point.log_ratio)
        if index < len(tuned):
            point, rate = transition(path, point, batch, new, tuned[index], annealing.num_leapfrog)
            rates.append(rate.mean(0))
    acceptance = torch.stack(rates).mean(0) if rates else torch.full_like(log_weights[0], math.nan)
    return _Walk(log_weights.cpu(), acceptance.cpu())


def _measured(walks: list[_Walk], annealing: Annealing, sign: int = 1) -> Annealed:
    """sign log 1/C sum_c w_c; backwards, where the weights are those of 1/p(x), the sign is -1."""
    log_weights = torch.cat([walk.log_weights for walk in walks], 1)
    sums = Sums({}, torch.stack([log_weights.logsumexp(0), (2 * log_weights).logsumexp(0)]))
    per_datum = sums.per_datum(annealing.num_chains)
    per_datum["log_evidence"] = sign * per_datum["log_evidence"]
    per_datum["ess"] = effective_sample_size_of(per_datum["log_evidence_error"], annealing.num_chains)
    per_datum["acceptance"] = torch.cat([walk.acceptance for walk in walks])
    return Annealed(
        log_evidence=summary(per_datum, "log_evidence"),
        ess=per_datum["ess"].mean().item(),
        acceptance=per_datum["acceptance"].mean().item(),
        annealing=annealing,
        log_weights=log_weights,
        per_datum=per_datum,
    )


def effective_sample_size_of(error: Tensor, count: int) -> Tensor:
    """(sum w)^2 / sum w^2, which the delta method's error of log 1/S sum w tells."""
    return count / (1 + error.square() * (count - 1))
