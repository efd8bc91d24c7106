"""Optimizers: from what the user names to what takes the steps."""

import inspect
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from pyro.optim import PyroOptim
from pyro.optim.lr_scheduler import PyroLRScheduler
from pyro.params.param_store import normalize_param_name
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.errors import PairError
from pyrovae.inference.compile.lowering.cache import usable_cache
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.training.update_rules import RULES

__all__ = ["Optim", "Whole", "check_optim", "make_optimizer", "make_scheduler"]

Optim = Optimizer | type[Optimizer] | partial[Optimizer] | tuple[type[Optimizer], dict[str, Any]] | PyroOptim
"""What `SVI` and `fit` take as an optimizer."""


@dataclass(frozen=True)
class Whole:
    """An optimizer that must train all parameters of a pair: one torch optimizer, as `fit` requires it.

    Of a `pyro.optim` wrapper that does no more than build one, the torch optimizer is taken.

    Args:
        optim: the optimizer.
    """

    optim: Optim


def make_optimizer(optim: Optim | Whole, named: dict[Tensor, str], *programs: ProgramLike) -> Optimizer | PyroOptim:
    """The optimizer of some parameters: a torch optimizer, or a Pyro wrapper that does more than build one.

    A Pyro wrapper may have settings for each parameter by name. They become groups of one parameter each, because
    Pyro itself knows only the names of the parameters in its store.

    Args:
        optim: a torch optimizer class, `(class, arguments)`, a `functools.partial` of a class, an instance, or a
            `pyro.optim` wrapper; or one of them as a `Whole`.
        named: the parameters, and the name of each.
        programs: the model and the guide, for the error.

    Raises:
        PairError: there are no parameters; a `Whole` lacks some; or the optimizer computes the loss itself, as LBFGS
            does.
    """
    whole, optim = isinstance(optim, Whole), optim.optim if isinstance(optim, Whole) else optim
    if not named and not isinstance(optim, Optimizer):
        raise PairError(
            "Training requires a pair with parameters that require a gradient, got none. Write a network as a module "
            "of the pair, self.decoder = MLP(...), or pyro.param(...); requires_grad_(True) thaws a frozen one."
        )
    made = _unwrapped(optim, named) if whole and isinstance(optim, PyroOptim) else _made(optim, named)
    closure = inspect.signature(made.step).parameters.get("closure") if isinstance(made, Optimizer) else None
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise PairError(
            f"optim requires an optimizer that takes one step for each gradient, got {type(made).__name__}, which "
            "computes the loss itself. Write optim=(torch.optim.Adam, {'lr': 1e-3})."
        )
    lacking = _lacking(made, named, *programs) if isinstance(made, Optimizer) else ""
    if lacking and whole:
        raise PairError(lacking)
    if lacking:
        warnings.warn(lacking, stacklevel=4)
    return made


def _lacking(optimizer: Optimizer, named: dict[Tensor, str], *programs: ProgramLike) -> str:
    """What an optimizer does not train, and the line to write; nothing where it trains all parameters."""
    trained = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    names = {id(parameter): ("the pair", name.replace("$$$", ".")) for parameter, name in named.items()}
    for role, program in zip(("the model", "the guide"), programs, strict=False):
        for module in modules(program):
            names |= {id(p): (role, name) for name, p in module.named_parameters() if id(p) in names}
    lacking: dict[str, list[str]] = {}
    for role, name in (found for number, found in names.items() if number not in trained):
        lacking.setdefault(role, []).append(name)
    if not lacking:
        return ""
    listed = " and ".join(
        f"{len(some)} parameter{'s' * (len(some) > 1)} of {role}, such as {some[0]}" for role, some in lacking.items()
    )
    line = f"optim=(torch.optim.{type(optimizer).__name__}, {{'lr': {optimizer.defaults.get('lr', 1e-3)}}})"
    return (
        f"optim requires an optimizer of all parameters of the pair, got one that lacks {listed}, which it would never "
        f"train. Write {line}. To freeze parameters on purpose, write requires_grad_(False)."
    )


def _made(optim: Optim, named: dict[Tensor, str]) -> Optimizer | PyroOptim:
    usable_cache()  # torch needs it to build an optimizer
    parameters = list(named)
    if isinstance(optim, Optimizer):
        return optim
    if isinstance(optim, tuple) and len(optim) == 2:
        return optim[0](parameters, **optim[1])
    return cast(Callable[..., Optimizer], optim)(parameters)


def make_scheduler(scheduler: Any, optimizer: Optimizer) -> Any:
    """The schedule of an optimizer's learning rate; None for a constant one.

    Args:
        scheduler: a function from an optimizer to a torch scheduler, or None.
        optimizer: the optimizer.

    Raises:
        PairError: what was given is none, or gives none.
    """
    if scheduler is None:
        return None
    made = scheduler(optimizer) if callable(scheduler) else None
    if not (hasattr(made, "step") and hasattr(made, "state_dict")):
        got = type(scheduler).__name__ if made is None else f"one that gives {type(made).__name__}"
        raise PairError(
            f"scheduler requires a function from an optimizer to a torch scheduler, got {got}. Write "
            "scheduler=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.9)."
        )
    return made


def check_optim(optim: Any) -> None:
    """Refuse what is no optimizer.

    Args:
        optim: what the user gave.

    Raises:
        PairError: `optim` is none of `Optim`.
    """
    optim = optim.optim if isinstance(optim, Whole) else optim
    pair = isinstance(optim, tuple) and len(optim) == 2
    if not (pair or callable(optim) or isinstance(optim, Optimizer | PyroOptim)):
        raise PairError(
            "optim requires a torch optimizer class, (class, arguments), functools.partial(class, ...), an instance, "
            f"or a pyro.optim wrapper, got {type(optim).__name__}. Write optim=(torch.optim.Adam, {{'lr': 1e-3}})."
        )


def _unwrapped(optim: PyroOptim, named: dict[Tensor, str]) -> Optimizer | PyroOptim:
    """The torch optimizer that a Pyro wrapper builds, or the wrapper, where it does more."""
    kind, arguments = optim.pt_optim_constructor, cast(Any, optim.pt_optim_args)
    plain = not isinstance(optim, PyroLRScheduler) and (not callable(arguments) or optim.pt_optim_args_argc == 1)
    waiting = optim._state_waiting_to_be_consumed or optim.optim_objs
    if not plain or optim.pt_clip_args or waiting or kind not in RULES:
        return optim
    if callable(arguments):
        return kind([{"params": [p], **arguments(normalize_param_name(name))} for p, name in named.items()])
    return kind(list(named), **arguments)
