"""Bidirectional Monte Carlo: log p(x) from below and from above, on data that the model simulates.

The latents that made the data are exact draws of p(z | x). Annealed chains that start there and go backwards bound
log p(x) from above; chains that go forwards bound it from below (`evidence.annealing`).
"""

import math
import time
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, plus_minus
from pyrovae.errors import SettingError
from pyrovae.inference.evidence.annealing import AnnealedEvidence, Annealing, anneal, check_annealing
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, evaluate
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import on_data
from pyrovae.inference.pair.running import MEMORY, Transform, unchanged
from pyrovae.inference.pair.simulation import simulate

__all__ = ["EvidenceBounds", "sandwich"]


@dataclass(frozen=True, repr=False)
class EvidenceBounds(Shown):
    """The bounds of `sandwich`, in nats per data point: lower <= log p(x) <= upper on average. Print it for a table.

    Attributes:
        lower: the annealed estimate from below.
        upper: the same chains backwards, from an exact draw of p(z | x) for each data point. Its error is that of the
            chains given these draws; the error of the gap contains the randomness of the draws as well.
        gap: upper - lower, which bounds how far either is from log p(x). Its error is that of a mean over the data.
        evaluation: ELBO and importance sampling on the same data.
        seconds: the wall time of both annealed estimates, and that of the evaluation.
        per_datum: `lower`, `upper`, `log_evidence`, `elbo`, of shape `(N,)`.
        real: whether the data are real, and the draws of p(z | x) those of a long chain: `upper` is then a bound only
            if the chain has reached p(z | x).
    """

    lower: AnnealedEvidence
    upper: AnnealedEvidence
    gap: Estimate
    evaluation: Evaluation
    seconds: tuple[float, float]
    per_datum: dict[str, Tensor]
    real: bool = False

    def shortfall(self, name: str) -> tuple[Estimate, Estimate]:
        """The least and the greatest distance of an estimate below log p(x), by the lower and the upper bound.

        Args:
            name: `"log_evidence"`, for importance sampling, or `"elbo"`.
        """
        low, high = (self.per_datum[side] - self.per_datum[name] for side in ("lower", "upper"))
        return _over_data(low), _over_data(high)

    def cells(self) -> Cells:
        count, samples = len(self.per_datum["lower"]), self.evaluation.num_samples
        rows = [
            ("upper bound", str(self.upper.log_evidence)),
            ("lower bound", str(self.lower.log_evidence)),
            ("gap", str(self.gap)),
        ]
        for name, label in (("log_evidence", f"{samples:,} draws"), ("elbo", "ELBO")):
            rows.append((label, f"{getattr(self.evaluation, name)}, {_below(*self.shortfall(name))}"))
        after = f"nats per data point, {count} data points simulated by the model"
        if self.real:
            after = f"nats per data point, {count} real data points; above only if the long chain has reached p(z | x)"
        return Cells(rows, after=[after], words=(0, 1))


def _below(low: Estimate, high: Estimate) -> str:
    """Where an estimate lies between the bounds, or below both."""
    least, most = (plus_minus(abs(bound.value), bound.error) for bound in (low, high))
    if low.value >= 0 or high.value < 0:
        return f"{'below' if low.value >= 0 else 'above'} log p(x) by {least} to {most}"
    return f"above the lower bound by {least}, below the upper one by {most}"


def sandwich(
    model: ProgramLike,
    guide: ProgramLike,
    num_simulations: int = 100,
    annealing: Annealing = Annealing(),
    *,
    given: Batch | None = None,
    data: Batch | None = None,
    transform: Transform | None = None,
    num_warmup: int = 200,
    num_samples: int = 5000,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> EvidenceBounds:
    """Bound log p(x) from both sides, on data that the model simulates: bidirectional Monte Carlo.

    The model draws z and x. That z is an exact draw of p(z | x), from which chains go backwards to pi_0. On average,
    neither bound is further from log p(x) than the gap between them, on data like these.

    With `data`, the data points are real and the draw of p(z | x) comes from a long chain: a forward chain, chosen by
    its weight, makes `num_warmup` further transitions at p(x, z). The lower bound holds as before. The upper one holds
    only if that chain has reached p(z | x). Where it misses a mode, as all forward chains may, the upper estimate is
    too low by about as much as the lower one, and a small gap does not show it: a small gap says that there are enough
    temperatures between q(z | x) and the modes that were found. A wide gap says that there are too few.

    Args:
        model, guide: the pair.
        num_simulations: N, the number of simulated data points.
        annealing: the chains, temperatures and start; more temperatures narrow the gap.
        given: what the model conditions on, such as `y`, with at least N rows; with `data` it is among these.
        data: named tensors of real data points, all of which are used in place of simulated ones.
        transform: what training applied to a batch of `data`; `pyrovae.data.Scale()` by default.
        num_warmup: the transitions of the long chain.
        num_samples: the draws of each data point for importance sampling on the same data.
        memory: about how many bytes a chunk of data points or draws may take.
        seed: the seed of all random numbers; the global random state is left alone.
        compile: whether to replay compiled graphs; by default where that pays.
        progress: whether to show progress bars.

    Raises:
        SettingError: `num_simulations` is below 2, `num_samples` or `num_warmup` below 1, or both `data` and `given`
            are there, or one temperature, which has no step size for the long chain.
        PairError: as in `annealed`; the model does not generate, or its arguments do not
            hold what it drew.
        ShapeError: `given` has fewer than N rows.

    References: Grosse et al. (2015), arXiv:1511.02543; Grosse et al. (2016), arXiv:1606.02275.
    """
    # The error of the gap is that of a mean over the data, which one data point does not show.
    check_count("num_simulations", num_simulations, 2, write=100)
    check_count("num_samples", num_samples, write=5000)
    check_count("num_warmup", num_warmup, write=200)
    real, simulated = data is not None, None
    if data is not None:
        _check_real(given, annealing)
        with on_data("sandwich", model, guide, data, transform, memory=memory, seed=seed) as pair:
            data = pair.place(slice(None))
    else:
        data, simulated = simulate("sandwich", model, guide, num_simulations, given or {}, seed)
        seed += 1  # the draws of the estimates must be independent of those that made z and x
    clock = [time.perf_counter()]
    with on_data("sandwich", model, guide, data, unchanged, memory=memory, seed=seed) as pair:
        ends: dict[str, Any] = {"num_warmup": num_warmup} if real else {"simulated": simulated}
        lower, upper = anneal(pair, annealing, **ends, compile=compile, progress=progress)
    clock.append(time.perf_counter())
    shared: dict[str, Any] = {"memory": memory, "seed": seed, "compile": compile, "progress": progress}
    evaluation = evaluate(model, guide, data, num_samples=num_samples, transform=unchanged, **shared)
    clock.append(time.perf_counter())
    return _bounds(lower, upper, evaluation, (clock[1] - clock[0], clock[2] - clock[1]), real)


def _check_real(given: Batch | None, annealing: Annealing) -> None:
    """Require that nothing is conditioned on apart from the data, and a step size at p(x, z)."""
    if given is not None:
        raise SettingError("sandwich requires data or given, got both. Put the tensors of given into data.")
    check_annealing(annealing)
    if annealing.num_temperatures < 2:
        raise SettingError(
            "sandwich of real data requires num_temperatures >= 2, got 1. Write Annealing(num_temperatures=100)."
        )


def _bounds(
    lower: AnnealedEvidence, upper: AnnealedEvidence, evaluation: Evaluation, seconds: tuple[float, float], real: bool
) -> EvidenceBounds:
    per_datum = {
        "lower": lower.per_datum["log_evidence"],
        "upper": upper.per_datum["log_evidence"],
        "log_evidence": evaluation.per_datum["log_evidence"],
        "elbo": evaluation.per_datum["elbo"],
    }
    gap = _over_data(per_datum["upper"] - per_datum["lower"])
    return EvidenceBounds(lower, upper, gap, evaluation, seconds, per_datum, real)


def _over_data(values: Tensor) -> Estimate:
    """The mean over simulated data points, and its standard error, which contains all randomness."""
    return Estimate(values.mean().item(), (values.std() / math.sqrt(len(values))).item())
