"""The weights of a pair as one safetensors file: which tensors it holds, and whether they fit a pair."""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import safetensors.torch
import torch
from torch import Tensor, nn

from pyrovae.blueprint.files import read_config
from pyrovae.errors import FolderError

__all__ = [
    "ARGUMENT",
    "CODES",
    "Stored",
    "check_fits",
    "check_values",
    "header",
    "put",
    "stored",
    "to_bytes",
    "to_tensors",
]

ARGUMENT = "argument."
"""What the names of tensors start with that are arguments of constructors."""

LARGEST_HEADER = 2**24
"""The most bytes of the list of tensors."""

CODES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
"""The types of numbers, as safetensors names them."""


class Stored(NamedTuple):
    """What a file says of one tensor.

    Attributes:
        code: its type of numbers.
        shape: its shape.
    """

    code: str
    shape: tuple[int, ...]


def stored(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The tensors of some modules that a file holds, by name; one that they share stands there once.

    Args:
        modules: the modules by name.

    Raises:
        FolderError: a state that is no tensor, or of a type that safetensors does not know.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for prefix, module in modules.items():
        for key, value in module.state_dict(keep_vars=True).items():
            name = f"{prefix}.{key}"
            if not isinstance(value, Tensor) or value.dtype not in CODES or value.layout != torch.strided:
                what = value.dtype if isinstance(value, Tensor) else type(value).__name__
                raise FolderError(f"A folder holds tensors of {', '.join(CODES.values())}, got {name} of {what}.")
            if id(value) not in seen:
                seen.add(id(value))
                found[name] = value
    return found


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """The content of a safetensors file.

    Args:
        tensors: what it holds, by name.

    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    return safetensors.torch.save(plain, {"format": "pt"})


def check_values(name: str, tensor: Tensor) -> None:
    """Refuse NaN, and infinities among parameters; a buffer, such as a mask, may hold them.

    Args:
        name: the name of the tensor, for the error.
        tensor: a parameter or a buffer.

    Raises:
        FolderError: it holds such a value.
    """
    if not tensor.is_floating_point():
        return
    wrong = ~tensor.detach().isfinite() if isinstance(tensor, nn.Parameter) else tensor.detach().isnan()
    if bool(wrong.any()):
        raise FolderError(
            f"A folder requires finite weights, got {int(wrong.sum())} of {name} that are not. Train again."
        )


def header(content: bytes) -> dict[str, Stored]:
    """The tensors that a safetensors file lists. Their places must fill the file, without gaps or overlaps.

    Args:
        content: the file.

    Raises:
        FolderError: it is no such file.
    """
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(LARGEST_HEADER, len(content) - 8):
        raise _broken("its list of tensors is longer than the file, or than 16 MiB")
    listed = read_config(content[8 : 8 + size], "model.safetensors")
    listed.pop("__metadata__", None)
    found, places = {}, []
    for name, entry in listed.items():
        found[name], place = _entry(name, entry)
        places.append(place)
    end = 0
    for begin, after in sorted(places):
        if begin != end:
            raise _broken("its tensors overlap, or leave gaps")
        end = after
    if len(content) != 8 + size + end:
        raise _broken(f"it has {len(content):,} bytes, and its list says {8 + size + end:,}")
    return found


def _entry(name: str, entry: Any) -> tuple[Stored, tuple[int, int]]:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _broken(f"the entry of {ascii(name)[:80]}")
    code, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    whole = [type(part) is list and all(type(n) is int and n >= 0 for n in part) for part in (shape, place)]
    if not isinstance(code, str) or code not in CODES.values() or not all(whole) or len(place) != 2:
        raise _broken(f"the entry of {ascii(name)[:80]}")
    width = next(dtype.itemsize for dtype, known in CODES.items() if known == code)
    if place[1] - place[0] != prod(shape) * width:
        raise _broken(f"the size of {ascii(name)[:80]}")
    return Stored(code, tuple(shape)), (place[0], place[1])


def _broken(what: str) -> FolderError:
    return FolderError(f"model.safetensors is broken: {what}. Restore a copy of the folder.")


def check_fits(modules: Mapping[str, nn.Module], listed: Mapping[str, Stored]) -> None:
    """Refuse a file whose tensors are not those of some modules: names, shapes and types of numbers.

    Args:
        modules: the modules by name.
        listed: what the file lists, without arguments of constructors.

    Raises:
        FolderError: they differ; the message shows the first few.
    """
    own = {name: Stored(CODES[value.dtype], tuple(value.shape)) for name, value in stored(modules).items()}
    wrong = [f"{name} is missing" for name in own.keys() - listed.keys()]
    wrong += [f"{ascii(name)[1:-1][:80]} is not in the pair" for name in listed.keys() - own.keys()]
    wrong += [
        f"{name} is {listed[name].code} {listed[name].shape}, in the pair {own[name].code} {own[name].shape}"
        for name in own.keys() & listed.keys()
        if own[name] != listed[name]
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise FolderError(
            f"The weights are not those of the pair that config.json describes: {'; '.join(sorted(wrong)[:3])}{more}. "
            "Restore a copy of the folder."
        )


def to_tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors in a safetensors file.

    Args:
        content: the file.

    Raises:
        FolderError: it is no such file.
    """
    try:
        return safetensors.torch.load(content)
    except Exception as error:  # a file that anyone wrote may make the reader raise anything
        raise _broken(str(error)[:200]) from error


def put(modules: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Copy weights into some modules, whose names, shapes and types they have.

    Args:
        modules: the modules by name.
        tensors: the weights by name, as `stored` names them.

    Raises:
        FolderError: a value is not finite.
    """
    names = {id(tensor): name for name, tensor in stored(modules).items()}
    for prefix, module in modules.items():
        own = module.state_dict(keep_vars=True)
        for key, value in own.items():
            source = tensors[names[id(value)]]
            check_values(f"{prefix}.{key}", nn.Parameter(source, False) if isinstance(value, nn.Parameter) else source)
        module.load_state_dict({key: tensors[names[id(value)]] for key, value in own.items()})
