"""A map of the latent space: codes of the data and of the prior in one plane."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrovae.checks import check_choice
from pyrovae.data import Batch
from pyrovae.display import Cells, Shown, plus_minus
from pyrovae.errors import PairError
from pyrovae.inference.latent.codes import conditions, decode_site, encode
from pyrovae.inference.latent.projection import METHODS, Method, Plane, embed, principal_plane
from pyrovae.inference.latent.traversal import only_latent
from pyrovae.inference.pair.contract import ProgramLike, batch_size
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.running import ROWS, Transform, batches, device_of, evaluating, seeded

__all__ = ["LatentMap", "latent_map"]


@dataclass(frozen=True, repr=False)
class LatentMap(Shown):
    """Codes of the data and of the prior in one plane.

    Attributes:
        mean: the mean of each q(z | x), `(N, 2)`.
        posterior: one draw from each q(z | x), so draws from the aggregate posterior, `(N, 2)`.
        prior: draws from p(z), `(N, 2)`; None if they were not requested.
        axes: the labels of the two axes.
        plane: the plane of a linear map: `plane.lift(points)` are codes `(P, D)`. None for other maps.
    """

    mean: Tensor
    posterior: Tensor
    prior: Tensor | None
    axes: tuple[str, str]
    plane: Plane | None

    def cells(self) -> Cells:
        sets = {"mean": self.mean, "posterior": self.posterior, "prior": self.prior}
        rows = [
            (name, *(plus_minus(m, s) for m, s in zip(points.mean(0).tolist(), points.std(0).tolist(), strict=True)))
            for name, points in sets.items()
            if points is not None
        ]
        after = [f"mean ± standard deviation over {len(self.mean):,} data points"]
        return Cells(rows, ("", *self.axes), after=after)


def latent_map(
    model: ProgramLike,
    guide: ProgramLike,
    data: Batch,
    *,
    latent: str | None = None,
    method: Method = "pca",
    prior: bool = True,
    transform: Transform | None = None,
    seed: int = 0,
) -> LatentMap:
    """A map of one latent site, with the aggregate posterior and the prior in the same plane.

    `"pca"` is a linear map along the two axes on which the means of q(z | x) differ most. Draws from the posterior and
    the prior are projected on the same plane, so a difference between them there is real; it may be larger elsewhere.
    `"tsne"` and `"umap"` have no value at codes that they were not fitted on, so they are fitted on the three sets
    together.

    Args:
        model, guide: the pair.
        data: named tensors of N data points.
        latent: the latent site; the only one if not given. Its codes are flattened.
        method: `"pca"`, `"tsne"` or `"umap"`.
        prior: whether to draw from the prior, once per data point. An improper prior has no draws: `prior=False`.
        transform: the transform that training applied to a batch; `pyrovae.data.Scale()` if None.
        seed: the seed of the draws; the global random state is left alone.

    Raises:
        PairError: the site does not exist or is a label; there are several to choose from; the prior is improper.
        SettingError: an unknown method.
        ShapeError: codes of fewer than 2 dimensions.
        MissingExtraError: scikit-learn (t-SNE) or umap-learn (UMAP) is not installed.
    """
    data = entered("latent_map", data, transform, model, guide)
    method = check_choice("method", method, METHODS)
    means, draws = (encode(model, guide, data, mean=mean, transform=transform, seed=seed) for mean in (True, False))
    latent = only_latent(list(means), latent)
    if not means[latent].is_floating_point():
        raise PairError(
            f"the latent '{latent}' is a label, which has no map. Count its values: codes['{latent}'].bincount()."
        )
    sets = [means[latent], draws[latent]]
    if prior:
        sets.append(_prior_draws(model, guide, data, latent, transform, seed))
    sets = [z.flatten(1) for z in sets]
    plane = principal_plane(sets[0]) if method == "pca" else None
    points = [plane.project(z) for z in sets] if plane else embed(sets, method, seed=seed)  # type: ignore[arg-type]
    name = {"tsne": "t-SNE", "umap": "UMAP"}.get(method, method)
    axes = plane.axes if plane else (f"{name} 1", f"{name} 2")
    return LatentMap(points[0], points[1], points[2] if prior else None, axes, plane)


def _prior_draws(
    model: ProgramLike, guide: ProgramLike, data: Batch, latent: str, transform: Transform | None, seed: int
) -> Tensor:
    """A draw from p(z) for each data point, or from p(z | y) with its condition y, `(N, *event)`."""
    device, names = device_of(model), conditions(model, guide, data, transform)
    with evaluating(model), seeded(seed, device):
        return torch.cat(
            [
                decode_site(model, batch_size(batch), {}, {name: batch[name] for name in names}, latent, mean=False)
                for batch in batches(data, ROWS, transform, device)
            ]
        )
