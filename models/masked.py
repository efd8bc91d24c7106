"""Models of incomplete data, which score the observed entries alone."""

import inspect
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pyrovae.models.entries import Entries
from pyrovae.models.program import Program

__all__ = ["Masked"]


class Masked(Program):
    """p(x_observed, z) of a model p(x, z) whose likelihood is a product over the entries of x:

        log p(x_observed | z) = sum_i mask_i log p(x_i | z)

    This is the marginal of p(x | z) at the observed entries. So every evidence bound is a bound of log p(x_observed),
    and with `IWAE` the method is MIWAE. It assumes that data are missing at random; `NotAtRandom` does not.

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
        with Entries(None if x is None else mask):
            return self.model(**{name: value for name, value in offered.items() if name in self._named})
