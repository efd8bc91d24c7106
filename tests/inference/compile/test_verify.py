"""A replay that differs from the function is found, and the function's result is taken."""

import pytest
import torch

from pyrovae.inference.compile.verify import verified


class Replayed:
    """A graph that adds `amount` and a random number to its state, in place."""

    def __init__(self, state, amount):
        self.state, self.amount = [state], amount

    def __call__(self, tensors):
        with torch.no_grad():
            self.state[0].add_(self.amount * tensors[0] + torch.rand(()))
        return self.state[0].sum()


def step(state, amount, x):
    with torch.no_grad():
        state.add_(amount * x + torch.rand(()))
    return state.sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_equal_steps_count_once(dtype):
    x, state, wanted = torch.ones(3, dtype=dtype), torch.zeros(3, dtype=dtype), torch.zeros(3, dtype=dtype)
    torch.manual_seed(0)
    result, difference = verified(Replayed(state, 2.0), [x], lambda: step(state, 2.0, x), "fp32")
    after = torch.rand(())
    torch.manual_seed(0)
    assert torch.equal(step(wanted, 2.0, x), result)
    assert torch.equal(state, wanted)
    assert torch.equal(torch.rand(()), after)
    assert difference is None


def test_another_result_is_the_functions():
    x, state, wanted = torch.ones(3), torch.zeros(3), torch.zeros(3)
    torch.manual_seed(0)
    result, difference = verified(Replayed(state, 1.0), [x], lambda: step(state, 2.0, x), "fp32")
    torch.manual_seed(0)
    assert torch.equal(step(wanted, 2.0, x), result)
    assert torch.equal(state, wanted)
    assert f"{result.item():.6g}" in difference


def test_another_change_of_the_state():
    state = torch.zeros(3)

    class Still(Replayed):
        def __call__(self, tensors):
            return torch.zeros(())

    def moving():
        state.add_(1.0)
        return torch.zeros(())

    _, difference = verified(Still(state, 0.0), [], moving, "fp32")
    assert "changed parameters and buffers" in difference
    assert torch.equal(state, torch.ones(3))


def test_rounding_is_no_difference():
    state = torch.zeros(3)
    exact = torch.tensor(3.0)
    for precision, factor, equal in (("fp32", 1e-5, True), ("fp32", 1e-2, False), ("bf16", 1e-2, True)):
        replay = Replayed(state, 0.0)
        replay.__class__ = type("Rounded", (Replayed,), {"__call__": lambda self, _, f=factor: exact * (1 + f)})
        _, difference = verified(replay, [], lambda: exact, precision)
        assert (difference is None) == equal
