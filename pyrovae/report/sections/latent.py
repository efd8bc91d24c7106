"""The latent space: maps that decode where one points, and traversals."""

import torch
from torch import Tensor

from pyrovae.inference.latent.projection import principal_plane
from pyrovae.inference.latent.support import Support
from pyrovae.inference.latent.traversal import Traversal, traverse
from pyrovae.inference.pair.running import unchanged
from pyrovae.report.reported import ReportedPair
from pyrovae.report.sections.section import Section, dimension, fixed, rounded, subscripted

__all__ = ["latent_map", "traversals"]

PRIOR = 300
"""Draws of the prior on a map."""

GRID = 24
"""Decoded points along each side of a map."""

DIMS, STEPS, BASES = 12, 11, 4
"""Dimensions that are traversed, positions of each, and data points from which they start."""

EXTENT = 2.5
"""Standard deviations of the aggregate posterior that a traversal goes to each side."""


def latent_map(pair: ReportedPair, latent: str) -> Section | None:
    """A plane through the codes, decoded on a grid, with the data points on it. None of a latent of one dimension.

    Args:
        pair: the pair.
        latent: a site whose codes are vectors.
    """
    z = pair.codes[latent].float()
    if z.shape[1] < 2 or len(z) < 2:
        return None
    plane = principal_plane(z)
    draws = pair.prior_draws(latent, PRIOR)
    points, prior = plane.project(z), plane.project(draws)
    half = _half_side(points, prior)
    grid = _grid(half, z.device)
    axes = [dimension(latent, d) for d in range(2)] if z.shape[1] == 2 else plane.axes
    support = Support.of(pair.model, pair.guide, pair.batch, latent, unchanged)
    codes = support.nearest(plane.lift(grid), torch.cat([z, draws]))
    images = pair.decoded([0] * len(grid), {latent: codes.to(pair.codes[latent])})
    labels = pair.labels
    names = [name for _, name in sorted(set(zip(pair.batch["y"].tolist(), labels, strict=True)))] if labels else []
    return {
        "kind": "map",
        "title": f"Latent map of {subscripted(latent)}",
        "text": _map_text(latent, z.shape[1], support) + fixed(pair, latent, pair.name(0)),
        "axes": axes,
        "short": [name.split(" (")[0].replace("principal ", "") for name in axes],
        "half": half,
        "side": GRID,
        "grid": pair.camera.album(images, budget=550_000),
        "data": pair.camera.album(pair.x, budget=350_000),
        "points": rounded(points),
        "prior": rounded(prior),
        "labels": names,
        "label": [names.index(label) for label in labels],
    }


def _half_side(points: Tensor, prior: Tensor) -> float:
    """Half the side of a square around the origin that holds all points, and all but the farthest prior draws."""
    far = [points.abs().max().item()] + ([prior.abs().quantile(0.99).item()] if len(prior) else [])
    return 1.05 * max(*far, 1e-6)


def _grid(half: float, device: torch.device) -> Tensor:
    """The points of the grid, `(GRID * GRID, 2)`, row by row from the top."""
    line = torch.linspace(-half, half, GRID, device=device)
    return torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)


def _map_text(latent: str, dims: int, support: Support) -> str:
    text = f"Each point is the mean of q({latent} | x) for one data point; the faint points are draws of the prior. "
    text += "Point at the map, or move the sliders under it, to decode a place"
    text += "." if dims == 2 else "; all other directions are at the mean of the codes."
    inside = f" Where the plane leaves the support of p({latent}), the nearest code within it is decoded."
    return text + ("" if support.real else inside)


def traversals(pair: ReportedPair, latent: str) -> Section:
    """Codes of some data points, decoded along single dimensions, those of the highest rate first.

    Args:
        pair: the pair.
        latent: a site whose codes are vectors.
    """
    rows = pair.chosen(BASES)
    walks = [_traversal(pair, latent, row) for row in rows]
    one, z, name = walks[0], pair.codes[latent], subscripted(latent)
    text = f"One dimension of {name} moves, the others stay at the code of the chosen data point. Dimensions are "
    text += "sorted by their rate, the nats that they say about a data point: a dimension of rate 0 is not used."
    return {
        "kind": "traversals",
        "title": f"Traversals of {name}",
        "text": text + fixed(pair, latent, "the data point"),
        "dims": [
            {"name": dimension(latent, d), "rate": rate} for d, rate in zip(one.dims, one.rates.tolist(), strict=True)
        ],
        "left_out": z.shape[1] - len(one.dims),
        "values": rounded(one.values),
        "start": rounded(z[rows][:, one.dims]),
        "bases": [pair.name(row) for row in rows],
        "album": pair.camera.album(torch.cat([walk.x.flatten(0, 1) for walk in walks]), budget=600_000),
        "data": pair.camera.album(pair.x[rows], budget=30_000),
    }


def _traversal(pair: ReportedPair, latent: str, row: int) -> Traversal:
    """The traversal from the code of one data point."""
    # Sites below the one that moves are left out, so that they follow it.
    held = list(pair.codes)[: list(pair.codes).index(latent) + 1]
    return traverse(
        pair.model,
        pair.guide,
        pair.batch,
        latent=latent,
        num_dims=DIMS,
        num_steps=STEPS,
        extent=EXTENT,
        code={name: pair.codes[name][row] for name in held},
        given={name: tensor[row] for name, tensor in pair.given.items()},
        seed=pair.seed,
    )
