"""Memory that ran out is told with the line to write."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import OutOfMemoryError
from pyrovae.inference import evaluate
from pyrovae.inference.pair.memory import enough_memory


def test_an_allocation_of_torch_that_fails():
    with (
        pytest.raises(OutOfMemoryError, match=r"exhausted: .*Write batch_size=64 or less"),
        enough_memory("Write batch_size=64 or less."),
    ):
        torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize("error", [MemoryError("of Python"), torch.OutOfMemoryError("CUDA out of memory. Tried 2 GiB")])
def test_other_allocations(error):
    with pytest.raises(OutOfMemoryError, match=r"of Python|CUDA out of memory"), enough_memory("hint"):
        raise error


def test_other_errors_stay_as_they_are():
    with pytest.raises(RuntimeError, match=r"^shapes$"), enough_memory("hint"):
        raise RuntimeError("shapes")
    with pytest.raises(OutOfMemoryError, match=r"^inner$"), enough_memory("hint"):
        raise OutOfMemoryError("inner")


def test_a_tool_names_the_memory_of_a_chunk():
    def model(x):
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            if z.dim() > 1 and len(z) > 2:  # more draws than the checks take
                torch.empty(2**60, dtype=torch.uint8)
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x, 1.0))

    with pytest.raises(OutOfMemoryError, match=r"exhausted: .*Write memory=67108864, fewer draws"):
        evaluate(model, guide, {"x": torch.randn(5)}, num_samples=50)
