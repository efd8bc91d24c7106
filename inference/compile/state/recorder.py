"""Which of the user's functions run while a recorder is open, and what their code names."""

import gc
import inspect
import sys
from types import CodeType, FrameType, FunctionType
from typing import Any, cast

import torch
from pyro.ops.jit import CompiledFunction

from pyrovae.inference.compile.reasons import is_library

__all__ = ["Recorder"]


class Recorder:
    """Finds, while it is open, which of the user's functions run, and what their code names.

    Attributes:
        names: every name in the code that ran, attributes among them.
        namespaces: the globals that it named, as `(namespace, name)`.
        functions: the closures that ran, those made inside left out.
        forbidden: why what ran cannot be captured; None if it can.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.namespaces: dict[tuple[int, str], tuple[dict[str, Any], str]] = {}
        self.functions: list[FunctionType] = []
        self.forbidden: str | None = None
        self._known: set[CodeType] = set()

    def __enter__(self) -> "Recorder":
        self._before, self._collects = sys.getprofile(), gc.isenabled()
        gc.disable()  # its callbacks run anywhere, and are no part of the program
        sys.setprofile(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)
        if self._collects:
            gc.enable()

    def _event(self, frame: FrameType, event: str, argument: Any) -> None:
        if event == "call" and frame.f_code not in self._known:
            self._known.add(frame.f_code)
            if frame.f_code in _FORBIDDEN:
                self.forbidden = f"the program calls {_FORBIDDEN[frame.f_code]}, which a graph cannot repeat"
            elif not is_library(frame.f_code.co_filename):
                self._enter(frame)
        elif event == "c_call" and not _is_installed(frame.f_code.co_filename):
            module = getattr(argument, "__module__", None)
            if module == "time" or argument in (open, input):
                self.forbidden = f"the program calls {argument.__name__}(), which a graph cannot repeat"

    def _enter(self, frame: FrameType) -> None:
        code, namespace = frame.f_code, frame.f_globals
        self.names.update(code.co_names)
        for name in code.co_names:
            if name in namespace:
                self.namespaces[id(namespace), name] = namespace, name
        if code.co_freevars and not _made_inside(frame):
            self.functions += [f for f in gc.get_referrers(code) if isinstance(f, FunctionType)]


def _is_installed(filename: str) -> bool:
    """Whether a file is a library's; an import in the middle of a program opens files too."""
    return is_library(filename) or "site-packages" in filename


def _made_inside(frame: FrameType) -> bool:
    """Whether the function that runs was made by one that runs too: its closure is new at each call."""
    outer = frame.f_back
    while outer is not None:
        if frame.f_code in outer.f_code.co_consts:
            return True
        outer = outer.f_back
    return False


# Unwrapped: torch.manual_seed's own code object is that of a wrapper which other functions of torch share.
_FORBIDDEN = {
    inspect.unwrap(cast(Any, function)).__code__: name
    for name, function in (
        ("torch.jit.trace, as Pyro's Jit losses do", CompiledFunction.__call__),
        ("torch.manual_seed", torch.manual_seed),
        ("torch.seed", torch.seed),
        ("torch.set_rng_state", torch.set_rng_state),
        ("torch.random.fork_rng", torch.random.fork_rng),
    )
}
