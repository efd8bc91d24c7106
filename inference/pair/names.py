"""Names of a pair: an argument, the tensor that it is given, and the site that observes it have one name."""

import torch
from torch import Tensor

from pyrovae.data import Batch
from pyrovae.errors import PairError
from pyrovae.inference.pair.contract import ProgramLike, Site, arguments, takes
from pyrovae.inference.pair.tracing import PairTrace, sites

__all__ = ["check_arguments", "check_names"]


def check_arguments(model: ProgramLike, batch: Batch) -> None:
    """Raise if the signature of a model names no tensor of the batch, so that it gets none.

    Args:
        model: the program.
        batch: named tensors.

    Raises:
        PairError: it gets none.
    """
    if any(takes(model, name) for name in batch) or arguments(model) is None:
        return
    first = next(iter(batch))
    raise PairError(
        f"A model requires an argument with the name of a tensor of the data, {_listed(batch)}, got the arguments "
        f"{_listed(arguments(model) or [])}. Write def model({first}=None, *, size=None), and obs={first} at its site."
    )


def check_names(model: ProgramLike, pair: PairTrace, batch: Batch) -> None:
    """Raise if a site observes the tensor of another name, or does not observe that of its own.

    Args:
        model: the program.
        pair: a run of both programs.
        batch: named tensors.

    Raises:
        PairError: it does; the message names both.
    """
    for name, site in sites(pair.model).items():
        if site["is_observed"]:
            _check_source(model, name, site["value"], batch)
        elif name in batch and takes(model, name) and _ignores(site, batch[name]):
            raise PairError(
                f"The model's site '{name}' requires the tensor '{name}' of the data, which its signature names, got a "
                f"draw. Write obs={name} in its pyro.sample and remove the site from the guide, or rename one of them."
            )


def _check_source(model: ProgramLike, name: str, value: Tensor, batch: Batch) -> None:
    """An observed value that is a tensor of the batch is that of its site's name, by the argument of that name."""
    if name in batch and takes(model, name):
        return
    source = next((given for given in batch if takes(model, given) and _same(value, batch[given])), None)
    if source is not None:
        raise PairError(
            f"An argument requires the name of the site that observes it, got the argument '{source}' at the site "
            f"'{name}'. Write def model({name}=None, *, size=None), obs={name}, and the data "
            f'{{"{name}": {source}}}; or name the site "{source}".'
        )


def _same(value: Tensor, given: Tensor) -> bool:
    """Whether a value is a tensor of the batch, as it is, reshaped, or with its rows last."""
    if value.numel() != given.numel() or not given.numel() or bool((given == given.flatten()[0]).all()):
        return False
    flat = given.to(value.dtype).flatten()
    return torch.equal(value.flatten(), flat) or torch.equal(value.movedim(-1, 0).flatten(), flat)


def _ignores(site: Site, given: Tensor) -> bool:
    """Whether a latent has nothing of the tensor of its name: numbers, all of them known, and none of them there."""
    value: Tensor = site["value"]
    if not given.is_floating_point() or value.shape != given.shape or not given.isfinite().all():
        return False
    return not (value.detach() == given).any()


def _listed(names: object) -> str:
    return ", ".join(map(repr, names)) or "none"  # type: ignore[call-overload]
