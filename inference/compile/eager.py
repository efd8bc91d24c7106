"""The uncompiled counterpart of `Compiled`: the same calls, run as they are."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext
from typing import Any

from torch import Tensor

from pyrovae.inference.compile.precision import precise
from pyrovae.inference.pair.contract import ProgramLike, local_params

__all__ = ["Eager"]


class Eager:
    """A function of programs, run in Python at every call.

    Args:
        fn: any function that runs the programs.
        programs: the models and guides that `fn` runs; meanwhile their parameters live in their modules.
        precision: `"fp32"`, or `"bf16"` for matrix products and convolutions in bfloat16.
        local: whether parameters are those of the modules; otherwise as the user's setting has it.
    """

    def __init__(
        self, fn: Callable[..., Any], *programs: ProgramLike, precision: str = "fp32", local: bool = True
    ) -> None:
        self.fn, self.programs, self.precision, self.local = fn, programs, precision, local

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with local_params(*self.programs) if self.local else nullcontext(), precise(self.precision):
            return self.fn(*args, **kwargs)

    def each(self, items: Iterable[Tensor | None], *args: Any) -> list[Any]:
        """`[self(item, *args) for item in items]`.

        Args:
            items: the first argument of each call.
            args: the other arguments, the same at each call.
        """
        return [self(item, *args) for item in items]
