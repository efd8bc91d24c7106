"""The evidence from both sides: annealed importance sampling, and bidirectional Monte Carlo.

Chains walk from q(z | x), or from p(z), to p(x, z) over temperatures 0 = t_0 < ... < t_T = 1, an HMC transition at each
one between (`inference.hmc`). With pi_t the density of the path at temperature t, and u_k where a chain is at t_k,

    log w = sum over k = 1 ... T of log pi_(t_k)(u_(k-1)) - log pi_(t_(k-1))(u_(k-1)),    E[w] = p(x):

the log of the mean of w is, on average, below log p(x). On data that the model draws together with their latents, the
same walk backwards from those latents, which are exact draws of p(z | x), has E[1/w] = 1/p(x), and bounds log p(x) from
above. With one temperature, T = 1, there is no transition, and what is left is importance sampling.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Scale
from pyrovae.errors import PairError
from pyrovae.inference.evidence import (
    COMPILE_FROM,
    Estimate,
    Evaluation,
    Sums,
    batches,
    chunk_sizes,
    device_of,
    evaluate,
    evaluating,
    numbers,
    seeded,
    summary,
    unchanged,
)
from pyrovae.inference.hmc import Path, Start, transition
from pyrovae.inference.pair import Batch, Program, batch_size, takes, trace_pair
from pyrovae.inference.simulation import simulate
from pyrovae.networks import wide

__all__ = ["Annealed", "Annealing", "Comparison", "Row", "Sandwich", "annealed", "compare_evidence", "sandwich"]

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
    model: Program,
    guide: Program,
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
    (measured,) = _anneal(model, guide, data, None, annealing, transform, memory, seed, compile)
    return measured


class _Walk(NamedTuple):
    """What chains bring back: the sum of log-weights `(C, B)`, and the mean acceptance rate `(B,)`."""

    log_weights: Tensor
    acceptance: Tensor


def _anneal(
    model: Program,
    guide: Program,
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
    per_datum["ess"] = _effective(per_datum["log_evidence_error"], annealing.num_chains)
    per_datum["acceptance"] = torch.cat([walk.acceptance for walk in walks])
    return Annealed(
        log_evidence=summary(per_datum, "log_evidence"),
        ess=per_datum["ess"].mean().item(),
        acceptance=per_datum["acceptance"].mean().item(),
        annealing=annealing,
        log_weights=log_weights,
        per_datum=per_datum,
    )


def _effective(error: Tensor, count: int) -> Tensor:
    """(sum w)^2 / sum w^2, which the delta method's error of log 1/S sum w tells."""
    return count / (1 + error.square() * (count - 1))


# Both sides -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sandwich:
    """What `sandwich` measured on simulated data, in nats per datum; lower <= log p(x) <= upper on average.

    Attributes:
        lower: annealed importance sampling.
        upper: the same chains backwards, from an exact draw of p(z | x) for each datum. Its error is that of the chains
            given the draws; what the draws add is in the error of the gap.
        gap: upper - lower, which bounds how far either is off; its error is that of a mean over the data.
        evaluation: ELBO and importance sampling on the same data.
        seconds: of both annealed estimates, and of the evaluation.
        per_datum: `lower`, `upper`, `log_evidence`, `elbo`, of shape `(N,)`.
    """

    lower: Annealed
    upper: Annealed
    gap: Estimate
    evaluation: Evaluation
    seconds: tuple[float, float]
    per_datum: dict[str, Tensor]

    def shortfall(self, name: str) -> tuple[Estimate, Estimate]:
        """By how much `"log_evidence"` (importance sampling), or `"elbo"`, is below log p(x): from, to."""
        low, high = (self.per_datum[side] - self.per_datum[name] for side in ("lower", "upper"))
        return _over_data(low), _over_data(high)

    def __str__(self) -> str:
        count, samples = len(self.per_datum["lower"]), self.evaluation.num_samples
        lines = [
            f"{'upper bound':<22}{self.upper.log_evidence}",
            f"{'lower bound':<22}{self.lower.log_evidence}",
            f"{'gap':<22}{self.gap.value:.3f} ± {self.gap.error:.3f}",
        ]
        for name, label in (("log_evidence", f"{samples:,} draws"), ("elbo", "ELBO")):
            low, high = self.shortfall(name)
            lines.append(
                f"{label:<22}{getattr(self.evaluation, name)}, below log p(x) by {low.value:.3f} ± {low.error:.3f} to "
                f"{high.value:.3f} ± {high.error:.3f}"
            )
        return "\n".join([*lines, f"nats per datum, {count} data simulated by the model"])


def sandwich(
    model: Program,
    guide: Program,
    size: int = 100,
    annealing: Annealing = Annealing(),
    *,
    given: Batch | None = None,
    num_samples: int = 5000,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Sandwich:
    """log p(x) from both sides, on data that the model simulates: bidirectional Monte Carlo.

    The model draws z and x; then z is an exact draw of p(z | x), from which chains go backwards to pi_0. The gap
    between both bounds says how far the estimators are off on data like these, to within the gap.

    Args:
        size: N, data to simulate.
        annealing: as in `annealed`; more temperatures narrow the gap.
        given: what the model conditions on, such as `y`, at least N rows.
        num_samples: draws of importance sampling on the same data, for comparison.
        memory, seed, compile: as in `annealed`.

    Raises:
        PairError: as `annealed`; a model that does not generate, or whose arguments do not hold what it drew.
        ShapeError: too few rows are given.

    References: Grosse et al. (2015), arXiv:1511.02543; Grosse et al. (2016), arXiv:1606.02275.
    """
    if size < 2:
        raise PairError(f"sandwich wants size >= 2, got {size}: the error of the gap is that of a mean over the data.")
    data, simulated = simulate("sandwich", model, guide, size, given or {}, seed)
    seed += 1  # the estimates' draws are to be independent of those that made z and x
    clock = [time.perf_counter()]
    lower, upper = _anneal(model, guide, data, simulated, annealing, unchanged, memory, seed, compile)
    clock.append(time.perf_counter())
    evaluation = evaluate(
        model, guide, data, num_samples=num_samples, transform=unchanged, memory=memory, seed=seed, compile=compile
    )
    clock.append(time.perf_counter())
    per_datum = {
        "lower": lower.per_datum["log_evidence"],
        "upper": upper.per_datum["log_evidence"],
        "log_evidence": evaluation.per_datum["log_evidence"],
        "elbo": evaluation.per_datum["elbo"],
    }
    gap = _over_data(per_datum["upper"] - per_datum["lower"])
    return Sandwich(lower, upper, gap, evaluation, (clock[1] - clock[0], clock[2] - clock[1]), per_datum)


def _over_data(values: Tensor) -> Estimate:
    """A mean over simulated data, and its standard error: all randomness is in it."""
    return Estimate(values.mean().item(), (values.std() / math.sqrt(len(values))).item())


# One table ------------------------------------------------------------------------------------------------------


class Row(NamedTuple):
    """One estimator on one set of data.

    Attributes:
        data: `"given"` or `"simulated"`.
        estimator: its name.
        estimate: nats per datum; None where it could not be made, and the note says why.
        ess: effective sample size, mean over the data.
        seconds: of wall time; the ELBO comes with importance sampling, the upper bound with the lower.
        note: a word on it.
    """

    data: str
    estimator: str
    estimate: Estimate | None
    ess: float | None
    seconds: float
    note: str

    def __str__(self) -> str:
        ess = "" if self.ess is None else f"{self.ess:,.1f}"
        estimate = "-" if self.estimate is None else str(self.estimate)
        return f"{self.data:<11}{self.estimator:<36}{estimate:>18}{ess:>10}{self.seconds:>9.1f}  {self.note}".rstrip()


@dataclass(frozen=True)
class Comparison:
    """What `compare_evidence` measured.

    Attributes:
        rows: one for each estimator and set of data.
        per_datum: the estimates on `data`, `(N,)`, by name: `elbo`, `log_evidence` (importance sampling), `guide` and
            `prior` (annealed from there).
        sandwich: what the rows on simulated data are of, where there is one.
    """

    rows: list[Row]
    per_datum: dict[str, Tensor]
    sandwich: Sandwich | None

    def __getitem__(self, key: tuple[str, str]) -> Row:
        """The row of `(data, start of the estimator's name)`."""
        return next(row for row in self.rows if row.data == key[0] and row.estimator.startswith(key[1]))

    def __str__(self) -> str:
        head = f"{'data':<11}{'estimator':<36}{'nats per datum':>18}{'ESS':>10}{'seconds':>9}  note"
        return "\n".join([head, *map(str, self.rows)])


def compare_evidence(
    model: Program,
    guide: Program,
    data: Batch,
    annealing: Annealing = Annealing(),
    *,
    num_samples: int = 5000,
    simulated: int = 100,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Comparison:
    """Estimators of log p(x) side by side, with error, effective sample size and time; `print` it.

    On `data`: ELBO, importance sampling, annealed importance sampling from the guide and from the prior. On data that
    the model simulates: these, and the upper bound, so that the table says how far each is off.

    Args:
        data: named tensors of N data; transformed once, so that all estimators see the same.
        num_samples: draws of importance sampling.
        simulated: data to simulate, 0 for none; what the model conditions on is taken from the first rows of `data`.
        transform, memory, seed, compile: as in `annealed`.

    Raises:
        PairError: as `evaluate`. What an annealed estimate cannot do (a discrete latent, say) is noted in its row.
    """
    device = device_of(model, guide)
    with seeded(seed, device):
        whole = (transform or Scale())({name: tensor.to(device) for name, tensor in data.items()})
    options: dict[str, Any] = {"memory": memory, "compile": compile}
    begin = time.perf_counter()
    evaluation = evaluate(model, guide, whole, num_samples=num_samples, transform=unchanged, seed=seed, **options)
    rows = _sampled("given", evaluation, time.perf_counter() - begin)
    per_datum = {name: evaluation.per_datum[name] for name in ("elbo", "log_evidence")}
    for start in ("guide", "prior"):
        how, begin = replace(annealing, start=start), time.perf_counter()
        try:
            measured = annealed(model, guide, whole, how, transform=unchanged, seed=seed, **options)
        except PairError as error:
            rows.append(Row("given", f"AIS from the {start}", None, None, 0.0, str(error)))
        else:
            per_datum[start] = measured.per_datum["log_evidence"]
            rows.append(_annealed_row("given", measured, time.perf_counter() - begin))
    both = None
    if simulated:
        given = _conditions(model, guide, whole)
        count = min(simulated, batch_size(data)) if given else simulated
        try:
            both = sandwich(model, guide, count, annealing, given=given, num_samples=num_samples, seed=seed, **options)
            rows += _sides(both)
        except PairError as error:
            rows.append(Row("simulated", "sandwich", None, None, 0.0, str(error)))
    return Comparison(rows, per_datum, both)


def _conditions(model: Program, guide: Program, batch: Batch) -> Batch:
    """What the model is given of a batch and does not observe."""
    with evaluating(model, guide), seeded(0, device_of(model, guide)):
        first = {name: tensor[:2] for name, tensor in batch.items()}
        observed = trace_pair(model, guide, first, data_size=batch_size(batch)).observed()
    return {name: tensor for name, tensor in batch.items() if takes(model, name) and name not in observed}


def _sampled(data: str, evaluation: Evaluation, seconds: float, notes: Sequence[str] = ("", "")) -> list[Row]:
    """The rows of an `Evaluation`."""
    count = evaluation.num_samples
    ess = _effective(evaluation.per_datum["log_evidence_error"], count).mean().item()
    return [
        Row(data, "ELBO", evaluation.elbo, None, seconds, notes[0]),
        Row(data, f"importance sampling, {count:,} draws", evaluation.log_evidence, ess, seconds, notes[1]),
    ]


def _annealed_row(data: str, measured: Annealed, seconds: float) -> Row:
    note = f"acceptance {measured.acceptance:.2f}"
    return Row(data, f"AIS from the {measured.annealing.start}", measured.log_evidence, measured.ess, seconds, note)


def _sides(both: Sandwich) -> list[Row]:
    """The rows of a `Sandwich`."""
    notes = []
    for name in ("elbo", "log_evidence"):
        low, high = both.shortfall(name)
        notes.append(f"below log p(x) by {low.value:.3f} to {high.value:.3f}")
    walks, draws = both.seconds
    gap = f"gap {both.gap.value:.3f} ± {both.gap.error:.3f}"
    return [
        *_sampled("simulated", both.evaluation, draws, notes),
        _annealed_row("simulated", both.lower, walks),
        Row("simulated", "the same backwards, upper bound", both.upper.log_evidence, both.upper.ess, walks, gap),
    ]
