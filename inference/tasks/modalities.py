"""Pairs of several modalities: the evidence of each subset, and one modality given others.

With z_s ~ q(z | x_S) and w_s = p(x_S, z_s) / q(z_s | x_S), the mean of w estimates p(x_S), and the draws weighted by
w_s / sum w represent p(z | x_S). So p(x_m | x_S) is the mixture of p(x_m | z_s) with these weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.checks import check_count, check_name
from pyrovae.data import Batch, Scale, every_subset
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.evidence.estimate import EvidenceEstimate
from pyrovae.inference.evidence.estimates import Evaluation, evaluate
from pyrovae.inference.latent.codes import decode
from pyrovae.inference.pair.contract import ProgramLike, call
from pyrovae.inference.pair.on_data import PairOnData, ScoredDraws, on_data
from pyrovae.inference.pair.running import MEMORY, Transform
from pyrovae.inference.pair.scoring import samples_plate
from pyrovae.inference.pair.tracing import innermost, sites
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.numeric import wide

__all__ = ["SubsetEvidence", "draw_modality", "predict_modality", "subset_evidence"]

Subset = tuple[str, ...]
"""The names of some modalities, in the order of the data."""


@dataclass(frozen=True, repr=False)
class SubsetEvidence(Shown):
    """What `subset_evidence` found, in nats per data point; print it for a table.

    Attributes:
        evaluations: the estimates of log p(x_S), its bound and its rate, by the subset S.
    """

    evaluations: dict[Subset, Evaluation]

    def conditional(self, target: Sequence[str], given: Sequence[str]) -> EvidenceEstimate:
        """log p(x_T | x_S) = log p(x_S, x_T) - log p(x_S); the error assumes that both have draws of their own.

        Its bias is the difference of theirs, so it may have either sign. It has no interval where one of them has none.

        Args:
            target: the modalities T.
            given: the modalities S.

        Raises:
            PairError: one of the two subsets was not evaluated.
        """
        joint, alone = (self._of(subset).log_evidence for subset in ({*target, *given}, {*given}))
        return joint.minus(alone)

    def _of(self, subset: set[str]) -> Evaluation:
        found = next((one for names, one in self.evaluations.items() if set(names) == subset), None)
        if found is None:
            known = ", ".join(map(_text, self.evaluations))
            raise PairError(
                f"No evidence of {_text(sorted(subset))}: the subsets are {known}. Add it to subsets=[...]."
            )
        return found

    def cells(self) -> Cells:
        rows = [
            (_text(subset), str(one.elbo), str(one.rate), str(one.log_evidence))
            for subset, one in self.evaluations.items()
        ]
        return Cells(rows, head=("modalities", "elbo", "rate", "log_evidence"), after=["nats per data point"])


def _text(subset: Sequence[str]) -> str:
    return " + ".join(subset)


def subset_evidence(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    subsets: Sequence[Sequence[str]] | None = None,
    num_samples: int = 100,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> SubsetEvidence:
    """`evaluate` on each subset of the modalities: log p(x_S) with draws of q(z | x_S), as if the others were missing.

    Args:
        model, guide: a pair whose programs leave out a modality that they are not given, such as
            `models.MultimodalVAE` and `guides.ExpertsGuide`.
        data: named tensors of N data points.
        subsets: the subsets; by default all that are not empty, of the model's observed sites.
        num_samples: the draws of each data point.
        transform: what training applied to a batch, without `Subsets`; `pyrovae.data.Scale()` if None.
        memory, seed, compile, progress: as in `evaluate`.

    Raises:
        PairError: a subset is empty or names no observed site; or as in `evaluate`.
        DataError, NonFiniteError, SettingError, SupportError: as in `evaluate`.

    References: Wu & Goodman (2018), arXiv:1802.05335, section 4.2.
    """
    check_count("num_samples", num_samples, write=100)
    with on_data("subset_evidence", model, guide, data, transform, memory=memory, seed=seed, single=True) as pair:
        names = [name for name in pair.traces.observed() if name in pair.first]
    chosen = every_subset(names) if subsets is None else [_known(names, subset) for subset in subsets]
    options: dict[str, Any] = {"memory": memory, "seed": seed, "compile": compile, "progress": progress}
    found = {}
    for subset in chosen:
        shown = _Shown(transform or Scale(), tuple(name for name in names if name not in subset))
        found[subset] = evaluate(model, guide, data, num_samples=num_samples, transform=shown, **options)
    return SubsetEvidence(found)


def _known(names: Sequence[str], subset: Sequence[str]) -> Subset:
    """A subset in the order of the names."""
    if not subset or not set(subset) <= set(names):
        raise PairError(
            f"subset_evidence requires subsets of {', '.join(names)} that are not empty, got {tuple(subset)}. Write "
            f"subsets=[({names[0]!r},)]."
        )
    return tuple(name for name in names if name in subset)


@dataclass(frozen=True)
class _Shown:
    """A transform, after which some tensors are hidden."""

    transform: Any
    hidden: Subset

    def prepare(self, batch: Batch) -> Batch:
        prepare = getattr(self.transform, "prepare", None)
        return batch if prepare is None else prepare(batch)

    def __call__(self, batch: Batch) -> Batch:
        return {name: tensor for name, tensor in self.transform(batch).items() if name not in self.hidden}


# ------------------------------------------------------------------------------------- one modality given others


def predict_modality(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    site: str,
    *,
    num_samples: int = 100,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Tensor:
    """E[x_m | x_S] of a modality m that the data do not have, `(N, *event)`; p(y | x_S) of a label y, `(N, K)`.

    It is estimated by self-normalised importance sampling: sum_s w_s E[x_m | z_s] / sum_s w_s.

    Args:
        model, guide: a pair whose programs leave out a modality that they are not given.
        data: named tensors of N data points: the modalities S, without `site`.
        site: the name of m.
        num_samples: S, the draws of each data point.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of all draws; the global random state is left alone.

    Raises:
        PairError: the data hold the modality, or the model has no such site.
        SettingError: `num_samples` is below 1.
    """
    site, num_samples = _missing("predict_modality", data, site), check_count("num_samples", num_samples, write=100)
    with on_data("predict_modality", model, guide, data, transform, memory=memory, seed=seed) as pair:
        pair.require_independent()
        parts = [
            reduce(_Mean.merge, (_Mean.of(pair, scored, site) for scored in scored_draws)).value
            for _, scored_draws in pair.chunks(num_samples)
        ]
    return torch.cat(parts)


def draw_modality(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    site: str,
    num_samples: int = 100,
    *,
    corrected: bool = True,
    mean: bool = False,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Tensor:
    """Draws of a modality given others: z_s ~ p(z | x_S) by its weights, then x_m ~ p(x_m | z_s), `(S, N, *event)`.

    Args:
        model, guide, data, site, transform, memory, seed: as in `predict_modality`.
        num_samples: S.
        corrected: whether to choose z from 10 S draws of the guide, in proportion to their weights; otherwise
            z_s ~ q(z | x_S).
        mean: whether to return the mean of p(x_m | z_s) in place of a draw of it.

    Raises:
        PairError: as in `predict_modality`.
        SettingError: `num_samples` is below 1.
    """
    site = _missing("draw_modality", data, site)
    draws = posterior(
        model,
        guide,
        data,
        num_samples,
        corrected=corrected,
        log_weights=False,
        transform=transform,
        memory=memory,
        seed=seed,
    )
    codes = {name: values.flatten(0, 1) for name, values in draws.latents.items()}
    drawn = decode(model, codes, site=site, mean=mean, seed=seed)
    return drawn.unflatten(0, (num_samples, -1))


def _missing(what: str, data: Batch, site: str) -> str:
    if check_name("site", site) in data:
        raise PairError(
            f"{what} requires data without '{site}', which it infers, got {', '.join(map(repr, data))}. Write "
            f"{{name: tensor for name, tensor in data.items() if name != {site!r}}}."
        )
    return site


class _Mean(NamedTuple):
    """The weighted mean of a chunk of draws: the sums of the weights, and the mean of each data point, `(B, *)`."""

    weights: WeightSums
    value: Tensor

    @classmethod
    def of(cls, pair: PairOnData, scored: ScoredDraws, site: str) -> "_Mean":
        log_weight = wide(scored.terms.log_weight)
        weights = WeightSums.of(log_weight)
        given = _statistic(_distribution(pair, scored, site))
        share = (log_weight - weights.log_sum).exp().to(given.dtype)
        given = given if len(share) > 1 else given.unsqueeze(0)  # a single draw has no dimension of draws
        return cls(weights, torch.einsum("sb,sb...->b...", share, given))

    def merge(self, other: "_Mean") -> "_Mean":
        weights = self.weights.merge(other.weights)
        share = (self.weights.log_sum - weights.log_sum).exp().to(self.value.dtype)
        share = share.reshape(-1, *[1] * (self.value.dim() - 1))
        return _Mean(weights, other.value + share * (self.value - other.value))


def _distribution(pair: PairOnData, scored: ScoredDraws, site: str) -> TorchDistribution:
    """p(x_site | z_s) for the draws of a chunk."""
    samples, size = scored.terms.log_weight.shape
    replayed = poutine.replay(trace=scored.pair.guide)
    with samples_plate(samples, pair.layout.depth), poutine.trace() as tracer, replayed:
        call(pair.model, {}, size=size, data_size=pair.size)
    found = sites(tracer.trace)
    if site not in found:
        raise PairError(f"The model has no site '{site}'; it has {', '.join(map(repr, found))}. Pass one of them.")
    return found[site]["fn"]


def _statistic(fn: TorchDistribution) -> Tensor:
    """The mean of each entry, or the probabilities of a category."""
    return innermost(fn).probs if isinstance(innermost(fn), dist.Categorical) else fn.mean
