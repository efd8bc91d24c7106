"""Memory that ran out is told with the line to write."""

import pytest
import torch

from pyrovae.errors import OutOfMemoryError
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
