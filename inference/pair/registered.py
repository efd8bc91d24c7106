"""Whether the networks that a pair runs are its own: others are never trained, placed on a device or saved."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.inference.pair.parameters import UsedParameters

__all__ = ["owning_networks"]


@contextmanager
def owning_networks(*programs: ProgramLike) -> Iterator[None]:
    """Inside, programs run; raise if a network that they call belongs to none, and is not registered with Pyro.

    Args:
        programs: the model and the guide.

    Raises:
        PairError: there is such a network, with parameters that require a gradient.
    """
    called: list[nn.Module] = []
    hook = nn.modules.module.register_module_forward_pre_hook(lambda module, _: called.append(module))
    try:
        with UsedParameters() as used:
            yield
    finally:
        hook.remove()
    known = {id(parameter) for parameter in used.named}
    known |= {id(parameter) for module in modules(*programs) for parameter in module.parameters()}
    for module in called:
        for name, parameter in module.named_parameters():
            if parameter.requires_grad and id(parameter) not in known:
                kind = type(module).__name__
                raise PairError(
                    f"A pair requires networks that belong to its programs, got a {kind} whose {name} no program owns: "
                    f'it would never be trained. Write pyro.module("net", net) in the program, or make the {kind} an '
                    "attribute of a pyrovae.models.Program; freeze it on purpose with requires_grad_(False)."
                )
