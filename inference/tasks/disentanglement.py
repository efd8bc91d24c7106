"""Whether latent dimensions are the factors of variation, where those are known: MIG and the FactorVAE score.

The factors are labels of the data: further tensors of the batch, integers of shape `(N,)`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from pyro import poutine
from torch import Tensor

from pyrovae.checks import BYTES, check_count, check_name, check_number, check_seed, check_several
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown
from pyrovae.errors import PairError
from pyrovae.inference.latent.codes import encode
from pyrovae.inference.pair.contract import ProgramLike, Site, call, explained_shapes
from pyrovae.inference.pair.divergence import marginals
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, ROWS, Transform, batches, device_of, evaluating, seeded
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import datum_first, sites
from pyrovae.numeric import wide

__all__ = ["FactorVAEScore", "MutualInformationGap", "factor_vae_score", "mutual_information_gap"]

_Densities = Callable[[Tensor], Tensor]
"""From draws `(R, *)` to log q(z_d | x_n), `(R, N, D)`."""


@dataclass(frozen=True, repr=False)
class MutualInformationGap(Shown):
    """What `mutual_information_gap` measured.

    Attributes:
        value: the mean of the gaps, from 0 to 1.
        gaps: for each factor v, (the largest I(z_d; v) - the second largest) / H(v).
        information: for each factor v, I(z_d; v) in nats, `(D,)`.
        entropies: for each factor v, H(v) in nats.
    """

    value: float
    gaps: dict[str, float]
    information: dict[str, Tensor]
    entropies: dict[str, float]

    def cells(self) -> Cells:
        rows = []
        for name, gap in self.gaps.items():
            best = self.information[name].topk(2)
            largest = [f"{value:.3f} at d = {d}" for value, d in zip(best.values.tolist(), best.indices, strict=True)]
            rows.append((name, f"{gap:.3f}", f"{self.entropies[name]:.3f}", *largest))
        head = ("factor", "gap", "H(v)", "largest I(z_d; v)", "second largest")
        return Cells([*rows, ("mean", f"{self.value:.3f}", "", "", "")], head, after=["H and I in nats"])


@dataclass(frozen=True, repr=False)
class FactorVAEScore(Shown):
    """What `factor_vae_score` measured.

    Attributes:
        value: the accuracy, from 1 / K (chance) to 1.
        votes: how often dimension d varied least where factor k was fixed, `(D, K)`, in evaluation.
        active: which dimensions have not collapsed, `(D,)`.
    """

    value: float
    votes: Tensor
    active: Tensor

    def cells(self) -> Cells:
        active = self.active.nonzero().flatten().tolist()
        rows = [(f"d = {d}", *map(str, self.votes[d].tolist())) for d in active]
        head = ("votes", *(f"k = {k}" for k in range(self.votes.shape[1])))
        last = f"accuracy {self.value:.3f}, {len(active)} of {len(self.active)} dimensions active"
        return Cells(rows, head, after=[last])


def mutual_information_gap(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    factors: Iterable[str],
    *,
    latent: str = "z",
    num_bins: int | None = None,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    progress: bool = False,
) -> MutualInformationGap:
    """MIG: for each factor v, the gap between the largest and the second largest I(z_d; v) over the dimensions d,
    divided by H(v); and the mean of these gaps.

    It is 1 where each factor is in one dimension alone, and 0 where each is in none, or in several alike.

    I is the estimator of the paper, with one draw z of q(z | x) for each data point, under the aggregate posterior
    q(z_d) = 1/N sum_n q(z_d | x_n):

        I(z_d; v) = E[log q(z_d | v) - log q(z_d)] = H(v) + E log [sum_{n: v_n = v} q(z_d | x_n) / sum_n q(z_d | x_n)],

    which is never above H(v). It takes N^2 D densities. It needs so many data points that the q(z_d | x_n) overlap:
    where they do not, a draw identifies its data point, and with it every factor.

    Args:
        model, guide: the pair.
        data: named tensors of N data points, with the factors.
        factors: the names of the factors, each an integer tensor `(N,)`.
        latent: a latent site of the guide, in the plate "data"; each number of a data point is a dimension.
        num_bins: None for the densities of the guide. A flow or a point mass has no density of single dimensions in
            closed form; give the number of bins of equal width of a histogram of the draws then, 20 as is usual.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes the densities may take at a time.
        seed: the seed of the draws; the global random state is left alone.
        progress: show a bar.

    Raises:
        PairError: no data; no such factor or site; a factor that is no integer label or has one value; a site of one
            dimension; a guide without densities of single dimensions.

    References: Chen et al. (2018), arXiv:1802.04942; Locatello et al. (2019), arXiv:1811.12359, for the bins.
    """
    latent = check_name("latent", latent)
    num_bins = num_bins if num_bins is None else check_count("num_bins", num_bins, 2, write=20)
    memory = check_count("memory", memory, 0, BYTES)
    data = entered("mutual_information_gap", data, transform, model, guide)
    labels, device = _labels(data, factors), device_of(model, guide)
    values = torch.stack([*labels.values()], -1).to(device)
    with evaluating(model, guide), seeded(seed, device):
        drawn = _drawn(guide, data, latent, transform, device)
        z, log_densities = _binned(drawn, num_bins) if num_bins else _scored(drawn)
        dims = log_densities(z[:1]).shape[-1]
        if dims < 2:
            raise PairError(
                f"a gap requires two dimensions, and site '{latent}' has {dims}. Use more latent dimensions."
            )
        rows = max(1, memory // (16 * len(z) * (dims + len(labels))))
        shares = _log_shares(z, log_densities, values, rows, progress)
    entropies = {name: _entropy(v) for name, v in labels.items()}
    information = {name: entropies[name] + part / len(z) for name, part in zip(labels, shares.T, strict=True)}
    best = {name: part.topk(2).values for name, part in information.items()}
    gaps = {name: ((first - second) / entropies[name]).item() for name, (first, second) in best.items()}
    return MutualInformationGap(sum(gaps.values()) / len(gaps), gaps, information, entropies)


def _log_shares(z: Tensor, log_densities: _Densities, values: Tensor, rows: int, progress: bool) -> Tensor:
    """The sum over draws of log [sum_{n: v_n = v} q(z_d | x_n) / sum_n q(z_d | x_n)], `(D, K)`, `rows` at a time."""
    total = torch.zeros((), dtype=torch.float64, device="cpu")
    with progress_bar(progress, len(z), "data point") as bar:
        for part in torch.arange(len(z), device=values.device).split(rows):
            posterior = log_densities(z[part]).softmax(1)  # p(n | z_d), (R, N, D)
            same = (values[part].unsqueeze(1) == values).to(posterior.dtype)  # (R, N, K)
            total = total + wide(torch.einsum("rnd,rnk->rdk", posterior, same)).log().sum(0).cpu()
            bar.update(len(part))
    return total


def factor_vae_score(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    factors: Iterable[str],
    *,
    latent: str = "z",
    num_votes: int = 200,
    group_size: int = 100,
    collapsed: float = 0.05,
    mean: bool = True,
    transform: Transform | None = None,
    seed: int = 0,
) -> FactorVAEScore:
    """How well the dimension that varies least predicts which factor was fixed.

    A vote: fix a factor at the value of a random data point, take `group_size` data points with that value, and let d
    be the dimension of the least variance of their codes, each dimension in units of its standard deviation over all
    data. The classifier gives each d the factor with the most votes; its accuracy is measured on as many fresh votes.
    It is 1 where each factor has dimensions of its own, and 1 / K at chance, for K factors.

    Args:
        model, guide: the pair.
        data: named tensors of N data points, with the factors.
        factors: the names of the factors, each an integer tensor `(N,)`.
        latent: a latent site of the guide, in the plate "data"; each number of a data point is a dimension.
        num_votes: the number of votes for each factor, to train the classifier and again to evaluate it.
        group_size: the number of data points of a vote.
        collapsed: a dimension takes no part where the correlation of two draws for the same data point, over the data,
            is below this number; at least 3 / sqrt(N), which chance may give.
        mean: whether the codes are the means of q(z | x), or draws, for a guide without a mean.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws and of the votes; the global random state is left alone.

    Raises:
        PairError: no data; no such factor or site; a factor that is no integer label or has one value; no mean.

    References: Kim & Mnih (2018), arXiv:1802.05983.
    """
    latent, num_votes = check_name("latent", latent), check_count("num_votes", num_votes, write=200)
    collapsed = check_number("collapsed", collapsed, write=0.05)
    group_size, seed = check_count("group_size", group_size, 2, write=100), check_seed("seed", seed)
    data = entered("factor_vae_score", data, transform, model, guide)
    labels = _labels(data, factors)

    def codes(mean: bool, seed: int) -> Tensor:
        found = encode(model, guide, data, transform=transform, mean=mean, seed=seed)
        if latent not in found:
            raise _no_site(latent, found)
        z = wide(found[latent].flatten(1) if found[latent].dim() > 1 else found[latent].unsqueeze(1)).cpu()
        return (z - z.mean(0)) / z.std(0).clamp_min(1e-12)

    z = codes(mean, seed)
    active = (codes(False, seed) * codes(False, seed + 1)).mean(0) >= max(collapsed, 3 / math.sqrt(len(z)))
    generator = torch.Generator().manual_seed(seed)

    def vote() -> Tensor:
        """The votes of each factor for each dimension, `(D, K)`."""
        columns = [_least(z, v.cpu(), active, num_votes, group_size, generator) for v in labels.values()]
        return torch.stack(columns, -1)

    predicted = vote().argmax(1, keepdim=True)
    checked = vote()
    return FactorVAEScore((checked.gather(1, predicted).sum() / checked.sum()).item(), checked, active)


def _least(z: Tensor, labels: Tensor, active: Tensor, votes: int, group: int, generator: torch.Generator) -> Tensor:
    """How often each dimension varies least among `group` data points with the same label, `(D,)`."""
    order = labels.argsort()
    _, place, counts = labels.unique(return_inverse=True, return_counts=True)
    fixed = place[torch.randint(len(z), (votes,), generator=generator)].unsqueeze(1)
    within = (torch.rand(votes, group, generator=generator) * counts[fixed]).long()
    variances = z[order[(counts.cumsum(0) - counts)[fixed] + within]].var(1)
    return variances.masked_fill(~active, torch.inf).argmin(1).bincount(minlength=z.shape[1])


def _labels(data: Batch, factors: Iterable[str]) -> dict[str, Tensor]:
    """The factors by name, checked."""
    labels = {}
    for name in [factors] if isinstance(factors, str) else check_several("factors", factors):
        if name not in data:
            raise PairError(
                f"the data have no factor '{name}', they have {', '.join(map(repr, data))}. Name one of them."
            )
        labels[name] = label = data[name]
        if label.dim() != 1 or label.is_floating_point():
            raise PairError(
                f"a factor requires an integer label for each data point, shape (N,), got '{name}' of {label.dtype} "
                f"and shape {tuple(label.shape)}. Write torch.bucketize(v, edges) for a number."
            )
        if len(label.unique()) < 2:
            raise PairError(
                f"factor '{name}' has one value in all the data, so H(v) = 0 and there is no gap. Leave it out."
            )
    return labels


def _entropy(labels: Tensor) -> float:
    share = wide(labels.unique(return_counts=True)[1]) / len(labels)
    return -(share * share.log()).sum().item()


# One latent site of the guide -----------------------------------------------------------------------------------


def _drawn(
    guide: ProgramLike, data: Batch, latent: str, transform: Transform | None, device: torch.device
) -> list[Site]:
    """The latent site of the guide in a run on each batch of the data."""
    found = []
    for batch in batches(data, ROWS, transform, device):
        with poutine.trace() as tracer, explained_shapes(guide, batch):
            call(guide, batch)
        drawn = sites(tracer.trace)
        if latent not in drawn:
            raise _no_site(latent, drawn)
        if is_global(drawn[latent]):
            raise PairError(
                f"site '{latent}' is outside the plate 'data', so all data points share it and it has no code of a "
                "data point. Write latent=... for a site inside the plate."
            )
        found.append(drawn[latent])
    return found


def _no_site(latent: str, found: Iterable[str]) -> PairError:
    names = ", ".join(map(repr, found))
    return PairError(f"the guide has no site '{latent}', it has {names}. Write latent=... for one of them.")


def _scored(drawn: list[Site]) -> tuple[Tensor, _Densities]:
    """The draws, and their densities under the guide."""
    dims = [q for site in drawn if (q := marginals(site["fn"])) is not None]
    inner = len(drawn[0]["fn"].batch_shape) - 1  # the number of inner plates
    if len(dims) < len(drawn):
        raise PairError(
            f"{type(drawn[0]['fn']).__name__} at site '{drawn[0]['name']}' has no density of single dimensions in "
            "closed form. Write num_bins=20, for histograms of its draws."
        )

    def log_densities(z: Tensor) -> Tensor:
        every = [q.log_prob(z.unsqueeze(1 + inner)).movedim(1 + inner, 1) for q in dims]
        return torch.cat([part.reshape(*part.shape[:2], -1) for part in every], 1)

    return torch.cat([datum_first(site) for site in drawn]), log_densities


def _binned(drawn: list[Site], num_bins: int) -> tuple[Tensor, _Densities]:
    """The bins of the draws, `(N, D)`, and the logarithm of whether two share one."""
    values = [datum_first(site) for site in drawn]
    z = torch.cat([value.reshape(len(value), -1) for value in values])
    low, high = z.amin(0), z.amax(0)
    index = ((z - low) / (high - low).clamp_min(1e-12) * num_bins).floor().clamp_max(num_bins - 1)
    return index, lambda rows: (rows.unsqueeze(1) == index).to(torch.get_default_dtype()).log()
