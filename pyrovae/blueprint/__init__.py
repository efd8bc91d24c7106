"""The blueprint of a pair: the list of constructor calls that build it, as plain JSON and a few tensors.

A call names a class and holds its arguments. Names are looked up among the classes of the suite, a few of `torch.nn`,
and those that the reader lists; a name is never imported, and nothing else is called. `pack` and `unpack` make bytes of
a blueprint and the weights, and a pair of the bytes.
"""

from pyrovae.blueprint.blueprint import Blueprint, blueprint_of
from pyrovae.blueprint.build import build
from pyrovae.blueprint.compare import compare
from pyrovae.blueprint.files import read_bytes, read_config
from pyrovae.blueprint.names import Names
from pyrovae.blueprint.parts import FORMAT, Packed, check_entries, describe, json_text, pack, rebuild, unpack
from pyrovae.blueprint.surroundings import shapes_only, undisturbed_build
from pyrovae.blueprint.weights import ARGUMENT, CODES, header, to_bytes, to_tensors

__all__ = [
    "ARGUMENT",
    "CODES",
    "FORMAT",
    "Blueprint",
    "Names",
    "Packed",
    "blueprint_of",
    "build",
    "check_entries",
    "compare",
    "describe",
    "header",
    "json_text",
    "pack",
    "read_bytes",
    "read_config",
    "rebuild",
    "shapes_only",
    "to_bytes",
    "to_tensors",
    "undisturbed_build",
    "unpack",
]
