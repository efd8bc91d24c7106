"""The inference gap, split: what the family of the guide costs, and what amortising it costs."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.diagnostics.refine import Refined
from pyrovae.inference.evidence.estimates import Estimate, Sums, summary
from pyrovae.inference.objectives import ELBO
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.running import MEMORY, chunk_sizes, frozen, portions
from pyrovae.inference.pair.tracing import innermost, sites
from pyrovae.inference.training.svi import SVI

__all__ = ["Gaps", "gaps"]

STAGES = 10  # of the learning rate, which falls to 0 along half a cosine


@dataclass(frozen=True)
class Gaps:
    """log p(x) - ELBO = approximation + amortisation, in nats per datum; errors are of the draws.

    With q* the guide refined for each datum, approximation = log p(x) - ELBO(q*) = KL(q* || p(z | x)), what the family
    cannot do; amortisation = ELBO(q*) - ELBO(q), what one network for all data cannot do.

    Attributes:
        log_evidence: of importance sampling with q*, an estimate of log p(x) from below.
        elbo: of the guide.
        refined: the ELBO of q*. What the optimisation leaves undone counts as approximation.
        rise: by how much the ELBO of q* rose in the last fifth of the steps; near 0 when they sufficed.
        rate: of the guide, the scale on which the gaps are seen.
        family: in words, what was free.
        per_datum: `inference`, `approximation`, `amortisation`, `log_evidence`, `elbo`, `refined`, and `*_error` of
            each, all `(N,)`.
    """

    inference: Estimate
    approximation: Estimate
    amortisation: Estimate
    log_evidence: Estimate
    elbo: Estimate
    refined: Estimate
    rise: float
    rate: Estimate
    family: str
    num_samples: int
    per_datum: dict[str, Tensor]

    def __str__(self) -> str:
        names = ("log_evidence", "elbo", "refined", "inference", "approximation", "amortisation")
        rows = "\n".join(f"{name:<14}{getattr(self, name)}" for name in names)
        return f"{rows}\nnats per datum, {self.num_samples} draws; free for each datum: {self.family}"


def gaps(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_steps: int = 500,
    lr: float = 0.02,
    num_particles: int = 8,
    num_samples: int = 1000,
    transform: Any = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool = False,
) -> Gaps:
    """Refine the guide for each datum by Adam on its ELBO, and split log p(x) - ELBO.

    The weights of model and guide stay as they are. A random transform (`Binarize("dynamic")`) is drawn once.

    Args:
        num_steps: of Adam, all data at once; the learning rate falls from `lr` to 0.
        num_particles: draws per datum in a step.
        num_samples: draws per datum of the estimates.
        compile: replay the steps as compiled graphs, which pays for large networks.

    Raises:
        PairError: no data, a latent of all data, a point mass, a guide that draws labels or anything else without a
            pathwise gradient, a distribution whose parameters cannot be freed.

    References: Cremer et al. (2018), Inference suboptimality in variational autoencoders, arXiv:1801.03558.
    """
    if num_steps < STAGES or num_samples < 2:
        raise PairError(f"gaps wants num_steps >= {STAGES}, num_samples >= 2, got {num_steps} and {num_samples}.")
    with on_data("gaps", model, guide, data, transform, memory=memory, seed=seed) as subject, frozen(model, guide):
        subject.require_weights()
        rows, _ = chunk_sizes(subject.first, 4 * num_particles, memory)  # a step keeps its way back
        parts, rise = [], 0.0
        for _, batch in subject.batches(rows):
            refined = Refined(guide, batch)
            elbos = _refine(subject, refined, batch, num_steps, lr, num_particles, compile)
            fifth = num_steps // 5
            last, before = elbos[-fifth:].mean(), elbos[-2 * fifth : -fifth].mean()
            rise += (last - before).item() * batch_size(batch) / subject.size
            parts.append(_compare(subject, refined, batch, num_samples))
        per_datum = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        return _result(per_datum, rise, _family(subject), num_samples)


def _refine(
    subject: PairOnData, refined: Refined, batch: Batch, num_steps: int, lr: float, particles: int, compile: bool
) -> Tensor:
    """The ELBO of each step, the mean over the batch."""
    adam = torch.optim.Adam(refined.parameters(), lr=lr)
    svi = SVI(subject.model, refined, adam, ELBO(particles), compile=compile)
    stages = torch.arange(num_steps).tensor_split(STAGES)
    losses = []
    for number, stage in enumerate(stages):
        adam.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * (number + 0.5) / STAGES)) / 2
        everything = torch.arange(batch_size(batch), device=subject.device).expand(len(stage), -1)
        losses.append(svi.run(dict(batch), len(stage), order=everything))
    return -torch.cat(losses).double() / batch_size(batch)


def _compare(subject: PairOnData, refined: Refined, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    """Per datum: the ELBOs of the guide and of the refined one, log p(x), and the gaps."""
    theirs, ours = (_sums(subject, guide, batch, num_samples) for guide in (subject.guide, refined))
    parts = {
        "elbo": (theirs["elbo"], theirs["elbo_error"]),
        "refined": (ours["elbo"], ours["elbo_error"]),
        "log_evidence": (ours["log_evidence"], ours["log_evidence_error"]),
        "rate": (theirs["rate"], theirs["rate_error"]),
    }
    parts["inference"] = _difference(parts["log_evidence"], parts["elbo"])
    parts["approximation"] = _difference(parts["log_evidence"], parts["refined"])
    parts["amortisation"] = _difference(parts["refined"], parts["elbo"])
    values = {name: value.cpu() for name, (value, _) in parts.items()}
    return values | {f"{name}_error": error.cpu() for name, (_, error) in parts.items()}


def _difference(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return a[0] - b[0], (a[1].square() + b[1].square()).sqrt()


def _sums(subject: PairOnData, guide: ProgramLike, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    _, draws = chunk_sizes(subject.first, max(1, num_samples // 8), subject.memory // batch_size(batch))
    parts = (Sums.of(subject.score(batch, n, guide).terms) for n in portions(num_samples, draws))
    return reduce(Sums.merge, parts).per_datum(num_samples)


def _family(subject: PairOnData) -> str:
    kinds = {n: type(innermost(s["fn"])).__name__.lstrip("_") for n, s in sites(subject.traces.guide).items()}
    free = ", ".join(f"the parameters of '{name}' ({kind})" for name, kind in kinds.items())
    return free + ("; each given the draws before it" if len(kinds) > 1 else "")


def _result(per_datum: dict[str, Tensor], rise: float, family: str, num_samples: int) -> Gaps:
    names = ("inference", "approximation", "amortisation", "log_evidence", "elbo", "refined", "rate")
    estimates = {name: summary(per_datum, name) for name in names}
    return Gaps(**estimates, rise=rise, family=family, num_samples=num_samples, per_datum=per_datum)
