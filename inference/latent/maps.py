"""Maps."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.latent.codes import decode_sites, encode
from pyrovae.inference.latent.projection import Method, Plane, embed, principal_plane
from pyrovae.inference.latent.traversal import only_latent
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.running import ROWS, batches, device_of, evaluating, seeded, unchanged

__all__ = ["LatentMap", "latent_map"]


class LatentMap(NamedTuple):
    """Codes of the data and of the prior in one plane.

    Attributes:
        mean: of each q(z | x), `(N, 2)`.
        posterior: one draw of each q(z | x): the aggregate posterior, to be laid beside the prior, `(N, 2)`.
        prior: draws of p(z), `(N, 2)`; None where they were not asked for.
        axes: what to write at the two axes.
        plane: of a linear map, the plane in the latent space: `plane.lift(points)` are codes `(P, D)`. None of others.
    """

    mean: Tensor
    posterior: Tensor
    prior: Tensor | None
    axes: tuple[str, str]
    plane: Plane | None


def latent_map(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    site: str | None = None,
    method: Method = "pca",
    prior: bool = True,
    transform: Any = None,
    seed: int = 0,
) -> LatentMap:
    """A map of one latent site in the plane, the aggregate posterior and the prior in the same one.

    `"pca"` is a linear map, along the two axes on which the means of q(z | x) differ most; draws of posterior and prior
    are projected on the same plane, so their difference there is real (and may be larger elsewhere). `"tsne"` and
    `"umap"` have no map outside of what they were fitted on, so they are fitted on the three together.

    Args:
        site: the latent site; the only one if not given. Its codes are flattened.
        prior: draw from the prior, as many as there are data. An improper one has no draws: `prior=False`.

    Raises:
        PairError: a site that is not there, is a label, or several to choose from; an improper prior.
        ShapeError: codes of fewer than 2 dimensions.
        MissingExtraError: scikit-learn (t-SNE) or umap-learn (UMAP) is not installed.
    """
    options = {"transform": transform, "seed": seed}
    means, draws = (encode(model, guide, data, mean=mean, **options) for mean in (True, False))
    site = only_latent(list(means), site)
    if not means[site].is_floating_point():
        raise PairError(f"the latent '{site}' is a label, which needs no map. Count it: codes['{site}'].bincount().")
    sets = [means[site], draws[site]]
    if prior:
        sets.append(_prior_draws(model, data, site, transform or unchanged, seed))
    sets = [z.flatten(1) for z in sets]
    plane = principal_plane(sets[0]) if method == "pca" else None
    points = [plane.project(z) for z in sets] if plane else embed(sets, method, seed=seed)  # type: ignore[arg-type]
    name = {"tsne": "t-SNE", "umap": "UMAP"}.get(method, method)
    axes = plane.axes if plane else (f"{name} 1", f"{name} 2")
    return LatentMap(points[0], points[1], points[2] if prior else None, axes, plane)


def _prior_draws(model: ProgramLike, data: Batch, site: str, transform: Any, seed: int) -> Tensor:
    """A draw of p(z), or of p(z | y) under the condition of each datum, `(N, *event)`."""
    device = device_of(model)
    with evaluating(model), seeded(seed, device):
        return torch.cat(
            [
                decode_sites(
                    model, batch_size(batch), {}, {n: t for n, t in batch.items() if n != "x"}, site, mean=False
                )
                for batch in batches(data, ROWS, transform, device)
            ]
        )
