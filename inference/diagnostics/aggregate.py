"""The aggregate posterior q(z) = 1/N sum_n q(z | x_n): what codes say of their data, how near it is to the prior."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.evidence.estimates import Estimate
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call
from pyrovae.inference.pair.handlers import ChangeDraws
from pyrovae.inference.pair.on_data import PairOnData, on_data
from pyrovae.inference.pair.running import MEMORY
from pyrovae.inference.pair.scoring import run_pair, scores, terms_of
from pyrovae.inference.pair.tracing import PairTrace, sites
from pyrovae.numeric import wide

__all__ = ["Aggregate", "aggregate_posterior"]


@dataclass(frozen=True)
class Aggregate:
    """E_x KL(q(z | x) || p(z)) = I_q(x; z) + KL(q(z) || p(z)), z being all latents of a datum; in nats.

    Attributes:
        mutual_information: I_q(x; z). For the N data as the population it is unbiased, and at most log N; for the
            distribution that they come from it is biased downwards, and says little within a nat of log N.
        marginal_kl: KL(q(z) || p(z)), biased upwards by as much; None where each datum has a prior of its own.
        size: N.
        absent: why there is no marginal_kl.
    """

    mutual_information: Estimate
    marginal_kl: Estimate | None
    size: int
    absent: dict[str, str]


def aggregate_posterior(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 500,
    transform: Any = None,
    memory: int = MEMORY,
    seed: int = 0,
) -> Aggregate:
    """Mutual information and marginal KL of the aggregate posterior over the N data.

    I_q(x; z) = E_n E_{q(z | x_n)} [log q(z | x_n) - log 1/N sum_m q(z | x_m)], with `num_samples`
    draws, of as many data or of each in turn, and all N data in the sum: num_samples x N densities.

    Raises:
        PairError: no data; a latent of all data; a guide with a point mass or with auxiliary draws.

    References: Hoffman & Johnson (2016), ELBO surgery: yet another way to carve up the variational evidence lower
    bound.
    """
    with on_data("aggregate_posterior", model, guide, data, transform, memory=memory, seed=seed) as subject:
        return _measure(subject, num_samples)


def _measure(subject: PairOnData, num_samples: int) -> Aggregate:
    subject.require_weights()
    auxiliary = set(sites(subject.traces.guide)) - set(subject.traces.latent())
    if auxiliary:
        raise PairError(f"the guide's auxiliary draw '{min(auxiliary)}' leaves q(z | x) without a closed form.")
    turns = -(-num_samples // subject.size)
    chosen = torch.cat([torch.randperm(subject.size) for _ in range(turns)])[:num_samples]
    values, log_prior = _draw(subject, chosen)
    log_guide = _densities(subject, values, len(chosen))  # (K, N), of the draw for a chosen datum under each datum
    own = log_guide.gather(1, chosen.unsqueeze(1))[:, 0]
    log_aggregate = log_guide.logsumexp(1) - math.log(subject.size)
    reason = _own_priors(subject, values)
    return Aggregate(
        mutual_information=_estimate(own - log_aggregate),
        marginal_kl=None if reason else _estimate(log_aggregate - log_prior),
        size=subject.size,
        absent={"marginal KL": reason} if reason else {},
    )


def _estimate(parts: Tensor) -> Estimate:
    return Estimate(parts.mean().item(), (parts.std(correction=0) / max(len(parts) - 1, 1) ** 0.5).item())


def _draw(subject: PairOnData, chosen: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A draw for each chosen datum, `(K, *inner plates, 1, *event)` by site, and its log p(z), `(K,)`."""
    rows = max(1, subject.memory // (64 * 1024))
    parts: dict[str, list[Tensor]] = {}
    log_prior = []
    for start in range(0, len(chosen), rows):
        mine = chosen[start : start + rows]
        batch = subject.transform({n: t[mine.to(t.device)].to(subject.device) for n, t in subject.data.items()})
        pair, terms = subject.score(batch, 1)
        log_prior.append(wide(terms.log_prior)[0].cpu())
        for name, (inner, _) in pair.latent().items():
            parts.setdefault(name, []).append(_data_first(inner, subject.layout.depth))
    return {name: torch.cat(part) for name, part in parts.items()}, torch.cat(log_prior)


def _data_first(site: Site, depth: int) -> Tensor:
    """`(*inner plates, B, *event)` as `(B, *inner plates, 1, *event)`."""
    value = site["value"]
    batch = value.dim() - site["fn"].event_dim
    value = value.reshape((1,) * (depth - batch) + value.shape)
    return value.movedim(depth - 1, 0).unsqueeze(depth)


def _densities(subject: PairOnData, values: dict[str, Tensor], count: int) -> Tensor:
    """log q(z_k | x_n) of K draws under all N data, `(K, N)`."""
    widest = max(value[0].numel() for value in values.values())
    rows = max(1, subject.memory // (64 * count * max(widest, 16)))
    result = torch.empty(count, subject.size, dtype=torch.float64)
    for where, batch in subject.batches(rows):
        pair = _under(subject, values, lambda: None, batch)
        shape = count, batch_size(batch)
        parts = scores(pair.guide, shape, subject.layout.depth, subject.size).values()
        result[:, where] = wide(torch.stack(list(parts)).sum(0)).cpu()
    return result


def _own_priors(subject: PairOnData, values: dict[str, Tensor]) -> str:
    """Why p(z) is not one for all data, if it is not: the same draw has another density under another datum."""
    batch = next(batch for _, batch in subject.batches(64))
    one = {name: value[:1] for name, value in values.items()}
    pair = _under(subject, one, partial(call, subject.model, batch, data_size=subject.size), batch)
    terms = terms_of(pair, (1, batch_size(batch)), subject.layout.depth, subject.size)
    same = torch.allclose(terms.log_prior, terms.log_prior[:, :1], rtol=1e-4, atol=1e-4)
    return "" if same else "each datum has a prior of its own, by what the model conditions on"


def _under(subject: PairOnData, values: dict[str, Tensor], model: Callable[[], Any], batch: Batch) -> PairTrace:
    """A run on a batch in which each datum has all K draws, values `(K, *inner plates, 1, *event)`."""
    depth, count = subject.layout.depth, len(next(iter(values.values())))

    def draw(site: Site) -> Tensor:
        value = values[site["name"]]
        value = value.expand(*value.shape[:depth], batch_size(batch), *value.shape[depth + 1 :])
        return value if count > 1 else value.reshape(value.shape[-site["value"].dim() :])  # no plates but its own

    guide = partial(call, subject.guide, batch, data_size=subject.size)
    return run_pair(model, guide, count, depth, in_guide=ChangeDraws(draw))
