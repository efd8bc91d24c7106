"""A network that no program owns would never be trained."""

import pyro
import pyro.distributions as dist
import torch

from pyrovae.errors import PairError
from pyrovae.inference import fit
from pyrovae.inference.pair import check_pair


def test_a_network_from_outside_is_refused_until_it_is_registered_or_frozen(model, batch, says):
    net, registers = torch.nn.Linear(3, 4), False

    def guide(x):
        if registers:
            pyro.module("net", net)
        loc, raw = net(x).chunk(2, -1)
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", dist.Normal(loc, raw.exp()).to_event(1))

    for tool in (check_pair, fit):
        with says(PairError, "got a Linear whose weight no program owns", 'Write pyro.module("net", net)'):
            tool(model, guide, batch)
    registers = True
    before = net.weight.detach().clone()
    fit(model, guide, batch, epochs=1, progress=False, compile=False, device="cpu")
    assert not torch.equal(before, net.weight)
    registers = False
    net.requires_grad_(False)
    check_pair(model, guide, batch)
