"""Incomplete data: a mask beside x, true where x was observed, and ways in which data go missing.

Missing completely at random (MCAR), at random given what is observed (MAR), and not at random (MNAR), where what is
missing depends on the missing values themselves. Rubin (1976), Inference and missing data.
"""

import math
from typing import Any

import torch
from torch import Tensor

from pyrovae.data.dataset import Batch
from pyrovae.errors import DataError, ShapeError

__all__ = ["halves", "hot_deck", "incomplete", "mar", "mcar", "mnar"]

SIDES = ("top", "bottom", "left", "right")


def incomplete(x: Any, mask: Tensor | None = None) -> Batch:
    """The batch `{"x", "mask"}` of incomplete data, `x` 0 where it is missing.

    Args:
        x: a tensor, or an array of numbers that becomes one of floats, `(N, *event)`; NaN is missing.
        mask: bool, true where x was observed, of a shape that broadcasts to it; by default wherever it is not NaN.

    Raises:
        DataError: infinities; NaN where the mask says that x was observed.
        ShapeError: the mask does not fit.
    """
    x = x if isinstance(x, Tensor) else torch.as_tensor(x, dtype=torch.get_default_dtype())
    try:
        observed = ~x.isnan() if mask is None else torch.as_tensor(mask).bool().expand_as(x)
    except RuntimeError:
        raise ShapeError(
            f"the mask {tuple(mask.shape)} does not fit x {tuple(x.shape)}. Make it of x, data.mcar(x, 0.5) say."  # type: ignore[union-attr]
        ) from None
    broken = observed & ~x.isfinite()
    if broken.any():
        row = broken.nonzero()[0].tolist()
        raise DataError(
            f"x is {x[tuple(row)].item()} at {row} ({int(broken.sum())} such numbers), where it counts as observed. "
            "NaN alone is missing: write incomplete(x) without a mask, or x[~x.isfinite()] = nan."
        )
    return {"x": torch.where(observed, x, torch.zeros((), dtype=x.dtype)), "mask": observed.clone()}


def mcar(x: Tensor, rate: float = 0.5, *, seed: int = 0) -> Tensor:
    """Each entry is missing with probability `rate`, whatever its value: bool `(N, *event)`, true where observed.

    Whole pixels of colour images go missing with the mask of one channel, `mcar(x[:, :1])`.

    Raises:
        DataError: a rate that is not in [0, 1).
    """
    _check_rate(rate)
    return torch.rand(x.shape, generator=_generator(seed)) >= rate


def mar(x: Tensor, rate: float = 0.5, *, always: float = 0.3, slope: float = 2.0, seed: int = 0) -> Tensor:
    """Missing by what is observed: a share of the entries always is, and on them it depends which others are.

    P(x_j is missing) = sigmoid(slope a_j + b_j), a_j a standardised random combination of the entries that are always
    observed, and b_j such that each of the others is missing in `rate` of the data.

    Args:
        x: `(N, *event)`, complete.
        always: the share of the entries of a datum that is always observed, at least one.
        slope: how strongly it depends; 0 is MCAR.

    Raises:
        DataError: a rate that is not in [0, 1), a datum of one entry, or `always` that leaves none to be missing.

    References: Muzellec et al. (2020), Missing data imputation using optimal transport, arXiv:2002.03860.
    """
    _check_rate(rate)
    table, generator = _standard(x), _generator(seed)
    dim = table.shape[1]
    known = max(1, round(always * dim))
    if known >= dim:
        raise DataError(f"mar wants entries that may go missing, got always={always} of {dim}. Write always=0.3.")
    order = torch.randperm(dim, generator=generator)
    causes = table[:, order[:known]] @ torch.randn(known, dim - known, generator=generator, dtype=table.dtype)
    mask = torch.ones(table.shape, dtype=torch.bool)
    mask[:, order[known:]] = _observed(slope * _standard(causes), rate, generator)
    return mask.reshape(x.shape)


def mnar(x: Tensor, rate: float = 0.5, *, slope: float = 2.0, seed: int = 0) -> Tensor:
    """Missing by its own value: P(x_j is missing) = sigmoid(slope (x_j - mean_j) / scale_j + b_j), `rate` of the data.

    Large values hide themselves. No method that ignores the mask's cause is unbiased then, a VAE's included.

    Args:
        x: `(N, *event)`, complete.
        slope: how strongly it depends; 0 is MCAR.

    Raises:
        DataError: a rate that is not in [0, 1).

    References: Ipsen et al. (2021), not-MIWAE, arXiv:2006.12871.
    """
    _check_rate(rate)
    return _observed(slope * _standard(x), rate, _generator(seed)).reshape(x.shape)


def halves(x: Tensor, side: str = "random", *, seed: int = 0) -> Tensor:
    """One half of each image is missing: the "top", "bottom", "left" or "right" one, or a "random" one of the four.

    Args:
        x: images `(N, C, H, W)`.

    Raises:
        ShapeError: x is not images.
        DataError: there is no such side.
    """
    if x.dim() != 4:
        raise ShapeError(f"halves wants images (N, C, H, W), got x of shape {tuple(x.shape)}.")
    if side not in (*SIDES, "random"):
        raise DataError(f"halves knows the sides {', '.join(SIDES)} and random, got {side!r}.")
    height, width = x.shape[-2:]
    rows, columns = torch.arange(height).unsqueeze(1), torch.arange(width).unsqueeze(0)
    missing = torch.stack(
        [
            (half * torch.ones(height, width)).bool()
            for half in (rows < height // 2, rows >= height // 2, columns < width // 2, columns >= width // 2)
        ]
    )
    if side == "random":
        which = torch.randint(4, (len(x),), generator=_generator(seed))
    else:
        which = torch.full((len(x),), SIDES.index(side))
    return ~missing[which].unsqueeze(1).expand(x.shape)


def hot_deck(x: Tensor, mask: Tensor, *, seed: int = 0) -> Tensor:
    """x with a random observed value of the same entry where it is missing: its marginals are those of what was seen.

    It is where a likelihood starts, `likelihood.start(hot_deck(x, mask))`, and the plainest of imputations. An entry
    that no datum has observed stays as it is.

    Args:
        x: `(N, *event)`.
        mask: bool, of a shape that broadcasts to it.
    """
    table, observed = x.flatten(1), mask.expand_as(x).flatten(1)
    counts = observed.sum(0)
    first = observed.int().argsort(dim=0, descending=True, stable=True)  # rows that were observed, then the others
    picked = (torch.rand(table.shape, generator=_generator(seed)) * counts).long()
    donors = table.gather(0, first.gather(0, picked))
    return torch.where(observed | (counts == 0), table, donors).reshape(x.shape)


def _generator(seed: int) -> torch.Generator:
    """A stream of its own: data simulated from the same seed would hide themselves by their values."""
    return torch.Generator().manual_seed(seed + 0x6D61736B)


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise DataError(f"a share of missing data is in [0, 1), got {rate}. 0.5 hides half of them.")


def _standard(x: Tensor) -> Tensor:
    """Data as a table `(N, D)`, each column of mean 0 and scale 1; constant ones 0."""
    table = x.flatten(1).double()
    scale = table.std(0, correction=0)
    return (table - table.mean(0)) / torch.where(scale > 0, scale, 1.0)


def _observed(logits: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """Draw a mask: each column missing by its logits, moved so that `rate` of it is."""
    if rate == 0:
        return torch.ones(logits.shape, dtype=torch.bool)
    wide = logits.abs().max().item() + abs(math.log(rate / (1 - rate))) + 1
    low, high = torch.full((logits.shape[1],), -wide), torch.full((logits.shape[1],), wide)
    for _ in range(50):  # the share rises with the intercept, but has no inverse in closed form
        middle = (low + high) / 2
        below = torch.sigmoid(logits + middle).mean(0) < rate
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.rand(logits.shape, generator=generator) >= torch.sigmoid(logits + low)
