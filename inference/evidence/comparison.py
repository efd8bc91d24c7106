"""Several estimators of log p(x) in one table, on given and on simulated data."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, rounded
from pyrovae.errors import PairError
from pyrovae.inference.evidence.annealing import AnnealedEvidence, Annealing, annealed
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, evaluate
from pyrovae.inference.evidence.sandwich import EvidenceBounds, sandwich
from pyrovae.inference.pair.contract import ProgramLike, batch_size, takes
from pyrovae.inference.pair.on_data import given, on_data
from pyrovae.inference.pair.running import MEMORY, Transform, unchanged

__all__ = ["ComparisonRow", "EvidenceComparison", "compare_evidence"]

T = TypeVar("T")


@dataclass(frozen=True)
class ComparisonRow:
    """One estimator on one set of data.

    Attributes:
        data: `"given"` or `"simulated"`.
        estimator: its name.
        estimate: its estimate, in nats per data point; None where it could not be computed, for the reason in the note.
        effective_sample_size: the mean over the data; None for the ELBO, which weighs no draws.
        seconds: the wall time. The ELBO is computed together with importance sampling, the upper bound with the lower.
        note: a remark.
    """

    data: str
    estimator: str
    estimate: Estimate | None
    effective_sample_size: float | None
    seconds: float
    note: str

    @property
    def cells(self) -> tuple[str, ...]:
        """Its row of a table: data, estimator, estimate, bias, effective sample size, seconds, note."""
        size = "" if self.effective_sample_size is None else f"{self.effective_sample_size:,.1f}"
        estimate = "-" if self.estimate is None else str(Estimate(*self.estimate))
        found = getattr(self.estimate, "bias", None)
        bias = "" if found is None or math.isnan(found.value) else rounded(*found)
        return self.data, self.estimator, estimate, bias, size, f"{self.seconds:.1f}", self.note

    def __str__(self) -> str:
        return "  ".join(self.cells).rstrip()


@dataclass(frozen=True, repr=False)
class EvidenceComparison(Shown):
    """The estimates of `compare_evidence`; print it for a table, in which ESS is the effective sample size.

    Attributes:
        rows: one for each estimator and set of data.
        per_datum: the estimates on `data`, `(N,)`, by name: `elbo`, `log_evidence` (importance sampling), `guide` and
            `prior` (annealed from there).
        sandwich: the bounds on simulated data; None where there are none.
    """

    rows: list[ComparisonRow]
    per_datum: dict[str, Tensor]
    sandwich: EvidenceBounds | None

    def __getitem__(self, key: tuple[str, str]) -> ComparisonRow:
        """The row of `(data, start of the estimator's name)`."""
        return next(row for row in self.rows if row.data == key[0] and row.estimator.startswith(key[1]))

    def cells(self) -> Cells:
        head = ("data", "estimator", "nats per data point", "bias", "ESS", "seconds", "note")
        return Cells([row.cells for row in self.rows], head, words=(0, 1, 6))


def compare_evidence(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    annealing: Annealing = Annealing(),
    *,
    num_samples: int = 5000,
    num_simulations: int = 100,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> EvidenceComparison:
    """Compare estimators of log p(x) by their error, effective sample size and time; print the result.

    The estimators on `data` are the ELBO, importance sampling, and annealed importance sampling from the guide and from
    the prior. On data that the model simulates they are the ELBO, importance sampling, and both bounds of `sandwich`,
    which tell how far each estimate is from log p(x).

    Args:
        model, guide, data: the pair, and named tensors of N data points. They are transformed once, so all estimators
            get the same.
        annealing: the chains and temperatures; its start holds for the simulated data.
        num_samples: the draws of each data point for importance sampling.
        num_simulations: the number of simulated data points; 0 for none. The model conditions them on the first rows of
            `data`, so there are at most N of them where it conditions on anything.
        transform: what training applied to a batch; `pyrovae.data.Scale()` by default.
        memory: about how many bytes a chunk of data points or draws may take.
        seed: the seed of all random numbers; the global random state is left alone.
        compile: whether to replay compiled graphs; by default where that pays.
        progress: whether to show a progress bar for each estimator.

    Raises:
        PairError: as in `evaluate`. Where only an annealed estimate is impossible, because of a discrete latent for
            example, its row has no estimate, and a note with the reason.
    """
    check_count("num_samples", num_samples, write=5000)
    check_count("num_simulations", num_simulations, 0, write=100)
    with on_data("compare_evidence", model, guide, data, transform, memory=memory, seed=seed) as pair:
        whole = pair.place(slice(None))
    shared: dict[str, Any] = {"memory": memory, "seed": seed, "compile": compile, "progress": progress}
    sample = partial(evaluate, model, guide, whole, num_samples=num_samples, transform=unchanged, **shared)
    walk = partial(annealed, model, guide, whole, transform=unchanged, **shared)
    bound = partial(sandwich, model, guide, annealing=annealing, num_samples=num_samples, **shared)
    evaluation, seconds = _timed(sample)
    per_datum = {name: evaluation.per_datum[name] for name in ("elbo", "log_evidence")}
    rows = _sampled("given", evaluation, seconds)
    for start in ("guide", "prior"):
        try:
            measured, seconds = _timed(partial(walk, replace(annealing, start=start)))
        except PairError as error:
            rows.append(ComparisonRow("given", f"AIS from the {start}", None, None, 0.0, str(error)))
        else:
            per_datum[start] = measured.per_datum["log_evidence"]
            rows.append(_annealed("given", measured, seconds))
    simulated, bounds = _simulated(model, guide, whole, num_simulations, bound) if num_simulations else ([], None)
    return EvidenceComparison(rows + simulated, per_datum, bounds)


def _timed(measure: Callable[[], T]) -> tuple[T, float]:
    """The result, and the seconds that it took."""
    start = time.perf_counter()
    return measure(), time.perf_counter() - start


def _simulated(
    model: ProgramLike, guide: ProgramLike, batch: Batch, count: int, bound: Callable[..., EvidenceBounds]
) -> tuple[list[ComparisonRow], EvidenceBounds | None]:
    """The rows on simulated data, and their bounds."""
    with on_data("compare_evidence", model, guide, batch, unchanged) as pair:
        conditions = given(pair.traces, batch)
    # A tensor that no program takes, such as a label, would only limit how many data points can be simulated.
    conditions = {name: tensor for name, tensor in conditions.items() if takes(model, name) or takes(guide, name)}
    try:
        bounds = bound(min(count, batch_size(conditions)) if conditions else count, given=conditions)
    except PairError as error:
        return [ComparisonRow("simulated", "sandwich", None, None, 0.0, str(error))], None
    return _sides(bounds), bounds


def _sampled(data: str, evaluation: Evaluation, seconds: float, notes: Sequence[str] = ("", "")) -> list[ComparisonRow]:
    """The rows of an `Evaluation`."""
    name, size = f"importance sampling, {evaluation.num_samples:,} draws", evaluation.effective_sample_size
    note = "; ".join(filter(None, (notes[1], evaluation.log_evidence.trust)))
    return [
        ComparisonRow(data, "ELBO", evaluation.elbo, None, seconds, notes[0]),
        ComparisonRow(data, name, evaluation.log_evidence, size, seconds, note),
    ]


def _annealed(data: str, measured: AnnealedEvidence, seconds: float) -> ComparisonRow:
    """The row of an `AnnealedEvidence`."""
    name, note = f"AIS from the {measured.annealing.start}", f"acceptance {measured.acceptance:.2f}"
    return ComparisonRow(data, name, measured.log_evidence, measured.effective_sample_size, seconds, note)


def _sides(bounds: EvidenceBounds) -> list[ComparisonRow]:
    """The rows of an `EvidenceBounds`."""
    notes = []
    for name in ("elbo", "log_evidence"):
        low, high = bounds.shortfall(name)
        notes.append(f"below log p(x) by {rounded(low.value, low.error)} to {rounded(high.value, high.error)}")
    walks, draws = bounds.seconds
    name, note = "the same backwards, upper bound", f"gap {bounds.gap}"
    upper = bounds.upper
    return [
        *_sampled("simulated", bounds.evaluation, draws, notes),
        _annealed("simulated", bounds.lower, walks),
        ComparisonRow("simulated", name, upper.log_evidence, upper.effective_sample_size, walks, note),
    ]
