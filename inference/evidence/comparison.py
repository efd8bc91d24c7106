"""Comparison."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import PairError
from pyrovae.inference.evidence.annealing import Annealed, Annealing, annealed, effective_sample_size_of
from pyrovae.inference.evidence.estimates import Estimate, Evaluation, evaluate
from pyrovae.inference.evidence.sandwich import Sandwich, sandwich
from pyrovae.inference.pair.contract import ProgramLike, batch_size, takes
from pyrovae.inference.pair.running import device_of, evaluating, seeded, unchanged
from pyrovae.inference.pair.tracing import trace_pair

__all__ = ["Comparison", "Row", "compare_evidence"]


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
    model: ProgramLike,
    guide: ProgramLike,
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


def _conditions(model: ProgramLike, guide: ProgramLike, batch: Batch) -> Batch:
    """What the model is given of a batch and does not observe."""
    with evaluating(model, guide), seeded(0, device_of(model, guide)):
        first = {name: tensor[:2] for name, tensor in batch.items()}
        observed = trace_pair(model, guide, first, data_size=batch_size(batch)).observed()
    return {name: tensor for name, tensor in batch.items() if takes(model, name) and name not in observed}


def _sampled(data: str, evaluation: Evaluation, seconds: float, notes: Sequence[str] = ("", "")) -> list[Row]:
    """The rows of an `Evaluation`."""
    count = evaluation.num_samples
    ess = effective_sample_size_of(evaluation.per_datum["log_evidence_error"], count).mean().item()
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
