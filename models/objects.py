"""A variable number of objects on a canvas: p(n) prod_i p(where_i) p(what_i) p(x | sum_i place(decode(what_i)))."""

import pyro
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from pyrovae.checks import check_number
from pyrovae.models.likelihoods import Likelihood
from pyrovae.models.program import Program, plate_size
from pyrovae.networks.windows import place

__all__ = ["ObjectsVAE"]


class ObjectsVAE(Program):
    """p(x, pres, where, what) = p(pres) prod_i p(where_i) p(what_i) p(x | canvas), i = 1, ..., N, with

        canvas = background + sum_i pres_i place(decoder(what_i), where_i)

    pres = 1^n 0^(N - n), for a number n of objects. `z_pres` is a latent of event `(N,)`, `z_where` of `(N, 3)`, each
    (log s, x, y) as in `networks.place`, and `z_what` of `(N, D)`. Where and what of a step without an object do not
    appear in the canvas, so their posterior is their prior.

    Args:
        presences: `presences() -> p(pres)`, such as `priors.Geometric(N)`.
        where: `where() -> p(where_i)`, event shape `(3,)`, such as `priors.Normal`.
        what: `what() -> p(what_i)`, event shape `(D,)`, such as `priors.StandardNormal(D)`.
        likelihood: `likelihood(params) -> p(x | params)` of images, `params_shape` `(C, H, W)`.
        decoder: a network `(*, D) -> (*, C, h, w)`, an object.
        background: the parameter of the likelihood where no object is: 0 for the mean of a normal, a negative logit for
            a Bernoulli.

    Call it with a batch `x` of shape `(B, *event)` to score, or with `size` to generate.

    Raises:
        SettingError: `background` is not finite.
        ShapeError: in a call, the likelihood's parameters are no image.

    References: Eslami et al. (2016), Attend, infer, repeat, arXiv:1603.08575.
    """

    def __init__(
        self,
        presences: nn.Module,
        where: nn.Module,
        what: nn.Module,
        likelihood: Likelihood,
        decoder: nn.Module,
        *,
        background: float = 0.0,
    ) -> None:
        super().__init__()
        self.presences, self.where, self.what = presences, where, what
        self.likelihood, self.decoder = likelihood, decoder
        self.background = check_number("background", background)

    def forward(self, x: Tensor | None = None, *, size: int | None = None) -> Tensor:
        with pyro.plate("data", plate_size(x, size), dim=-1):
            pres = pyro.sample("z_pres", self.presences())  # pres ~ p(pres)
            where = pyro.sample("z_where", _each(self.where(), pres))  # where_i ~ p(where_i)
            what = pyro.sample("z_what", _each(self.what(), pres))  # what_i ~ p(what_i)
            return pyro.sample("x", self.likelihood(self.canvas(pres, where, what)), obs=x)  # x ~ p(x | canvas)

    def canvas(self, pres: Tensor, where: Tensor, what: Tensor) -> Tensor:
        """background + sum_i pres_i place(decoder(what_i), where_i), `(*, C, H, W)`.

        Args:
            pres: `(*, N)`.
            where: `(*, N, 3)`.
            what: `(*, N, D)`.
        """
        objects = place(self.decoder(what), where, self.likelihood.params_shape)
        return self.background + (pres[..., None, None, None] * objects).sum(-4)

    def extra_repr(self) -> str:
        return f"background={self.background:g}" if self.background else ""


def _each(prior: TorchDistribution, pres: Tensor) -> TorchDistribution:
    """prod_i p(z_i), event shape `(N, D)`, of a prior p(z_i) and presences `(*, N)`."""
    return prior.expand(pres.shape[-1:]).to_event(1)
