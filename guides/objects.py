"""The guide of objects on a canvas: how many, where, and what each of them is."""

from collections.abc import Sequence

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.guides.amortized import check_width
from pyrovae.models.distributions.normal import diagonal_normal
from pyrovae.models.distributions.presences import Presences
from pyrovae.models.objects import ObjectsVAE
from pyrovae.models.program import Program
from pyrovae.networks.shape import as_image_shape
from pyrovae.networks.windows import glimpse, place
from pyrovae.numeric import bounded_scale

__all__ = ["ObjectsGuide"]


class ObjectsGuide(Program):
    """q(pres | x) prod_i q(where_i | x) q(what_i | where_i, x), where step i has an object; else p(where_i) p(what_i).

    The guide looks at the canvas N times. With u_1 = 1, a map of what is unexplained,

        a_i, loc_i, scale_i = locator(u_i x),   u_(i+1) = u_i (1 - place(1, loc_i)),

    so each look finds an object that the looks before have not found. sigmoid(a_i) is the chance that a further object
    is there, q(where_i | x) = Normal(loc_i, scale_i), and the encoder reads what_i in the window of where_i. Loc and
    scale are in units of the prior, which is normal.

    The map depends on the means loc_i and not on draws, so all draws and all numbers of objects share the looks. Where
    and what of a step without an object have their prior, so log p - log q of that step is 0. The guide uses the
    model's priors and does not own them: copy a pair in one call, `copy.deepcopy((model, guide))`.

    Args:
        model: the model, whose priors of where and what are diagonal normals.
        locator: a network `(*, C, H, W) -> (*, 7)`, which emits a, loc and raw scale.
        encoder: a network `(*, C, h, w) -> (*, 2 D)`, which emits loc and raw scale of what_i.
        glimpse_shape: `(C, h, w)`, the shape of a glimpse.

    Raises:
        ShapeError: `glimpse_shape` is no shape of an image; in a call, the locator has another number of outputs.
        PairError: in a call, a prior of the model is not a diagonal normal.

    References: Eslami et al. (2016), Attend, infer, repeat, arXiv:1603.08575.
    """

    def __init__(self, model: ObjectsVAE, locator: nn.Module, encoder: nn.Module, glimpse_shape: Sequence[int]) -> None:
        super().__init__()
        self._model = (model,)  # the tuple keeps the model's parameters from being registered a second time
        self.locator, self.encoder = locator, encoder
        self.glimpse_shape = as_image_shape(glimpse_shape, type(self).__name__)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        (model,) = self._model
        with pyro.plate("data", len(x), dim=-1):
            counted, located = self.looks(x)
            pres = pyro.sample("z_pres", counted)  # pres ~ q(pres | x)
            q = _present(pres, located, model.where())
            where = pyro.sample("z_where", q)  # where_i ~ q(where_i | x), or p(where_i)
            seen = glimpse(x.unsqueeze(-4), where, self.glimpse_shape)
            q = _present(pres, diagonal_normal(self.encoder(seen)), model.what())
            what = pyro.sample("z_what", q)  # what_i ~ q(what_i | where_i, x), or p(what_i)
        return {"z_pres": pres, "z_where": where, "z_what": what}

    def looks(self, x: Tensor) -> tuple[Presences, TorchDistribution]:
        """q(pres | x), event shape `(N,)`, and Normal(loc_i, scale_i), batch shape `(B, N)` and event shape `(3,)`.

        Args:
            x: `(B, C, H, W)`.
        """
        (model,) = self._model
        prior = _normal(model.where())
        unexplained, found = torch.ones_like(x[:, :1]), []
        for _ in range(model.presences().event_shape[0]):
            params = self.locator(unexplained * x)
            check_width(self, params, "7", params.shape[-1] == 7)
            found.append(params)
            loc = prior.loc + prior.scale * params[:, 1:4].detach()
            window = place(x.new_ones(self.glimpse_shape), loc, x.shape[1:])
            unexplained = unexplained * (1 - window[:, :1])
        logits, loc, raw_scale = torch.stack(found, 1).split([1, 3, 3], -1)
        where = dist.Normal(prior.loc + prior.scale * loc, prior.scale * bounded_scale(raw_scale))
        return Presences(logits.squeeze(-1)), where.to_event(1)

    def extra_repr(self) -> str:
        return f"glimpse_shape={self.glimpse_shape}, priors of {type(self._model[0]).__name__}"


def _present(pres: Tensor, q: TorchDistribution, p: TorchDistribution) -> TorchDistribution:
    """prod_i of q where pres_i is 1, and of p where it is 0; diagonal normals, event shape `(N, D)`."""
    there, q, p = pres.unsqueeze(-1) > 0, _normal(q), _normal(p)
    loc, scale = torch.where(there, q.loc, p.loc), torch.where(there, q.scale, p.scale)
    return dist.Normal(loc, scale).to_event(2)


def _normal(fn: TorchDistribution) -> dist.Normal:
    """The normals that a diagonal normal is made of."""
    base = getattr(fn, "base_dist", fn)
    if not isinstance(base, dist.Normal):
        raise PairError(
            f"ObjectsGuide requires diagonal normals as the priors of where and what, got {type(base).__name__}. Write "
            "priors.StandardNormal(D) or priors.Normal(loc, scale)."
        )
    return base
