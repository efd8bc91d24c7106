"""Pictures. Functions take tensors and return a matplotlib Figure; they save nothing and show nothing.

Images are `(N, C, H, W)` with values in [0, 1]; C is 1 or 3. Colours are safe for colour-blind readers.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pyrovae.errors import ShapeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["curves", "grid", "latent_scatter", "manifold", "paths", "reconstructions", "save"]

# Okabe & Ito's colours, then Tol's, so that ten classes stay apart for every reader.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#B8A800", "#000000", "#882255", "#999933")


def _figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def mosaic(images: Tensor, columns: int, gap: int = 2) -> Tensor:
    """Images `(N, C, H, W)` side by side in `columns` columns on white: one picture `(rows, columns, C)`.

    Raises:
        ShapeError: they are not images, or there is none.
    """
    _check_images(images)
    count, channels, height, width = images.shape
    rows = math.ceil(count / columns)
    sheet = torch.ones(channels, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, image in enumerate(images.detach().float().cpu().clamp(0, 1)):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[:, top : top + height, left : left + width] = image
    return sheet.permute(1, 2, 0)


def _check_images(images: Tensor) -> None:
    if images.dim() != 4 or images.shape[1] not in (1, 3) or len(images) == 0:
        raise ShapeError(f"a picture wants images (N, C, H, W) with N > 0, C = 1 or 3, got {tuple(images.shape)}.")


def _show(axes: "Axes", picture: Tensor, title: str) -> None:
    axes.imshow(picture.squeeze(-1).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_axis_off()


def _sheet(images: Tensor, columns: int, title: str) -> "Figure":
    picture = mosaic(images, columns)
    width = min(8.0, 0.62 * columns + 0.4)
    figure = _figure(width, width * picture.shape[0] / picture.shape[1] + 0.4)
    _show(figure.subplots(), picture, title)
    return figure


def grid(images: Tensor, *, columns: int = 10, title: str = "") -> "Figure":
    """Images in rows, `(N, C, H, W)`: draws from the prior, say."""
    _check_images(images)
    return _sheet(images, min(columns, len(images)), title)


def reconstructions(originals: Tensor, reconstructed: Tensor, *, columns: int = 10) -> "Figure":
    """Each row of originals over the row of their reconstructions, both `(N, C, H, W)`.

    Raises:
        ShapeError: the two differ in shape, or are no images.
    """
    if originals.shape != reconstructed.shape:
        raise ShapeError(f"originals {tuple(originals.shape)} and reconstructions {tuple(reconstructed.shape)} differ.")
    _check_images(originals)
    columns = min(columns, len(originals))
    rows = []
    for pair in zip(originals.split(columns), reconstructed.to(originals).split(columns), strict=True):
        # The last row is filled up with white, so that each reconstruction stays under its original.
        rows += [torch.cat([row, row.new_ones(columns - len(row), *row.shape[1:])]) for row in pair]
    return _sheet(torch.cat(rows), columns, "originals over their reconstructions")


def paths(images: Tensor, *, title: str = "between two data") -> "Figure":
    """Interpolations, one a row, `(R, T, C, H, W)`."""
    return _sheet(images.flatten(0, 1), images.shape[1], title)


def manifold(images: Tensor, *, extent: float) -> "Figure":
    """The plane of a 2-D latent: images `(n * n, C, H, W)` decoded on a square grid, top row first.

    Args:
        images: decoded at z1 from -extent to extent along a row, z2 from extent down to -extent.
        extent: half the side of the square, in standard deviations of the prior.

    Raises:
        ShapeError: their number is no square.
    """
    side = math.isqrt(len(images))
    if side * side != len(images):
        raise ShapeError(f"a manifold wants n * n images, got {len(images)}. Decode a square grid of codes.")
    picture = mosaic(images, side, gap=0)
    figure = _figure(7, 7.2)
    axes = figure.subplots()
    _show(axes, picture, "the mean of p(x | z) over the latent plane")
    axes.set_axis_on()
    rows, columns, _ = picture.shape  # pixels are drawn around their numbers, from -1/2 on
    axes.set_xticks([-0.5, columns / 2 - 0.5, columns - 0.5], [f"{-extent:g}", "0", f"{extent:g}"])
    axes.set_yticks([-0.5, rows / 2 - 0.5, rows - 0.5], [f"{extent:g}", "0", f"{-extent:g}"])
    axes.set_xlabel("z₁")
    axes.set_ylabel("z₂")
    return figure


def latent_scatter(z: Tensor, y: Tensor | None = None, *, classes: Sequence[str] | None = None) -> "Figure":
    """Codes `(N, D)` coloured by label; more than two dimensions are shown by their first two principal axes.

    Raises:
        ShapeError: z is not `(N, D)` with D >= 2, or y not `(N,)`.
    """
    if z.dim() != 2 or z.shape[1] < 2:
        raise ShapeError(f"a latent scatter wants codes (N, D) with D >= 2, got {tuple(z.shape)}.")
    if y is not None and y.shape != z.shape[:1]:
        raise ShapeError(f"a latent scatter wants one label for each code {tuple(z.shape)}, got {tuple(y.shape)}.")
    points, names = plane(z)
    figure = _figure(6.2, 5.4)
    axes = figure.subplots()
    groups = [None] if y is None else sorted(set(y.tolist()))
    for i, group in enumerate(groups):
        chosen = points if group is None else points[(y == group).cpu()]
        label = None if group is None else (classes[group] if classes else str(group))
        across, up = chosen.T.numpy()
        axes.scatter(across, up, s=7, alpha=0.7, linewidths=0, color=PALETTE[i % len(PALETTE)], label=label)
    if y is not None and len(groups) <= len(PALETTE):
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2.5)
    axes.set_title("codes: the mean of q(z | x)", loc="left", fontsize=10)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_aspect("equal", "datalim")
    return figure


def plane(z: Tensor) -> tuple[Tensor, tuple[str, str]]:
    """Codes `(N, D)` as points `(N, 2)`, and the names of the two axes."""
    z = z.detach().float().cpu()
    if z.shape[1] == 2:
        return z, ("z₁", "z₂")
    centred = z - z.mean(0)
    variances, axes = torch.linalg.eigh(centred.T @ centred)
    share = variances.clamp_min(0) / variances.sum().clamp_min(1e-30)
    first, second = (f"principal axis {i} ({share[-i]:.0%} of variance)" for i in (1, 2))
    return centred @ axes[:, [-1, -2]], (first, second)


def curves(rows: Sequence[Mapping[str, Any]]) -> "Figure":
    """Training curves from a history's rows: the objective beside the validation ELBO, rate and distortion beneath."""
    epochs = [row["epoch"] for row in rows]
    validated = bool(rows) and "elbo" in rows[0]
    figure = _figure(9 if validated else 5, 3.2)
    panels = figure.subplots(1, 3 if validated else 1, squeeze=False)[0]
    _curve(panels[0], epochs, {"training": [row["loss"] for row in rows]}, "loss")
    if any(abs(row.get("train_elbo", -row["loss"]) + row["loss"]) > 1e-4 * abs(row["loss"]) for row in rows):
        _curve(panels[0], epochs, {"training, -ELBO": [-row["train_elbo"] for row in rows]}, "loss")
        panels[0].legend(frameon=False)
    if validated:
        _curve(panels[0], epochs, {"validation, -ELBO": [-row["elbo"] for row in rows]}, "loss")
        _curve(panels[1], epochs, {"rate": [row["rate"] for row in rows]}, "rate, KL(q(z|x) ‖ p(z))")
        _curve(panels[2], epochs, {"distortion": [row["distortion"] for row in rows]}, "distortion, -E log p(x|z)")
        panels[0].legend(frameon=False)
    return figure


def _curve(axes: "Axes", epochs: Sequence[int], series: Mapping[str, Sequence[float]], title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for name, values in series.items():
        axes.plot(epochs, values, label=name, color=PALETTE[len(axes.lines)], marker="o", markersize=2.5, linewidth=1.2)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per datum")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def save(figure: "Figure", path: Any) -> None:
    """Write a figure as PNG, at a resolution that reads well on a screen."""
    figure.savefig(path, dpi=130)
