"""Models of data that are missing not at random: p(mask | x) is a part of the program."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from torch import Tensor

from pyrovae.errors import PairError, ShapeError
from pyrovae.models.entries import Entries, is_drawn
from pyrovae.models.program import Program, plate_size, reopened

__all__ = ["MISSING", "NotAtRandom"]

MISSING = "x_missing"
"""The latent site that completes x."""


class NotAtRandom(Program):
    """p(x_observed, mask, x_missing, z) = p(z) p(x_observed | z) p(x_missing | z) p(mask | x_observed, x_missing).

    What is missing is drawn from p(x | z) at the latent site `x_missing` and completes x, and the mechanism p(mask | x)
    scores which entries were observed. An evidence bound of this program is one of log p(x_observed, mask), and with
    `IWAE` and `guides.Completed` the method is not-MIWAE. `x_missing` has the shape of x; its values at observed
    entries have no effect, and they integrate to one.

    Args:
        model: any model whose site `x` is a product over entries, as all likelihoods of this package are.
        mechanism: `mechanism(x) -> p(mask | x)`, event shape that of x, such as `mechanisms.SelfMasking`.

    Call it with `x` and `mask`, bool, both `(B, *event)`, where the mask is true where x was observed. The values of x
    elsewhere, such as NaN, have no effect. Without a mask, every entry counts as observed. To generate, `size` alone
    draws z, x without gaps, and a mask. Any further arguments of the model are passed on by name.

    Raises:
        PairError: in a call, p(x | z) is not a product over entries.
        ShapeError: in a call, `mask` and `x`, or p(mask | x) and `x`, differ in shape.

    References: Ipsen, Mattei & Frellsen (2021), not-MIWAE, arXiv:2006.12871.
    """

    def __init__(self, model: Callable[..., Any], mechanism: Callable[[Tensor], TorchDistribution]) -> None:
        super().__init__()
        self.model: Any = model
        self.mechanism = mechanism
        self._named = set(inspect.signature(getattr(model, "forward", model)).parameters)

    @property
    def likelihood(self) -> Any:
        """The likelihood of the model."""
        return self.model.likelihood

    def forward(
        self,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int | None = None,
        **given: Any,
    ) -> Tensor:
        """Score x and its mask, or generate `size` data points; `given` goes to the model."""
        observed = None if x is None else _whole(x, mask)
        with Entries(observed, MISSING) as entries:  # x_missing ~ p(x | z), x_observed ~ p(x | z)
            complete = self._run(x, size, given)
        missing = cast(Tensor, entries.drawn)
        if x is not None and observed is not None:
            complete = torch.where(observed, x, missing)
        with reopened(plate_size(x, size)):
            masks = _fitting(self.mechanism(complete), complete)
            shown = None if observed is None else observed.to(complete.dtype)
            mask = pyro.sample("mask", masks, obs=shown)  # mask ~ p(mask | x)
            if observed is None:  # what the mask hides is that part of x
                hidden = torch.where(mask.bool(), missing, complete)
                pyro.sample(MISSING, dist.Delta(hidden, event_dim=len(masks.event_shape)))
        return complete

    def entries(self, latents: Mapping[str, Tensor], x: Tensor, **given: Any) -> TorchDistribution:
        """p(x | z), from which `guides.Completed` draws what is missing.

        Args:
            latents: the value of each latent site of the model, by name.
            x: data `(B, *event)`, for their number alone.
            given: further arguments of the model.

        Raises:
            PairError: a latent of the model has no value.
        """
        with poutine.block(), poutine.trace() as run, poutine.condition(data=dict(latents)):
            self._run(x, None, given)
        lacking = [name for name, site in run.trace.nodes.items() if is_drawn(site) and name not in (*latents, "x")]
        if lacking:
            raise PairError(
                f"Completed requires a guide that draws each latent of the model, got none at {lacking}. Write "
                f"pyro.sample({lacking[0]!r}, ...) in the guide."
            )
        return cast(TorchDistribution, run.trace.nodes["x"]["fn"])

    def _run(self, x: Tensor | None, size: int | None, given: Mapping[str, Any]) -> Any:
        offered = {"x": x, "size": size, **given}
        return self.model(**{name: value for name, value in offered.items() if name in self._named})


def _fitting(masks: TorchDistribution, x: Tensor) -> TorchDistribution:
    """p(mask | x), whose masks have the shape of x."""
    if masks.shape() != x.shape:
        raise ShapeError(
            f"NotAtRandom requires a mechanism with one mask for each x, of shape {tuple(x.shape)}, got the shape "
            f"{tuple(masks.shape())}. Write dist.Bernoulli(logits=...).to_event(k), where x has k event dimensions."
        )
    return masks


def _whole(x: Tensor, mask: Tensor | None) -> Tensor:
    """The mask, whose entries are data: each is scored once."""
    if mask is None:
        return torch.ones_like(x, dtype=torch.bool)
    if mask.shape != x.shape:
        raise ShapeError(
            f"NotAtRandom requires a mask of the shape of x, {tuple(x.shape)}, got {tuple(mask.shape)}, because each "
            "entry of the mask is scored. Write mask.expand_as(x), or mask = ~x.isnan()."
        )
    return mask.bool()
