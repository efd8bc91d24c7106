"""Pictures of calibration: what credible regions hold, and how evenly simulated latents rank, with bands."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from pyrovae.checks import check_count, check_fraction, check_tensor
from pyrovae.errors import ShapeError
from pyrovae.plots.figure import colours, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["coverage", "pit"]

T = TypeVar("T")

WIDE = 1.5  # the least height of the axis, in bands


def coverage(
    curves: Mapping[str, tuple[Tensor, Tensor]], num_simulations: int, *, band: float = 0.99, title: str = ""
) -> "Figure":
    """What credible regions of each level hold, as `calibration(...).curves()` gives it: the level, if calibrated.

    A curve below the grey band means that the regions hold less than they say (the guide is too narrow, or shifted),
    one above it that they hold more.

    Args:
        curves: by name, levels from 0 to 1 and the share of simulated latents in the regions of each, `(K,)` each.
        num_simulations: the number of simulations that the shares come from.
        band: the probability that the whole curve of a calibrated guide is inside the grey band.
        title: what to write above it.

    Raises:
        ShapeError: no curves, or levels and shares of different lengths.
    """
    figure, axes = _banded(check_count("num_simulations", num_simulations), band, diagonal=True)
    for colour, (name, (levels, shares)) in zip(colours(len(_some("coverage", curves))), curves.items(), strict=True):
        if levels.shape != shares.shape or levels.dim() != 1:
            raise ShapeError(
                f"coverage requires levels and shares (K,), got {tuple(levels.shape)} and {tuple(shares.shape)} for "
                f"{name!r}. Write calibration.curves()."
            )
        axes.plot(levels.cpu().numpy(), shares.cpu().numpy(), label=name, color=colour, linewidth=1.3)
    axes.set(xlabel="level of the region", ylabel="share of simulated latents in it", xlim=(0, 1), ylim=(0, 1))
    return _finished(figure, axes, title)


def pit(values: Mapping[str, Tensor], *, band: float = 0.99, title: str = "") -> "Figure":
    """The distribution function of ranks in (0, 1), less that of even ones, as `calibration(...).pit()` gives them.

    A calibrated guide has a curve inside the grey band. A curve that first rises and then falls means that the guide is
    too narrow, the reverse that it is too wide, a hill that its draws are too high, a valley that they are too low.

    Args:
        values: by name, `(N,)`, or `(N, D)` for a curve of each dimension.
        band: the probability that the whole curve of a calibrated guide is inside the grey band.
        title: what to write above it.

    Raises:
        ShapeError: no values, or values of another shape; or different N.
    """
    named: dict[str, Tensor] = {}
    for name, part in _some("pit", values).items():
        if check_tensor(f"values[{name!r}]", part, "(N,) or (N, D)").dim() not in (1, 2) or not len(part):
            raise ShapeError(f"pit requires (N,) or (N, D), got {tuple(part.shape)} for {name!r}.")
        one = part.detach().cpu().double()
        named |= {name: one} if one.dim() == 1 else {f"{name}[{d}]": column for d, column in enumerate(one.T)}
    sizes = {len(one) for one in named.values()}
    if len(sizes) > 1:
        raise ShapeError(f"pit requires as many values of each name, got {sorted(sizes)}. Write calibration.pit().")
    figure, axes = _banded(sizes.pop(), band, diagonal=False)
    for colour, (name, one) in zip(colours(len(named)), named.items(), strict=True):
        levels = one.unique()
        between = (levels[1:] + levels[:-1]) / 2  # where the ranks leave no step
        at = torch.cat([one.new_zeros(1), between, one.new_ones(1)])
        below = torch.searchsorted(one.sort().values, at, right=True) / len(one)
        axes.plot(at.numpy(), (below - at).numpy(), label=name, color=colour, linewidth=1.3)
    axes.set(xlabel="rank, as a share of the draws", ylabel="share of simulations below, less the rank", xlim=(0, 1))
    return _finished(figure, axes, title)


def _some(what: str, found: Mapping[str, T]) -> Mapping[str, T]:
    if not found:
        raise ShapeError(f"{what} requires at least one curve, got none.")
    return found


def _banded(size: int, band: float, *, diagonal: bool) -> tuple["Figure", "Axes"]:
    """Axes with the line of a calibrated guide, in the band of Dvoretzky, Kiefer, Wolfowitz and Massart."""
    band = check_fraction("band", band, ends=False, write=0.99)
    margin = math.sqrt(math.log(2 / (1 - band)) / (2 * size))
    figure = new_figure(6.6, 4.6)
    axes = figure.subplots()
    ends = [0, 1] if diagonal else [0, 0]
    axes.fill_between([0, 1], [end - margin for end in ends], [end + margin for end in ends], color="0.88", zorder=0)
    axes.plot([0, 1], ends, color="0.6", linewidth=0.8, zorder=1)
    if not diagonal:
        axes.set_ylim(-WIDE * margin, WIDE * margin)
        axes.set_autoscaley_on(True)
    return figure, axes


def _finished(figure: "Figure", axes: "Axes", title: str) -> "Figure":
    plain(axes, title)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure
