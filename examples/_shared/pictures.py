"""The pictures of a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pyrovae import plots
from pyrovae.examples._shared.training import Trained
from pyrovae.inference import decode, encode, interpolate, traverse
from pyrovae.tracking.pictures import image_pictures, latent_pictures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["save_picture", "write_pictures"]


def write_pictures(trained: Trained, out: Path) -> None:
    """Write the pictures that the data and the latent space allow.

    Args:
        trained: the trained pair.
        out: the run folder.
    """
    save_picture(plots.curves(trained.history.rows), out, "curves")
    pair, classes = (trained.model, trained.guide), trained.data.classes
    for name, figure in latent_pictures(*pair, trained.test, trained.transform, classes):
        save_picture(figure, out, name)
    x = trained.test["x"]
    if x.dim() == 4 and x.shape[1] in (1, 3):
        _image_pictures(trained, out)


def save_picture(figure: "Figure", out: Path, name: str) -> None:
    """Write a picture into a run folder.

    Args:
        figure: the picture.
        out: the run folder.
        name: the name of the file, without `.png`.
    """
    out.mkdir(parents=True, exist_ok=True)
    plots.save(figure, out / f"{name}.png")


def _image_pictures(trained: Trained, out: Path) -> None:
    """Reconstructions, samples and interpolations, and of one dense latent its traversals and its plane."""
    model, guide = trained.model, trained.guide
    batch = trained.transform({name: tensor[:20].to(trained.device) for name, tensor in trained.test.items()})
    codes = encode(model, guide, batch)
    for name, figure in image_pictures(model, guide, batch):
        save_picture(figure, out, name)
    pairs = range(0, min(12, len(batch["x"]) - 1), 2)  # small data sets have few test images
    if rows := [interpolate(model, _one(codes, i), _one(codes, i + 1)) for i in pairs]:
        save_picture(plots.paths(torch.stack(rows)), out, "interpolations")
    if set(codes) != {"z"} or codes["z"].dim() != 2:
        return
    if len(trained.test["x"]) > 1:
        walk = traverse(model, guide, trained.test, code=_one(codes, 0), transform=trained.transform)
        save_picture(plots.traversals(walk.x, walk.dims, walk.rates, walk.t), out, "traversals")
    if codes["z"].shape[1] == 2:
        plane = decode(model, {"z": _square(20, 2.5, trained.device)})
        save_picture(plots.manifold(plane, extent=2.5), out, "manifold")


def _one(codes: dict[str, Tensor], row: int) -> dict[str, Tensor]:
    return {name: z[row] for name, z in codes.items()}


def _square(side: int, extent: float, device: torch.device) -> Tensor:
    """A square grid of 2-D codes, top row first."""
    line = torch.linspace(-extent, extent, side, device=device)
    return torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)
