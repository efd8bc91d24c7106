"""Models of incomplete data, which score the observed entries alone."""

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

__all__ = ["Masked", "feasible"]


class Masked(Program):
    """p(x_observed, z) of a model p(x, z) whose likelihood is a product over the entries of x:

        log p(x_observed | z) = sum_i mask_i log p(x_i | z)

    This is the marginal of p(x | z) at the observed entries. So every evidence bound is a bound of log p(x_observed),
    and with `IWAE` the method is MIWAE. It assumes that data are missing at random.

    Args:
        model: any model whose site `x` is a product over entries, as all likelihoods of this package are.

    Call it with `x` `(B, *event)` and `mask`, bool, of that shape or one that broadcasts to it, true where x was
    observed. The values of x elsewhere, such as NaN, have no effect. Without a mask, every entry counts as observed.
    Any further arguments of the model are passed on by name.

    Raises:
        PairError: in a call, p(x | z) is not a product over entries.
        ShapeError: in a call, the shape of `mask` does not broadcast to that of `x`.

    References: Mattei & Frellsen (2019), MIWAE, arXiv:1812.02633; Nazábal et al. (2020), arXiv:1807.03653.
    """

    def __init__(self, model: Callable[..., Any]) -> None:
        super().__init__()
        self.model: Any = model
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
        data_size: int | None = None,
        **given: Any,
    ) -> Any:
        """Score the observed entries, or generate `size` data points; `data_size` and `given` go to the model."""
        offered = {"x": x, "size": size, "data_size": data_size, **given}
        with _Entries(None if x is None else mask):
            return self.model(**{name: value for name, value in offered.items() if name in self._named})


class _Entries(Messenger):
    """Replaces the distribution at the site x by one that scores the observed entries alone."""

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
                f"Masked requires a mask of shape (B, {', '.join(map(str, event))}), or one that broadcasts to it, got "
                f"{tuple(self.mask.shape)} for x {tuple(msg['value'].shape)}. Write mask = ~x.isnan()."
            ) from None
        entries = _at_entries(msg["fn"], mask)
        # A masked entry must be in the support too: its gradient is multiplied by 0, and 0 times NaN is NaN.
        msg["value"] = torch.where(mask, msg["value"], feasible(msg["fn"], msg["value"]))
        msg["fn"] = entries


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
