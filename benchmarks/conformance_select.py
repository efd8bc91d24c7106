"""Which tests may step an SVI: those whose code names it, or names a function of its file that does."""

from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType, ModuleType

__all__ = ["PARTS", "may_step", "sampled"]

PARTS = ("cevae", "forecast", "mue", "oed", "epidemiology")
"""Parts of `pyro.contrib` that step an SVI inside; all tests of files that use them may."""


def may_step(test: FunctionType, module: ModuleType, owner: type | None) -> bool:
    """Whether a test may step an SVI.

    Args:
        test: the function.
        module: its file.
        owner: its class, if it has one.
    """
    if any(f"contrib.{part}" in module.__name__ for part in PARTS):
        return True
    seen: set[str] = set()
    waiting = [test.__code__]
    while waiting:
        for name in set(_names(waiting.pop())) - seen:
            seen.add(name)
            waiting += _codes(getattr(owner, name, None) or vars(module).get(name), module)
    return any("svi" in name.lower() for name in seen)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _codes(value: object, module: ModuleType) -> list[CodeType]:
    """The code of a function or class of the module."""
    if getattr(value, "__module__", None) != module.__name__:
        return []
    functions = vars(value).values() if isinstance(value, type) else [value]
    return [function.__code__ for function in functions if isinstance(function, FunctionType)]


def sampled(names: Sequence[str], most: int | None) -> list[str]:
    """Some cases of each test function, evenly from the first to the last.

    Args:
        names: pytest ids.
        most: how many of each function; None for all.
    """
    functions: dict[str, list[str]] = {}
    for name in names:
        functions.setdefault(name.split("[")[0], []).append(name)
    chosen: list[str] = []
    for cases in functions.values():
        count = len(cases) if most is None else min(most, len(cases))
        chosen += [cases[i * len(cases) // count] for i in range(count)]
    return chosen
