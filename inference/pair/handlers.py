"""Effect handlers that set the value of a site: to a given one, to a mean, or to a changed draw."""

from collections.abc import Callable

import pyro.distributions as dist
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Site
from pyrovae.models.distributions.presences import Presences

__all__ = ["ChangeDraws", "PutMeans", "PutValues"]


class PutValues(Messenger):
    """Sets the value of a site instead of drawing it.

    Args:
        value_of: a function from the site to its value, of the site's shape in this run. Where it returns None, the
            site is drawn or observed as it would be without the handler.
    """

    def __init__(self, value_of: Callable[[Site], Tensor | None]) -> None:
        super().__init__()
        self.value_of = value_of

    def _pyro_sample(self, msg: Site) -> None:
        if site_is_subsample(msg):
            return
        value = self.value_of(msg)
        if value is not None:
            msg["value"], msg["done"] = value, True


class PutMeans(Messenger):
    """Replaces a draw by the mean of its distribution, or by the most probable label or count.

    Args:
        chosen: a function from the name of a site to whether its draw is replaced.
        instead: the last sentence of the error message: what to write where there is no mean.

    Raises:
        PairError: in a run, if the distribution of a chosen site has no mean in closed form.
    """

    def __init__(self, chosen: Callable[[str], bool], instead: str = "Write mean=False to draw instead.") -> None:
        super().__init__()
        self.chosen, self.instead = chosen, instead

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or msg["done"] or site_is_subsample(msg) or not self.chosen(msg["name"]):
            return
        try:
            labels = isinstance(msg["fn"], dist.Categorical | dist.OneHotCategorical | Presences)
            mean = msg["fn"].mode if labels else msg["fn"].mean
        except NotImplementedError:
            mean = None
        if mean is None or mean.isnan().all():
            raise PairError(
                f"A mean at site '{msg['name']}' requires a distribution that has one, got "
                f"{type(msg['fn']).__name__}, which has no mean in closed form. {self.instead}"
            )
        msg["value"], msg["done"] = mean.expand(msg["fn"].batch_shape + msg["fn"].event_shape), True


class ChangeDraws(Messenger):
    """Changes each draw of a latent.

    Args:
        change: a function from the site, whose value is the draw, to the new value.
    """

    def __init__(self, change: Callable[[Site], Tensor]) -> None:
        super().__init__()
        self.change = change

    def _pyro_post_sample(self, msg: Site) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["value"] = self.change(msg)
