"""What the tests of objectives share: small pairs, the value of a loss under a seed, and one objective of each kind."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.guides import NormalGuide
from pyrovae.inference import ELBO, IWAE, MMD, BetaTCVAE, Cyclical, Linear, Renyi, WakeSleep
from pyrovae.inference.pair.contract import local_params
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

OBJECTIVES = {
    "elbo": ELBO,
    "beta": lambda: ELBO(kl_weight=4.0),
    "annealed": lambda: ELBO(2, kl_weight=Linear(0.0, 1.0, 5)),
    "cyclical": lambda: ELBO(kl_weight=Cyclical(0.0, 1.0, 4)),
    "free bits": lambda: ELBO(free_bits=0.5, analytic=True),
    "free bits per dimension": lambda: ELBO(free_bits=0.1, group="dimension"),
    "capacity": lambda: ELBO(kl_weight=10.0, capacity=Linear(0.0, 0.5, 10)),
    "analytic": lambda: ELBO(analytic=True),
    "iwae": lambda: IWAE(3),
    "stl": lambda: IWAE(3, gradient="stl"),
    "dreg": lambda: IWAE(3, gradient="dreg"),
    "renyi": lambda: Renyi(0.5, 3),
    "wake-sleep": lambda: WakeSleep(3),
    "beta-tc": lambda: BetaTCVAE(beta=Linear(1.0, 6.0, 5), data_size=8),
    "wae": lambda: MMD(10.0),
    "info": lambda: MMD(Linear(0.0, 10.0, 5), kl_weight=0.5, kernel="rbf"),
}


@pytest.fixture
def objectives():
    """What makes one objective of each kind, by name."""
    return OBJECTIVES


@pytest.fixture(params=OBJECTIVES.values(), ids=OBJECTIVES)
def make(request):
    """What makes one objective; the test runs for each kind."""
    return request.param


def shared(helper):
    """A fixture that gives the helper itself."""
    return pytest.fixture(name=helper.__name__)(lambda: helper)


@shared
def small(latent=2):
    """A dense pair on eight binary data points."""
    model = VAE(priors.StandardNormal(latent), likelihoods.Bernoulli(6), MLP(latent, 6, (7,)))
    return model, NormalGuide(MLP(6, 2 * latent, (7,)))


@shared
def binary(size=8):
    return torch.rand(size, 6, generator=torch.Generator().manual_seed(0)).round()


@shared
def loss(objective, model, guide, *args, seed=1):
    """The loss after that seed."""
    torch.manual_seed(seed)
    with local_params(model, guide):
        return objective.loss(model, guide, *args)


@shared
def tracked(objective, model, guide, *args, seed=1):
    """The mean ELBO that a training step adds."""
    objective.loss(model, guide, *args)  # learns the layout
    torch.manual_seed(seed)
    with local_params(model, guide):
        objective.differentiable_loss(model, guide, *args)
    total, count = objective.collect()
    return total / count


@shared
def learned(objective, *run):
    """The objective, once it knows the layout of the pair."""
    objective.loss(*run)
    return objective


@shared
def idle_and_busy(loc):
    """A pair of two dimensions that x does not depend on: rates loc^2 / 2."""

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc.expand(len(x), 2), 1.0).to_event(1))

    return model, guide


@shared
def chain(weights, x):
    """p(z2) p(z1 | z2) p(x | z1)"""
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
        z1 = pyro.sample("z1", dist.Normal(z2 @ weights["up"], 0.7).to_event(1))
        pyro.sample("x", dist.Normal(z1 @ weights["out"], 0.8).to_event(1), obs=x)


def _top_down(shift, x):
    with pyro.plate("data", len(x), dim=-1):
        z2 = pyro.sample("z2", dist.Normal(0.3 * x[:, :2] + shift[:, :2], 0.8).to_event(1))
        pyro.sample("z1", dist.Normal((z2 * shift[:, 2:3]).tanh() + 0.2 * x[:, :2], 0.7).to_event(1))


def _bottom_up(shift, x):
    with pyro.plate("data", len(x), dim=-1):
        z1 = pyro.sample("z1", dist.Normal(0.3 * x[:, :2] + shift[:, :2], 0.8).to_event(1))
        pyro.sample("z2", dist.Normal((z1 * shift[:, 2:3]).tanh(), 0.7).to_event(1))


@pytest.fixture
def guides_of_the_chain():
    """Guides of `chain`, by name."""
    return {"top-down": _top_down, "bottom-up": _bottom_up}


class _Mixture(nn.Module):
    """p(z) = Categorical, p(x | z) = Normal(x; loc_z, 0.5), and a free table q(z | x) for three values of x."""

    x = torch.tensor([-1.0, 0.0, 1.2])

    def __init__(self):
        super().__init__()
        self.probs, self.loc = torch.tensor([0.3, 0.5, 0.2]), torch.tensor([-1.0, 0.3, 1.0])
        self.table = nn.Parameter(torch.zeros(3, 3))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Categorical(self.probs))
            pyro.sample("x", dist.Normal(self.loc[z], 0.5), obs=x)

    def guide(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Categorical(logits=self.table))

    def posterior(self):
        likelihood = dist.Normal(self.loc, 0.5).log_prob(self.x.unsqueeze(-1)).exp()
        joint = self.probs * likelihood
        return joint / joint.sum(-1, keepdim=True)


@pytest.fixture
def mixture():
    return _Mixture()
