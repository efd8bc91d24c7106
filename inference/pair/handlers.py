"""Handlers."""

from collections.abc import Callable

import pyro.distributions as dist
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import Site

__all__ = ["Change", "PutMeans", "PutValues"]


class PutValues(Messenger):
    """Puts values in place of draws."""

    def __init__(self, values: dict[str, Tensor]) -> None:
        super().__init__()
        self.values = values

    def _pyro_sample(self, msg: Site) -> None:
        if msg["name"] in self.values:
            msg["value"], msg["done"] = self.values[msg["name"]], True


class PutMeans(Messenger):
    """Puts the mean of its distribution, the most probable of labels, in place of a draw, at the `wanted` sites."""

    def __init__(self, wanted: Callable[[str], bool], instead: str = "Ask for draws instead: mean=False.") -> None:
        super().__init__()
        self.wanted, self.instead = wanted, instead

    def _pyro_sample(self, msg: Site) -> None:
        if msg["is_observed"] or msg["done"] or site_is_subsample(msg) or not self.wanted(msg["name"]):
            return
        try:
            mean = msg["fn"].mode if isinstance(msg["fn"], dist.Categorical) else msg["fn"].mean
        except NotImplementedError:
            mean = None
        if mean is None or mean.isnan().all():
            raise PairError(
                f"the distribution of site '{msg['name']}', {type(msg['fn']).__name__}, has no mean in closed form. "
                f"{self.instead}"
            )
        msg["value"], msg["done"] = mean.expand(msg["fn"].batch_shape + msg["fn"].event_shape), True


class Change(Messenger):
    """Puts another value in the place of each draw; `change` sees the site."""

    def __init__(self, change: Callable[[Site], Tensor]) -> None:
        super().__init__()
        self.change = change

    def _pyro_post_sample(self, msg: Site) -> None:
        if not msg["is_observed"] and not site_is_subsample(msg):
            msg["value"] = self.change(msg)
