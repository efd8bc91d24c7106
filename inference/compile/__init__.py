"""Capture and replay: a function of Pyro programs becomes one compiled graph.

`Compiled` captures and replays a function, `EagerWarning` says why one runs eagerly, and `maybe_compiled` compiles
where the work is large enough to earn the compilation back.
"""

from pyrovae.inference.compile.choice import maybe_compiled, should_compile
from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning

__all__ = ["CaptureError", "Compiled", "EagerWarning", "maybe_compiled", "should_compile"]
