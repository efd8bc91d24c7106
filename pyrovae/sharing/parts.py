"""What a folder of a pair holds, as bytes: packed from a pair, and unpacked into one."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyrovae.blueprint import Drawing, Names, build, compare, draw, shapes_only, undisturbed_build
from pyrovae.errors import FolderError
from pyrovae.sharing.files import read_config
from pyrovae.sharing.weights import ARGUMENT, check_fits, header, put, stored, to_bytes, to_tensors
from pyrovae.version import __version__

__all__ = ["FORMAT", "Packed", "pack", "unpack"]

FORMAT = "pyrovae-pair"
"""The value of "format" in a config.json, by which it is recognised."""

VERSION = 1

KEYS = {"format", "version", "versions", "dtype", "requires_grad", "objects", "replaced", "roots", "weights"}

MOST_OBJECTS = 20_000
"""The most objects of a pair."""

BESIDE = 2**26
"""The most bytes that modules take beyond their weights."""


class Packed(NamedTuple):
    """The two files of a pair.

    Attributes:
        config: the content of config.json.
        weights: the content of model.safetensors.
    """

    config: bytes
    weights: bytes


def pack(roots: Mapping[str, Any]) -> Packed:
    """The files of a pair. It is built from them once, in memory, and compared with the pair that is given.

    Args:
        roots: `model` and `guide`, modules or methods of modules, and whatever else belongs to them, by name.

    Raises:
        FolderError: an argument of a constructor that a file cannot hold, or a pair that was changed after it was built
            in a way that is not recorded; the message names it.
    """
    drawing, given = draw(roots), _modules(roots)
    names = Names(drawing.own)
    with undisturbed_build():
        built = _modules(build(drawing, names))
        dtype = _dtype(given, built)
        _cast(built, dtype)
        compare(given, built)
    tensors = stored(given)
    weights = to_bytes({**tensors, **drawing.tensors})
    config = {
        "format": FORMAT,
        "version": VERSION,
        "versions": {"pyrovae": __version__, "torch": str(torch.__version__)},
        "dtype": str(dtype).removeprefix("torch."),
        "requires_grad": _changed_gradients(tensors, stored(built)),
        "objects": drawing.objects,
        "replaced": drawing.replaced,
        "roots": drawing.roots,
        "weights": {"sha256": hashlib.sha256(weights).hexdigest()},
    }
    packed = Packed(_text(config).encode(), weights)
    try:
        _shapes(_checked(packed.config), header(weights), drawing.tensors, names)  # what a reader does first
    except FolderError as error:
        raise FolderError(
            f"{error} A reader builds a pair without values first, on torch.device('meta'), so that it knows its size. "
            "Leave the values of tensors alone in the constructor."
        ) from error
    return packed


def _text(config: Mapping[str, Any]) -> str:
    """JSON with one line for each entry, and for each object, so that people can read it and compare two."""
    lines = []
    for name, value in config.items():
        entries = [json.dumps(entry, allow_nan=False) for entry in value] if isinstance(value, list) else []
        shown = "[\n  " + ",\n  ".join(entries) + "\n ]" if entries else json.dumps(value, allow_nan=False)
        lines.append(f" {json.dumps(name)}: {shown}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def unpack(packed: Packed, classes: Sequence[type] = ()) -> dict[str, Any]:
    """Build the pair that two files describe, with its weights, in evaluation mode on the CPU.

    Args:
        packed: the files, perhaps written by anyone.
        classes: the user's own classes that they may name.

    Raises:
        FolderError: they are broken, too large, or name a class that is not listed.
    """
    config, listed = _checked(packed.config), header(packed.weights)
    if hashlib.sha256(packed.weights).hexdigest() != config["weights"]["sha256"]:
        raise FolderError("model.safetensors is not the file that config.json names: its checksum is wrong.")
    names = Names(classes)
    tensors = to_tensors(packed.weights)
    arguments = {name: tensor for name, tensor in tensors.items() if name.startswith(ARGUMENT)}
    _shapes(config, listed, arguments, names)
    with undisturbed_build():
        roots = _built(config, arguments, names)
    put(_modules(roots), {name: tensor for name, tensor in tensors.items() if name not in arguments})
    _set_gradients(_modules(roots), config["requires_grad"])
    for module in _modules(roots).values():
        module.eval()
    return roots


def _modules(roots: Mapping[str, Any]) -> dict[str, nn.Module]:
    """The modules of model and guide, which may be methods of modules."""
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
    kinds = {"objects": list, "replaced": list, "roots": dict, "weights": dict, "requires_grad": dict, "dtype": str}
    if config.keys() != KEYS or not all(isinstance(config[name], kind) for name, kind in kinds.items()):
        raise FolderError(f"config.json is broken: it requires {', '.join(sorted(KEYS))}, got other entries.")
    if config["weights"].keys() != {"sha256"} or config["dtype"] not in _DTYPES:
        raise FolderError(f"config.json is broken: weights or dtype, got {ascii(config['dtype'])[:40]}.")
    if len(config["objects"]) + len(config["replaced"]) > MOST_OBJECTS:
        raise FolderError(f"config.json lists more than {MOST_OBJECTS:,} objects, and no more are built.")
    return config


_DTYPES = {"float32": torch.float32, "float64": torch.float64, "float16": torch.float16, "bfloat16": torch.bfloat16}


def _built(config: dict[str, Any], arguments: Mapping[str, Tensor], names: Names) -> dict[str, Any]:
    drawing = Drawing(config["objects"], config["replaced"], config["roots"], dict(arguments))
    roots = build(drawing, names)
    _cast(_modules(roots), _DTYPES[config["dtype"]])
    return roots


def _shapes(config: dict[str, Any], listed: Any, arguments: Mapping[str, Tensor], names: Names) -> None:
    """Refuse a config whose pair does not have the weights that are listed, before memory is taken for it."""
    weights = {name: entry for name, entry in listed.items() if not name.startswith(ARGUMENT)}
    with undisturbed_build(), shapes_only(4 * len(weights) + 1000):
        roots = _built(config, arguments, names)
    modules = _modules(roots)
    check_fits(modules, weights)
    tensors = {id(t): t for m in modules.values() for t in (*m.parameters(), *m.buffers())}
    beside = sum(t.numel() * t.element_size() for t in tensors.values()) - _bytes(stored(modules))
    if beside > BESIDE:
        raise FolderError(f"The pair takes {beside:,} bytes beside its weights, and at most {BESIDE:,} are taken.")


def _bytes(tensors: Mapping[str, Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _dtype(given: Mapping[str, nn.Module], built: Mapping[str, nn.Module]) -> torch.dtype:
    """The type of all floats of the pair, to which its modules are cast after they are built."""
    two = [[t.dtype for m in part.values() for t in (*m.parameters(), *m.buffers())] for part in (given, built)]
    if two[0] == two[1]:
        return torch.float32
    floats = {dtype for dtype in two[0] if dtype.is_floating_point}
    if len(floats) != 1 or floats & set(_DTYPES.values()) != floats:
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
