"""One run of a pair finds its parameters, and leaves random numbers and buffers as they were."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import constraints

from pyrovae.inference.training.parameters import discover, undisturbed


def test_parameters_of_modules_in_the_order_of_their_use(models, batch):
    model, guide = models["Model"](), models["Guide"]()
    model.decoder[0].bias.requires_grad_(False)

    def run():
        guide(batch())
        model(batch())

    found = discover(run, model, guide)
    expected = [*guide.parameters(), *(p for p in model.parameters() if p.requires_grad)]
    assert {id(p) for p in found.named} == {id(p) for p in expected}
    assert [m for m in found.called if isinstance(m, nn.Linear)][:3] == [guide.encoder[0], guide.loc, guide.log_scale]
    assert len(found.called) == len(set(found.called))


def test_parameters_of_the_store_are_found_unconstrained():
    def program():
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(1.0)), scale))

    found = discover(program)
    assert list(found.named.values()) == ["scale", "loc"]
    scale, loc = found.named
    assert scale.item() == pytest.approx(torch.tensor(0.5).log().item())
    assert loc.item() == 1.0


def test_random_numbers_and_buffers_are_restored():
    norm, called = nn.BatchNorm1d(3), []
    torch.manual_seed(1)
    with undisturbed(called):
        norm(torch.randn(5, 3))
    assert called == [norm]
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(3))
    first = torch.randn(2)
    torch.manual_seed(1)
    assert torch.equal(first, torch.randn(2))
    norm(torch.randn(5, 3))
    assert called == [norm], "the hook is gone"
