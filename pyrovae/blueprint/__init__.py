"""The blueprint of a pair: the list of constructor calls that build it, as plain JSON and a few tensors.

A call names a class and holds its arguments. Names are looked up among the classes of the suite, a few of `torch.nn`,
and those that the reader lists; a name is never imported, and nothing else is called.
"""

from pyrovae.blueprint.build import build
from pyrovae.blueprint.compare import compare
from pyrovae.blueprint.draw import Drawing, draw
from pyrovae.blueprint.names import Names
from pyrovae.blueprint.surroundings import shapes_only, undisturbed_build

__all__ = ["Drawing", "Names", "build", "compare", "draw", "shapes_only", "undisturbed_build"]
