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

__all__ = [
    "attribute",
    "curves",
    "detection",
    "dots",
    "grid",
    "heat",
    "latent_map",
    "lines",
    "manifold",
    "neighbours",
    "paths",
    "piano_rolls",
    "ranks",
    "reconstructions",
    "save",
    "table",
    "traversals",
]

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
        raise ShapeError(
            f"a picture wants images (N, C, H, W) with N > 0, C = 1 or 3, got {tuple(images.shape)}. Data of another "
            "kind have no such picture: print or plot their numbers."
        )


def _check_table(images: Tensor) -> None:
    if images.dim() != 5 or images.shape[2] not in (1, 3) or images.numel() == 0:
        raise ShapeError(
            f"a picture of rows wants images (R, T, C, H, W), none of them 0, C = 1 or 3, got {tuple(images.shape)}. "
            "Data of another kind have no such picture: print or plot their numbers."
        )


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
    _check_table(images)
    return _sheet(images.flatten(0, 1), images.shape[1], title)


def _table(
    images: Tensor, title: str, rows: Sequence[str], columns: Sequence[str], gap: int = 2
) -> "tuple[Figure, Axes]":
    """Images `(R, T, C, H, W)` with a name at each row and over each column."""
    _check_table(images)
    height, width = images.shape[-2:]
    picture = mosaic(images.flatten(0, 1), images.shape[1], gap)
    across = min(8.0, 0.62 * images.shape[1] + 0.4)
    figure = _figure(across + 1.2, across * picture.shape[0] / picture.shape[1] + 0.8)
    axes = figure.subplots()
    _show(axes, picture, title)
    axes.set_axis_on()
    axes.spines[:].set_visible(False)
    axes.xaxis.tick_top()
    axes.set_xticks([i * (width + gap) + (width - 1) / 2 for i in range(len(columns))], columns, fontsize=8)
    axes.set_yticks([i * (height + gap) + (height - 1) / 2 for i in range(len(rows))], rows, fontsize=8)
    axes.tick_params(length=0)
    return figure, axes


def table(images: Tensor, *, title: str = "", rows: Sequence[str] = (), columns: Sequence[str] = ()) -> "Figure":
    """Images `(R, T, C, H, W)` in rows, with a name at each row and over each column."""
    return _table(images, title, rows, columns)[0]


def traversals(images: Tensor, dims: Sequence[int], rates: Tensor, t: Tensor, *, site: str = "z") -> "Figure":
    """What one latent dimension at a time does, of `traverse`: a row for each, with its rate.

    Args:
        images: `(R, T, C, H, W)`.
        dims: the R dimensions.
        rates: theirs, `(R,)`, nats per datum.
        t: the T positions, in standard deviations of the aggregate posterior.
    """
    rows = [
        f"{site}[{d}]" + (f"   {rate:.2f} nats" if math.isfinite(rate) else "")
        for d, rate in zip(dims, rates.tolist(), strict=True)
    ]
    columns = [f"{step:g}" for step in t.tolist()]
    figure, axes = _table(images, f"one dimension of {site} at a time, by rate", rows, columns)
    axes.set_xlabel(f"standard deviations of the aggregate posterior of {site}[d]", fontsize=8)
    return figure


def attribute(images: Tensor, strengths: Sequence[float], *, name: str = "an attribute") -> "Figure":
    """Data moved along the direction of an attribute, of `vary`: images `(R, T, C, H, W)`, a datum a row."""
    figure, axes = _table(images, f"along the direction of {name}", [], [f"{strength:g}" for strength in strengths])
    axes.set_xlabel("strength: times the difference of the mean codes with and without", fontsize=8)
    return figure


def neighbours(queries: Tensor, found: Tensor, distance: Tensor) -> "Figure":
    """Data, a row each, beside those whose codes are nearest, with the distances of the codes.

    Args:
        queries: `(Q, C, H, W)`.
        found: the k nearest of each, the nearest first, `(Q, k, C, H, W)`.
        distance: `(Q, k)`.

    Raises:
        ShapeError: shapes that do not belong together, or no images.
    """
    if found.shape[2:] != queries.shape[1:] or not found.shape[:2] == distance.shape or len(found) != len(queries):
        raise ShapeError(
            f"neighbours wants queries (Q, C, H, W), found (Q, k, C, H, W) and distance (Q, k), got "
            f"{tuple(queries.shape)}, {tuple(found.shape)} and {tuple(distance.shape)}. Write x[:3], x[near.rows], "
            "near.distance."
        )
    images = torch.cat([queries.unsqueeze(1), found.to(queries)], 1)
    height, width = images.shape[-2:]
    gap = max(2, math.ceil(0.3 * height))  # room for a number under each
    columns = ["datum", *(str(i + 1) for i in range(found.shape[1]))]
    figure, axes = _table(images, "each datum, and those with the nearest codes", [], columns, gap)
    for row, distances in enumerate(distance.tolist()):
        for column, number in enumerate(distances, 1):
            left, top = column * (width + gap) + (width - 1) / 2, row * (height + gap) + height
            axes.text(left, top, f"{number:.2f}", ha="center", va="top", fontsize=8, clip_on=False)
    axes.set_xlabel("under each: the distance of the codes", fontsize=8, labelpad=12)
    return figure


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


def latent_map(
    mean: Tensor,
    y: Tensor | None = None,
    *,
    posterior: Tensor | None = None,
    prior: Tensor | None = None,
    axes: tuple[str, str] = ("", ""),
    classes: Sequence[str] | None = None,
    site: str = "z",
) -> "Figure":
    """Codes in the plane, coloured by label, of `latent_map`; beside them the aggregate posterior on the prior.

    Args:
        mean: of each q(z | x), `(N, 2)`.
        y: the label of each, `(N,)`.
        posterior, prior: draws of q(z | x), one a datum, and of p(z), `(M, 2)`; without them there is no second panel.
        axes: what to write at the two axes.
        classes: the names of the labels.

    Raises:
        ShapeError: points that are not `(N, 2)`, or y not `(N,)`.
    """
    for points in (mean, posterior, prior):
        if points is not None and (points.dim() != 2 or points.shape[1] != 2):
            raise ShapeError(
                f"a latent map wants points (N, 2), got {tuple(points.shape)}. Make them with "
                "inference.latent_map(model, guide, data)."
            )
    if y is not None and y.shape != mean.shape[:1]:
        raise ShapeError(f"a latent map wants one label for each of {tuple(mean.shape)} points, got {tuple(y.shape)}.")
    both = posterior is not None and prior is not None
    figure = _figure(10.4 if both else 6.2, 5.2)
    panels = figure.subplots(1, 2 if both else 1, squeeze=False)[0]
    _by_label(panels[0], mean, y, classes)
    panels[0].set_title(f"codes: the mean of q({site} | x)", loc="left", fontsize=10)
    if posterior is not None and prior is not None:
        _points(panels[1], prior, PALETTE[1], f"prior, p({site})")
        _points(panels[1], posterior, PALETTE[0], f"aggregate posterior, one draw of q({site} | x) a datum")
        panels[1].set_title(f"draws of {site}", loc="left", fontsize=10)
        style: dict[str, Any] = {"ncols": 2, "frameon": False, "markerscale": 2.5}
        figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower right", **style)
    low, high = _square_around([points for points in (mean, posterior, prior) if points is not None])
    for panel in panels:
        panel.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xlabel=axes[0], aspect="equal")
    panels[0].set_ylabel(axes[1])
    return figure


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
    for i, group in enumerate(groups):
        name = classes[group] if classes else str(group)
        _points(axes, points[(y == group).to(points.device)], PALETTE[i % len(PALETTE)], name)
    if len(groups) <= len(PALETTE):
        axes.legend(title="label", loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, markerscale=2.5)
    return None


def _points(axes: "Axes", points: Tensor, colour: str, label: str | None) -> None:
    across, up = points.detach().float().cpu().T.numpy()
    axes.scatter(across, up, s=7, alpha=0.7, linewidths=0, color=colour, label=label)


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

    style: dict[str, Any] = {"marker": "o" if len(epochs) <= 60 else "", "markersize": 2.5, "linewidth": 1.2}
    for name, values in series.items():
        axes.plot(epochs, values, label=name, color=PALETTE[len(axes.lines)], **style)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set_xlabel("epoch")
    axes.set_ylabel("nats per datum")
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def lines(series: Mapping[str, Sequence[Sequence[float]]], *, x: str, y: str, title: str = "") -> "Figure":
    """A line for each name: the points' x and y, and perhaps the standard errors of y.

    Args:
        x, y: what to write at the axes, with the unit.
    """
    figure = _figure(6.2, 4.2)
    axes = figure.subplots()
    style: dict[str, Any] = {"marker": "o", "markersize": 4, "linewidth": 1.4, "capsize": 2.5}
    for colour, (name, (across, up, *error)) in zip(PALETTE, series.items(), strict=False):
        axes.errorbar(across, up, yerr=error[0] if error else None, label=name, color=colour, **style)
    axes.set_title(title, loc="left", fontsize=10)
    axes.set(xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
    return figure


def dots(series: Mapping[str, Sequence[float]], names: Sequence[str], *, x: str, title: str = "") -> "Figure":
    """A row for each of `names`, and on it a dot for each series.

    Args:
        series: by name, a number for each row.
        x: what to write at the axis, with the unit.
    """
    figure = _figure(6.4, 1.0 + 0.2 * len(names))
    axes = figure.subplots()
    rows = range(len(names))
    for i, (name, values) in enumerate(series.items()):
        axes.plot(values, rows, "osD^vP"[i % 6], label=name, color=PALETTE[i % len(PALETTE)], markersize=5, alpha=0.85)
    axes.set_yticks(rows, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(x)
    axes.set_title(title, loc="left", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    return figure


def detection(scores: Mapping[str, Any], anomalous: Any, *, title: str = "") -> "Figure":
    """ROC and precision over recall of each score; of the anomalies, the share that chance would find is dashed.

    Args:
        scores: by name, `(N,)`, higher for the more anomalous.
        anomalous: bool `(N,)`.

    Raises:
        ShapeError: scores that are not `(N,)`, or N data that are all anomalous, or none.
    """
    truth = torch.as_tensor(anomalous).cpu()
    figure = _figure(9.4, 4.4)
    left, right = figure.subplots(1, 2)
    share = truth.double().mean().item()
    if truth.dim() != 1 or not 0 < share < 1:
        raise ShapeError(f"detection wants (N,) data, some of them anomalous, got {tuple(truth.shape)}: {share:.0%}.")
    for i, (name, values) in enumerate(scores.items()):
        hits, alarms = _caught(torch.as_tensor(values).double().cpu(), truth, name)
        style: dict[str, Any] = {"color": PALETTE[i % len(PALETTE)], "linestyle": "-" if i < 10 else ":"}
        left.plot(alarms / (~truth).sum(), hits / truth.sum(), label=name, linewidth=1.3, **style)
        right.plot(hits[1:] / truth.sum(), hits[1:] / (hits + alarms)[1:], linewidth=1.3, **style)
    left.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=0.8)
    right.axhline(share, color="0.6", linestyle="--", linewidth=0.8)
    left.set(xlabel="false alarms, share of the normal", ylabel="found, share of the anomalous", title="ROC")
    right.set(xlabel="recall, share of the anomalous", ylabel="precision, share of the alarms")
    right.set_title("precision and recall")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    figure.suptitle(title, x=0.02, ha="left", fontsize=10)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure


def _caught(values: Tensor, truth: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """How many anomalous, and how many normal data score above each threshold, from none on."""
    if values.shape != truth.shape:
        raise ShapeError(f"scores {name!r} are {tuple(values.shape)}, the data {tuple(truth.shape)}.")
    order = values.argsort(descending=True)
    last = torch.cat([values[order].diff() != 0, torch.ones(1, dtype=torch.bool)])  # of those with the same score
    counts = [torch.cat([torch.zeros(1), part[order].cumsum(0)[last]]) for part in (truth, ~truth)]
    return counts[0], counts[1]


def heat(
    values: Tensor, *, rows: Sequence[str], columns: Sequence[str], unit: str = "nats", title: str = ""
) -> "Figure":
    """Numbers `(R, C)` as colours, blue below 0 and red above, a name at each row and column."""
    figure = _figure(1.8 + 0.24 * len(columns), 2.4 + 0.24 * len(rows))
    axes = figure.subplots()
    bound = values.abs().max().item() or 1.0
    shown = axes.imshow(values.cpu().numpy(), cmap="RdBu_r", vmin=-bound, vmax=bound, aspect="auto")
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.set_xticks(range(len(columns)), columns, fontsize=8, rotation=90)
    axes.set_title(title, loc="left", fontsize=10)
    figure.colorbar(shown, ax=axes, label=unit, pad=0.01)
    return figure


def ranks(
    ranks: Tensor, num_samples: int, *, dims: Sequence[int] | None = None, site: str = "z", bins: int = 20
) -> "Figure":
    """Simulation-based calibration, of `inference.calibration`: a histogram of ranks for each dimension.

    Flat inside the band, where 99 % of the bars of a calibrated guide lie; a valley says that the guide is too narrow,
    a hill that it is too wide, a slope that it is shifted.

    Args:
        ranks: `(N, D)`, in {0 ... num_samples}.
        dims: which dimensions; the first twelve if not given.

    Raises:
        ShapeError: ranks are not `(N, D)`.
    """
    if ranks.dim() != 2 or not ranks.numel():
        raise ShapeError(f"a picture of ranks wants (N, D), got {tuple(ranks.shape)}. Write calibration.ranks['z'].")
    dims = range(min(12, ranks.shape[1])) if dims is None else dims
    levels = num_samples + 1
    bins = max(b for b in range(1, min(bins, levels) + 1) if levels % b == 0)
    columns = min(4, len(dims))
    rows = math.ceil(len(dims) / columns)
    figure = _figure(2.2 * columns + 0.8, 1.7 * rows + 0.9)
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    expected = len(ranks) / bins
    margin = 2.58 * math.sqrt(expected * (1 - 1 / bins))
    for axes, d in zip(panels, dims, strict=False):
        axes.axhspan(max(0.0, expected - margin), expected + margin, color="0.88", zorder=0)
        axes.axhline(expected, color="0.6", linewidth=0.8, zorder=1)
        counts = (ranks[:, d].cpu() * bins // levels).bincount(minlength=bins).numpy()
        edges = [i * levels / bins for i in range(bins + 1)]
        axes.stairs(counts, edges, fill=True, color=PALETTE[0], zorder=2, alpha=0.8)
        axes.set_title(f"{site}[{d}]", loc="left", fontsize=9)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(dims) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(dims) - columns) : len(dims)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel(f"rank among {num_samples} draws of the guide", fontsize=9)
    figure.supylabel(f"of {len(ranks)} simulations", fontsize=9)
    figure.suptitle("calibration: flat in the grey band (99 %)", x=0.02, ha="left", fontsize=10)
    return figure


def piano_rolls(rows: Mapping[str, Tensor], *, lowest: int = 21) -> "Figure":
    """Piano rolls under each other, time to the right, keys upwards; a grey level is the probability of a key.

    Args:
        rows: by title, `(T, K)` in [0, 1], all of the same K.
        lowest: the MIDI number of the first key; keys that never sound in any row are left out.

    Raises:
        ShapeError: no row, or rows of another shape.
    """
    keys = {roll.shape[1] if roll.dim() == 2 and roll.numel() else 0 for roll in rows.values()}
    if len(keys) != 1 or 0 in keys:
        raise ShapeError(f"piano rolls are (T, K), T > 0, of equal K, got {[tuple(r.shape) for r in rows.values()]}.")
    rolls = {title: roll.detach().float().cpu() for title, roll in rows.items()}
    sounds = (torch.cat([*rolls.values()]) > 0.05).any(0).nonzero().flatten().tolist()
    used = sounds or [0, max(keys) - 1]
    low, high = used[0], used[-1] + 1
    figure = _figure(9, 0.5 + 1.7 * len(rolls))
    longest = max(len(roll) for roll in rolls.values())
    panels = figure.subplots(len(rolls), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (title, roll) in zip(panels, rolls.items(), strict=True):
        extent = (0, len(roll), lowest + low - 0.5, lowest + high - 0.5)
        shown: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 1, "origin": "lower", "aspect": "auto"}
        axes.imshow(roll[:, low:high].T.numpy(), extent=extent, interpolation="nearest", **shown)
        octaves = [n for n in range(lowest + low, lowest + high) if n % 12 == 0]
        axes.set_yticks(octaves, [f"C{n // 12 - 1}" for n in octaves])
        axes.grid(axis="y", alpha=0.4)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set(xlim=(0, longest), xlabel="step")
    return figure


def save(figure: "Figure", path: Any) -> None:
    """Write a figure as PNG, at a resolution that reads well on a screen."""
    figure.draw_without_rendering()  # axes of a fixed aspect are in their place after the second layout
    figure.savefig(path, dpi=130)
