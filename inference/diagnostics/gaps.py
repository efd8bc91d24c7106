"""The inference gap and its two parts: the cost of the guide's family, and the cost of amortisation."""

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_number, check_positive
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.inference.diagnostics.refine import Refined
from pyrovae.inference.evidence.estimates import Estimate, EvidenceEstimate, Sums, summary
from pyrovae.inference.objectives import ELBO
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, chunk_sizes, frozen, portions
from pyrovae.inference.pair.tails import FEWEST
from pyrovae.inference.pair.tracing import innermost, sites
from pyrovae.inference.training.svi import SVI

__all__ = ["STAGES", "InferenceGaps", "gaps", "gaps_on"]

STAGES = 10  # steps of the learning rate, which falls to 0 along half a cosine


@dataclass(frozen=True, repr=False)
class InferenceGaps(Shown):
    """log p(x) - ELBO = approximation + amortisation, in nats per data point, with the Monte Carlo errors of the draws.

    Let q* be the guide refined for each data point. approximation = log p(x) - ELBO(q*) = KL(q* || p(z | x)) is the
    cost of the guide's family, and amortisation = ELBO(q*) - ELBO(q) is the cost of one network for all data points.

    Attributes:
        inference: log p(x) - ELBO(q).
        approximation, amortisation: its parts. What the optimisation leaves undone counts as approximation.
        log_evidence: the importance-sampled estimate of log p(x) with q*, a lower bound in expectation, with its bias.
            That bias is part of `inference` and `approximation`, which are too low by as much, and which have its
            interval and flag too.
        elbo: the ELBO of the guide.
        refined: the ELBO of q*.
        rise: how much the ELBO of q* rose in the last fifth of the steps; near 0 if they sufficed.
        rate: the rate of the guide, the scale to judge the gaps by.
        family: in words, which parameters were free.
        num_samples: draws per data point.
        per_datum: `inference`, `approximation`, `amortisation`, `log_evidence`, `elbo`, `refined`, `rate`, and
            `*_error` of each; from 21 draws on, `khat` of the weights of q* and `log_evidence_bias` with its error; all
            `(N,)`.
    """

    inference: EvidenceEstimate
    approximation: EvidenceEstimate
    amortisation: Estimate
    log_evidence: EvidenceEstimate
    elbo: Estimate
    refined: Estimate
    rise: float
    rate: Estimate
    family: str
    num_samples: int
    per_datum: dict[str, Tensor]

    def cells(self) -> Cells:
        names = ("elbo", "refined", "inference", "approximation", "amortisation")
        after = [f"nats per data point, {self.num_samples} draws; free for each data point: {self.family}"]
        beside = [(f"  {name}", f"{number}, {words}") for name, number, words in self.log_evidence.notes]
        rows = [(name, str(Estimate(*getattr(self, name)))) for name in names]
        return Cells([("log_evidence", str(self.log_evidence)), *beside, *rows], after=after, words=(0, 1))


def gaps(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_steps: int = 500,
    lr: float = 0.02,
    num_particles: int = 8,
    num_samples: int = 1000,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool = False,
    progress: bool = False,
) -> InferenceGaps:
    """Refine the guide for each data point by Adam on its ELBO, and split log p(x) - ELBO.

    The weights of model and guide do not change. A random transform (`Binarize("dynamic")`) is drawn once.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        num_steps: steps of Adam, each on all data points of a chunk.
        lr: the initial learning rate, which falls to 0.
        num_particles: draws per data point in a step.
        num_samples: draws per data point for the estimates.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the draws; the global random state is left alone.
        compile: replay the steps as compiled graphs, which pays for large networks.
        progress: show a bar over the steps.

    Raises:
        SettingError: fewer than 10 steps or 2 draws, or a learning rate that is not positive.
        PairError: no data; a latent outside the plate "data"; a point mass; a guide
            that draws labels or anything else without a pathwise gradient; a distribution whose parameters cannot be
            freed.

    References: Cremer et al. (2018), Inference suboptimality in variational autoencoders, arXiv:1801.03558.
    """
    with on_data("gaps", model, guide, data, transform, memory=memory, seed=seed) as pair:
        return gaps_on(pair, num_steps, lr, num_particles, num_samples, compile=compile, progress=progress)


def gaps_on(
    pair: PairOnData,
    num_steps: int = 500,
    lr: float = 0.02,
    num_particles: int = 8,
    num_samples: int = 1000,
    *,
    compile: bool = False,
    progress: bool = False,
) -> InferenceGaps:
    """`gaps` of a pair that is open on its data.

    Args:
        pair: the pair on N data points.
        num_steps: steps of Adam, each on all data points of a chunk.
        lr: the initial learning rate, which falls to 0.
        num_particles: draws per data point in a step.
        num_samples: draws per data point for the estimates.
        compile: replay the steps as compiled graphs.
        progress: show a bar over the steps.

    Raises:
        SettingError, PairError: as `gaps`.
    """
    check_count("num_steps", num_steps, STAGES, write=500)
    check_positive("lr", check_number("lr", lr, 0, 10, write=0.02), write=0.02)
    check_count("num_particles", num_particles, write=8)
    check_count("num_samples", num_samples, 2, write=1000)
    pair.require_weights()
    rows, _ = chunk_sizes(pair.first, 4 * num_particles, pair.memory)  # a step also keeps what its gradient needs
    total, fifth = num_steps * -(-pair.size // rows), num_steps // 5
    parts, rise = [], 0.0
    with frozen(pair.model, pair.guide), progress_bar(progress, total, "step") as bar:
        for _, batch in pair.batches(rows):
            refined = Refined(pair.guide, batch)
            elbos = _refine(pair, refined, batch, num_steps, lr, num_particles, compile, bar)
            last, before = elbos[-fifth:].mean(), elbos[-2 * fifth : -fifth].mean()
            rise += (last - before).item() * batch_size(batch) / pair.size
            parts.append(_compare(pair, refined, batch, num_samples))
    per_datum = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return _result(per_datum, rise, _family(pair), num_samples)


def _refine(
    pair: PairOnData,
    refined: Refined,
    batch: Batch,
    num_steps: int,
    lr: float,
    num_particles: int,
    compile: bool,
    bar: Any,
) -> Tensor:
    """The ELBO of each step, the mean over the batch."""
    adam = torch.optim.Adam(refined.parameters(), lr=lr)
    svi = SVI(pair.model, refined, adam, ELBO(num_particles), compile=compile)
    losses = []
    for number, stage in enumerate(torch.arange(num_steps).tensor_split(STAGES)):
        adam.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * (number + 0.5) / STAGES)) / 2
        everything = torch.arange(batch_size(batch), device=pair.device).expand(len(stage), -1)
        losses.append(svi.steps(dict(batch), len(stage), order=everything))
        bar.update(len(stage))
    return -torch.cat(losses).double() / batch_size(batch)


def _compare(pair: PairOnData, refined: Refined, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    """The ELBOs of the guide and of the refined one, log p(x), and the gaps, `(B,)` each."""
    theirs, ours = (_sums(pair, guide, batch, num_samples) for guide in (pair.guide, refined))
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
    values |= {f"{name}_error": error.cpu() for name, (_, error) in parts.items()}
    return values | {name: ours[name].cpu() for name in ours if name == "khat" or "_bias" in name}


def _difference(a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return a[0] - b[0], (a[1].square() + b[1].square()).sqrt()


def _sums(pair: PairOnData, guide: ProgramLike, batch: Batch, num_samples: int) -> dict[str, Tensor]:
    _, draws = chunk_sizes(pair.first, max(1, num_samples // 8), pair.memory // batch_size(batch))
    tail_of = num_samples if num_samples >= FEWEST else 0
    parts = (Sums.of(pair.score(batch, n, guide).terms, tail_of=tail_of) for n in portions(num_samples, draws))
    sums = reduce(Sums.merge, parts)
    return sums.per_datum() | sums.by_tail()


def _family(pair: PairOnData) -> str:
    kinds = {n: type(innermost(s["fn"])).__name__.lstrip("_") for n, s in sites(pair.traces.guide).items()}
    free = ", ".join(f"the parameters of '{name}' ({kind})" for name, kind in kinds.items())
    return free + ("; each given the draws before it" if len(kinds) > 1 else "")


def _result(per_datum: dict[str, Tensor], rise: float, family: str, num_samples: int) -> InferenceGaps:
    estimates: dict[str, Any] = {name: summary(per_datum, name) for name in ("amortisation", "elbo", "refined", "rate")}
    for name in ("log_evidence", "inference", "approximation"):  # these hold log p(x), and so its bias
        mine = {"log_evidence": per_datum[name], "log_evidence_error": per_datum[f"{name}_error"]}
        estimates[name] = EvidenceEstimate.of(per_datum | mine, num_samples)
    return InferenceGaps(**estimates, rise=rise, family=family, num_samples=num_samples, per_datum=per_datum)
