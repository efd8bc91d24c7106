"""Missing data: a model that scores the observed entries alone."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution, TorchDistribution
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.distributions import Independent, biject_to
from torch.distributions.constraints import Constraint

from pyrovae.errors import PairError, ShapeError
from pyrovae.models.distributions.columns import Columns
from pyrovae.models.program import Program

__all__ = ["Masked"]


class Masked(Program):
    """p(x_observed, z): of x, a model scores the entries that the mask names, one by one, before they are summed.

        log p(x_observed | z) = sum_i mask_i log p(x_i | z)

    That is the marginal of p(x | z) at those entries, so the evidence is that of what was observed, and every bound,
    `IWAE` with it, is a bound of log p(x_observed): MIWAE, for data that are missing at random.

    Args:
        model: any model whose site `x` is a product over the entries of a datum, as all likelihoods here are.

    Call it with `x` `(B, *event)` and `mask` bool `(B, *event)`, true where x was observed, or of a shape that
    broadcasts to it. What x holds elsewhere, NaN too, is never seen. Without a mask, all was observed.

    Raises:
        PairError: in a call, p(x | z) does not score entry by entry.
        ShapeError: in a call, the mask does not fit x.

    References: Mattei & Frellsen (2019), MIWAE, arXiv:1812.02633; Nazábal et al. (2020), arXiv:1807.03653.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.model: Any = model
        self._named = set(inspect.signature(getattr(model, "forward", model)).parameters)

    @property
    def likelihood(self) -> Any:
        """The model's."""
        return self.model.likelihood

    def forward(
        self,
        x: Tensor | None = None,
        mask: Tensor | None = None,
        *,
        size: int | None = None,
        data_size: int | None = None,
        **given: Any,
    ) -> Any:
        offered = {"x": x, "size": size, "data_size": data_size, **given}
        with _Entries(None if x is None else mask):
            return self.model(**{name: value for name, value in offered.items() if name in self._named})


class _Entries(Messenger):
    """Replaces the distribution at the site x by one that scores the entries of the mask alone."""

    def __init__(self, mask: Tensor | None) -> None:
        super().__init__()
        self.mask = mask

    def _pyro_sample(self, msg: Any) -> None:
        if self.mask is None or msg["name"] != "x":
            return
        event = tuple(msg["fn"].event_shape)
        try:
            mask = self.mask.bool().expand(-1, *event)
        except RuntimeError:
            raise ShapeError(
                f"mask {tuple(self.mask.shape)} does not fit x {tuple(msg['value'].shape)}: it wants the shape "
                f"(B, {', '.join(map(str, event))}), or one that broadcasts to it. Write mask = ~x.isnan()."
            ) from None
        entries = _at_entries(msg["fn"], mask)
        # An entry that is not scored still must be in the support: nothing times NaN is NaN in a gradient.
        msg["value"] = torch.where(mask, msg["value"], _inside(msg["fn"], msg["value"]))
        msg["fn"] = entries


def _at_entries(fn: TorchDistribution, mask: Tensor) -> TorchDistribution:
    """The same distribution, whose log-probability is that of the entries of the mask `(B, *event)`."""
    if isinstance(fn, Columns):
        return Columns([_at_entries(part, observed) for part, observed in fn.split(mask)])
    count = len(fn.event_shape)
    entries: Any = fn.base_dist if isinstance(fn, Independent) else fn
    if entries.event_shape:
        raise PairError(
            f"site 'x' is a {type(entries).__name__} of event shape {tuple(fn.event_shape)}, whose entries are not "
            f"scored one by one, so none can be left out. End one of single entries with .to_event({count})."
        )
    return entries.mask(mask).to_event(count)


def _inside(fn: TorchDistribution, like: Tensor) -> Tensor:
    """A number in the support of each entry, which broadcasts to a datum."""
    if isinstance(fn, Columns):
        return torch.cat([_inside(part, like).expand(width) for part, width in zip(fn.parts, fn.widths, strict=True)])
    inner: Any = fn
    while isinstance(inner, Independent | ExpandedDistribution | MaskedDistribution):
        inner = inner.base_dist
    return _feasible(inner.support, like)


def _feasible(support: Constraint, like: Tensor) -> Tensor:
    """Zero, or the image of zero where numbers go on a scale of their own."""
    zero = like.new_zeros(())
    return zero if support.is_discrete else biject_to(support)(zero if zero.is_floating_point() else zero.float())
