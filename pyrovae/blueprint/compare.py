"""Whether a pair that was built from its blueprint is the pair that it describes, but for the values of its weights."""

from collections.abc import Iterable, Mapping
from dataclasses import is_dataclass
from functools import partial
from types import MethodType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae.errors import FolderError

__all__ = ["compare"]

_OF_MODULES = frozenset(nn.Module().__dict__) | {"_recorded"}
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def compare(given: Mapping[str, nn.Module], built: Mapping[str, nn.Module]) -> None:
    """Refuse a pair that was changed after it was built in a way that a blueprint does not record.

    Modules, their plain attributes, hooks, the names, shapes and sharing of tensors, and the values of buffers that are
    not among the weights must be equal. Types of numbers and `requires_grad` are not compared.

    Args:
        given: the modules of the pair, by name.
        built: those that were built from its blueprint, by the same names.

    Raises:
        FolderError: they differ; the message names the module, the attribute, and both values.
    """
    pairs = [two for name in given for two in _aligned(name, given[name], built[name])]
    for path, mine, theirs in pairs:
        _compare_hooks(path, mine, theirs)
        _compare_tensors(path, mine, theirs)
    twins: dict[int, Any] = {id(mine): theirs for _, mine, theirs in pairs}
    for _, mine, theirs in pairs:
        for kind in ("_parameters", "_buffers"):
            twins |= {id(tensor): getattr(theirs, kind)[name] for name, tensor in getattr(mine, kind).items()}
    for path, mine, theirs in pairs:
        _compare_attributes(path, mine, theirs, twins)
    _compare_sharing([mine for _, mine, _ in pairs], [theirs for _, _, theirs in pairs])


def _aligned(name: str, mine: nn.Module, theirs: nn.Module) -> Iterable[tuple[str, nn.Module, nn.Module]]:
    """All submodules of both, side by side."""
    before, after = (dict(part.named_modules(prefix=name, remove_duplicate=False)) for part in (mine, theirs))
    for path in before.keys() | after.keys():
        if path not in before or path not in after:
            what = "was added to" if path in before else "was removed from"
            raise _changed(path, f"{what} its module after that was built", "build it with the constructor")
    for path, part in before.items():
        if type(part) is not type(after[path]):
            was, now = type(after[path]).__name__, type(part).__name__
            raise _changed(path, f"is a {now}, and its module was built with a {was}", "pass it to the constructor")
    return [(path, part, after[path]) for path, part in before.items()]


def _compare_hooks(path: str, mine: nn.Module, theirs: nn.Module) -> None:
    for name in _HOOKS:
        if len(getattr(mine, name) or ()) != len(getattr(theirs, name) or ()):
            raise _changed(path, "has a hook, which is code", "remove it before you save")


def _compare_attributes(path: str, mine: nn.Module, theirs: nn.Module, twins: Mapping[int, Any]) -> None:
    before, after = (_attributes(module) for module in (mine, theirs))
    for name in [*after, *before]:
        if name not in before or name not in after or not _equal(before[name], after[name], twins):
            now, was = (f"{found[name]!r}"[:60] if name in found else "absent" for found in (before, after))
            raise _changed(
                path, f"has {name} = {now}, and its constructor makes it {was}", "pass it to the constructor"
            )


def _attributes(module: nn.Module) -> dict[str, Any]:
    return {k: v for k, v in vars(module).items() if k not in _OF_MODULES and not k.startswith("_pyro_")}


def _equal(mine: Any, theirs: Any, twins: Mapping[int, Any]) -> bool:
    """Whether two attributes are equal; what has no equality counts as equal where the type is the same."""
    if isinstance(mine, nn.Module) or (isinstance(mine, Tensor) and id(mine) in twins):
        return twins.get(id(mine), theirs) is theirs
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, Tensor):
        return _same_tensor(mine, theirs)
    if isinstance(mine, np.ndarray):
        return mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes() and mine.shape == theirs.shape
    if isinstance(mine, list | tuple):
        return len(mine) == len(theirs) and all(_equal(a, b, twins) for a, b in zip(mine, theirs, strict=True))
    if isinstance(mine, dict):
        return list(mine) == list(theirs) and all(_equal(mine[key], theirs[key], twins) for key in mine)
    if isinstance(mine, MethodType):
        return mine.__name__ == theirs.__name__ and _equal(mine.__self__, theirs.__self__, twins)
    if isinstance(mine, partial):
        parts = [(part.func, list(part.args), part.keywords) for part in (mine, theirs)]
        return _equal(parts[0], parts[1], twins)
    if isinstance(mine, bool | int | float | str | set | frozenset | type | torch.dtype | None) or is_dataclass(mine):
        return mine == theirs or mine != mine
    return True


def _same_tensor(mine: Tensor, theirs: Tensor) -> bool:
    here = mine.detach().cpu()
    return here.shape == theirs.shape and torch.equal(here.to(theirs.dtype).nan_to_num(), theirs.detach().nan_to_num())


def _compare_tensors(path: str, mine: nn.Module, theirs: nn.Module) -> None:
    for kind in ("_parameters", "_buffers"):
        own, other = ({k: v for k, v in getattr(m, kind).items() if v is not None} for m in (mine, theirs))
        for name in own.keys() ^ other.keys():
            raise _changed(f"{path}.{name}", "came or went after the constructor", "register it in the constructor")
        for name, tensor in own.items():
            if tensor.shape != other[name].shape:
                shapes = f"has shape {tuple(tensor.shape)}, and its constructor makes it {tuple(other[name].shape)}"
                raise _changed(f"{path}.{name}", shapes, "build it with its shape")
    for name in theirs._non_persistent_buffers_set | mine._non_persistent_buffers_set:
        before, after = mine._buffers.get(name), theirs._buffers.get(name)
        if before is not None and after is not None and not _same_tensor(before, after):
            raise _changed(
                f"{path}.{name}", "is no weight, and has another value than the constructor gives it", "persistent=True"
            )


def _compare_sharing(mine: Iterable[nn.Module], theirs: Iterable[nn.Module]) -> None:
    """Which tensors are the same must be the same in both."""
    numbered: list[list[int]] = []
    for modules in (mine, theirs):
        seen: dict[int, int] = {}
        tensors = [t for m in modules for group in (m._parameters, m._buffers) for t in group.values() if t is not None]
        numbered.append([seen.setdefault(id(tensor), len(seen)) for tensor in tensors])
    if numbered[0] != numbered[1]:
        raise FolderError(
            "Two modules of the pair share a parameter that their constructors make twice, which a folder does not "
            "record. Pass the shared module to both constructors."
        )


def _changed(path: str, what: str, write: str) -> FolderError:
    return FolderError(
        f"A folder holds what the constructors were given, and {path} {what}. Leave the pair as it was built, or "
        f"{write}."
    )
