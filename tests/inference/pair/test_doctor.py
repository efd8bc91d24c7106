"""The doctor: a good pair passes and is left as it was; missing sites, parameters and arguments are explained."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import NonFiniteError, PairError
from pyrovae.guides import NormalGuide
from pyrovae.inference.pair import check_pair
from pyrovae.inference.pair.contract import local_params, modules
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE, LATENT, DIM = 8, 2, 3


def normal(loc, events=1):
    return dist.Normal(loc, 1.0).to_event(events)


def data_plate(size=SIZE, dim=-1):
    return pyro.plate("data", size, dim=dim)


# ----------------------------------------------------------------------------------------------------- good pairs pass


def test_plain_functions(model, guide, batch):
    check_pair(model, guide, batch)


def test_modules(vae, encoder, batch):
    check_pair(vae(), encoder(), batch)


class Both(nn.Module):
    """Model and guide as methods of one module, as in Pyro's own examples."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(LATENT, DIM), nn.Linear(DIM, LATENT)

    def model(self, x=None, *, size=None):
        pyro.module("decoder", self.decoder)
        with data_plate(len(x) if size is None else size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            return pyro.sample("x", normal(self.decoder(z)), obs=x)

    def guide(self, x):
        pyro.module("encoder", self.encoder)
        with data_plate(len(x)):
            return pyro.sample("z", normal(self.encoder(x)))


def test_bound_methods_of_one_module(batch):
    both = Both()
    assert modules(both.model, both.guide) == [both]
    check_pair(both.model, both.guide, batch)


class PlainPyro(PyroModule):
    """Built with Pyro's default setting, under which its parameters are global."""

    def __init__(self):
        super().__init__()
        self.scale = PyroParam(torch.tensor(1.0), constraint=constraints.positive)
        self.linear = PyroModule[nn.Linear](DIM, LATENT)

    def forward(self, x):
        with data_plate(len(x)):
            return pyro.sample("z", dist.Normal(self.linear(x), self.scale).to_event(1))


def test_a_pyro_module_built_without_local_parameters(model, batch):
    own = PlainPyro()
    check_pair(model, own, batch)
    check_pair(model, own, batch)
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False
    with local_params(own):
        own(batch["x"]).sum().backward()
    assert own.linear.weight.grad is not None


def test_parameters_of_pyros_store(model, batch):
    def learned(x):
        loc = pyro.param("loc", torch.zeros(LATENT))
        with data_plate(len(x)):
            pyro.sample("z", normal(loc.expand(len(x), LATENT)))

    check_pair(model, learned, batch)
    assert list(pyro.get_param_store()) == ["loc"]


def test_partial_programs(model, guide, batch):
    check_pair(partial(model, name="code"), partial(guide, name="code"), batch)


def test_an_auxiliary_site_is_no_fault(model, batch):
    def with_auxiliary(x):
        with data_plate(len(x)):
            pyro.sample("noise", normal(torch.zeros(2)), infer={"is_auxiliary": True})
            pyro.sample("z", normal(x[:, :LATENT]))

    check_pair(model, with_auxiliary, batch)


def test_a_hierarchy_and_a_condition(batch):
    def deep(y, x=None, *, size=None):
        with data_plate(len(y)):
            z2 = pyro.sample("z2", normal(torch.zeros(LATENT)))
            z1 = pyro.sample("z1", normal(z2))
            pyro.sample("x", normal(z1.sum(-1, keepdim=True) + y.unsqueeze(-1) + torch.zeros(DIM)), obs=x)

    def deep_guide(x):
        with data_plate(len(x)):
            z2 = pyro.sample("z2", normal(x[:, :LATENT]))
            pyro.sample("z1", normal(z2))

    check_pair(deep, deep_guide, {**batch, "y": torch.zeros(SIZE), "unused": torch.zeros(SIZE)})


def test_a_global_latent_of_a_program_that_subsamples(batch):
    def weights(x=None, *, size=None, data_size):
        loc = pyro.sample("loc", normal(torch.zeros(DIM)))
        with pyro.plate("data", data_size, subsample_size=len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            pyro.sample("x", normal(loc + z.sum(-1, keepdim=True)), obs=x)

    def weights_guide(x, data_size):
        pyro.sample("loc", normal(torch.zeros(DIM)))
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
            pyro.sample("z", normal(x[:, :LATENT]))

    check_pair(weights, weights_guide, batch, data_size=100)
    check_pair(weights, weights_guide, batch, data_size=SIZE)


def test_a_global_latent_of_a_program_that_does_not_know_the_size_of_the_data(batch, says):
    def weights(x):
        loc = pyro.sample("loc", normal(torch.zeros(DIM)))
        with data_plate(len(x)):
            pyro.sample("x", normal(loc), obs=x)

    with says(PairError, "guide", "site 'loc' outside the plate 'data'", "name data_size"):
        check_pair(weights, lambda x: pyro.sample("loc", normal(torch.zeros(DIM))), batch)


def test_a_second_plate(guide, batch):
    def wide(x=None, *, size=None):
        with data_plate(len(x) if size is None else size):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            with pyro.plate("columns", DIM, dim=-2):
                pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=None if x is None else x.T)

    check_pair(wide, guide, batch)


def test_discrete_and_positive_latents(batch):
    def mixed(x=None, *, size=None):
        with data_plate(len(x) if size is None else size):
            k = pyro.sample("k", dist.OneHotCategorical(torch.ones(3)))
            g = pyro.sample("g", dist.Gamma(torch.ones(2), 1.0).to_event(1))
            pyro.sample("x", normal(k * g.sum(-1, keepdim=True)), obs=x)

    def mixed_guide(x):
        with data_plate(len(x)):
            pyro.sample("k", dist.OneHotCategorical(logits=x))
            pyro.sample("g", dist.LogNormal(x[:, :2], 1.0).to_event(1))

    check_pair(mixed, mixed_guide, batch)


class Normed(nn.Sequential):
    def __init__(self, inner, outer):
        super().__init__(nn.Linear(inner, outer), nn.BatchNorm1d(outer), nn.Dropout(0.5))


@pytest.mark.parametrize("broken", [False, True])
def test_nothing_is_disturbed(broken, batch):
    decoder = nn.Sequential(nn.Linear(LATENT, DIM), nn.LayerNorm(DIM), nn.Dropout(0.5))
    own, q = VAE(priors.StandardNormal(LATENT), likelihoods.Normal(DIM), decoder), NormalGuide(Normed(3, 4))
    own.decoder[0].weight.grad = torch.ones(DIM, LATENT)
    before = {name: value.clone() for m in (own, q) for name, value in m.state_dict().items()}
    modes, rng = [m.training for m in own.modules()], torch.get_rng_state()
    if broken:
        with pytest.raises(NonFiniteError):
            check_pair(own, q, {"x": torch.full((SIZE, DIM), torch.inf)})
    else:
        check_pair(own, q, batch)
    assert torch.equal(torch.get_rng_state(), rng)
    assert [m.training for m in own.modules()] == modes
    for module in (own, q):
        for name, value in module.state_dict().items():
            assert torch.equal(value, before[name]), name
    assert torch.equal(own.decoder[0].weight.grad, torch.ones(DIM, LATENT))
    assert all(p.grad is None for p in q.parameters())


def test_it_works_where_gradients_are_off(vae, encoder, batch):
    with torch.no_grad():
        check_pair(vae(), encoder(), batch)
        assert not torch.is_grad_enabled()


# --------------------------------------------------------------------------------------------------- sites that differ


def test_a_guide_that_observes(model, guide, batch, says):
    with says(PairError, "guide requires latent sites only", "observed site 'z'", "Remove obs="):
        check_pair(model, partial(guide, obs=torch.zeros(SIZE, LATENT)), batch)


def test_a_latent_that_the_guide_lacks(model, guide, batch, says):
    with says(PairError, "latent site 'code'", "'z'", 'pyro.sample("code", ...)', "obs=code"):
        check_pair(partial(model, name="code"), guide, batch)


def test_a_guide_without_sites(model, batch, says):
    with says(PairError, "latent site 'z'", "in the guide, got none"):
        check_pair(model, lambda x: None, batch)


def test_a_latent_that_the_model_lacks(model, batch, says):
    def more(x):
        with data_plate(len(x)):
            pyro.sample("z", normal(x[:, :LATENT]))
            pyro.sample("w", normal(x[:, :LATENT]))

    with says(PairError, "guide's site 'w'", "'z', 'x'", "Rename", "is_auxiliary"):
        check_pair(model, more, batch)


def test_a_model_that_observes_nothing(model, guide, batch, says):
    def both(x):
        with data_plate(len(x)):
            pyro.sample("z", normal(x[:, :LATENT]))
            pyro.sample("x", normal(x))

    def blind(x):
        return model(size=len(x))

    with says(PairError, "requires an observed site", "'z', 'x'", "obs=x"):
        check_pair(blind, both, batch)
    with says(PairError, "latent site 'x' requires a site of that name in the guide", "obs=x"):
        check_pair(blind, guide, batch)


def test_a_name_used_twice(model, guide, batch, says):
    def twice(x):
        guide(x)
        guide(x, name="w")

    with says(PairError, "guide", "one name twice", "'data'", "plate 'data' once"):
        check_pair(model, twice, batch)


# ----------------------------------------------------------------------------------------------- parameters, arguments


def test_unused_parameters(vae, encoder, batch, says):
    own, q = vae(), encoder()
    own.forgotten, q.spare = nn.Linear(2, 2), nn.Parameter(torch.zeros(3))
    with says(PairError, "3 parameter(s)", "model.forgotten.weight", "guide.spare", "requires_grad_(False)"):
        check_pair(own, q, batch)
    own.forgotten.requires_grad_(False)
    q.spare.requires_grad_(False)
    check_pair(own, q, batch)


def test_a_pair_that_uses_none_of_its_parameters(model, guide, batch, says):
    class Idle(Program):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return guide(x)

    with says(PairError, "1 parameter(s)", "guide.weight"):
        check_pair(model, Idle(), batch)


def test_a_detached_network(vae, batch, says):
    class Cut(NormalGuide):
        def forward(self, x):
            with data_plate(len(x)):
                return pyro.sample("z", self.posterior(self.encoder(x).detach()))

    with says(PairError, "guide.encoder.layers.0.weight"):
        check_pair(vae(), Cut(MLP(DIM, 2 * LATENT, (4,))), batch)


def test_a_missing_argument(model, guide, batch, says):
    def conditional(label, x=None, *, size=None):
        return model(x, size=size)

    with says(PairError, "conditional requires 'label'", "got a batch of 'x'", "default"):
        check_pair(conditional, guide, batch)
    check_pair(conditional, guide, {**batch, "label": torch.zeros(SIZE)})


def test_an_empty_batch(vae, encoder, says):
    with says(PairError, "check_pair requires data points", "empty batch", "data.test"):
        check_pair(vae(), encoder(), {"x": torch.zeros(0, DIM)})
