"""Sandwich."""

import math
import time
from dataclasses import dataclass

from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.evidence.annealing import Annealed, Annealing, anneal
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, evaluate
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import (
    unchanged,
)
from pyrovae.inference.pair.simulation import simulate

__all__ = ["Sandwich", "sandwich"]


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
    model: ProgramLike,
    guide: ProgramLike,
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
    lower, upper = anneal(model, guide, data, simulated, annealing, unchanged, memory, seed, compile)
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
