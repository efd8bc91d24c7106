"""Whether to compile: only where the work is large enough to earn the compilation back."""

from collections.abc import Callable
from typing import Any

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.pair.contract import ProgramLike

__all__ = ["COMPILE_FROM", "maybe_compiled", "should_compile"]

COMPILE_FROM = 2**31
"""An evaluation that scores more numbers than this (data points x draws x numbers in a data point) is compiled by
default."""


def should_compile(work: int, compile: bool | None) -> bool:
    """Whether to compile an evaluation.

    Args:
        work: how many numbers it scores: data points x draws x numbers in a data point.
        compile: the user's choice; None compiles where `work` exceeds `COMPILE_FROM`.
    """
    return work > COMPILE_FROM if compile is None else compile


def maybe_compiled(
    fn: Callable[..., Any], *programs: ProgramLike, work: int, compile: bool | None
) -> Callable[..., Any]:
    """`Compiled(fn, *programs)` where that pays, else `fn` itself.

    Args:
        fn: a function that runs the programs.
        programs: the models and guides that `fn` runs.
        work: how many numbers all calls together score: data points x draws x numbers in a data point.
        compile: the user's choice; None compiles where `work` exceeds `COMPILE_FROM`.
    """
    return Compiled(fn, *programs) if should_compile(work, compile) else fn
