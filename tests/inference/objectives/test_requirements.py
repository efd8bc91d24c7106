"""What objectives require of a pair, and the errors that say so."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO

from pyrovae.errors import PairError
from pyrovae.inference import ELBO, IWAE, MMD, BetaTCVAE, Renyi, WakeSleep
from pyrovae.models import Program


@pytest.mark.parametrize("make", [ELBO, lambda: IWAE(3, gradient="dreg"), lambda: Renyi(0.5, 2), lambda: MMD(1.0)])
def test_discrete_draws(make, says, mixture):
    pair = mixture
    with says(PairError, "'z'", "Categorical", "WakeSleep", "TraceGraph_ELBO", "enumerate"):
        make().loss(pair.model, pair.guide, pair.x)


class Shared(Program):
    """A latent of all data."""

    def forward(self, x=None, *, size=None, data_size=None):
        bias = pyro.sample("bias", dist.Normal(0.0, 1.0))
        rows = len(x) if size is None else size
        with pyro.plate("data", data_size or rows, subsample_size=rows, dim=-1):
            return pyro.sample("x", dist.Normal(bias, 0.5), obs=x)


def shared_guide(x, data_size=None):
    pyro.sample("bias", dist.Normal(0.3, 0.4))


def test_a_latent_of_all_data(says, learned):
    """The ELBO counts it once, as Pyro does; bounds of single data points do not exist."""
    x = torch.randn(5)
    objective = learned(ELBO(), Shared(), shared_guide, x)
    theirs = Trace_ELBO()
    torch.manual_seed(1)
    wanted = theirs.differentiable_loss(lambda: Shared()(x, data_size=20), lambda: shared_guide(x))
    torch.manual_seed(1)
    ours = objective.loss(lambda: Shared()(x, data_size=20), lambda: shared_guide(x))
    torch.testing.assert_close(ours, wanted)
    for other in (IWAE(2), Renyi(0.5, 2), WakeSleep(2), MMD(1.0)):
        with says(PairError, "'bias'", "ELBO()"):
            other.loss(Shared(), shared_guide, x)


def test_a_scale_by_hand(ppca, says):
    with says(PairError, "scale of 7", "kl_weight"):
        ELBO().loss(poutine.scale(ppca.model, 7.0), ppca.guide(), ppca.data(3)["x"])


def test_no_plate(says):
    def model(x):
        z = pyro.sample("z", dist.Normal(0.0, 1.0))
        pyro.sample("x", dist.Normal(z, 1.0).expand(x.shape).to_event(1), obs=x)

    with says(PairError, 'pyro.plate("data"'):
        ELBO().loss(model, lambda x: pyro.sample("z", dist.Normal(0.0, 1.0)), torch.zeros(3))


def test_pairs_that_an_objective_cannot_take_apart(ppca, says, chain, guides_of_the_chain):
    x = ppca.data(3)["x"]
    with says(PairError, "MultivariateNormal", "group='site'"):
        ELBO(free_bits=1.0, group="dimension").loss(ppca.model, ppca.guide(), x)
    with says(PairError, "MultivariateNormal"):
        BetaTCVAE(data_size=3).loss(ppca.model, ppca.guide(), x)
    weights = {"up": torch.randn(2, 2).double(), "out": torch.randn(2, 3).double()}
    shift = torch.zeros(3, 3).double()
    with says(PairError, "one latent", "'z2', 'z1'"):
        BetaTCVAE(data_size=3).loss(
            partial(chain, weights), partial(guides_of_the_chain["top-down"], shift), torch.zeros(3, 3).double()
        )
