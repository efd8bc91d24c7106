"""Whether latent dimensions are the factors of variation, where those are known: MIG and the FactorVAE score.

The factors are labels of the data: further tensors of the batch, integers of shape `(N,)`.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.latent.codes import encode
from pyrovae.inference.pair.contract import ProgramLike, Site, call
from pyrovae.inference.pair.divergence import marginals
from pyrovae.inference.pair.running import ROWS, batches, device_of, evaluating, seeded, unchanged
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import sites
from pyrovae.numeric import wide

__all__ = ["FactorScore", "InformationGap", "factor_vae_score", "mutual_information_gap"]


class InformationGap(NamedTuple):
    """What `mutual_information_gap` measured.

    Attributes:
        value: the mean of the gaps, from 0 to 1.
        gaps: of each factor v, (the largest I(z_d; v) - the second largest) / H(v).
        information: of each factor v, I(z_d; v) in nats, `(D,)`.
        entropies: of each factor v, H(v) in nats.
    """

    value: float
    gaps: dict[str, float]
    information: dict[str, Tensor]
    entropies: dict[str, float]


class FactorScore(NamedTuple):
    """What `factor_vae_score` measured.

    Attributes:
        value: the accuracy, from 1 / K (chance) to 1.
        votes: how often dimension d varied least where factor k was fixed, `(D, K)`, in evaluation.
        active: which dimensions have not collapsed, `(D,)`.
    """

    value: float
    votes: Tensor
    active: Tensor


def mutual_information_gap(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    factors: Iterable[str],
    *,
    site: str = "z",
    bins: int | None = None,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
) -> InformationGap:
    """MIG: of each factor v, the gap between the largest and the second largest I(z_d; v) over the dimensions d, over
    H(v); and the mean of them. 1: each factor is in one dimension alone. 0: each is in none, or in several alike.

    I is the paper's estimator, of one draw z of q(z | x) for each datum, under q(z_d) = 1/N sum_n q(z_d | x_n):

        I(z_d; v) = E[log q(z_d | v) - log q(z_d)] = H(v) + E log [sum_{n: v_n = v} q(z_d | x_n) / sum_n q(z_d | x_n)],

    which is never above H(v). It takes N^2 D densities, and data so many that the q(z_d | x_n) overlap: where they do
    not, a draw tells its datum, and with it every factor.

    Args:
        data: named tensors of N data, the factors among them.
        factors: names of the factors, each an integer tensor `(N,)`.
        site: a latent site of the guide, in the plate "data"; each number of a datum is a dimension.
        bins: for a guide whose single dimensions have no density in closed form, a flow or a point mass: take
            histograms of the draws instead, with so many bins of equal width; 20 is the custom.
        transform: what training applied to a batch.
        memory: about how many bytes the densities may take at a time.
        seed: of the draws.

    Raises:
        PairError: no such factor or site; a factor that is no integer label or has one value; one dimension only; a
            guide without densities of single dimensions.

    References: Chen et al. (2018), arXiv:1802.04942; Locatello et al. (2019), arXiv:1811.12359, for the bins.
    """
    labels = _labels(data, factors)
    device = device_of(model, guide)
    values = torch.stack([*labels.values()], -1).to(device)
    with evaluating(model, guide), seeded(seed, device):
        drawn = _drawn(guide, data, site, transform, device)
        z, log_densities = _binned(drawn, bins) if bins else _scored(drawn)
        dims = log_densities(z[:1]).shape[-1]
        if dims < 2:
            raise PairError(f"a gap is between two dimensions, and site '{site}' has one. Use more latent dimensions.")
        total = torch.zeros(dims, len(labels), dtype=torch.float64, device="cpu")
        for rows in torch.arange(len(z), device=device).split(max(1, memory // (16 * len(z) * (dims + len(labels))))):
            posterior = log_densities(z[rows]).softmax(1)  # p(n | z_d), (R, N, D)
            same = (values[rows].unsqueeze(1) == values).to(posterior.dtype)  # (R, N, K)
            total += wide(torch.einsum("rnd,rnk->rdk", posterior, same)).log().sum(0).cpu()
    entropies = {name: _entropy(v) for name, v in labels.items()}
    information = {name: entropies[name] + part / len(z) for name, part in zip(labels, total.T, strict=True)}
    best = {name: part.topk(2).values for name, part in information.items()}
    gaps = {name: ((first - second) / entropies[name]).item() for name, (first, second) in best.items()}
    return InformationGap(sum(gaps.values()) / len(gaps), gaps, information, entropies)


def factor_vae_score(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    factors: Iterable[str],
    *,
    site: str = "z",
    votes: int = 200,
    group: int = 100,
    collapsed: float = 0.05,
    mean: bool = True,
    transform: Any = None,
    seed: int = 0,
) -> FactorScore:
    """How well the dimension that varies least tells which factor was fixed.

    A vote: fix a factor at the value of a random datum, take L such data, and let d be the dimension of the least
    variance of the codes, each dimension in units of its standard deviation over all data. The classifier says for
    each d the factor that got the most votes; its accuracy is that on as many fresh votes. 1: each factor is in
    dimensions of its own; 1 / K, for K factors: chance.

    Args:
        data: named tensors of N data, the factors among them.
        factors: names of the factors, each an integer tensor `(N,)`.
        site: a latent site of the guide, in the plate "data"; each number of a datum is a dimension.
        votes: of each factor, to train and again to evaluate.
        group: L, data of a vote.
        collapsed: a dimension in which two draws for the same datum correlate less, over the data, takes no part; at
            least 3 / sqrt(N), which chance may give.
        mean: the codes are the means of q(z | x); or else draws, where there is no mean.
        transform: what training applied to a batch.
        seed: of the draws and of the votes.

    Raises:
        PairError: no such factor or site; a factor that is no integer label or has one value; no mean.

    References: Kim & Mnih (2018), arXiv:1802.05983.
    """
    labels = _labels(data, factors)

    def codes(mean: bool, seed: int) -> Tensor:
        found = encode(model, guide, data, transform=transform, mean=mean, seed=seed)
        if site not in found:
            raise _no_site(site, found)
        z = wide(found[site].flatten(1) if found[site].dim() > 1 else found[site].unsqueeze(1)).cpu()
        return (z - z.mean(0)) / z.std(0).clamp_min(1e-12)

    z = codes(mean, seed)
    active = (codes(False, seed) * codes(False, seed + 1)).mean(0) >= max(collapsed, 3 / math.sqrt(len(z)))
    generator = torch.Generator().manual_seed(seed)

    def vote() -> Tensor:
        """The votes of each factor for each dimension, `(D, K)`."""
        return torch.stack([_least(z, v.cpu(), active, votes, group, generator) for v in labels.values()], -1)

    told = vote().argmax(1, keepdim=True)
    checked = vote()
    return FactorScore((checked.gather(1, told).sum() / checked.sum()).item(), checked, active)


def _least(z: Tensor, labels: Tensor, active: Tensor, votes: int, group: int, generator: torch.Generator) -> Tensor:
    """How often each dimension varies least among `group` data with the same label, `(D,)`."""
    order = labels.argsort()
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    fixed = place[torch.randint(len(z), (votes,), generator=generator)].unsqueeze(1)
    within = (torch.rand(votes, group, generator=generator) * counts[fixed]).long()
    variances = z[order[(counts.cumsum(0) - counts)[fixed] + within]].var(1)
    return variances.masked_fill(~active, torch.inf).argmin(1).bincount(minlength=z.shape[1])


def _labels(data: Batch, factors: Iterable[str]) -> dict[str, Tensor]:
    """The factors by name, checked."""
    labels = {}
    for name in factors:
        if name not in data:
            raise PairError(f"the data have no factor '{name}', they have {', '.join(map(repr, data))}. Name one.")
        labels[name] = data[name]
        if data[name].dim() != 1 or data[name].is_floating_point():
            raise PairError(
                f"a factor is an integer label of each datum, shape (N,), got '{name}' of {data[name].dtype} "
                f"{tuple(data[name].shape)}. Write torch.bucketize(v, edges) for a number."
            )
        if len(data[name].unique()) < 2:
            raise PairError(f"factor '{name}' has one value in all the data: nothing can tell it. Leave it out.")
    if not labels:
        raise PairError("no factor is named. Write factors=['y'] for the labels.")
    return labels


def _entropy(labels: Tensor) -> float:
    share = wide(labels.unique(return_counts=True)[1]) / len(labels)
    return -(share * share.log()).sum().item()


# One latent site of the guide -----------------------------------------------------------------------------------

_Densities = Callable[[Tensor], Tensor]  # draws (R, *) -> log q(z_d | x_n), (R, N, D)


def _drawn(guide: ProgramLike, data: Batch, site: str, transform: Any, device: torch.device) -> list[Site]:
    """The guide's site, run over all data."""
    found = []
    for batch in batches(data, ROWS, transform or unchanged, device):
        with poutine.trace() as tracer:
            call(guide, batch)
        drawn = sites(tracer.trace)
        if site not in drawn:
            raise _no_site(site, drawn)
        if is_global(drawn[site]):
            raise PairError(f"site '{site}' is one for all data, outside the plate 'data', and has no code of a datum.")
        found.append(drawn[site])
    return found


def _no_site(site: str, found: Iterable[str]) -> PairError:
    return PairError(f"the guide has no site '{site}', it has {', '.join(map(repr, found))}. Write site=... for one.")


def _leading(site: Site) -> tuple[Tensor, int]:
    """The draw with the datum first, `(B, *)`, and the number of inner plates."""
    inner = len(site["fn"].batch_shape) - 1
    return site["value"].movedim(inner, 0), inner


def _scored(drawn: list[Site]) -> tuple[Tensor, _Densities]:
    """The draws, and their densities under the guide."""
    dims, inner = [q for site in drawn if (q := marginals(site["fn"])) is not None], _leading(drawn[0])[1]
    if len(dims) < len(drawn):
        raise PairError(
            f"{type(drawn[0]['fn']).__name__} at site '{drawn[0]['name']}' has no density of single dimensions in "
            "closed form. Compare histograms of its draws: bins=20."
        )

    def log_densities(z: Tensor) -> Tensor:
        every = [q.log_prob(z.unsqueeze(1 + inner)).movedim(1 + inner, 1) for q in dims]
        return torch.cat([part.reshape(*part.shape[:2], -1) for part in every], 1)

    return torch.cat([_leading(site)[0] for site in drawn]), log_densities


def _binned(drawn: list[Site], bins: int) -> tuple[Tensor, _Densities]:
    """The bins of the draws, `(N, D)`, and the logarithm of whether two share one."""
    values = [_leading(site)[0] for site in drawn]
    z = torch.cat([value.reshape(len(value), -1) for value in values])
    low, high = z.amin(0), z.amax(0)
    index = ((z - low) / (high - low).clamp_min(1e-12) * bins).floor().clamp_max(bins - 1)
    return index, lambda rows: (rows.unsqueeze(1) == index).to(torch.get_default_dtype()).log()
