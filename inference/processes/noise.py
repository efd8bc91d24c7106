"""The noise of a share: a process draws the random numbers of the whole batch, and keeps those of its rows.

All processes have the same random state, so together they draw what one process draws. While a site of the plate
"data" is drawn, each random operation whose result has the size of the share in the place of that plate becomes one of
the size of the whole batch, and a part of it is kept. Outside of sites, as in a transform or in dropout, the leftmost
dimension of the share's size is that of the rows. What is drawn outside the plate is the same on every process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyrovae.imports import private
from pyrovae.inference.processes.share import Share

__all__ = ["WholeNoise"]

if TYPE_CHECKING:
    from torch.utils._python_dispatch import TorchDispatchMode
else:
    TorchDispatchMode = private("torch.utils._python_dispatch", "TorchDispatchMode")
pytree = private("torch.utils._pytree")

_BY_VALUE = {"poisson", "binomial", "_standard_gamma", "_sample_dirichlet"}
"""Operations that take more or fewer numbers from the generator as their parameters are."""

Place = tuple[int, ...] | None
"""Where a draw is made: the batch shape of a site in the plate "data", `()` for a site outside, None for no site."""

Sum = Callable[[Tensor], Tensor]
"""The sum of a tensor over all processes."""


class WholeNoise:
    """Random numbers of a whole batch, of which a share is kept.

    Args:
        share: the rows to keep.
        summed: the sum of a tensor over all processes. It brings the parameters of all rows together for draws whose
            number of random numbers depends on them: gamma, beta, Dirichlet, Poisson and binomial.

    Attributes:
        outside: whether numbers of the rows were drawn outside of sites while `everywhere` was open.
    """

    def __init__(self, share: Share, summed: Sum) -> None:
        self.share, self.outside = share, False
        self._mode = _Mode(self, share, summed)
        self._open = False

    def at_sites(self) -> AbstractContextManager[Any]:
        """Inside, the draws of sites are those of the whole batch."""
        return nullcontext() if self.share.is_whole else _Sites(self)

    @contextmanager
    def everywhere(self) -> Iterator[None]:
        """Inside, all random numbers of the rows are those of the whole batch. Each operation passes through Python."""
        if self.share.is_whole:
            yield
            return
        with _Sites(self), self._mode:
            self._open = True
            try:
                yield
            finally:
                self._open = False

    @contextmanager
    def drawing(self, place: Place) -> Iterator[None]:
        """Inside, a site is drawn.

        Args:
            place: which site.
        """
        self._mode.place = place
        try:
            with nullcontext() if self._open else self._mode:
                yield
        finally:
            self._mode.place = None


class _Sites(Messenger):
    """Draws each site under the noise of the whole batch."""

    def __init__(self, noise: WholeNoise) -> None:
        super().__init__()
        self._noise = noise

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["done"] or msg["value"] is not None or site_is_subsample(msg):
            return
        inside = any(frame.name == "data" for frame in msg["cond_indep_stack"])
        with self._noise.drawing(tuple(msg["fn"].batch_shape) if inside else ()):
            msg["value"] = msg["fn"](*msg["args"], **msg["kwargs"])


class _Mode(TorchDispatchMode):
    """Sees every operation, and draws for the whole batch where one draws for the share.

    Attributes:
        place: where the draw is made.
    """

    def __init__(self, noise: WholeNoise, share: Share, summed: Sum) -> None:
        super().__init__()
        self._noise, self._share, self._summed = noise, share, summed
        self.place: Place = None

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags or self.place == ():
            return func(*args, **kwargs)
        name = func.overloadpacket.__name__
        if name == "multinomial":
            return self._rows_of_weights(func, args, kwargs)
        if any(isinstance(arg, Tensor) for arg in args):
            return self._changed(func, name, args, kwargs)
        return self._made(func, args, kwargs)

    def _dim(self, shape: Sequence[int]) -> int | None:
        """The dimension of the rows, from the left; None where there is none."""
        if self.place is not None and tuple(shape[: len(self.place)]) == self.place:
            return len(self.place) - 1  # the plate "data" is the last of the batch shape
        found = next((dim for dim, length in enumerate(shape) if length == self._share.size), None)
        if found is not None and self.place is None:
            self._noise.outside = True
        return found

    def _made(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """An operation that makes a tensor of a given size, as `rand` does."""
        place = next((i for i, value in enumerate(args) if isinstance(value, list | tuple | torch.Size)), None)
        dim = None if place is None else self._dim(args[place])
        if place is None or dim is None:
            return func(*args, **kwargs)
        whole = [self._share.total if i == dim else length for i, length in enumerate(args[place])]
        return self._share.rows(func(*args[:place], whole, *args[place + 1 :], **kwargs), dim)

    def _changed(self, func: Any, name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
        """An operation on tensors: it fills one, takes the size of one, or takes parameters."""
        filled = func._schema.is_mutable
        tensors = args[:1] if filled else [arg for arg in args if isinstance(arg, Tensor)]
        dim = self._dim(torch.broadcast_shapes(*(tensor.shape for tensor in tensors)))
        if dim is None:
            return func(*args, **kwargs)
        if filled or name.endswith("_like"):
            rest = pytree.tree_map_only(Tensor, self._padded, args[1:])
            part = self._share.rows(func(_empty(args[0], dim, self._share.total), *rest, **kwargs), dim)
            return args[0].copy_(part) if filled else part
        together = self._gathered if name in _BY_VALUE else self._padded
        result = func(*pytree.tree_map_only(Tensor, together, args), **kwargs)
        return pytree.tree_map_only(Tensor, lambda tensor: self._share.rows(tensor, dim), result)

    def _rows_of_weights(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """`multinomial`, whose rows are those of draws, plates and the batch, flattened: the batch varies fastest."""
        weights, size = args[0], self._share.size
        if weights.dim() != 2 or len(weights) % size:
            return func(*args, **kwargs)
        if self.place is None:
            self._noise.outside = True
        whole = self._extended(weights.unflatten(0, (-1, size)), 1)
        drawn = func(whole.flatten(0, 1), *args[1:], **kwargs)
        return self._share.rows(drawn.unflatten(0, (-1, self._share.total)), 1).flatten(0, 1)

    def _padded(self, parameter: Tensor) -> Tensor:
        """A parameter for the whole batch; rows of other processes have that of the nearest row."""
        dim = self._dim(parameter.shape)
        return parameter if dim is None else self._extended(parameter, dim)

    def _extended(self, tensor: Tensor, dim: int) -> Tensor:
        before, after = self._around(tensor, dim)
        first, last = tensor.narrow(dim, 0, 1), tensor.narrow(dim, self._share.size - 1, 1)
        return torch.cat([first.expand(before), tensor, last.expand(after)], dim)

    def _gathered(self, parameter: Tensor) -> Tensor:
        """A parameter for the whole batch, each row from the process that has it."""
        dim = self._dim(parameter.shape)
        if dim is None:
            return parameter
        before, after = self._around(parameter, dim)
        mine = parameter if self._share.counts else torch.zeros_like(parameter)
        return self._summed(torch.cat([parameter.new_zeros(before), mine, parameter.new_zeros(after)], dim))

    def _around(self, tensor: Tensor, dim: int) -> tuple[list[int], list[int]]:
        """The shapes of the rows before the share and after it."""
        start, end = self._share.start, self._share.start + self._share.size
        sizes = (start, self._share.total - end)
        before, after = ([n if i == dim else length for i, length in enumerate(tensor.shape)] for n in sizes)
        return before, after


def _empty(tensor: Tensor, dim: int, total: int) -> Tensor:
    """A tensor of the whole batch that nothing has written, with the order of dimensions in memory that one has."""
    shape = [total if i == dim else length for i, length in enumerate(tensor.shape)]
    strides = tensor.stride()
    order = sorted(range(tensor.dim()), key=lambda i: strides[i], reverse=True)
    if tensor.is_contiguous():
        order = list(range(tensor.dim()))
    return torch.empty_permuted(shape, order, dtype=tensor.dtype, device=tensor.device)
