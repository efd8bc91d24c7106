"""The noise of a share: what processes draw together is what one draws."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.inference.processes.noise import WholeNoise
from pyrovae.inference.processes.share import Share

B, PROCESSES = 7, 3

POSITIVE = torch.linspace(0.3, 4.0, B)
MATRIX = torch.linspace(0.1, 2.0, 4 * B).reshape(B, 4)
DRAWS = {
    "normal": lambda p: dist.Normal(p, 1.0),
    "vector": lambda p: dist.Normal(p.unsqueeze(-1), torch.ones(4)).to_event(1),
    "square": lambda p: dist.Normal(p[:, None, None].expand(-1, 3, 2), 1.0).to_event(2),
    "bernoulli": lambda p: dist.Bernoulli(p / 5),
    "categorical": lambda p: dist.Categorical(p.unsqueeze(-1) ** torch.arange(5.0)),
    "one-hot": lambda p: dist.OneHotCategorical(p.unsqueeze(-1) ** torch.arange(5.0)),
    "gamma": lambda p: dist.Gamma(p, 1.0),
    "beta": lambda p: dist.Beta(p, 2.0),
    "dirichlet": lambda p: dist.Dirichlet(p.unsqueeze(-1) + torch.arange(3.0)),
    "poisson": lambda p: dist.Poisson(p),
    "binomial": lambda p: dist.Binomial(10, p / 5),
    "negative binomial": lambda p: dist.NegativeBinomial(4.0, p / 5),
    "student": lambda p: dist.StudentT(p + 2),
    "laplace": lambda p: dist.Laplace(p, 1.0),
    "exponential": lambda p: dist.Exponential(p),
    "uniform": lambda p: dist.Uniform(0, p),
    "gumbel": lambda p: dist.Gumbel(p, 1.0),
    "cauchy": lambda p: dist.Cauchy(p, 1.0),
    "geometric": lambda p: dist.Geometric(p / 5),
    "log-normal": lambda p: dist.LogNormal(p, 1.0),
    "full normal": lambda p: dist.MultivariateNormal(p[:, None].expand(-1, 2), torch.eye(2)),
    "low rank": lambda p: dist.LowRankMultivariateNormal(
        p[:, None].expand(-1, 3), torch.ones(len(p), 3, 1), torch.ones(len(p), 3)
    ),
    "mixture": lambda p: dist.MixtureSameFamily(
        dist.Categorical(p[:, None].expand(-1, 2)), dist.Normal(torch.zeros(len(p), 2), 1.0)
    ),
    "relaxed": lambda p: dist.RelaxedBernoulli(torch.tensor(0.5), p / 5),
    "mean alone": lambda p: dist.Normal(torch.tensor(0.5), p),
}


def shares():
    return [Share.of(B, rank, PROCESSES) for rank in range(PROCESSES)]


def gathers(whole):
    """What a sum over all processes gives for parameters that rows of `whole` determine."""

    def summed(mine):
        found = [part for part in whole if part.shape == mine.shape]
        near = [part for part in found if torch.isclose(part, mine).logical_or(mine == 0).all()]
        return near[0] if near else mine

    return summed


def draw(make, parameter, samples=None):
    with poutine.trace() as trace, pyro.plate("data", len(parameter), dim=-1):
        if samples is None:
            pyro.sample("z", make(parameter))
        else:
            with pyro.plate("samples", samples, dim=-2):
                pyro.sample("z", make(parameter))
    return trace.trace.nodes["z"]["value"], torch.rand(3)


class Seen:
    """The parameters that one process gives to the operations whose numbers depend on them."""

    def __init__(self, make, parameter, samples):
        self.parameters = []
        from pyrovae.inference.processes import noise

        class Watch(noise.TorchDispatchMode):
            def __torch_dispatch__(watch, func, types, args=(), kwargs=None):
                if func.overloadpacket.__name__ in noise._BY_VALUE:
                    self.parameters += [arg.detach().clone() for arg in args if isinstance(arg, torch.Tensor)]
                return func(*args, **(kwargs or {}))

        torch.manual_seed(3)
        with Watch():
            self.value, self.after = draw(make, parameter, samples)


@pytest.mark.parametrize("samples", [None, 5])
@pytest.mark.parametrize("name", DRAWS)
def test_shares_draw_what_one_process_draws(name, samples):
    one = Seen(DRAWS[name], POSITIVE, samples)
    dim = 0 if samples is None else 1
    parts = []
    for share in shares():
        torch.manual_seed(3)
        with WholeNoise(share, gathers(one.parameters)).at_sites():
            part, after = draw(DRAWS[name], share.rows(POSITIVE), samples)
        assert torch.equal(after, one.after)  # the random state is that of one process
        parts.append(part)
    assert torch.allclose(torch.cat(parts, dim), one.value)


def test_a_site_outside_the_plate_is_the_same_everywhere():
    """Also where it has the size of the share."""

    def program(size):
        w = pyro.sample("w", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("data", size, dim=-1):
            return w, pyro.sample("z", dist.Normal(torch.zeros(size), 1.0))

    torch.manual_seed(0)
    w, z = program(4)
    for share in (Share(0, 2, 4), Share(2, 2, 4)):
        torch.manual_seed(0)
        with WholeNoise(share, gathers([])).everywhere():
            mine, part = program(2)
        assert torch.equal(mine, w)
        assert torch.equal(part, share.rows(z))


def test_what_is_drawn_outside_of_sites_is_found_and_shared():
    net = nn.Dropout(0.5)
    torch.manual_seed(0)
    whole = net(torch.ones(6, 5)) + torch.rand(6, 1) + torch.rand_like(torch.ones(5, 6).T)
    for share in (Share(0, 3, 6), Share(3, 3, 6)):
        torch.manual_seed(0)
        noise = WholeNoise(share, gathers([]))
        with noise.everywhere():
            part = net(torch.ones(3, 5)) + torch.rand(3, 1) + torch.rand_like(torch.ones(5, 3).T)
        assert torch.allclose(part, share.rows(whole))
        assert noise.outside


def test_sites_alone_leave_other_operations_alone():
    noise = WholeNoise(Share(0, 3, 6), gathers([]))
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with noise.at_sites():
        assert torch.equal(torch.rand(3), expected)
    assert not noise.outside


def test_a_whole_batch_is_drawn_as_it_is():
    with WholeNoise(Share(0, 6, 6), gathers([])).everywhere() as nothing:
        assert nothing is None
        assert len(torch.rand(6)) == 6
