"""What is missing of a datum given what was observed of it: E[x_missing | x_observed], draws, intervals, coverage.

With z_s ~ q(z | x_observed) and w_s = p(x_observed, z_s) / q(z_s | x_observed), the weights of one datum divided by
their sum stand for p(z | x_observed), and p(x_missing | x_observed) is the mixture of p(x_missing | z_s) by them.
"""

import math
from functools import partial, reduce
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.data import Batch, Scale
from pyrovae.errors import NonFiniteError, PairError, ShapeError
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.draws.posterior import posterior
from pyrovae.inference.evidence.estimates import Estimate
from pyrovae.inference.pair.contract import ProgramLike, batch_size, call, takes
from pyrovae.inference.pair.running import (
    COMPILE_FROM,
    batches,
    chunk_sizes,
    device_of,
    evaluating,
    numbers,
    portions,
    seeded,
)
from pyrovae.inference.pair.scoring import NOT_INDEPENDENT, layout, run_pair, scores
from pyrovae.inference.pair.tracing import innermost, sites, trace_pair
from pyrovae.models.distributions.columns import Columns
from pyrovae.numeric import wide

__all__ = ["Imputation", "coverage", "imputations", "impute", "interval"]


class Imputation(NamedTuple):
    """What `impute` found.

    Attributes:
        x: the data `(N, *event)`, where they are missing E[x | x_observed]; of categories the most probable one.
        error: the Monte Carlo standard error of that mean, `(N, *event)`; 0 where x was observed, NaN for categories.
        effective: (sum w)^2 / sum w^2 of each datum, `(N,)`: so many draws of p(z | x_observed) the weights are worth.
    """

    x: Tensor
    error: Tensor
    effective: Tensor


def impute(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    num_samples: int = 1000,
    transform: Any = None,
    memory: int = 2**28,
    seed: int = 0,
    compile: bool | None = None,
) -> Imputation:
    """The mean of what is missing, by self-normalised importance sampling with S draws of the guide.

        E[x | x_observed] ~ sum_s w_s E[x | z_s] / sum_s w_s

    It has the least squared error of all imputations. Categories (`Categorical`, `Ordinal`) have no mean: theirs is
    the most probable value, by the mixture of p(x | z_s).

    Args:
        model, guide: any pair that takes a mask: `models.Masked(model)` and `guides.ZeroFilled(guide)`.
        data: `x` and `mask` of N data, as `data.incomplete` makes them.
        num_samples: S; the more is missing, and the wider the guide, the more it takes.
        transform: what training applied to a batch (`pyrovae.data.Scale()` by default).
        memory: about how many bytes a chunk of draws may take.
        seed: of the draws; the global random state is left alone.
        compile: replay a compiled graph; by default where there is so much to draw that compiling pays.

    Raises:
        PairError: no data, no mask; a model that scores what is missing; a latent outside the plate "data".
        NonFiniteError: the weights of a datum are all zero, or NaN.

    References: Mattei & Frellsen (2019), MIWAE, arXiv:1812.02633, section 3.2; Owen (2013), Monte Carlo theory,
    methods and examples, section 9.2, for the error.
    """
    size, transform = _check(model, data, num_samples), transform or Scale()
    device = device_of(model, guide)
    with evaluating(model, guide), seeded(seed, device):
        first = transform({name: tensor[:2].to(device) for name, tensor in data.items()})
        pair = trace_pair(model, guide, first, data_size=size)
        depth, has_global = layout(pair)
        if has_global:
            raise PairError(NOT_INDEPENDENT)
        observed = sites(pair.model)["x"]["fn"]
        rows, draws = chunk_sizes(first, num_samples, memory)
        pays = size * num_samples * numbers(first) > COMPILE_FROM
        score = partial(_score, model, guide, depth=depth)
        scored = Compiled(score, model, guide) if (pays if compile is None else compile) else score
        found = []
        for batch in batches(data, rows, transform, device):
            sums = reduce(_Sums.merge, (scored(batch, count) for count in portions(num_samples, draws)))
            found.append([part.cpu() for part in (*sums.result(observed, batch["x"], batch["mask"]), sums.log)])
    x, error, log = (torch.cat(parts, dim) for parts, dim in zip(zip(*found, strict=True), (0, 0, 1), strict=True))
    bad = (~log.isfinite().all(0)).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteError(
            f"the {num_samples} weights of a datum are all zero, or not finite, at rows {bad[:5]} of the data. "
            "check_pair says what is not finite; otherwise take more num_samples=..."
        )
    return Imputation(x, error, (2 * log[0] - log[1]).exp())


def imputations(
    model: ProgramLike, guide: ProgramLike, data: Batch, count: int = 19, *, num_samples: int = 1000, **options: Any
) -> Tensor:
    """Draws of what is missing, beside what was observed: multiple imputation, `(count, N, *event)`.

    z is chosen from `num_samples` draws of the guide in proportion to w, then x_missing ~ p(x | z). Each draw is a
    completed data set; what is computed on each of them varies as much as the data leave it open.

    Args:
        model, guide, data: as in `impute`.
        count: how many; 19 are the fewest that have an interval of 90 %.
        num_samples: S, draws of the guide to choose from, for each datum.
        options: `transform`, `memory`, `seed`, `compile`, as in `posterior`.

    Raises:
        PairError: as in `impute`; the model does not generate without data.
        NonFiniteError: the weights of a datum are all zero, or NaN.

    References: Rubin (1987), Multiple imputation for nonresponse in surveys; Mattei & Frellsen (2019),
    arXiv:1812.02633, section 3.2.
    """
    _check(model, data, num_samples)
    chosen: dict[str, Any] = {"corrected": True, "proposals": num_samples, "predictive": True}
    draws = posterior(model, guide, data, count, sites=[], log_weights=False, **chosen, **options)
    x, drawn = draws.observed["x"], draws.predictive["x"]
    return torch.where(draws.given["mask"].bool().expand_as(x), x.to(drawn.dtype), drawn)


def interval(draws: Tensor, level: float = 0.9) -> tuple[Tensor, Tensor]:
    """The lower and upper ends, `(N, *event)`, of the central interval of `draws` `(S, N, *event)`.

    They are the k-th smallest and the k-th largest draw, k = floor((S + 1) (1 - level) / 2). One more draw of the same
    distribution lies between them with probability 1 - 2k / (S + 1), which is `level` where (S + 1) (1 - level) / 2
    is whole: S = 19, 39, ... 99, 199 at 0.9.

    Raises:
        ShapeError: too few draws for that level.
    """
    k = _tail(draws, level)
    ordered = draws.sort(0).values
    return ordered[k - 1], ordered[len(draws) - k]


def coverage(
    draws: Tensor, truth: Tensor, level: float = 0.9, *, where: Tensor | None = None, seed: int = 0
) -> Estimate:
    """How often the central interval of `draws` `(S, N, *event)` holds the truth `(N, *event)`, with its error.

    Counted by the rank of the truth among the draws, r = (below + u (ties + 1)) / (S + 1), u uniform: a tie is inside
    by its share. If truth and draws have one distribution, r is uniform, of continuous values and of discrete ones
    alike, and the coverage is `level` exactly. An interval between quantiles would hold a binary pixel always or
    never.

    Args:
        where: bool, of a shape that broadcasts to the truth: the entries to count, `~mask` for those that were
            missing; all by default.
        seed: of u.

    Returns:
        The share, and its standard error over data, whose entries depend on each other.

    Raises:
        ShapeError: shapes that do not fit, too few draws for that level, or no entry to count.
    """
    _tail(draws, level)
    if draws.shape[1:] != truth.shape:
        raise ShapeError(f"coverage wants draws (S, *truth.shape), got {tuple(draws.shape)} and {tuple(truth.shape)}.")
    counted = torch.ones_like(truth, dtype=torch.bool) if where is None else where.bool().expand_as(truth)
    if not counted.any():
        raise ShapeError("coverage wants entries to count, got where=... of none. Pass where=~mask.")
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    uniform = torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)).to(draws.device)
    rank = (below + uniform * (ties + 1)) / (len(draws) + 1)
    inside = (((rank - 0.5).abs() <= level / 2) & counted).double().reshape(len(truth), -1).sum(1)
    each = counted.double().reshape(len(truth), -1).sum(1)
    share = (inside.sum() / each.sum()).item()
    spread = (inside - share * each).square().sum().sqrt() / each.sum()
    return Estimate(share, spread.item())


def _tail(draws: Tensor, level: float) -> int:
    if not 0 < level < 1:
        raise ShapeError(f"an interval wants a level between 0 and 1, got {level}. Write level=0.9.")
    k = math.floor((len(draws) + 1) * (1 - level) / 2 + 1e-9)
    if k < 1:
        least = math.ceil(2 / (1 - level) - 1e-9) - 1
        raise ShapeError(f"an interval of level {level} wants at least {least} draws, got {len(draws)}.")
    return k


def _check(model: ProgramLike, data: Batch, num_samples: int) -> int:
    size = batch_size(data)
    if size == 0 or num_samples < 1:
        raise PairError(f"imputation wants data and num_samples >= 1, got {size} data and {num_samples}.")
    if "x" not in data or "mask" not in data:
        raise PairError(
            f"imputation wants x and its mask, got {', '.join(map(repr, data))}. Write data.incomplete(x), with NaN in "
            "x where it is missing."
        )
    if not takes(model, "mask"):
        raise PairError("the model takes no mask, so it scores what is missing too. Write models.Masked(model).")
    return size


# -------------------------------------------------------------------------------------------- sums over draws


class _Sums(NamedTuple):
    """Of a chunk of draws: log sum w and log sum w^2, `(2, B)`, and for each part f of a datum its means.

    `first` are those of f weighted by w, `(B, *)`; `second` those of f and f^2 weighted by w^2, `(2, B, *)`.
    """

    log: Tensor
    first: list[Tensor]
    second: list[Tensor]

    def merge(self, other: "_Sums") -> "_Sums":
        """The sums of both chunks."""
        log = torch.logaddexp(self.log, other.log)
        share = (self.log - log).exp()

        def mixed(ours: Tensor, theirs: Tensor, weight: Tensor) -> Tensor:
            return theirs + weight.reshape(*weight.shape, *[1] * (ours.dim() - weight.dim())) * (ours - theirs)

        first = [mixed(a, b, share[0]) for a, b in zip(self.first, other.first, strict=True)]
        second = [mixed(a, b, share[1].expand(2, -1)) for a, b in zip(self.second, other.second, strict=True)]
        return _Sums(log, first, second)

    def result(self, fn: TorchDistribution, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The completed data and the errors, of the distribution `fn` at the site x."""
        relative = (self.log[1] - 2 * self.log[0]).exp()  # sum w^2 / (sum w)^2
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
    log = torch.stack([log_weight.logsumexp(0), (2 * log_weight).logsumexp(0)])
    by_w, by_square = (log_weight - log[0]).exp(), (2 * log_weight - log[1]).exp()
    first, second = [], []
    for part in _parts(sites(pair.model)["x"]["fn"]):
        f = _statistic(part, tuple(table.shape), depth)
        if enumerated:
            given = (table - log_weight).exp().to(f.dtype)
            f = (given.reshape(*given.shape, *[1] * (f.dim() - given.dim())) * f).sum(enumerated)
        first.append(_mean(by_w, f))
        second.append(torch.stack([_mean(by_square, f), _mean(by_square, f * f)]))
    return _Sums(log, first, second)


def _joined(parts: list[Tensor]) -> Tensor:
    return torch.cat(parts, 1) if len(parts) > 1 else parts[0]


def _mean(weights: Tensor, f: Tensor) -> Tensor:
    """sum_s w_s f_s, `(B, *)`."""
    return torch.einsum("sb,sb...->b...", weights.to(f.dtype), f)


def _parts(fn: TorchDistribution) -> list[TorchDistribution]:
    """The distributions of the columns of a table, or the one that there is."""
    return fn.parts if isinstance(fn, Columns) else [fn]


def _is_category(fn: TorchDistribution) -> bool:
    return isinstance(innermost(fn), dist.Categorical)


def _statistic(fn: TorchDistribution, shape: tuple[int, ...], depth: int) -> Tensor:
    """What is averaged: the mean of each entry, or the probabilities of its values, `(*shape, *event)`."""
    f = innermost(fn).probs if _is_category(fn) else fn.mean
    batch, event = tuple(fn.batch_shape), f.shape[len(fn.batch_shape) :]
    batch = (1,) * (depth + 1 - len(batch)) + batch
    return f.reshape(*batch[:-depth], batch[-1], *event).expand(*shape, *event)
