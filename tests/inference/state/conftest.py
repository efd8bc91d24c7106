"""Programs that train twice, for twelve steps, with `pyro.infer.SVI` and with ours: the losses must be the same.

Each program starts from the same weights and random numbers. Graphs replay without inductor, which would take minutes.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyrovae.inference import SVI
from pyrovae.inference.compile import EagerWarning

STEPS = 12


class Own:
    """One way to train: with Pyro's SVI, or with ours.

    Attributes:
        kind, is_ours: the class of the SVI, and whether it is ours.
        x: the data.
        made: the SVIs that were made.
    """

    def __init__(self, kind: type) -> None:
        self.kind, self.is_ours = kind, kind is SVI
        self.x = torch.linspace(-1.0, 2.0, 6)
        self.made: list[Any] = []

    def svi(self, model: Any, guide: Any = None, optim: Any = None, loss: Any = None) -> Any:
        optim = pyro.optim.Adam({"lr": 0.05}) if optim is None else optim
        self.made.append(self.kind(model, guide or self.guide, optim, Trace_ELBO() if loss is None else loss))
        return self.made[-1]

    def guide(self, *args: Any, **kwargs: Any) -> None:
        loc = pyro.param("loc", torch.tensor(0.3))
        scale = pyro.param("scale", torch.tensor(0.8), constraint=dist.constraints.positive)
        pyro.sample("z", dist.Normal(loc, scale))

    def model(self, x: Tensor, weight: Any = 1.0, shift: Any = 0.0) -> None:
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x)), poutine.scale(scale=weight):
            pyro.sample("x", dist.Normal(z + shift, 1.0), obs=x)

    def steps(self, svi: Any, change: Callable[[int], Any] | None = None, *args: Any, **kwargs: Any) -> Iterator[float]:
        """The losses of twelve steps, with a change before each."""
        for step in range(STEPS):
            if change is not None:
                change(step)
            yield svi.step(*(args or (self.x,)), **kwargs)

    @staticmethod
    def value(step: int) -> float:
        return 0.1 + step / 10


def trained(kind: type, program: Callable[[Own], Iterator[Any]]) -> tuple[list[Any], Own]:
    pyro.clear_param_store()
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 the one that programs draw from
    own = Own(kind)
    return torch.tensor(list(program(own)), dtype=torch.float64).flatten().tolist(), own


@pytest.fixture
def as_pyro(captured_only):
    """Compare, and give the warnings of ours and the graphs that it made."""

    def compare(program: Callable[[Own], Iterator[Any]], rel: float = 1e-5) -> tuple[list[str], int]:
        theirs, _ = trained(pyro.infer.SVI, program)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", EagerWarning)
            ours, own = trained(SVI, program)
        assert len(ours) == len(theirs)
        assert ours == pytest.approx(theirs, rel=rel, abs=1e-6, nan_ok=True)
        assert not any(p is not None and "Fake" in type(p).__name__ for p in pyro.get_param_store()._params.values())
        steps = [svi._steps for svi in own.made]
        graphs = sum(len(one.whole) + len(one.gradients) for one in steps)
        return [str(one.message) for one in caught if isinstance(one.message, EagerWarning)], graphs

    return compare
