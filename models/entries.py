"""The entries of x one by one: those that were observed are scored, and those that are missing may be drawn."""

from typing import Any

import pyro
import torch
from pyro.distributions import ExpandedDistribution, MaskedDistribution, TorchDistribution
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor
from torch.distributions import Independent, biject_to
from torch.distributions.constraints import Constraint

from pyrovae.errors import PairError, ShapeError
from pyrovae.models.distributions.columns import Columns

__all__ = ["Entries", "feasible", "is_drawn"]


class Entries(Messenger):
    """Replaces the distribution p(x | z) at the site x by one that scores the observed entries alone.

    With `missing`, all entries are also drawn once more, independently: at a site of that name before x, or without a
    site where there is no mask.

    Args:
        mask: true where x was observed, `(B, *event)` or what broadcasts to it; None leaves the site as it is.
        missing: the name of the further site; None for no further draw.

    Attributes:
        drawn: the further draw, `(*, B, *event)`.

    Raises:
        PairError: p(x | z) is not a product over entries.
        ShapeError: the shape of `mask` does not broadcast to that of x.
    """

    def __init__(self, mask: Tensor | None, missing: str | None = None) -> None:
        super().__init__()
        self.mask, self.missing = mask, missing
        self.drawn: Tensor | None = None

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] != "x":
            return
        fn = msg["fn"]
        if self.mask is not None:
            # A masked entry must be in the support too: its gradient is multiplied by 0, and 0 times NaN is NaN.
            mask = _expanded(self.mask, fn, msg["value"])
            msg["fn"] = _at_entries(fn, mask)
            msg["value"] = torch.where(mask, msg["value"], feasible(fn, msg["value"]))
        if self.missing is not None:
            self.drawn = fn() if self.mask is None else pyro.sample(self.missing, fn)


def _expanded(mask: Tensor, fn: TorchDistribution, x: Tensor) -> Tensor:
    """The mask as `(B, *event)`."""
    event = tuple(fn.event_shape)
    try:
        return mask.bool().expand(-1, *event)
    except RuntimeError:
        raise ShapeError(
            f"Masked requires a mask of shape (B, {', '.join(map(str, event))}), or one that broadcasts to it, got "
            f"{tuple(mask.shape)} for x {tuple(x.shape)}. Write mask = ~x.isnan()."
        ) from None


def is_drawn(site: Any) -> bool:
    """Whether a node of a trace has a value that was drawn or observed; plates and parameters have none.

    Args:
        site: the node.
    """
    return site["type"] == "sample" and not site_is_subsample(site)


def _at_entries(fn: TorchDistribution, mask: Tensor) -> TorchDistribution:
    """The same distribution, whose log-probability sums over the entries where `mask`, `(B, *event)`, is true."""
    if isinstance(fn, Columns):
        return Columns([_at_entries(part, observed) for part, observed in fn.split(mask)])
    count = len(fn.event_shape)
    entries: Any = fn.base_dist if isinstance(fn, Independent) else fn
    if entries.event_shape:
        raise PairError(
            "Masked requires a distribution at site 'x' that scores entries one by one, got a "
            f"{type(entries).__name__} of event shape {tuple(fn.event_shape)}. Write a distribution of single entries "
            f"with .to_event({count})."
        )
    return entries.mask(mask).to_event(count)


def feasible(fn: TorchDistribution, like: Tensor) -> Tensor:
    """Numbers in the support of each entry of a distribution, in a shape that broadcasts to the event shape.

    Args:
        fn: the distribution, such as a likelihood.
        like: a tensor of the type and on the device of the result.
    """
    if isinstance(fn, Columns):
        return torch.cat([feasible(part, like).expand(width) for part, width in zip(fn.parts, fn.widths, strict=True)])
    inner: Any = fn
    while isinstance(inner, Independent | ExpandedDistribution | MaskedDistribution):
        inner = inner.base_dist
    return _inside(inner.support, like)


def _inside(support: Constraint, like: Tensor) -> Tensor:
    """A number in the support: 0 if it is discrete, else the image of 0 under torch's map onto the support."""
    zero = like.new_zeros(())
    return zero if support.is_discrete else biject_to(support)(zero if zero.is_floating_point() else zero.float())
