"""Incomplete data: a mask beside x, true where x was observed, and ways in which entries go missing.

Entries go missing completely at random (MCAR), at random given what is observed (MAR), or not at random (MNAR), where
it depends on the missing values themselves. Rubin (1976), Inference and missing data.
"""

import math
from typing import Any, Literal

import torch
from torch import Tensor

from pyrovae.checks import check_fraction, check_number, check_seed, check_tensor
from pyrovae.data.dataset import Batch
from pyrovae.errors import DataError, SettingError, ShapeError

__all__ = ["censored", "check_mask", "halves", "hot_deck", "incomplete", "mar", "mcar", "mnar"]

STEEPEST = 1e6
"""The largest slope: at such a one, a value decides alone whether it is missing."""

SIDES = ("top", "bottom", "left", "right")


def incomplete(x: Any, mask: Tensor | None = None) -> Batch:
    """The batch `{"x", "mask"}` of incomplete data; `x` is 0 where it is missing.

    Args:
        x: a tensor `(N, *event)`, or an array of numbers, which becomes a tensor of floats. NaN means missing.
        mask: bool, true where x was observed; its shape broadcasts to that of x. By default all but NaN is observed.

    Raises:
        DataError: an infinity, or NaN where the mask says that x was observed; a mask of other numbers than 0 and 1.
        ShapeError: the mask does not broadcast to the shape of x.
    """
    x = check_tensor("x", x if isinstance(x, Tensor) else _as_array(x), "(N, *event)", least_dims=1)
    observed = ~x.isnan() if mask is None else _expanded(mask, x)
    broken = observed & ~x.isfinite()
    if broken.any():
        row = broken.nonzero()[0].tolist()
        raise DataError(
            f"x is {x[tuple(row)].item()} at {row} ({int(broken.sum())} such numbers), where it counts as observed. "
            "NaN alone means missing: write incomplete(x) without a mask, or x[~x.isfinite()] = nan."
        )
    return {"x": torch.where(observed, x, torch.zeros((), dtype=x.dtype)), "mask": observed.clone()}


def check_mask(name: str, mask: Any) -> Tensor:
    """A mask: true, or 1, where an entry was observed.

    Args:
        name: the argument's name, for the error.
        mask: a tensor or an array of booleans, or of 0 and 1.

    Raises:
        DataError: it holds other numbers, NaN among them.
    """
    mask = check_tensor(name, mask, "that broadcasts to x, bool")
    if mask.dtype != torch.bool and not ((mask == 0) | (mask == 1)).all():
        odd = mask[(mask != 0) & (mask != 1)][0].item()
        raise DataError(f"{name} requires true where x was observed, or 0 and 1, got {odd}. Write mask=~x.isnan().")
    return mask


def _as_array(x: Any) -> Any:
    """Numbers of any kind as a tensor of floats; what holds other things comes out as it is, for the check."""
    try:
        return torch.as_tensor(x, dtype=torch.get_default_dtype())
    except (TypeError, ValueError, RuntimeError):
        return x


def _expanded(mask: Tensor, x: Tensor) -> Tensor:
    mask = check_mask("mask", mask)
    try:
        return mask.bool().expand_as(x)
    except RuntimeError:
        raise ShapeError(
            f"The mask {tuple(mask.shape)} does not broadcast to x {tuple(x.shape)}. Write mask = data.mcar(x, 0.5)."
        ) from None


def mcar(x: Tensor, rate: float = 0.5, *, seed: int = 0) -> Tensor:
    """Missing completely at random: each entry with probability `rate`, whatever its value.

    Whole pixels of colour images go missing with the mask of one channel, `mcar(x[:, :1])`.

    Args:
        x: `(N, *event)`.
        rate: the probability that an entry is missing.
        seed: the seed of the mask.

    Returns:
        bool `(N, *event)`, true where observed.

    Raises:
        SettingError: a rate that is not in [0, 1), or a seed that is no whole number from 0 to 2^32 - 1.
    """
    rate = check_fraction("rate", rate, one=False, write=0.5)
    x = check_tensor("x", x, "(N, *event)", least_dims=1)
    return torch.rand(x.shape, generator=_generator(seed)) >= rate


def mar(x: Tensor, rate: float = 0.5, *, always: float = 0.3, slope: float = 2.0, seed: int = 0) -> Tensor:
    """Missing at random: some entries are always observed, and the others go missing depending on those.

    P(x_j is missing) = sigmoid(slope a_j + b_j), where a_j is a standardised random combination of the entries that are
    always observed, and b_j makes x_j missing in a share `rate` of the data points.

    Args:
        x: `(N, *event)`, complete.
        rate: the share of data points in which each of the other entries is missing.
        always: the share of entries that are always observed; at least one is.
        slope: the strength of the dependence; 0 is MCAR.
        seed: the seed of the mask.

    Returns:
        bool `(N, *event)`, true where observed.

    Raises:
        DataError: NaN or infinities in x, or no entry is left that may go missing.
        SettingError: a rate that is not in [0, 1), or another setting without a meaning.
        ShapeError: x is not `(N, *event)`, or is empty.

    References: Muzellec et al. (2020), Missing data imputation using optimal transport, arXiv:2002.03860.
    """
    rate, slope = (
        check_fraction("rate", rate, one=False, write=0.5),
        check_number("slope", slope, -STEEPEST, STEEPEST, write=2.0),
    )
    always = check_fraction("always", always, write=0.3)
    table, generator = _standard(_complete("mar", x)), _generator(seed)
    dim = table.shape[1]
    known = max(1, round(always * dim))
    if known >= dim:
        raise DataError(
            f"mar requires entries that may go missing, got always={always} of {dim} entries. Write always=0.3."
        )
    order = torch.randperm(dim, generator=generator)
    causes = table[:, order[:known]] @ torch.randn(known, dim - known, generator=generator, dtype=table.dtype)
    mask = torch.ones(table.shape, dtype=torch.bool)
    mask[:, order[known:]] = _observed(slope * _standard(causes), rate, generator)
    return mask.reshape(x.shape)


def mnar(x: Tensor, rate: float = 0.5, *, slope: float = 2.0, seed: int = 0) -> Tensor:
    """Missing not at random: large values hide themselves, P(x_j is missing) = sigmoid(slope (x_j - m_j) / s_j + b_j).

    m_j and s_j are the mean and the standard deviation of x_j, and b_j makes x_j missing in a share `rate` of the data
    points. Every method that ignores why entries are missing is biased then, a VAE included.

    Args:
        x: `(N, *event)`, complete.
        rate: the share of data points in which each entry is missing.
        slope: the strength of the dependence; 0 is MCAR.
        seed: the seed of the mask.

    Returns:
        bool `(N, *event)`, true where observed.

    Raises:
        DataError: NaN or infinities in x.
        SettingError: a rate that is not in [0, 1), or another setting without a meaning.
        ShapeError: x is not `(N, *event)`, or is empty.

    References: Ipsen et al. (2021), not-MIWAE, arXiv:2006.12871.
    """
    rate, slope = (
        check_fraction("rate", rate, one=False, write=0.5),
        check_number("slope", slope, -STEEPEST, STEEPEST, write=2.0),
    )
    return _observed(slope * _standard(_complete("mnar", x)), rate, _generator(seed)).reshape(x.shape)


def halves(x: Tensor, side: str = "random", *, seed: int = 0) -> Tensor:
    """One half of each image is missing.

    Args:
        x: images `(N, C, H, W)`.
        side: which half: `top`, `bottom`, `left`, `right`, or `random`, one of the four for each image.
        seed: the seed of the random sides.

    Returns:
        bool `(N, C, H, W)`, true where observed.

    Raises:
        ShapeError: x is not images.
        DataError: there is no such side.
    """
    x, seed = check_tensor("x", x, "(N, C, H, W)", dims=4), check_seed("seed", seed)
    if side not in (*SIDES, "random"):
        raise DataError(f"side is one of {', '.join(SIDES)} and random, got {side!r}. Write side='bottom'.")
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
    """Hot-deck imputation: each missing entry becomes an observed value of the same entry, from a random data point.

    The marginals of the result are those of the observed entries. A likelihood starts there,
    `likelihood.start(hot_deck(x, mask))`. An entry that was observed in no data point stays as it is.

    Args:
        x: `(N, *event)`.
        mask: bool, true where x was observed; its shape broadcasts to that of x.
        seed: the seed of the choice.
    """
    x = check_tensor("x", x, "(N, *event)", least_dims=2, rows=1)
    table, observed = x.flatten(1), _expanded(mask, x).flatten(1)
    counts = observed.sum(0)
    first = observed.int().argsort(dim=0, descending=True, stable=True)  # rows that were observed, then the others
    picked = (torch.rand(table.shape, generator=_generator(seed)) * counts).long()
    donors = table.gather(0, first.gather(0, picked))
    return torch.where(observed | (counts == 0), table, donors).reshape(x.shape)


def censored(x: Tensor, mask: Tensor, *, hides: Literal["large", "small"] = "large", seed: int = 0) -> Tensor:
    """Imputation past a threshold: each missing entry is drawn from the tail of a normal, beyond all observed values.

    Let c be the largest observed value of an entry, m the mean of its observed values, and p the share of them. The
    normal is the one with P(x < c) = p and E[x | x < c] = m, whose tail is what is missing:

        scale = (c - m) / (a + phi(a) / p),  loc = c - a scale,  a = Phi^-1(p)

    A model of data that hide themselves starts there, `likelihood.start(censored(x, mask))`, and its mechanism with
    `SelfMasking.start_at_threshold`. From the observed values alone, as in `hot_deck`, training often ends where values
    are missing at random. An entry that was observed in no data point stays as it is.

    Args:
        x: `(N, *event)`.
        mask: bool, true where x was observed; its shape broadcasts to that of x.
        hides: `"large"` if what is missing is larger than all observed values, `"small"` if it is smaller.
        seed: the seed of the draws.

    Raises:
        SettingError: another word for `hides`.

    References: Cohen (1950), Estimating the mean and variance of normal populations from singly truncated samples.
    """
    x = check_tensor("x", x, "(N, *event)", least_dims=2, rows=1)
    if hides not in ("large", "small"):
        raise SettingError(f"censored requires hides='large' or 'small', got {hides!r}.")
    sign = 1 if hides == "large" else -1
    table, observed = sign * x.to(torch.result_type(x, 1.0)).flatten(1), _expanded(mask, x).flatten(1)
    counts = observed.sum(0)
    top = table.where(observed, -math.inf).amax(0)
    mean = table.where(observed, 0.0).sum(0) / counts
    share = (counts + 0.5) / (len(x) + 1)
    edge = torch.special.ndtri(share)
    density = (-edge.square() / 2).exp() / math.sqrt(2 * math.pi)
    scale = (top - mean) / (edge + density / share)
    beyond = (1 - share) * (1 - torch.rand(table.shape, generator=_generator(seed)))  # P(x > drawn value), above 0
    drawn = top - scale * (edge + torch.special.ndtri(beyond))
    return (sign * torch.where(observed | (counts == 0), table, drawn.to(table.dtype))).reshape(x.shape)


def _generator(seed: int) -> torch.Generator:
    """A generator of its own stream: from the same seed as the data, the mask would depend on their values."""
    return torch.Generator().manual_seed(check_seed("seed", seed) + 0x6D61736B)


def _complete(what: str, x: Tensor) -> Tensor:
    """Data of at least one row and one number per row, all of them finite."""
    x = check_tensor(f"{what}(x=)", x, "(N, *event)", least_dims=2, rows=1)
    if x.numel() == 0:
        raise ShapeError(f"{what} requires numbers, got x of shape {tuple(x.shape)}.")
    broken = int((~x.isfinite()).sum())
    if broken:
        raise DataError(
            f"{what} requires complete data, got {broken} NaN or infinite numbers of {x.numel()}. Hide entries of "
            "complete data, or write incomplete(x) for data that have gaps already."
        )
    return x


def _standard(x: Tensor) -> Tensor:
    """The data as a table `(N, D)` whose columns have mean 0 and standard deviation 1; constant columns become 0."""
    table = x.flatten(1).double()
    scale = table.std(0, correction=0)
    return (table - table.mean(0)) / torch.where(scale > 0, scale, 1.0)


def _observed(logits: Tensor, rate: float, generator: torch.Generator) -> Tensor:
    """A drawn mask: an entry is missing with probability sigmoid(logit + b), and b makes a column's mean `rate`."""
    if rate == 0:
        return torch.ones(logits.shape, dtype=torch.bool)
    wide = logits.abs().max().item() + abs(math.log(rate / (1 - rate))) + 1
    low, high = torch.full((logits.shape[1],), -wide), torch.full((logits.shape[1],), wide)
    for _ in range(50):  # bisection, since b has no closed form
        middle = (low + high) / 2
        below = torch.sigmoid(logits + middle).mean(0) < rate
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return torch.rand(logits.shape, generator=generator) >= torch.sigmoid(logits + low)
