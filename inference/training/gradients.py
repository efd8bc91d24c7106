"""The loss of a pair, and its gradients."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from pyro.infer.elbo import ELBO
from pyro.util import warn_if_nan
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike

__all__ = [
    "Gradients",
    "LossGradients",
    "as_tensors",
    "check_loss",
    "clipped",
    "collected",
    "is_finite",
    "loss_functions",
    "reported",
]


class Gradients(Protocol):
    """A loss, its value, and its gradients, whoever computes them."""

    parameters: list[Tensor]

    def value(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The loss as a 0-dim tensor.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        ...

    def __call__(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Any, list[Tensor | None]]:
        """The loss, and the gradient of each parameter, None for one that the loss does not depend on."""
        ...


class LossGradients:
    """A loss, its value, and its gradients with respect to some parameters.

    Args:
        loss: an ELBO of `pyro.infer`, an object with `differentiable_loss`, or a function that returns a scalar.
        parameters: the parameters.
    """

    def __init__(self, loss: Any, parameters: list[Tensor]) -> None:
        self.loss, self.parameters = loss, parameters
        self._value, self._loss_and_grads = loss_functions(loss)

    def value(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The loss as a 0-dim tensor; nothing is differentiated or counted.

        Args:
            model, guide: the pair.
            args, kwargs: the arguments of both programs.
        """
        return as_tensors(self._value(model, guide, *args, **kwargs), self.parameters)

    def __call__(
        self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[Any, list[Tensor | None]]:
        """The loss, and the gradient of each parameter, None for one that the loss does not depend on."""
        with torch.enable_grad(), collected(self.parameters) as gradients:
            loss = self._loss_and_grads(model, guide, *args, **kwargs)
        return as_tensors(loss, self.parameters), gradients


def check_loss(loss: Any) -> Any:
    """The loss, where it is one.

    Args:
        loss: what the user gave.

    Raises:
        PairError: it is no function, and has none of the methods of a loss.
    """
    if isinstance(loss, nn.modules.loss._Loss):
        raise PairError(
            f"loss requires an ELBO or an Objective, got {loss!r:.80}, which compares two tensors. The model's "
            "likelihood takes its place: write likelihoods.Normal(shape), and loss=ELBO()."
        )
    methods = ("differentiable_loss", "loss_and_grads", "loss_and_surrogate_loss")
    if not (callable(loss) or any(hasattr(loss, name) for name in methods)) or isinstance(loss, type):
        raise PairError(
            f"loss requires an ELBO, an Objective, or a function of (model, guide, *args), got {loss!r:.80}. Write "
            "loss=ELBO()."
        )
    return loss


def loss_functions(loss: Any, loss_and_grads: Callable[..., Any] | None = None) -> tuple[Any, Callable[..., Any]]:
    """The two functions of a loss that `pyro.infer.SVI` has: `loss` and `loss_and_grads`.

    Args:
        loss: an ELBO of `pyro.infer`, an object with `differentiable_loss` or `loss_and_grads`, or a function.
        loss_and_grads: the second function, where `loss` is a function.

    Returns:
        Two functions of `(model, guide, *args, **kwargs)`. The second also adds the gradients to `.grad`.
    """
    if hasattr(loss, "loss_and_grads") and (isinstance(loss, ELBO) or not callable(loss)):
        return getattr(loss, "loss", loss.loss_and_grads), loss.loss_and_grads
    if loss_and_grads is not None:
        return loss, loss_and_grads
    if hasattr(loss, "differentiable_loss"):
        return getattr(loss, "loss", loss.differentiable_loss), partial(_backward, loss, loss.differentiable_loss)
    return loss, partial(_backward, loss, loss)


def _backward(loss: Any, differentiable: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    value = differentiable(*args, **kwargs)
    if getattr(value, "requires_grad", False):
        value.backward(retain_graph=True)
    if hasattr(loss, "advance"):  # an objective with a schedule counts its steps
        loss.advance()
    return value


@contextmanager
def collected(parameters: list[Tensor]) -> Iterator[list[Tensor | None]]:
    """Gather what a backward pass inside adds to the `.grad` of the parameters; `.grad` itself is restored.

    Args:
        parameters: the parameters; the list that it gives has one gradient for each afterwards.
    """
    kept = [parameter.grad for parameter in parameters]
    gradients: list[Tensor | None] = []
    for parameter in parameters:
        parameter.grad = None
    try:
        yield gradients
        gradients += [parameter.grad for parameter in parameters]
    finally:
        for parameter, gradient in zip(parameters, kept, strict=True):
            parameter.grad = gradient


def clipped(gradients: list[Tensor | None], bound: float | None) -> list[Tensor | None]:
    """The gradients, scaled down where their joint Euclidean norm exceeds a bound.

    Args:
        gradients: one per parameter; None has no norm.
        bound: the largest norm; None for no bound.
    """
    if bound is None:
        return gradients
    norms = [torch.linalg.vector_norm(gradient) for gradient in gradients if gradient is not None]
    scale = (bound / (torch.linalg.vector_norm(torch.stack(norms)) + 1e-6)).clamp(max=1.0)
    return [None if gradient is None else gradient * scale for gradient in gradients]


def as_tensors(loss: Any, like: Sequence[Tensor] = ()) -> Any:
    """A loss as a 0-dim tensor without a graph of its own, a tuple of losses as a tuple of them.

    Args:
        loss: a number, a tensor, or a tuple of them.
        like: tensors; a number gets the dtype and the device of the first, or float64 where there is none.
    """
    if isinstance(loss, tuple):
        return type(loss)(as_tensors(part, like) for part in loss)
    if isinstance(loss, Tensor):
        return loss.detach()
    first = like[0] if like else torch.zeros((), dtype=torch.float64)
    return torch.tensor(loss, dtype=first.dtype, device=first.device)


def is_finite(loss: Any, flags: Sequence[Tensor] = ()) -> Tensor:
    """Whether all numbers of a loss, or of a list of tensors, are finite, as a 0-dim flag.

    Args:
        loss: a tensor, or a tuple or list of tensors.
        flags: further conditions, 0-dim flags.
    """
    parts: Iterable[Tensor] = loss if isinstance(loss, tuple | list) else [loss]
    # Inductor computes a reduction once, here that over 16 copies, but would repeat a single flag at every use.
    return torch.stack([*(torch.isfinite(part).all() for part in parts), *flags]).expand(16, -1).all()


def reported(loss: Any) -> Any:
    """A loss as Pyro returns it: a float, with Pyro's warning where it is not a number.

    Args:
        loss: a 0-dim tensor, or a tuple of them.
    """
    if isinstance(loss, tuple):
        return type(loss)(map(reported, loss))
    value = float(loss)
    if math.isnan(value):
        warn_if_nan(torch.tensor(value), "loss")
    return value
