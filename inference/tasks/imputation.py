"""Imputation: E[x_missing | x_observed], and draws of p(x_missing | x_observed).

With z_s ~ q(z | x_observed) and w_s = p(x_observed, z_s) / q(z_s | x_observed), the draws weighted by w_s / sum w
represent p(z | x_observed). p(x_missing | x_observed) is the mixture of p(x_missing | z_s) with these weights.
"""

import math
from dataclasses import dataclass
from functools import partial, reduce
from typing import NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.checks import check_count
from pyrovae.data import Batch
from pyrovae.data.masks import check_mask
from pyrovae.display import Cells, Shown
from pyrovae.errors import NonFiniteError, PairError
from pyrovae.inference.compile.choice import maybe_compiled
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.on_data import on_data
from pyrovae.inference.pair.progress import progress_bar
from pyrovae.inference.pair.running import MEMORY, Transform, chunk_sizes, numbers, portions
from pyrovae.inference.pair.scoring import run_pair, scores
from pyrovae.inference.pair.tracing import innermost, sites
from pyrovae.inference.pair.weights import WeightSums
from pyrovae.models.distributions.columns import Columns
from pyrovae.models.not_at_random import MISSING
from pyrovae.networks.joint import one_hot
from pyrovae.numeric import wide

__all__ = ["Imputation", "imputations", "impute"]


@dataclass(frozen=True, repr=False)
class Imputation(Shown):
    """What `impute` found.

    Attributes:
        x: the data `(N, *event)`, with E[x | x_observed] where they are missing, and the most probable category.
        error: the Monte Carlo standard error of that mean, `(N, *event)`; 0 where x was observed, NaN for categories.
        effective_sample_size: (sum w)^2 / sum w^2, `(N,)`: the weights are worth that many draws of p(z | x_observed).
    """

    x: Tensor
    error: Tensor
    effective_sample_size: Tensor

    def cells(self) -> Cells:
        size = self.effective_sample_size
        rows = {
            "data points": f"{len(self.x)}",
            "largest standard error": f"{self.error.nan_to_num(0.0).max().item():.3g}",
            "effective_sample_size": f"lowest {size.min().item():.1f}, median {size.median().item():.1f}",
        }
        return Cells(list(rows.items()), words=(0, 1))


def impute(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 1000,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> Imputation:
    """The mean of what is missing, by self-normalised importance sampling with S draws of the guide.

        E[x | x_observed] ~ sum_s w_s E[x | z_s] / sum_s w_s

    Under the model no imputation has a smaller expected squared error. Categories (`Categorical`, `Ordinal`) have no
    mean: they are imputed by the most probable value under the mixture of p(x | z_s).

    Args:
        model, guide: any pair that takes a mask: `models.Masked(model)` and `guides.ZeroFilled(guide)`.
        data: `x` and `mask` of N data points, as `data.incomplete` makes them.
        num_samples: S; more are needed the more is missing, and the further the guide is from p(z | x_observed).
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take.
        seed: the seed of the draws; the global random state is left alone.
        compile: replay a compiled graph; None compiles where there is so much to draw that it pays.
        progress: show a bar.

    Raises:
        DataError: the data are no named tensors, or of another type than the pair's parameters; a mask of other numbers
            than 0 and 1.
        SettingError: num_samples below 1.
        PairError: no data, no mask; a model that scores what is missing; a latent outside the plate "data".
        NonFiniteError: the weights of a data point are all zero, or NaN.

    References: Mattei & Frellsen (2019), MIWAE, arXiv:1812.02633, section 3.2; Owen (2013), Monte Carlo theory,
    methods and examples, section 9.2, for the error.
    """
    data = _checked("impute", model, guide, data, transform, num_samples)
    found = []
    with (
        on_data("impute", model, guide, data, transform, memory=memory, seed=seed) as pair,
        progress_bar(progress, pair.size, "data point") as bar,
    ):
        pair.require_independent()
        fn = sites(pair.traces.model)["x"]["fn"]
        rows, draws = chunk_sizes(pair.first, num_samples, memory)
        work = pair.size * num_samples * numbers(pair.first)
        score = partial(_score, model, guide, depth=pair.layout.depth)
        scored = maybe_compiled(score, model, guide, work=work, compile=compile)
        for _, batch in pair.batches(rows):
            sums = reduce(_Sums.merge, (scored(batch, count) for count in portions(num_samples, draws)))
            found.append([part.cpu() for part in (*sums.result(fn, batch["x"], batch["mask"]), sums.weights.logs)])
            bar.update(batch_size(batch))
    x, error, logs = (torch.cat(parts, dim) for parts, dim in zip(zip(*found, strict=True), (0, 0, 1), strict=True))
    bad = (~logs.isfinite().all(0)).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteError(
            f"the {num_samples} weights of a data point are all zero, or not finite, at rows {bad[:5]} of the data. "
            "Run check_pair, which names what is not finite; otherwise write a larger num_samples=..."
        )
    return Imputation(x, error, WeightSums(logs, num_samples).effective_sample_size)


def imputations(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    num_imputations: int = 19,
    *,
    num_samples: int = 1000,
    transform: Transform | None = None,
    memory: int = MEMORY,
    seed: int = 0,
    compile: bool | None = None,
    progress: bool = False,
) -> Tensor:
    """Multiple imputation: completed data sets with draws of what is missing, `(num_imputations, N, *event)`.

    z is chosen from `num_samples` draws of the guide with probabilities proportional to w, then x_missing ~ p(x | z).
    A statistic computed on each completed data set varies by as much as the observed data leave it uncertain.

    Args:
        model, guide, data: as in `impute`.
        num_imputations: the number of completed data sets; an interval of 90 % requires at least 19.
        num_samples: S, the number of draws of the guide to choose from, per data point.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        memory: about how many bytes a chunk of draws may take; the result comes on top.
        seed: the seed of the draws; the global random state is left alone.
        compile: replay a compiled graph; None compiles where there is so much to draw that it pays.
        progress: show a bar.

    Raises:
        DataError: as in `impute`.
        SettingError: num_imputations or num_samples below 1.
        PairError: as in `impute`; the model does not generate without data.
        NonFiniteError: the weights of a data point are all zero, or NaN.

    References: Rubin (1987), Multiple imputation for nonresponse in surveys; Mattei & Frellsen (2019),
    arXiv:1812.02633, section 3.2.
    """
    data = _checked("imputations", model, guide, data, transform, num_samples)
    num_imputations = check_count("num_imputations", num_imputations, write=19)
    draws = posterior(
        model,
        guide,
        data,
        num_imputations,
        corrected=True,
        proposals=num_samples,
        predictive=True,
        log_weights=False,
        transform=transform,
        memory=memory,
        seed=seed,
        compile=compile,
        progress=progress,
    )
    drawn = draws.latents[MISSING] if MISSING in draws.latents else draws.predictive["x"]
    x, mask = draws.observed["x"], (draws.observed | draws.given)["mask"]
    return torch.where(mask.bool().expand_as(x), x.to(drawn.dtype), drawn)


def _checked(
    what: str, model: ProgramLike, guide: ProgramLike, data: Batch, transform: Transform | None, num_samples: int
) -> Batch:
    """The data as tensors, prepared, after the checks of both functions."""
    check_count("num_samples", num_samples, write=1000)
    data = entered(what, data, transform, model, guide)
    if "x" not in data or "mask" not in data:
        raise PairError(
            f"{what} requires 'x' and its 'mask', got {', '.join(map(repr, data))}. Write data.incomplete(x), with NaN "
            "in x where it is missing."
        )
    check_mask("mask", data["mask"])
    if not takes(model, "mask"):
        raise PairError(
            f"{what} requires a model that takes a mask; this one scores what is missing too. Write "
            "models.Masked(model)."
        )
    return data


# -------------------------------------------------------------------------------------------- sums over draws


class _Sums(NamedTuple):
    """The sums of a chunk of draws: of the weights, and for each part f of a data point its weighted means.

    Attributes:
        weights: log sum w and log sum w^2.
        first: the means of f weighted by w, `(B, *)`.
        second: the means of f and of f^2 weighted by w^2, `(2, B, *)`.
    """

    weights: WeightSums
    first: list[Tensor]
    second: list[Tensor]

    def merge(self, other: "_Sums") -> "_Sums":
        """The sums of both chunks."""
        weights = self.weights.merge(other.weights)
        share = (self.weights.logs - weights.logs).exp()

        def mixed(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
            return theirs + weight.reshape(*weight.shape, *[1] * (ours.dim() - weight.dim())) * (ours - theirs)

        first = [mixed(a, b, share[0]) for a, b in zip(self.first, other.first, strict=True)]
        second = [mixed(a, b, share[1].expand(2, -1)) for a, b in zip(self.second, other.second, strict=True)]
        return _Sums(weights, first, second)

    def result(self, fn: TorchDistribution, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The completed data and the errors, where `fn` is the distribution at the site x."""
        log_sum, log_square = self.weights.logs
        relative = (log_square - 2 * log_sum).exp()  # sum w^2 / (sum w)^2
        values, errors = [], []
        for part, mean, (of_f, of_square) in zip(_parts(fn), self.first, self.second, strict=True):
            if _is_category(part):
                values.append(mean.argmax(-1))
                errors.append(torch.full(mean.shape[:-1], math.nan))
            else:
                values.append(mean)
                spread = (of_square - 2 * mean * of_f + mean.square()).clamp_min(0)
                errors.append((spread * relative.reshape(-1, *[1] * (mean.dim() - 1))).sqrt())
        observed = mask.bool().expand_as(x)
        kind = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        value, error = (_joined([p.to(x.device, kind) for p in parts]) for parts in (values, errors))
        return torch.where(observed, x.to(kind), value), torch.where(observed, 0.0, error)


def _score(model: ProgramLike, guide: ProgramLike, batch: Batch, count: int, *, depth: int) -> _Sums:
    """Draw, score, and sum; latents that the guide leaves out are averaged over exactly."""
    run = partial(call, batch=batch)
    pair = run_pair(partial(run, model), partial(run, guide), count, depth)
    shape = (count, batch_size(batch))
    log_joint, log_guide = (
        sum(scores(trace, shape, depth, None).values(), torch.zeros(())) for trace in (pair.model, pair.guide)
    )
    table = wide(log_joint - log_guide)  # (*enumerated, S, B)
    enumerated = tuple(range(table.dim() - 2))
    log_weight = table.logsumexp(enumerated) if enumerated else table
    weights = WeightSums.of(log_weight)
    by_w, by_square = (log_weight - weights.logs[0]).exp(), (2 * log_weight - weights.logs[1]).exp()
    first, second = [], []
    found, whole = sites(pair.model), tuple(table.shape)
    parts = _parts(found["x"]["fn"])
    # Where p(mask | x) scored values that complete x, they and not their means have the weights.
    drawn = _values(parts, found[MISSING]["value"]) if MISSING in found else map(_statistic, parts)
    for f, part in zip(drawn, parts, strict=True):
        f = _over_draws(f, part, whole, depth)
        if enumerated:
            given = (table - log_weight).exp().to(f.dtype)
            f = (given.reshape(*given.shape, *[1] * (f.dim() - given.dim())) * f).sum(enumerated)
        first.append(_mean(by_w, f))
        second.append(torch.stack([_mean(by_square, f), _mean(by_square, f * f)]))
    return _Sums(weights, first, second)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _mean(weights: Tensor, f: Tensor) -> Tensor:
    """sum_s w_s f_s, `(B, *)`."""
    return torch.einsum("sb,sb...->b...", weights.to(f.dtype), f)


def _parts(fn: TorchDistribution) -> list[TorchDistribution]:
    """The distributions of the columns of a table, or the single distribution."""
    return fn.parts if isinstance(fn, Columns) else [fn]


def _is_category(fn: TorchDistribution) -> bool:
    return isinstance(innermost(fn), dist.Categorical)


def _statistic(fn: TorchDistribution) -> Tensor:
    """What is averaged: the mean of each entry, or the probabilities of its values, `(*batch, *event)`."""
    return innermost(fn).probs if _is_category(fn) else fn.mean


def _values(parts: list[TorchDistribution], x: Tensor) -> list[Tensor]:
    """The entries of each part of x, or one-hot vectors of its categories."""
    widths = [part.event_shape[0] for part in parts]
    entries = x.split(widths, -1) if len(parts) > 1 else [x]
    return [
        one_hot(value, innermost(part).probs.shape[-1], innermost(part).probs.dtype) if _is_category(part) else value
        for part, value in zip(parts, entries, strict=True)
    ]


def _over_draws(f: Tensor, fn: TorchDistribution, shape: tuple[int, ...], depth: int) -> Tensor:
    """What is averaged, for each draw and data point, `(*shape, *event)`."""
    batch = tuple(f.shape[: len(fn.batch_shape)])
    event = f.shape[len(batch) :]
    batch = (1,) * (depth + 1 - len(batch)) + batch
    return f.reshape(*batch[:-depth], batch[-1], *event).expand(*shape, *event)
