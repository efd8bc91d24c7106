"""The running mean of the weights, against its closed form."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import evaluate, load_weights
from pyrovae.inference.training.averaging import RunningMean, averaged


def test_the_mean_of_the_weights_is_validated_and_ends_the_training(
    tmp_path, table_pair, table, split, weights, equal, quick
):
    plain, model_and_guide = [], table_pair()
    for epochs in (1, 2, 3):
        one = table_pair()
        quick(*one, split(), epochs=epochs)
        plain.append(weights(*one))
    history = quick(*model_and_guide, split(), epochs=3, average=0.6, run=tmp_path)
    shares = torch.tensor([0.36, 0.6, 1.0])
    for mean, *parts in zip(weights(*model_and_guide), *plain, strict=True):
        expected = torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0) / shares.sum()
        torch.testing.assert_close(mean, expected)
    again = evaluate(*model_and_guide, table(50, 2), num_samples=1, seed=0).elbo.value
    assert again == pytest.approx(history["elbo"][-1], abs=1e-4)
    other = table_pair(seed=9)
    load_weights(*other, tmp_path)
    assert equal(weights(*other), weights(*model_and_guide))


def test_the_mean_of_the_weights_of_functions_and_of_whole_numbers(quick):
    assert averaged(None, {"n": torch.tensor(3), "w": torch.ones(2)}, 0.9, 1)["n"] == 3
    old, new = ({"n": torch.tensor(n), "w": torch.full((2,), float(n)), "name": "a"} for n in (3, 5))
    mean = averaged(old, new, 0.5, 2)
    assert mean["n"] == 5
    torch.testing.assert_close(mean["w"], torch.full((2,), (0.5 * 3 + 5) / 1.5))

    def model(x=None, *, size=None):
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x):
        pass

    x = torch.ones(100) + 0.1 * torch.randn(100)
    with pyro.get_param_store().scope():
        ends = []
        for epochs, average in [(1, 0.0), (2, 0.0), (2, 0.5)]:
            pyro.clear_param_store()
            quick(model, guide, {"x": x}, epochs=epochs, average=average, valid={"x": x})
            ends.append(pyro.param("loc").item())
    assert ends[2] == pytest.approx((0.5 * ends[0] + ends[1]) / 1.5)


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.95])
def test_the_running_mean_is_its_closed_form(decay):
    """sum_k d^(n-k) w_k / sum_k d^(n-k), after each of ten epochs."""
    weights, mean = torch.randn(10, 3, dtype=torch.float64), None
    for n in range(1, 11):
        mean = averaged(mean, {"w": weights[n - 1]}, decay, n)
        shares = torch.tensor([decay ** (n - k) for k in range(1, n + 1)], dtype=torch.float64)
        torch.testing.assert_close(mean["w"], (shares[:, None] * weights[:n]).sum(0) / shares.sum())


def test_the_mean_is_in_place_inside_the_context_alone(table_pair, weights, equal):
    model, guide = table_pair()
    average, seen = RunningMean(0.5), []
    for epoch in (1, 2):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.fill_(float(epoch))
        before = weights(model, guide)
        with average.in_place(model, guide, epoch):
            seen.append(next(model.parameters()).flatten()[0].item())
        assert equal(weights(model, guide), before)
    assert seen == pytest.approx([1.0, (0.5 * 1 + 2) / 1.5])


def test_an_error_inside_leaves_the_weights_of_the_pair(table_pair, weights, equal):
    model, guide = table_pair()
    average, before = RunningMean(0.5), weights(model, guide)
    with average.in_place(model, guide, 1), torch.no_grad():
        pass
    for parameter in model.parameters():
        parameter.data = parameter.data + 1
    moved = weights(model, guide)
    with pytest.raises(KeyError), average.in_place(model, guide, 2):
        raise KeyError
    assert equal(weights(model, guide), moved)
    assert not equal(moved, before)


def test_no_average_keeps_nothing(table_pair, weights, equal):
    model, guide = table_pair()
    average, before = RunningMean(0.0), weights(model, guide)
    with average.in_place(model, guide, 1):
        assert equal(weights(model, guide), before)
    assert average.mean is None


@pytest.mark.parametrize("decay", [-0.1, 1.0, 2.0])
def test_a_decay_out_of_range(decay, says):
    with says(PairError, "0 <= average < 1", f"got {decay}", "0.95 is a start"):
        RunningMean(decay)
