"""Pictures of a pair under training: latent maps, reconstructions and samples, as its data and latents allow."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pyrovae import plots
from pyrovae.data import Batch
from pyrovae.errors import PyrovaeError
from pyrovae.imports import imported
from pyrovae.inference.latent.codes import encode, generate, reconstruct
from pyrovae.inference.latent.maps import latent_map
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import device_of, placed, seeded

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL.Image import Image

__all__ = ["as_image", "image_pictures", "latent_pictures", "pair_pictures"]

ROWS = 500
"""How many data points a map shows."""

Named = Iterator[tuple[str, "Figure"]]


def pair_pictures(model: ProgramLike, guide: ProgramLike, data: Batch, transform: Callable[[Any], Any]) -> Named:
    """The pictures of a pair, each with its name; those that the pair does not allow are left out.

    Args:
        model, guide: the pair.
        data: named tensors, whose first data points are shown.
        transform: applied to each batch.
    """
    few = {name: tensor[:ROWS] for name, tensor in data.items()}
    device = device_of(model, guide)
    with seeded(0, device):
        shown = placed(few, transform, device, slice(20))
    for pictures in (latent_pictures(model, guide, few, transform), image_pictures(model, guide, shown)):
        try:
            yield from pictures
        except PyrovaeError:  # a model that is given labels draws no samples without them, for example
            continue


def latent_pictures(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    transform: Callable[[Any], Any],
    classes: Sequence[str] | None = None,
) -> Named:
    """For each latent vector, the map of its codes by label, and the aggregate posterior on the prior.

    Args:
        model, guide: the pair.
        data: named tensors; `y` has the labels.
        transform: applied to each batch.
        classes: the names of the labels.
    """
    for latent, z in encode(model, guide, data, transform=transform).items():
        if z.dim() == 2 and z.shape[1] >= 2:
            found = latent_map(model, guide, data, latent=latent, transform=transform)
            sets: dict[str, Any] = {"posterior": found.posterior, "prior": found.prior, "axes": found.axes}
            figure = plots.latent_map(found.mean, data.get("y"), classes=classes, latent=latent, **sets)
            yield f"latent_{latent}", figure


def image_pictures(model: ProgramLike, guide: ProgramLike, batch: Batch) -> Named:
    """Reconstructions of a batch and samples of the model, where the data are images.

    Args:
        model, guide: the pair.
        batch: named tensors, transformed and on the device of the pair.
    """
    x = batch.get("x")
    if x is None or x.dim() != 4 or x.shape[1] not in (1, 3):
        return
    yield "reconstructions", plots.reconstructions(x, reconstruct(model, guide, batch))
    yield "samples", plots.grid(generate(model, 100), title="the mean of p(x | z), z ~ p(z)")


def as_image(figure: "Figure") -> "Image":
    """A figure as a picture of RGB bytes.

    Args:
        figure: any figure.
    """
    file = io.BytesIO()
    figure.draw_without_rendering()  # axes of a fixed aspect are in their place after the second layout
    figure.savefig(file, dpi=100, format="png")
    return imported("PIL.Image", "A tracker requires", "Pillow").open(file).convert("RGB")
