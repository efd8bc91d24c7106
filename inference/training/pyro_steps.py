"""Gradient steps as `pyro.infer.SVI` takes them: on Pyro's parameters, and on the state of Pyro's optimizers."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from pyro.infer import SVI
from pyro.infer.util import zero_grads
from pyro.optim import PyroOptim
from pyro.optim.lr_scheduler import PyroLRScheduler
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor
from torch.distributions import Distribution

from pyrovae.inference.compile.capture import UNCHECKED
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.precision import precise
from pyrovae.inference.compile.reasons import UnsteadyError
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.parameters import UsedParameters
from pyrovae.inference.training.fused import FusedUpdate, Member, Settings
from pyrovae.inference.training.gradients import as_tensors, clipped, collected, is_finite
from pyrovae.inference.training.minibatches import Transform
from pyrovae.inference.training.steps import Graphs, Steps, routed

__all__ = ["PyroSteps"]

_HANDLERS = "Pyro's handlers are open around the step. Open them inside the model, or wrap the model in them"


class Outcome(NamedTuple):
    """What a step gives.

    Attributes:
        loss: the loss before the step.
        used: the numbers of the parameters that the programs used.
        gradients: by the number of a parameter, where the optimizers have still to run.
        ok: whether the step counts: True, or the flag of a graph. If it is false, nothing changed.
    """

    loss: Any
    used: tuple[int, ...]
    gradients: dict[int, Tensor]
    ok: Any


@dataclass(frozen=True)
class Fixed:
    """What a graph of a step holds fixed besides its arguments.

    Args:
        had_gradient: for each known parameter, whether it has a `.grad`, which is zero.
        validates: whether distributions check the values of their sites.
        update: the settings of the optimizers; None where they run outside of the graph.
    """

    had_gradient: tuple[bool, ...]
    validates: bool
    update: Settings | None


class PyroSteps(Steps):
    """Steps of `pyro.infer.SVI`, compiled.

    The parameters of a step are those that its programs use. Their optimizers are those of `svi.optim`, and a graph
    changes the state of these optimizers. Pyro itself takes every step that no graph covers.

    Args:
        svi: the SVI, whose attributes may be replaced between two steps.
        graphs: how functions of the pair run.
        clip_norm: bound on the Euclidean norm of all gradients together; None for no bound.
        reduce: called with the gradients before the update, to change them in place; None for nothing.
    """

    def __init__(
        self,
        svi: SVI,
        graphs: Graphs,
        clip_norm: float | None,
        reduce: Callable[[list[Tensor]], None] | None,
    ) -> None:
        super().__init__(graphs)
        self.precision = graphs.precision
        self.svi, self.clip_norm, self.reduce = svi, clip_norm, reduce
        self.parameters = []
        self._numbers: dict[int, int] = {}
        self._optimizers: list[Any] = []
        self._update: FusedUpdate | None = None
        self._optimized = False
        self.whole = graphs(self._whole, eager=self._by_pyro, eager_first=True)
        self.gradients = graphs(self._differentiated, eager=self._differentiated_by_pyro, eager_first=True)
        self.value = graphs(self._value, eager=self._value_by_pyro, eager_first=True)

    def step(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        fixed = self._fixed()
        given = model, guide, self.svi.loss_and_grads, args, kwargs, fixed
        if fixed is None or not isinstance(self.whole, Compiled):
            return self._by_pyro(*given).loss
        self._optimized = False
        random = torch.get_rng_state()
        outcome = _run(self.whole if fixed.update else self.gradients, given)
        if isinstance(outcome.ok, Tensor) and not outcome.ok:
            torch.set_rng_state(random)
            return self._by_pyro(*given).loss
        self._finish(outcome, self._update if fixed.update else None)
        return outcome.loss

    def evaluate(self, model: ProgramLike, guide: ProgramLike, args: tuple, kwargs: dict[str, Any]) -> Any:
        given = model, guide, self.svi.loss, args, kwargs, Fixed((), _validates(), None)
        random = torch.get_rng_state()
        outcome = _run(self.value, given)
        if isinstance(outcome.ok, Tensor) and not outcome.ok:
            torch.set_rng_state(random)
            outcome = self._value_by_pyro(*given)
        return outcome.loss

    @property
    def per_graph(self) -> int:
        return 1

    def advance(
        self,
        chunks: Iterable[Tensor | None],
        data: dict[str, Tensor],
        transform: Transform | None,
        *,
        small: bool = False,
    ) -> Tensor:
        return self._one_by_one(routed(self.svi.model, self.svi.guide), chunks, data, transform)

    def _finish(self, outcome: Outcome, fused: FusedUpdate | None) -> None:
        """Let the optimizers run, unless they have, or the graph has done their work."""
        if self._optimized:
            return
        used = [self.parameters[number] for number in outcome.used]
        if fused is not None:
            fused.stepped({id(parameter) for parameter in used})
            return
        for number, gradient in outcome.gradients.items():
            self.parameters[number].grad = gradient
        self._optimize(used)

    # By Pyro ------------------------------------------------------------------------------------------------------

    def _by_pyro(
        self, model: ProgramLike, guide: ProgramLike, loss_and_grads: Any, args: tuple, kwargs: dict[str, Any], _: Any
    ) -> Outcome:
        loss, used = self._learned(model, guide, loss_and_grads, args, kwargs)
        self._optimize(used)
        return Outcome(loss, self._numbered(used), {}, True)

    def _differentiated_by_pyro(
        self, model: ProgramLike, guide: ProgramLike, loss_and_grads: Any, args: tuple, kwargs: dict[str, Any], _: Any
    ) -> Outcome:
        loss, used = self._learned(model, guide, loss_and_grads, args, kwargs)
        gradients = {self._numbers[id(p)]: p.grad for p in used if p.grad is not None}
        return Outcome(loss, self._numbered(used), gradients, True)

    def _numbered(self, parameters: Iterable[Tensor]) -> tuple[int, ...]:
        return tuple(self._numbers[id(parameter)] for parameter in parameters)

    def _learned(self, model: ProgramLike, guide: ProgramLike, loss: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
        """Call a loss, and learn which parameters the pair uses."""
        with UsedParameters() as used, precise(self.precision):
            value = loss(model, guide, *args, **kwargs)
        for parameter in used.named:
            if id(parameter) not in self._numbers:
                self._numbers[id(parameter)] = len(self.parameters)
                self.parameters.append(parameter)
        return as_tensors(value), list(used.named)

    def _optimize(self, parameters: list[Tensor]) -> None:
        """Let Pyro's optimizers run, and set gradients to zero, as Pyro does."""
        given = [p for p in parameters if p.grad is not None]
        gradients = [p.grad for p in given if p.grad is not None]
        if self.reduce is not None:
            self.reduce(gradients)
        for parameter, gradient in zip(given, clipped([*gradients], self.clip_norm), strict=True):
            parameter.grad = gradient
        self.svi.optim(parameters)
        zero_grads(parameters)
        for parameter in given:
            _mark_as_zero(parameter.grad)
        self._optimized = True

    def _value_by_pyro(
        self, model: ProgramLike, guide: ProgramLike, loss: Any, args: tuple, kwargs: dict[str, Any], _: Any
    ) -> Outcome:
        with precise(self.precision):
            return Outcome(as_tensors(loss(model, guide, *args, **kwargs)), (), {}, True)

    # In a graph ---------------------------------------------------------------------------------------------------

    def _whole(
        self, model: ProgramLike, guide: ProgramLike, loss_and_grads: Any, args: tuple, kwargs: dict, fixed: Fixed
    ) -> Outcome:
        loss, used, gradients, ok = self._differentiated(model, guide, loss_and_grads, args, kwargs, fixed)
        values = clipped(list(gradients.values()), self.clip_norm)
        assert self._update is not None
        numbered = zip(gradients, values, strict=True)
        self._update.update({id(self.parameters[n]): value for n, value in numbered if value is not None}, ok)
        return Outcome(loss, used, {}, ok)

    def _differentiated(
        self, model: ProgramLike, guide: ProgramLike, loss_and_grads: Any, args: tuple, kwargs: dict, fixed: Fixed
    ) -> Outcome:
        with collected(self.parameters) as gradients, UsedParameters() as used, _Observed(fixed.validates) as observed:
            loss = as_tensors(loss_and_grads(model, guide, *args, **kwargs))
            ok = is_finite(loss, observed.flags)
        self._refuse_new(used.named)
        return Outcome(loss, self._numbered(used.named), self._gradients_of(used.named, gradients, fixed), ok)

    def _refuse_new(self, used: dict[Tensor, str]) -> None:
        """Refuse to capture a step that makes a parameter, whose gradient would be one without values."""
        for parameter, name in used.items():
            if id(parameter) not in self._numbers:
                parameter.grad = None
                raise UnsteadyError(f"the parameter {name!r} appears")

    def _gradients_of(self, used: Iterable[Tensor], gradients: list[Tensor | None], fixed: Fixed) -> dict[int, Tensor]:
        """The gradients of the used parameters; that of one which a step does not reach stays zero, as in Pyro."""
        found = {}
        for number in self._numbered(used):
            gradient = gradients[number]
            if gradient is None and fixed.had_gradient[number]:
                gradient = torch.zeros_like(self.parameters[number])
            if gradient is not None:
                found[number] = gradient
        return found

    def _value(
        self, model: ProgramLike, guide: ProgramLike, loss: Any, args: tuple, kwargs: dict[str, Any], fixed: Fixed
    ) -> Outcome:
        with _Observed(fixed.validates) as observed:
            value = as_tensors(loss(model, guide, *args, **kwargs))
        return Outcome(value, (), {}, is_finite(value, observed.flags))

    # What a graph holds fixed -------------------------------------------------------------------------------------

    def _fixed(self) -> Fixed | None:
        """None where a parameter has a gradient from elsewhere: Pyro adds to it."""
        had = []
        for parameter in self.parameters:
            gradient = parameter.grad
            if gradient is not None and not _is_zero(gradient):
                return None
            had.append(gradient is not None)
        return Fixed(tuple(had), _validates(), self._settings())

    def _settings(self) -> Settings | None:
        """The settings of the optimizers, if a graph can contain their update."""
        optim = self.svi.optim
        if self.reduce is not None or type(optim).__call__ not in _PLAIN:
            return None
        optimizers = [optim.optim_objs.get(parameter) for parameter in self.parameters]
        if optimizers != self._optimizers:
            self._fuse(optimizers)
        return self._update.settings() if self._update else None

    def _fuse(self, optimizers: list[Any]) -> None:
        known = len(self._optimizers) if self._update and optimizers[: len(self._optimizers)] == self._optimizers else 0
        pairs = list(zip(self.parameters, optimizers, strict=True))
        members = [Member(p, getattr(one, "optimizer", one)) for p, one in pairs[known:] if one is not None]
        clips = any(self.svi.optim.grad_clip.get(parameter) for parameter in self.parameters)
        self._optimizers = optimizers
        if clips or not FusedUpdate.covers(members):
            self._update = None
        elif known and self._update:
            self._update.extend(members)
        else:
            self._update = FusedUpdate(members)


_PLAIN = (PyroOptim.__call__, PyroLRScheduler.__call__)


def _run(function: Any, given: tuple) -> Outcome:
    if _PYRO_STACK and isinstance(function, Compiled):
        return function.eagerly(_HANDLERS, *given)
    return function(*given)


def _validates() -> bool:
    return bool(Distribution._validate_args)


def _mark_as_zero(gradient: Tensor | None) -> None:
    """Remember that a tensor is zero until something changes it."""
    if gradient is not None:
        gradient._pyrovae_zero = gradient._version  # type: ignore[attr-defined]


def _is_zero(gradient: Tensor) -> bool:
    return getattr(gradient, "_pyrovae_zero", None) == gradient._version


class _Observed(Messenger):
    """Checks inside a graph that observed values are in the support, where Pyro would raise.

    Attributes:
        flags: one 0-dim flag for each observed site.
    """

    def __init__(self, validates: bool) -> None:
        super().__init__()
        self._validates = validates
        self.flags: list[Tensor] = []

    def _pyro_post_sample(self, msg: Any) -> None:
        if not (self._validates and msg["is_observed"] and isinstance(msg["value"], Tensor)):
            return
        fn = msg["fn"]
        while hasattr(fn, "base_dist") and not hasattr(fn, "transforms"):
            fn = fn.base_dist
        if getattr(fn, "_validate_args", None) is not UNCHECKED:
            return
        try:
            self.flags.append(fn.support.check(msg["value"]).all())
        except (NotImplementedError, AttributeError):  # a distribution without a support
            return
