"""What a folder of a pair holds, as bytes: packed from a pair, and unpacked into one."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyrovae.blueprint.blueprint import Blueprint, blueprint_of
from pyrovae.blueprint.build import build
from pyrovae.blueprint.compare import compare
from pyrovae.blueprint.extent import check_extent
from pyrovae.blueprint.files import read_config
from pyrovae.blueprint.names import Names
from pyrovae.blueprint.surroundings import shapes_only, undisturbed_build
from pyrovae.blueprint.weights import ARGUMENT, check_fits, check_values, header, put, stored, to_bytes, to_tensors
from pyrovae.errors import FolderError
from pyrovae.version import __version__

__all__ = [
    "FORMAT",
    "Described",
    "Packed",
    "check_entries",
    "describe",
    "json_text",
    "modules_of",
    "pack",
    "rebuild",
    "unpack",
]

FORMAT = "pyrovae-pair"
"""The value of "format" in a config.json, by which it is recognised."""

VERSION = 1

ENTRIES = {"versions": dict, "dtype": str, "requires_grad": dict, "objects": list, "replaced": list, "roots": dict}
"""What describes a pair, and the type of each entry."""

MOST_OBJECTS, MOST_REPLACED = 20_000, 1_000
"""The most objects of a pair, and the most that were replaced."""

BESIDE = 2**26
"""The most bytes that modules take beyond their weights."""


class Packed(NamedTuple):
    """The two files of a pair.

    Attributes:
        config: the content of config.json.
        weights: the content of model.safetensors.
        own: the classes that a reader has to list, since they are neither the suite's nor torch's.
    """

    config: bytes
    weights: bytes
    own: tuple[type, ...] = ()


class Described(NamedTuple):
    """A pair as plain values.

    Attributes:
        entries: what describes it, for JSON.
        arguments: the tensors that constructors were given, by name.
        weights: its own tensors, by name.
        own: the classes that are neither the suite's nor torch's.
    """

    entries: dict[str, Any]
    arguments: dict[str, Tensor]
    weights: dict[str, Tensor]
    own: tuple[type, ...]


def describe(roots: Mapping[str, Any]) -> Described:
    """A pair as plain values. It is built from them once, in memory, and compared with the pair that is given.

    Args:
        roots: `model` and `guide`, modules or methods of modules, and whatever else belongs to them, by name.

    Raises:
        FolderError: an argument of a constructor that a file cannot hold, or a pair that was changed after it was built
            in a way that is not recorded; the message names it.
    """
    blueprint, given = blueprint_of(roots), modules_of(roots)
    with undisturbed_build():
        built = modules_of(build(blueprint, Names(blueprint.own)))
        dtype = _dtype(given, built)
        _cast(built, dtype)
        compare(given, built)
    tensors = stored(given)
    _check_owned(blueprint.modules, tensors)
    entries = {
        "versions": {"pyrovae": __version__, "torch": str(torch.__version__)},
        "dtype": str(dtype).removeprefix("torch."),
        "requires_grad": _changed_gradients(tensors, stored(built)),
        "objects": blueprint.objects,
        "replaced": blueprint.replaced,
        "roots": blueprint.roots,
    }
    return Described(entries, blueprint.tensors, tensors, blueprint.own)


def pack(roots: Mapping[str, Any]) -> Packed:
    """The files of a pair.

    Args:
        roots: as in `describe`.

    Raises:
        FolderError: as in `describe`; a weight is not finite; a constructor needs the values of tensors.
    """
    found = describe(roots)
    for name, tensor in found.weights.items():
        check_values(name, tensor)
    weights = to_bytes({**found.weights, **found.arguments})
    config = {"format": FORMAT, "version": VERSION, **found.entries}
    config["weights"] = {"sha256": hashlib.sha256(weights).hexdigest()}
    packed = Packed(json_text(config).encode(), weights, found.own)
    try:
        _check_sizes(_checked(packed.config), header(weights), found.arguments, Names(found.own))
    except FolderError as error:
        raise FolderError(
            f"{error} A reader builds a pair without values first, on torch.device('meta'), so that it knows its size. "
            "Leave the values of tensors alone in the constructor."
        ) from error
    return packed


def json_text(config: Mapping[str, Any]) -> str:
    """JSON with one line for each entry, and for each object, so that people can read it and compare two.

    Args:
        config: what to write.
    """
    lines = []
    for name, value in config.items():
        entries = [json.dumps(entry, allow_nan=False) for entry in value] if isinstance(value, list) else []
        shown = "[\n  " + ",\n  ".join(entries) + "\n ]" if entries else json.dumps(value, allow_nan=False)
        lines.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def unpack(packed: Packed, classes: Sequence[type] = (), opened: str = "load(folder") -> dict[str, Any]:
    """Build the pair that two files describe, with its weights, in evaluation mode on the CPU.

    Args:
        packed: the files, perhaps written by anyone.
        classes: the user's own classes that they may name.
        opened: the call that reads the folder, without its end, for an error.

    Raises:
        FolderError: they are broken, too large, or name a class that is not listed.
    """
    config, listed = _checked(packed.config), header(packed.weights)
    if hashlib.sha256(packed.weights).hexdigest() != config["weights"]["sha256"]:
        raise FolderError("model.safetensors is not the file that config.json names: its checksum is wrong.")
    names = Names(classes, opened)
    tensors = to_tensors(packed.weights)
    arguments = {name: tensor for name, tensor in tensors.items() if name.startswith(ARGUMENT)}
    _check_sizes(config, listed, arguments, names)
    roots = rebuild(config, arguments, names)
    put(modules_of(roots), {name: tensor for name, tensor in tensors.items() if name not in arguments})
    return roots


def _check_sizes(config: dict[str, Any], listed: Any, arguments: Mapping[str, Tensor], names: Names) -> None:
    """Refuse a config whose pair does not have the weights that are listed, before memory is taken for it."""
    weights = {name: entry for name, entry in listed.items() if not name.startswith(ARGUMENT)}
    with shapes_only(4 * len(weights) + 1000):
        roots = rebuild(config, arguments, names)
    check_fits(modules_of(roots), weights)


def rebuild(entries: Mapping[str, Any], arguments: Mapping[str, Tensor], names: Names) -> dict[str, Any]:
    """Build the pair that some entries describe, in evaluation mode; within `shapes_only` it has no values.

    Args:
        entries: what describes it, checked by `check_entries`.
        arguments: the tensors that constructors are given.
        names: the classes that it may name.

    Raises:
        FolderError: the entries are broken, name a class that is not listed, or take memory beyond the weights.
    """
    blueprint = Blueprint(entries["objects"], entries["replaced"], entries["roots"], dict(arguments))
    names.require([blueprint.objects, blueprint.replaced, blueprint.roots])
    with undisturbed_build():
        roots = build(blueprint, names)
        modules = modules_of(roots)
        for module in modules.values():
            check_extent(module, {})
        _cast(modules, _DTYPES[entries["dtype"]])
    tensors = {id(t): t for m in modules.values() for t in (*m.parameters(), *m.buffers())}
    beside = _bytes(tensors.values()) - _bytes(stored(modules).values())
    if beside > BESIDE:
        raise FolderError(f"The pair takes {beside:,} bytes beside its weights, and at most {BESIDE:,} are taken.")
    _set_gradients(modules, entries["requires_grad"])
    for module in modules.values():
        module.eval()
    return roots


def _check_owned(modules: Sequence[nn.Module], tensors: Mapping[str, Tensor]) -> None:
    """Refuse a module that the pair uses and does not own: its weights would be lost."""
    owned = {id(tensor) for tensor in tensors.values()}
    for module in modules:
        lost = [name for name, value in module.state_dict(keep_vars=True).items() if id(value) not in owned]
        if lost:
            raise FolderError(
                f"A folder holds the weights of model and guide, and {lost[0]} of a {type(module).__name__} belongs to "
                "neither. Make that module an attribute of one of them."
            )


def modules_of(roots: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The modules of model and guide, which may be methods of modules.

    Args:
        roots: model and guide, by name.

    Raises:
        FolderError: one is neither.
    """
    found = {}
    for name in ("model", "guide"):
        program = roots.get(name)
        module = program.__self__ if isinstance(program, MethodType) else program
        if not isinstance(module, nn.Module):
            what = getattr(program, "__qualname__", type(program).__name__)
            raise FolderError(
                f"A folder requires a {name} that is a module, got {what!r}. Write a class: class Mine(Program), with "
                "pyrovae.models.Program, and forward() in place of the function."
            )
        found[name] = module
    return found


def _checked(content: bytes) -> dict[str, Any]:
    """The config, whose entries are of the right types."""
    config = read_config(content, "config.json")
    if config.get("format") != FORMAT or type(config.get("version")) is not int:
        raise FolderError("config.json is of no pair of pyrovae: it requires format 'pyrovae-pair' and a version.")
    if config["version"] != VERSION:
        raise FolderError(f"config.json has version {config['version']}, and this pyrovae reads {VERSION}. Update it.")
    check_entries({name: entry for name, entry in config.items() if name not in ("format", "version", "weights")})
    if not isinstance(config.get("weights"), dict) or config["weights"].keys() != {"sha256"}:
        raise FolderError("config.json is broken: it requires the checksum of the weights.")
    return config


def check_entries(entries: Any) -> None:
    """Refuse what describes no pair: entries of other names and types, and too many objects.

    Args:
        entries: from a file that anyone wrote.

    Raises:
        FolderError: they describe none.
    """
    right = isinstance(entries, dict) and entries.keys() == ENTRIES.keys()
    if not right or not all(isinstance(entries[name], kind) for name, kind in ENTRIES.items()):
        raise FolderError(
            f"The description of the pair is broken: it requires {', '.join(ENTRIES)}, got other entries."
        )
    if entries["dtype"] not in _DTYPES:
        raise FolderError(f"The description of the pair is broken: dtype, got {ascii(entries['dtype'])[:40]}.")
    if len(entries["objects"]) > MOST_OBJECTS or len(entries["replaced"]) > MOST_REPLACED:
        raise FolderError(f"The description lists more than {MOST_OBJECTS:,} objects, and no more are built.")


_DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _dtype(given: Mapping[str, nn.Module], built: Mapping[str, nn.Module]) -> torch.dtype:
    """The type of all floats of the pair, to which its modules are cast after they are built."""
    two = [[t.dtype for m in part.values() for t in (*m.parameters(), *m.buffers())] for part in (given, built)]
    if two[0] == two[1]:
        return torch.float32
    others = {now for now, was in zip(*two, strict=False) if now != was}
    floats = others | {dtype for dtype in two[0] if dtype.is_floating_point}
    if len(floats) != 1 or not floats <= set(_DTYPES.values()):
        raise FolderError(
            f"A folder requires one type of numbers for all weights, got {', '.join(sorted(map(str, floats)))}. Write "
            "model.float() and guide.float()."
        )
    return floats.pop()


def _cast(modules: Mapping[str, nn.Module], dtype: torch.dtype) -> None:
    if dtype != torch.float32:
        for module in modules.values():
            module.to(dtype)


def _changed_gradients(given: Mapping[str, Tensor], built: Mapping[str, Tensor]) -> dict[str, bool]:
    """Which parameters are frozen, or not, other than the constructor leaves them."""
    return {n: t.requires_grad for n, t in given.items() if t.requires_grad != built[n].requires_grad}


def _set_gradients(modules: Mapping[str, nn.Module], changed: Mapping[str, Any]) -> None:
    own = stored(modules)
    for name, value in changed.items():
        parameter = own.get(name)
        if not isinstance(parameter, nn.Parameter) or not parameter.is_floating_point() or not isinstance(value, bool):
            raise FolderError(f"config.json is broken: requires_grad of {ascii(name)[:80]}.")
        own[name].requires_grad_(value)
