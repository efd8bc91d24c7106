"""How far modules reach: torch visits each path to a submodule, so a few shared ones may have endless paths."""

from torch import nn

from pyrovae.errors import FolderError

__all__ = ["check_extent"]

MOST_PATHS, DEEPEST = 100_000, 100

Extent = tuple[int, int]
"""The number of paths from a module to the modules in it, and the length of the longest."""


def check_extent(module: nn.Module, known: dict[int, Extent]) -> None:
    """Refuse a module of too many paths, or nested too deeply.

    Args:
        module: the module.
        known: the extents of modules by their ids, to which those of this module and its parts are added.

    Raises:
        FolderError: there are more than 100,000 paths, or one is longer than 100.
    """
    waiting = [module]
    while waiting:
        parts = [part for part in waiting[-1]._modules.values() if part is not None]
        new = [part for part in parts if id(part) not in known]
        if new:
            waiting += new
        else:
            inside = [known[id(part)] for part in parts]
            found = 1 + sum(paths for paths, _ in inside), 1 + max((depth for _, depth in inside), default=0)
            known[id(waiting.pop())] = found
        if len(waiting) > MOST_PATHS or (not new and (found[0] > MOST_PATHS or found[1] > DEEPEST)):
            raise FolderError(
                f"A {type(module).__name__} of the folder has more than {MOST_PATHS:,} paths to its parts, or one of "
                f"more than {DEEPEST} steps. Build it of fewer parts."
            )
