"""Put an SVI in the place of Pyro's, and write down what each of its steps did."""

import sys
import time
import warnings
from collections.abc import Callable
from functools import partialmethod
from typing import Any

import pyro
import torch
from pyro.infer import SVI as PYRO

__all__ = ["Recorder", "StepLimit", "install"]

FIRST = 10
"""How many losses are kept to be compared."""


class StepLimit(BaseException):
    """An example has taken as many steps as it was allowed to."""


class Recorder:
    """What the SVIs of one test or example did.

    Args:
        limit: how many steps may be taken; then `StepLimit` is raised.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.reset()

    def reset(self) -> None:
        """Start anew, for the next test."""
        self.losses: list[list[float]] = []
        self.times: list[float] = []
        self.eager: list[str] = []
        self.graphs = 0

    def summary(self) -> dict[str, Any]:
        """The number of steps, first losses, graphs, eager reasons, and the median time of the later steps in ms."""
        later = sorted(self.times[len(self.times) // 2 :])
        return {
            "steps": len(self.times),
            "losses": self.losses,
            "graphs": self.graphs,
            "eager": self.eager,
            "step_ms": 1e3 * later[len(later) // 2] if later else None,
        }

    def stepping(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """The method `step` of an SVI, recorded.

        Args:
            step: the method.
        """

        def recorded(svi: Any, *args: Any, **kwargs: Any) -> Any:
            if self.limit is not None and len(self.times) >= self.limit:
                raise StepLimit
            start = time.thread_time()  # that of the process comes in ticks while a timer runs
            loss = step(svi, *args, **kwargs)
            self.times.append(time.thread_time() - start)
            if len(self.losses) < FIRST:
                self.losses.append(_numbers(loss))
            return loss

        return recorded

    def lowering(self, lower: Callable[..., Any], compile: bool) -> Callable[..., Any]:
        """The function that compiles a captured graph, counted.

        Args:
            lower: the function.
            compile: whether to call it; otherwise the graph is replayed operation by operation.
        """

        def counted(captured: Any, *rest: Any) -> Any:
            replay = lower(captured, *rest) if compile else captured.module
            self.graphs += 1
            return replay

        return counted

    def warning(self, warn: Callable[..., Any], category: type[Warning]) -> Callable[..., Any]:
        """`warnings.warn_explicit`; warnings of a category are kept and not given.

        Args:
            warn: the function.
            category: which to keep.
        """

        def kept(message: Any, given: Any, *args: Any, **kwargs: Any) -> None:
            if given is category:
                self.eager.append(str(message))
            else:
                warn(message, given, *args, **kwargs)

        return kept


def _numbers(loss: Any) -> list[float]:
    parts = loss if isinstance(loss, tuple) else (loss,)
    return [float(part.item() if isinstance(part, torch.Tensor) else part) for part in parts]


def install(ours: bool, recorder: Recorder, *, compile: bool) -> None:
    """Replace `pyro.infer.SVI` wherever Pyro re-exports it, and record the steps of the SVI that is used.

    Args:
        ours: whether `pyrovae.inference.SVI` takes the place of Pyro's.
        recorder: takes the steps.
        compile: whether captured graphs are compiled, or replayed operation by operation.
    """
    if not ours:
        PYRO.step = recorder.stepping(PYRO.step)
        return
    from pyrovae.inference import SVI
    from pyrovae.inference.compile import EagerWarning, compiled

    compiled.lower = recorder.lowering(compiled.lower, compile)
    warnings.warn_explicit = recorder.warning(warnings.warn_explicit, EagerWarning)
    SVI.step = recorder.stepping(SVI.step)
    SVI.__init__ = partialmethod(SVI.__init__, compile=True)  # tests take fewer steps than compiling beside waits for
    _replace(SVI)


def _replace(new: type) -> None:
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == pyro.__name__:
            for key in [key for key, value in vars(module).items() if value is PYRO]:
                setattr(module, key, new)
