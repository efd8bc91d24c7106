"""Finding the parameters of a pair by running it once."""

from collections.abc import Callable, Container, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from pyrovae.inference.pair.contract import ProgramLike, local_params, modules
from pyrovae.inference.pair.parameters import UsedParameters

__all__ = ["Discovery", "discover", "discovering", "undisturbed", "unregistered"]


class Discovery(NamedTuple):
    """What one run of a pair finds.

    Attributes:
        named: the (unconstrained) parameters that require gradients, in the order of their use, and their names.
        called: the modules whose `forward` ran.
    """

    named: dict[Tensor, str]
    called: list[nn.Module]


@contextmanager
def discovering(*programs: ProgramLike) -> Iterator[Callable[[], Discovery]]:
    """Note the parameters and modules of a pair that runs inside; gives a function that tells them afterwards.

    Args:
        programs: the model and the guide.
    """
    called: list[nn.Module] = []
    hook = nn.modules.module.register_module_forward_pre_hook(lambda module, _: called.append(module))
    try:
        with local_params(*programs), UsedParameters() as found:
            yield lambda: _told(found, called)
    finally:
        hook.remove()


def _told(found: "UsedParameters", called: list[nn.Module]) -> Discovery:
    named = {p: name for p, name in found.named.items() if p.requires_grad}
    return Discovery(named, list(dict.fromkeys(called)))


def discover(run: Callable[[], Any], *programs: ProgramLike) -> Discovery:
    """Run a pair once, and note its parameters and modules; random numbers and buffers are restored afterwards.

    Args:
        run: computes the loss of the pair.
        programs: the model and the guide.
    """
    called: list[nn.Module] = []
    with local_params(*programs), undisturbed(called), torch.no_grad(), UsedParameters() as found:
        run()
    return _told(found, called)


def unregistered(*programs: ProgramLike, known: Container[Tensor]) -> dict[Tensor, str]:
    """The parameters of plain modules that no run of Pyro's reports, with their names.

    Pyro sees the parameters of a `PyroModule`, and of what `pyro.module` registers. A program that is a plain
    `torch.nn.Module` is trained without either.

    Args:
        programs: the model and the guide.
        known: the parameters that a run has reported.
    """
    plain = [module for module in modules(*programs) if not isinstance(module, PyroModule)]
    owned = (pair for module in plain for pair in module.named_parameters())
    return {parameter: name for name, parameter in owned if parameter.requires_grad and parameter not in known}


@contextmanager
def undisturbed(called: list[nn.Module]) -> Iterator[None]:
    """A context that restores random numbers, and the buffers of the modules that ran inside, when it ends.

    Args:
        called: the list to which each module that runs inside is appended.
    """
    buffers: dict[int, tuple[Tensor, Tensor]] = {}

    def note(module: nn.Module, _: Any) -> None:
        called.append(module)
        for buffer in module.buffers(recurse=False):
            buffers.setdefault(id(buffer), (buffer, buffer.clone()))

    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else []
    hook = nn.modules.module.register_module_forward_pre_hook(note)
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        hook.remove()
        with torch.no_grad():
            for buffer, value in buffers.values():
                buffer.copy_(value)
