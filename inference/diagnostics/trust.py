"""How far a guide can be trusted: all that is cheap to measure, in one call and in words."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, TypeVar

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.diagnostics import verdicts
from pyrovae.inference.diagnostics.aggregate import Aggregate, aggregate_posterior
from pyrovae.inference.diagnostics.calibration import Calibration, calibration
from pyrovae.inference.diagnostics.gaps import Gaps, gaps
from pyrovae.inference.diagnostics.importance import effective_sample_size, psis_khat
from pyrovae.inference.diagnostics.latents import Latent, tallies
from pyrovae.inference.diagnostics.verdicts import Verdict
from pyrovae.inference.evidence.estimates import Sums
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.running import MEMORY

__all__ = ["Trust", "diagnose"]

T = TypeVar("T")


@dataclass(frozen=True)
class Trust:
    """What `diagnose` measured. Print it for the table of verdicts.

    Attributes:
        verdicts: name, value, error, verdict, good.
        absent: what has no meaning for this pair, or was not asked for, and why.
        per_datum: `khat`, `effective`, and what `evaluate` has (`elbo`, `rate`, `distortion`, `log_evidence`,
            `*_error`), `(N,)` each.
        latents: rates, moments, activity, correlation of each latent site.
        aggregate, calibration, gaps: the parts, None where absent.
        num_samples: draws per datum.
        size: N.
    """

    size: int
    num_samples: int
    verdicts: list[Verdict]
    absent: dict[str, str]
    per_datum: dict[str, Tensor]
    latents: dict[str, Latent]
    aggregate: Aggregate | None
    calibration: Calibration | None
    gaps: Gaps | None

    @property
    def good(self) -> bool:
        """Whether every verdict is."""
        return all(verdict.good for verdict in self.verdicts)

    def __getitem__(self, name: str) -> Verdict:
        """The verdict of that name."""
        return next(verdict for verdict in self.verdicts if verdict.name == name)

    def __str__(self) -> str:
        head = f"{self.size:,} data, {self.num_samples:,} draws each; ! marks what to look at"
        missing = [f"  {name:<24}{'-':>16}   {reason}" for name, reason in self.absent.items()]
        return "\n".join([head, *map(str, self.verdicts), *missing])


def diagnose(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 1000,
    simulations: int = 500,
    refine: int = 0,
    transform: Any = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Trust:
    """Importance weights, latent dimensions, aggregate posterior and calibration of any pair; on request its gaps.

    Args:
        data: named tensors of N data; a thousand show most.
        num_samples: draws per datum.
        simulations: data that the model simulates for calibration; 0 for none.
        refine: on how many of the data the guide is refined to split the inference gap, which takes longer; 0 for none.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).

    Raises:
        PairError: no data, or fewer than 21 draws.
        NonFiniteError: a log-weight is not finite.

    References: `psis_khat`, `Latent`, `aggregate_posterior`, `calibration` and `gaps` name theirs.
    """
    if num_samples < 21:
        raise PairError(f"diagnose wants num_samples >= 21, got {num_samples}. 1000 is a start.")
    absent: dict[str, str] = {}
    with on_data("diagnose", model, guide, data, transform, memory=memory, seed=seed) as subject:
        per_datum, latents = _draws(subject, num_samples, absent)
        given, size = _given(subject, simulations), subject.size

    def aggregated() -> Aggregate:
        return aggregate_posterior(model, guide, data, transform=transform, memory=memory, seed=seed)

    def calibrated() -> Calibration:
        if not simulations:
            raise PairError("not asked for (simulations=500)")
        return calibration(model, guide, simulations, given=given, memory=memory, seed=seed)

    def split() -> Gaps:
        if not refine:
            raise PairError("not asked for (refine=100)")
        few = {name: tensor[:refine] for name, tensor in data.items()}
        return gaps(model, guide, few, transform=transform, memory=memory, seed=seed, num_samples=num_samples)

    aggregate = _unless_refused(absent, "aggregate posterior", aggregated)
    ranks = _unless_refused(absent, "calibration", calibrated)
    parts = _unless_refused(absent, "gaps", split)
    found = verdicts.of_weights(per_datum["khat"], per_datum["effective"], num_samples) if per_datum else []
    for name, latent in latents.items():
        found += verdicts.of_latent(name, latent)
        absent |= {f"{what} of {name}": reason for what, reason in latent.absent.items()}
    if aggregate:
        found += verdicts.of_aggregate(aggregate)
        absent |= aggregate.absent
    found += [verdicts.of_calibration(ranks)] if ranks else []
    found += verdicts.of_gaps(parts) if parts else []
    return Trust(size, num_samples, found, absent, per_datum, latents, aggregate, ranks, parts)


def _unless_refused(absent: dict[str, str], name: str, part: Callable[[], T]) -> T | None:
    """The part, or None with the reason kept."""
    try:
        return part()
    except PairError as error:
        absent[name] = str(error)
        return None


def _draws(
    subject: PairOnData, num_samples: int, absent: dict[str, str]
) -> tuple[dict[str, Tensor], dict[str, Latent]]:
    """All that draws of the guide and their weights say, in one pass."""
    kept, others = tallies(subject)
    absent |= {f"latent {name}": reason for name, reason in others.items()}
    weighed = _unless_refused(absent, "weights", subject.require_weights)
    per_datum: dict[str, Tensor] = {}
    for where, chunks in subject.chunks(num_samples):
        sums, log_weights = [], []
        for chunk in chunks:
            sums.append(Sums.of(chunk.terms))
            log_weights.append(chunk.terms.log_weight)
            for tally in kept.values():
                tally.add(where, chunk)
        if weighed:
            log_weight = torch.cat(log_weights)
            parts = reduce(Sums.merge, sums).per_datum(num_samples)
            parts |= {"khat": psis_khat(log_weight), "effective": effective_sample_size(log_weight)}
            for name, part in parts.items():
                per_datum.setdefault(name, torch.empty(subject.size, dtype=part.dtype))[where] = part.cpu()
    return per_datum, {name: tally.result() for name, tally in kept.items()}


def _given(subject: PairOnData, count: int) -> Batch:
    """What the model conditions on, repeated or cut to `count` rows."""
    drawn = {*subject.traces.observed(), *subject.traces.latent(), *subject.traces.undrawn()}
    if not count or set(subject.data) <= drawn:
        return {}
    rows = torch.arange(count) % subject.size
    batch = subject.transform({n: t[rows.to(t.device)].to(subject.device) for n, t in subject.data.items()})
    return {name: tensor for name, tensor in batch.items() if name not in drawn}
