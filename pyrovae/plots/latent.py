"""Pictures of the latent space: maps, traversals, directions, neighbours."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.checks import check_equally_many, check_number, check_numbers, check_several
from pyrovae.errors import DataError, ShapeError
from pyrovae.plots.figure import PALETTE, colours, new_figure
from pyrovae.plots.images import labelled, mosaic, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["attribute", "latent_map", "manifold", "neighbours", "traversals"]

NAMED, COLUMN = 40, 14
"""The most labels that a legend names, and how many a column of it holds."""


def traversals(images: Tensor, dims: Sequence[int], rates: Tensor, t: Tensor, *, latent: str = "z") -> "Figure":
    """What one latent dimension at a time does, as `inference.traverse` gives it: a row for each, with its rate.

    Args:
        images: R rows of T images, `(R, T, C, H, W)`.
        dims: the R dimensions.
        rates: their rates, `(R,)`, in nats per data point.
        t: the T positions, in standard deviations of the aggregate posterior, or of a normal distribution with the same
            quantiles.
        latent: the name of the latent site.

    Raises:
        ShapeError: they are not rows of images.
    """
    rows = [
        f"{latent}[{d}]" + (f"   {rate:.2f} nats" if math.isfinite(rate) else "")
        for d, rate in zip(dims, rates.tolist(), strict=True)
    ]
    columns = [f"{step:g}" for step in t.tolist()]
    figure, axes = labelled(images, f"one dimension of {latent} at a time, by rate", rows, columns)
    axes.set_xlabel(f"standard deviations of the aggregate posterior of {latent}[d]", fontsize=8)
    return figure


def attribute(images: Tensor, strengths: Sequence[float], *, name: str = "an attribute") -> "Figure":
    """Data points moved along the direction of an attribute, as `inference.vary` gives them: a data point a row.

    Args:
        images: R rows of T images, `(R, T, C, H, W)`.
        strengths: the T strengths, in multiples of the difference of the mean codes with and without the attribute.
        name: the name of the attribute.

    Raises:
        ShapeError: they are not rows of images.
    """
    columns = [f"{check_number('a strength', strength):g}" for strength in check_several("strengths", strengths)]
    figure, axes = labelled(images, f"along the direction of {name}", [], columns)
    check_equally_many("strengths", columns, len(images[0]), "images of a row")
    axes.set_xlabel("strength: times the difference of the mean codes with and without", fontsize=8)
    return figure


def neighbours(queries: Tensor, found: Tensor, distance: Tensor) -> "Figure":
    """Data points, a row each, beside those with the nearest codes, and the distances of the codes.

    Args:
        queries: `(Q, C, H, W)`.
        found: the k nearest of each query, the nearest first, `(Q, k, C, H, W)`.
        distance: the distances of their codes, `(Q, k)`.

    Raises:
        ShapeError: shapes that do not belong together, or no images.
    """
    queries, found, distance = (
        check_numbers(*one) for one in (("queries", queries), ("found", found), ("distance", distance))
    )
    if found.shape[2:] != queries.shape[1:] or not found.shape[:2] == distance.shape or len(found) != len(queries):
        raise ShapeError(
            f"neighbours requires queries (Q, C, H, W), found (Q, k, C, H, W) and distance (Q, k), got "
            f"{tuple(queries.shape)}, {tuple(found.shape)} and {tuple(distance.shape)}. Write x[:3], x[near.rows], "
            "near.distance."
        )
    images = torch.cat([queries.unsqueeze(1), found.to(queries)], 1)
    height, width = images.shape[-2:]
    gap = max(2, math.ceil(0.3 * height))  # room for a number under each
    columns = ["query", *(str(i + 1) for i in range(found.shape[1]))]
    figure, axes = labelled(images, "each data point, and those with the nearest codes", [], columns, gap)
    for row, distances in enumerate(distance.tolist()):
        for column, number in enumerate(distances, 1):
            left, top = column * (width + gap) + (width - 1) / 2, row * (height + gap) + height
            axes.text(left, top, f"{number:.2f}", ha="center", va="top", fontsize=8, clip_on=False)
    axes.set_xlabel("under each: the distance of the codes", fontsize=8, labelpad=12)
    return figure


def manifold(images: Tensor, *, extent: float) -> "Figure":
    """The plane of a latent of two dimensions, decoded on a square grid.

    Args:
        images: `(n * n, C, H, W)`, decoded at z1 from -extent to extent along a row, and at z2 from extent in the top
            row down to -extent.
        extent: half the side of the square, in standard deviations of the prior.

    Raises:
        ShapeError: the number of images is not a square.
    """
    images, extent = check_numbers("images", images), check_number("extent", extent)
    side = math.isqrt(len(images)) if images.dim() else 0
    if not side or side * side != len(images):
        raise ShapeError(
            f"manifold requires n * n images, got {len(images) if images.dim() else 0}. Decode a square grid of codes."
        )
    picture = mosaic(images, side, gap=0)
    figure = new_figure(7, 7.2)
    axes = figure.subplots()
    show(axes, picture, "the mean of p(x | z) over the latent plane")
    axes.set_axis_on()
    rows, columns, _ = picture.shape  # pixels are drawn around their numbers, from -1/2 on
    axes.set_xticks([-0.5, columns / 2 - 0.5, columns - 0.5], [f"{-extent:g}", "0", f"{extent:g}"])
    axes.set_yticks([-0.5, rows / 2 - 0.5, rows - 0.5], [f"{extent:g}", "0", f"{-extent:g}"])
    axes.set_xlabel("z₁")
    axes.set_ylabel("z₂")
    return figure


def latent_map(
    mean: Tensor,
    y: Tensor | None = None,
    *,
    posterior: Tensor | None = None,
    prior: Tensor | None = None,
    axes: tuple[str, str] = ("", ""),
    classes: Sequence[str] | None = None,
    latent: str = "z",
) -> "Figure":
    """Codes in the plane, as `inference.latent_map` gives them, and beside them the aggregate posterior on the prior.

    Args:
        mean: the mean of each q(z | x), `(N, 2)`.
        y: the label of each, `(N,)`, which gives its colour.
        posterior: one draw of q(z | x) per data point, `(N, 2)`; without it there is no second panel.
        prior: draws of p(z), `(M, 2)`; without it there is no second panel.
        axes: what to write at the two axes.
        classes: the names of the labels.
        latent: the name of the latent site.

    Raises:
        ShapeError: points that are not `(N, 2)`, y that is not `(N,)`, or labels without a class.
        DataError: points that are not finite.
    """
    mean, y = check_numbers("mean", mean), None if y is None else check_numbers("y", y)
    posterior, prior = (None if points is None else check_numbers("points", points) for points in (posterior, prior))
    sets = [points for points in (mean, posterior, prior) if points is not None]
    _check_points(sets, mean, y, classes)
    both = posterior is not None and prior is not None
    figure = new_figure(10.4 if both else 6.2, 5.2)
    panels = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    _by_label(panels[0], mean, y, classes)
    panels[0].set_title(f"codes: the mean of q({latent} | x)", loc="left", fontsize=10)
    if posterior is not None and prior is not None:
        _points(panels[1], prior, PALETTE[1], f"prior, p({latent})")
        _points(panels[1], posterior, PALETTE[0], f"aggregate posterior, one draw of q({latent} | x) per data point")
        panels[1].set_title(f"draws of {latent}", loc="left", fontsize=10)
        style: dict[str, Any] = {"ncols": 2, "frameon": False, "markerscale": 2.5}
        figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower right", **style)
    low, high = _square_around(sets)
    for panel in panels:
        panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=axes[0], aspect="equal")
    panels[0].set_ylabel(axes[1])
    return figure


def _check_points(sets: Sequence[Tensor], mean: Tensor, y: Tensor | None, classes: Sequence[str] | None) -> None:
    for points in sets:
        if points.dim() != 2 or points.shape[1] != 2 or not len(points):
            raise ShapeError(
                f"A latent map requires points (N, 2), got {tuple(points.shape)}. Make them with "
                "inference.latent_map(model, guide, data)."
            )
    if y is not None and y.shape != mean.shape[:1]:
        raise ShapeError(
            f"A latent map requires one label for each of {tuple(mean.shape)} points, got {tuple(y.shape)}."
        )
    if any(not points.isfinite().all() for points in sets):
        raise DataError("A latent map requires finite points, got NaN or infinite ones. See where encode() gives them.")
    if classes is not None and not isinstance(classes, list | tuple):
        raise ShapeError(f"A latent map requires classes as a list of names, got a {type(classes).__name__}.")
    if y is not None and classes:
        within = not y.is_floating_point() and int(y.min()) >= 0 and int(y.max()) < len(classes)
        if not within:
            raise ShapeError(f"A latent map requires a class for each label, got {len(classes)} classes.")


def _square_around(sets: Sequence[Tensor]) -> tuple[list[float], list[float]]:
    """The corners of a square that holds all points, with a margin."""
    points = torch.cat([z.detach().float().cpu() for z in sets])
    low, high = points.amin(0), points.amax(0)
    middle, half = (low + high) / 2, 0.53 * (high - low).max() + 1e-6
    return (middle - half).tolist(), (middle + half).tolist()


def _by_label(axes: "Axes", points: Tensor, y: Tensor | None, classes: Sequence[str] | None) -> None:
    if y is None:
        return _points(axes, points, PALETTE[0], None)
    groups = sorted(set(y.tolist()))
    for group, colour in zip(groups, colours(len(groups)), strict=True):
        name = classes[group] if classes else str(group)
        _points(axes, points[(y == group).to(points.device)], colour, name)
    if len(groups) <= NAMED:
        style: dict[str, Any] = {"frameon": False, "markerscale": 2.5, "ncols": -(-len(groups) // COLUMN)}
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5), **style)
    return None


def _points(axes: "Axes", points: Tensor, colour: Any, label: str | None) -> None:
    across, up = points.detach().float().cpu().T.numpy()
    axes.scatter(across, up, s=7, alpha=0.7, linewidths=0, color=colour, label=label)
