"""CUDA graphs: a relaunch computes what the function computes, on memory that may move."""

import pytest
import torch

from pyrovae.inference.compile.lowering import cuda_graph
from pyrovae.inference.compile.lowering.cuda_graph import WARM_UP, CudaGraph

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(params=["replayed", pytest.param("cuda", marks=CUDA)])
def device(request, monkeypatch):
    """A GPU, or a CPU on which a recording reruns its function on the very tensors that it was made with."""
    if request.param == "cuda":
        return "cuda"

    def record(fn, tensors):
        results = []

        def launch():
            results[:] = fn(*tensors)

        return launch, results

    monkeypatch.setattr(cuda_graph, "record", record)
    return "cpu"


class Counter:
    """sum += scale * x, as a function of arguments (x, scale) and state (sum); counts its runs in Python."""

    def __init__(self):
        self.runs = 0

    def __call__(self, x, scale, total):
        self.runs += 1
        total += scale * x
        return [total + 0]


def test_arguments_may_move_and_state_stays(device):
    data, scale, total = (
        torch.arange(8.0, device=device),
        torch.tensor(2.0, device=device),
        torch.zeros((), device=device),
    )
    step = CudaGraph(Counter(), arguments=2)
    results = [step(x, scale, total)[0] for x in data]
    assert torch.equal(torch.stack(results), 2 * data.cumsum(0)), "each result is its own, not the last one's"
    assert total == 2 * data.sum()
    assert step._moving == {0}


def test_fixed_arguments_are_read_where_they_lie(device):
    x, scale, total = (torch.ones((), device=device) for _ in range(3))
    step = CudaGraph(Counter(), arguments=2)
    for _ in range(WARM_UP + 1):
        step(x, scale, total)
    x.fill_(10.0)
    assert step(x, scale, total)[0] == 1 + WARM_UP + 1 + 10
    assert not step._moving
    assert not step._recording._copies


def test_state_that_moves_is_found_again(device):
    x, scale, total = (torch.ones((), device=device) for _ in range(3))
    step = CudaGraph(Counter(), arguments=2)
    for _ in range(WARM_UP + 2):
        step(x, scale, total)
    elsewhere = torch.zeros((), device=device)
    assert [float(step(x, scale, elsewhere)[0]) for _ in range(WARM_UP + 3)] == [1.0 + i for i in range(WARM_UP + 3)]
    assert total == 1 + WARM_UP + 2, "the old place is left alone"
    assert not step._moving


@CUDA
def test_random_numbers_are_fresh_and_python_is_left_out():
    counter = Counter()

    def noisy(x, scale, total):
        return [*counter(x, scale, total), torch.randn(4, device=x.device)]

    x, scale, total = (torch.ones((), device="cuda") for _ in range(3))
    step = CudaGraph(noisy, arguments=2)
    draws = torch.stack([step(x, scale, total)[1] for _ in range(20)])
    assert len(draws.unique()) == draws.numel()
    assert counter.runs == WARM_UP + 1
