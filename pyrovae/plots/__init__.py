"""Pictures. Functions take tensors and return a matplotlib Figure; they save nothing and show nothing.

Images are `(N, C, H, W)`; C is 1 or 3. Values in [0, 1] are black to white; others are scaled, as `mosaic` says.
Colours are safe for colour-blind readers. matplotlib is imported when the first figure is made.
"""

from pyrovae.plots.boxes import boxes
from pyrovae.plots.coverage import coverage, pit
from pyrovae.plots.curves import curves, dots, lines, step_losses
from pyrovae.plots.diagnostics import detection, heat, ranks
from pyrovae.plots.figure import PALETTE, save
from pyrovae.plots.images import grid, mosaic, paths, reconstructions, table
from pyrovae.plots.latent import attribute, latent_map, manifold, neighbours, traversals
from pyrovae.plots.piano import piano_rolls
from pyrovae.plots.topics import topic_bars

__all__ = [
    "PALETTE",
    "attribute",
    "boxes",
    "coverage",
    "curves",
    "detection",
    "dots",
    "grid",
    "heat",
    "latent_map",
    "lines",
    "manifold",
    "mosaic",
    "neighbours",
    "paths",
    "piano_rolls",
    "pit",
    "ranks",
    "reconstructions",
    "save",
    "step_losses",
    "table",
    "topic_bars",
    "traversals",
]
