"""The aggregate posterior q(z) = 1/N sum_n q(z | x_n): its mutual information with x, and its KL to the prior."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError
from pyrovae.inference.evidence.estimates import Estimate
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform
from pyrovae.inference.pair.scoring import run_pair, scores, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites
from pyrovae.numeric import wide

__all__ = ["AggregatePosterior", "aggregate_posterior", "aggregate_posterior_on"]


@dataclass(frozen=True, repr=False)
class AggregatePosterior(Shown):
    """E_x KL(q(z | x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)), in nats; z are all latents of a data point.

    Attributes:
        mutual_information: I_q(x; z). It is unbiased for the N data points as the population, and at most log N. For
            the distribution that they come from it is biased downwards; within a nat of log N it is only a lower bound.
        marginal_kl: KL(q(z) || p(z)), biased upwards by the same amount; None where each data point has its own prior.
        size: N.
        absent: why there is no marginal_kl, by name.
    """

    mutual_information: Estimate
    marginal_kl: Estimate | None
    size: int
    absent: dict[str, str]

    def cells(self) -> Cells:
        rows = [("mutual information", f"{self.mutual_information}, at most log N = {math.log(self.size):.2f}")]
        rows += [("marginal KL", str(self.marginal_kl))] if self.marginal_kl else []
        rows += [(name, f"-, {reason}") for name, reason in self.absent.items()]
        return Cells(rows, after=[f"nats per data point, {self.size:,} data points"], words=(0, 1))


def aggregate_posterior(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 500,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> AggregatePosterior:
    """Mutual information and marginal KL of the aggregate posterior over N data points.

    I_q(x; z) = E_n E_{q(z | x_n)} [log q(z | x_n) - log 1/N sum_m q(z | x_m)]. Each draw comes from a data point chosen
    at random; no data point is chosen again before all others were. The sum runs over all N data points, so the cost is
    num_samples x N densities.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        num_samples: the number of draws.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar over the data points.

    Raises:
        SettingError: `num_samples` is below 1.
        PairError: no data; a latent outside the plate "data"; a guide with a point mass or with auxiliary draws.

    References: Hoffman & Johnson (2016), ELBO surgery: yet another way to carve up the variational evidence lower
    bound.
    """
    with on_data("aggregate_posterior", model, guide, data, transform, memory=memory, seed=seed) as pair:
        return aggregate_posterior_on(pair, num_samples, progress=progress)


def aggregate_posterior_on(pair: PairOnData, num_samples: int = 500, *, progress: bool = False) -> AggregatePosterior:
    """`aggregate_posterior` of a pair that is open on its data.

    Args:
        pair: the pair on N data points.
        num_samples: the number of draws.
        progress: show a bar over the data points.

    Raises:
        SettingError: `num_samples` is below 1.
        PairError: a latent outside the plate "data"; a guide with a point mass or with auxiliary draws.
    """
    pair.require_weights()
    auxiliary = set(sites(pair.traces.guide)) - set(pair.traces.latent())
    if auxiliary:
        raise PairError(f"the guide's auxiliary draw '{min(auxiliary)}' leaves q(z | x) without a closed form.")
    check_count("num_samples", num_samples, write=500)
    rounds = -(-num_samples // pair.size)
    chosen = torch.cat([torch.randperm(pair.size) for _ in range(rounds)])[:num_samples]
    values, log_prior = _draw(pair, chosen)
    log_guide = _densities(pair, values, len(chosen), progress)
    own = log_guide.gather(1, chosen.unsqueeze(1))[:, 0]
    log_aggregate = log_guide.logsumexp(1) - math.log(pair.size)
    reason = _own_priors(pair, values)
    return AggregatePosterior(
        mutual_information=_estimate(own - log_aggregate),
        marginal_kl=None if reason else _estimate(log_aggregate - log_prior),
        size=pair.size,
        absent={"marginal KL": reason} if reason else {},
    )


def _estimate(parts: Tensor) -> Estimate:
    return Estimate(parts.mean().item(), (parts.std(correction=0) / max(len(parts) - 1, 1) ** 0.5).item())


def _draw(pair: PairOnData, chosen: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A draw for each chosen data point, `(K, *inner plates, 1, *event)` by site, and its log p(z), `(K,)`."""
    rows = max(1, pair.memory // (64 * 1024))
    parts: dict[str, list[Tensor]] = {}
    log_prior = []
    for start in range(0, len(chosen), rows):
        drawn, terms = pair.score(pair.place(chosen[start : start + rows]), 1)
        log_prior.append(wide(terms.log_prior)[0].cpu())
        for name, (inner, _) in drawn.latent().items():
            parts.setdefault(name, []).append(_data_first(inner, pair.layout.depth))
    return {name: torch.cat(part) for name, part in parts.items()}, torch.cat(log_prior)


def _data_first(site: Site, depth: int) -> Tensor:
    """`(*inner plates, B, *event)` as `(B, *inner plates, 1, *event)`."""
    value = site["value"]
    batch = value.dim() - site["fn"].event_dim
    value = value.reshape((1,) * (depth - batch) + value.shape)
    return value.movedim(depth - 1, 0).unsqueeze(depth)


def _densities(pair: PairOnData, values: dict[str, Tensor], count: int, progress: bool) -> Tensor:
    """log q(z_k | x_n) of K draws for each of N data points, `(K, N)`."""
    widest = max(value[0].numel() for value in values.values())
    rows = max(1, pair.memory // (64 * count * max(widest, 16)))
    result = torch.empty(count, pair.size, dtype=torch.float64)
    with progress_bar(progress, pair.size, "data point") as bar:
        for where, batch in pair.batches(rows):
            scored = _under(pair, values, lambda: None, batch)
            shape = count, batch_size(batch)
            parts = scores(scored.guide, shape, pair.layout.depth, pair.size).values()
            result[:, where] = wide(torch.stack(list(parts)).sum(0)).cpu()
            bar.update(batch_size(batch))
    return result


def _own_priors(pair: PairOnData, values: dict[str, Tensor]) -> str:
    """Why no single p(z) holds for all data points; empty if one does.

    Each data point has its own prior if the same draw has another density for another data point.
    """
    batch = next(batch for _, batch in pair.batches(64))
    one = {name: value[:1] for name, value in values.items()}
    scored = _under(pair, one, partial(call, pair.model, batch, data_size=pair.size), batch)
    terms = terms_of(scored, (1, batch_size(batch)), pair.layout.depth, pair.size)
    same = torch.allclose(terms.log_prior, terms.log_prior[:, :1], rtol=1e-4, atol=1e-4)
    return "" if same else "each data point has its own prior, because the model conditions on part of the data"


def _under(pair: PairOnData, values: dict[str, Tensor], model: Callable[[], Any], batch: Batch) -> PairTrace:
    """A run on a batch in which each data point gets all K draws, values `(K, *inner plates, 1, *event)`."""
    depth, count = pair.layout.depth, len(next(iter(values.values())))

    def draw(site: Site) -> Tensor:
        value = values[site["name"]]
        value = value.expand(*value.shape[:depth], batch_size(batch), *value.shape[depth + 1 :])
        return value if count > 1 else value.reshape(value.shape[-site["value"].dim() :])  # without a plate of draws

    guide = partial(call, pair.guide, batch, data_size=pair.size)
    return run_pair(model, guide, count, depth, in_guide=ChangeDraws(draw))
