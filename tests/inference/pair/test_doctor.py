"""The doctor: a good pair passes and is left as it was; every fault is explained, with its mend."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.distributions import TorchDistribution
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import NonFiniteError, PairError, ShapeError, SupportError
from pyrovae.guides import NormalGuide
from pyrovae.inference import check_pair
from pyrovae.inference.pair.contract import batch_size, call, local_params, modules, takes
from pyrovae.inference.pair.tracing import trace_pair, unscaled_log_prob
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE, LATENT, DIM = 8, 2, 3


def normal(loc, events=1):
    return dist.Normal(loc, 1.0).to_event(events)


def data_plate(size=SIZE, dim=-1):
    return pyro.plate("data", size, dim=dim)


def model(x=None, *, size=None, name="z", latent=LATENT, plate=None, x_name="x", prior=None, px=normal):
    """Every test breaks one thing of this pair."""
    with plate or data_plate(size or len(x)):
        z = pyro.sample(name, prior or normal(torch.zeros(latent)))
        return pyro.sample(x_name, px(z.sum(-1, keepdim=True).expand(*z.shape[:-1], DIM)), obs=x)


def guide(x, name="z", latent=LATENT, plate=None, events=1, obs=None):
    with plate or data_plate(len(x)):
        return pyro.sample(name, normal(x[..., :1].expand(*x.shape[:-1], latent), events), obs=obs)


@pytest.fixture
def batch():
    return {"x": torch.randn(SIZE, DIM)}


def vae(likelihood=None, dim=DIM, latent=LATENT):
    likelihood = likelihood or likelihoods.Normal(dim, scale=0.5)
    return VAE(priors.StandardNormal(latent), likelihood, MLP(latent, likelihood.params_shape, (4,)))


def encoder(dim=DIM, latent=LATENT):
    return NormalGuide(MLP(dim, 2 * latent, (4,)))


# ------------------------------------------------------------------------------------ good pairs pass


def test_plain_functions(batch):
    check_pair(model, guide, batch)


def test_modules(batch):
    check_pair(vae(), encoder(), batch)


class Both(nn.Module):
    """Model and guide as methods of one module, as in Pyro's own examples."""

    def __init__(self):
        super().__init__()
        self.decoder, self.encoder = nn.Linear(LATENT, DIM), nn.Linear(DIM, LATENT)

    def model(self, x):
        pyro.module("decoder", self.decoder)
        with data_plate(len(x)):
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


def test_a_pyro_module_built_without_local_parameters(batch):
    own = PlainPyro()
    check_pair(model, own, batch)
    check_pair(model, own, batch)
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False
    with local_params(own):
        own(batch["x"]).sum().backward()
    assert own.linear.weight.grad is not None


def test_parameters_of_pyros_store(batch):
    def learned(x):
        loc = pyro.param("loc", torch.zeros(LATENT))
        with data_plate(len(x)):
            pyro.sample("z", normal(loc.expand(len(x), LATENT)))

    check_pair(model, learned, batch)
    assert list(pyro.get_param_store()) == ["loc"]


def test_partial_programs(batch):
    check_pair(partial(model, name="code"), partial(guide, name="code"), batch)


def test_an_auxiliary_site_is_no_fault(batch):
    def with_auxiliary(x):
        with data_plate(len(x)):
            pyro.sample("noise", normal(torch.zeros(2)), infer={"is_auxiliary": True})
            pyro.sample("z", normal(x[:, :LATENT]))

    check_pair(model, with_auxiliary, batch)


def test_a_hierarchy_and_a_condition(batch):
    def deep(x, y):
        with data_plate(len(x)):
            z2 = pyro.sample("z2", normal(torch.zeros(LATENT)))
            z1 = pyro.sample("z1", normal(z2))
            pyro.sample("x", normal(z1.sum(-1, keepdim=True) + y.unsqueeze(-1) + torch.zeros(DIM)), obs=x)

    def deep_guide(x):
        with data_plate(len(x)):
            z2 = pyro.sample("z2", normal(x[:, :LATENT]))
            pyro.sample("z1", normal(z2))

    check_pair(deep, deep_guide, {**batch, "y": torch.zeros(SIZE), "unused": torch.zeros(SIZE)})


def test_a_global_latent_of_a_program_that_subsamples(batch):
    def weights(x, data_size):
        loc = pyro.sample("loc", normal(torch.zeros(DIM)))
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
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

    with says(PairError, "site 'loc' of the guide is outside the plate 'data'", "names data_size"):
        check_pair(weights, lambda x: pyro.sample("loc", normal(torch.zeros(DIM))), batch)


def test_a_second_plate(batch):
    def wide(x):
        with data_plate(len(x)):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            with pyro.plate("columns", DIM, dim=-2):
                pyro.sample("x", dist.Normal(z.sum(-1), 1.0), obs=x.T)

    check_pair(wide, guide, batch)


def test_discrete_and_positive_latents(batch):
    def mixed(x):
        with data_plate(len(x)):
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
    own, q = VAE(priors.StandardNormal(LATENT), likelihoods.Normal(DIM), Normed(LATENT, DIM)), NormalGuide(Normed(3, 4))
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


def test_it_works_where_gradients_are_off(batch):
    with torch.no_grad():
        check_pair(vae(), encoder(), batch)
        assert not torch.is_grad_enabled()


# ------------------------------------------------------------------------------------- sites that differ


def test_a_guide_that_observes(batch, says):
    with says(PairError, "guide observes site 'z'", "Drop obs="):
        check_pair(model, partial(guide, obs=torch.zeros(SIZE, LATENT)), batch)


def test_a_latent_that_the_guide_lacks(batch, says):
    with says(PairError, "latent site 'code'", "'z'", 'pyro.sample("code", ...)', "obs=code"):
        check_pair(partial(model, name="code"), guide, batch)


def test_a_guide_without_sites(batch, says):
    with says(PairError, "latent site 'z'", "which has none"):
        check_pair(model, lambda x: None, batch)


def test_a_latent_that_the_model_lacks(batch, says):
    def more(x):
        with data_plate(len(x)):
            pyro.sample("z", normal(x[:, :LATENT]))
            pyro.sample("w", normal(x[:, :LATENT]))

    with says(PairError, "guide's site 'w'", "'z', 'x'", "Rename", "is_auxiliary"):
        check_pair(model, more, batch)


def test_a_model_that_observes_nothing(batch, says):
    def both(x):
        with data_plate(len(x)):
            pyro.sample("z", normal(x[:, :LATENT]))
            pyro.sample("x", normal(x))

    def blind(x):
        return model(size=len(x))

    with says(PairError, "observes nothing", "'z', 'x'", "obs=x"):
        check_pair(blind, both, batch)
    with says(PairError, "latent site 'x' has no site in the guide", "obs=x"):
        check_pair(blind, guide, batch)


def test_a_name_used_twice(batch, says):
    def twice(x):
        guide(x)
        guide(x, name="w")

    with says(PairError, "guide uses a name twice", "'data'", "plate 'data' once"):
        check_pair(model, twice, batch)


# --------------------------------------------------------------------------------------- plates, shapes


class NoPlate:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


@pytest.mark.parametrize(
    ("own", "q", "whose"),
    [
        (model, partial(guide, plate=NoPlate()), "guide"),
        (partial(model, plate=NoPlate()), guide, "model"),
        (partial(model, plate=NoPlate()), partial(guide, plate=NoPlate()), "model"),
    ],
)
def test_a_missing_plate(own, q, whose, batch, says):
    with says((PairError, ShapeError), "site 'z'", whose, "outside the plate 'data'", 'pyro.plate("data", 8, dim=-1)'):
        check_pair(own, q, batch)


def test_a_plate_of_another_name(batch, says):
    with says(PairError, "outside the plate 'data'", "['batch']", 'pyro.plate("data", 8, dim=-1)'):
        check_pair(model, partial(guide, plate=pyro.plate("batch", SIZE, dim=-1)), batch)


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_plate_of_the_wrong_size(size, batch, says):
    words = ["plate", "data", 'pyro.plate("data", 8, dim=-1)', "len(x)", str(size)]
    with says((PairError, ShapeError), "guide", *words):
        check_pair(model, partial(guide, plate=data_plate(size)), batch)
    with says((PairError, ShapeError), "model", *words):
        check_pair(partial(model, plate=data_plate(size)), guide, batch)


def test_a_plate_at_the_wrong_dimension(batch, says):
    words = ["site 'z'", "dim -2", 'pyro.plate("data", 8, dim=-1)']
    with says(PairError, "guide", *words):
        check_pair(model, partial(guide, plate=data_plate(dim=-2)), batch)
    with says(PairError, "model", *words):
        check_pair(partial(model, plate=data_plate(dim=-2)), guide, batch)


@pytest.mark.parametrize("latent", [LATENT, SIZE])  # SIZE hides in the batch shape
def test_a_missing_to_event_in_the_guide(latent, batch, says):
    with says(ShapeError, "guide", "site", "z", ".to_event("):
        check_pair(partial(model, latent=latent), partial(guide, latent=latent, events=0), batch)


@pytest.mark.parametrize("dim", [DIM, SIZE])
def test_a_missing_to_event_in_the_model(dim, says):
    def bare(x):
        with data_plate(len(x)):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            pyro.sample("x", dist.Normal(z[:, :1].expand(len(x), dim), 1.0), obs=x)

    with says(ShapeError, "model", "x", ".to_event("):
        check_pair(bare, guide, {"x": torch.randn(SIZE, dim)})


def test_a_wrong_latent_dimension(batch, says):
    with says(ShapeError, "site 'z' of the model", "(2,)", "guide's value (8, 5)", "encoder", "prior"):
        check_pair(model, partial(guide, latent=5), batch)
    with says(ShapeError, "site 'z' of the model", "(8, 2)", "guide's value (8, 4)"):
        check_pair(vae(latent=2), encoder(latent=4), batch)


def test_a_decoder_of_another_shape(batch, says):
    with says(ShapeError, "site 'x' of the model", "(8, 4)", "data (8, 3)", "decoder"):
        check_pair(vae(dim=4), encoder(), batch)


def test_data_of_another_shape(says):
    with says(ShapeError, "MLP", "(*, 3)", "(8, 4)"):
        check_pair(vae(), encoder(), {"x": torch.randn(SIZE, 4)})


def test_what_torch_says_is_passed_on_with_the_shapes(says):
    both = Both()
    with says(ShapeError, "guide fails on a batch of x (8, 4)", "mat1 and mat2", "networks"):
        check_pair(both.model, both.guide, {"x": torch.randn(SIZE, 4)})


def test_an_error_of_the_users_code_is_left_alone(batch, says):
    def typo(x):
        return x.shpae

    with says(AttributeError, "shpae"):
        check_pair(model, typo, batch)


# ------------------------------------------------------------------------------- values, log-probabilities


def test_nan_in_the_data(batch, says):
    batch["x"][3, 1], batch["x"][5, 0] = torch.nan, torch.inf
    with says(NonFiniteError, "site 'x'", "2 NaN or infinite values of 24", "Drop those rows"):
        check_pair(model, lambda x: guide(torch.zeros_like(x)), batch)


def test_grey_pixels_into_a_bernoulli(says):
    grey = {"x": torch.rand(SIZE, DIM).clamp(0.1, 0.73)}
    with says(SupportError, "Bernoulli", "{0, 1}", "up to 0.73", "Binarize()"):
        check_pair(vae(likelihoods.Bernoulli(DIM)), encoder(), grey)
    check_pair(vae(likelihoods.Bernoulli(DIM, relaxed=True)), encoder(), grey)
    check_pair(vae(likelihoods.Bernoulli(DIM)), encoder(), {"x": grey["x"].round()})


def test_stored_pixels(says):
    with says(SupportError, "[0, 1]", "255", "Scale()"):
        check_pair(vae(likelihoods.ContinuousBernoulli(DIM)), encoder(), {"x": torch.full((SIZE, DIM), 255.0)})


@pytest.mark.parametrize(
    ("px", "value", "words"),
    [
        (lambda loc: dist.Gamma(loc.exp(), 1.0).to_event(1), -1.5, ["Gamma", "-1.5"]),
        (lambda loc: dist.Bernoulli(logits=loc).to_event(1), 0.25, ["Bernoulli", "0.25"]),
        (lambda loc: dist.Beta(loc.exp(), 1.0).to_event(1), 2.0, ["Beta", "2"]),
        (lambda loc: dist.Poisson(loc.exp()).to_event(1), 0.5, ["Poisson", "0.5"]),
        (lambda loc: dist.LogNormal(loc, 1.0).to_event(1), -2.0, ["LogNormal", "-2"]),
    ],
)
def test_a_value_outside_the_support_of_any_distribution(px, value, words, says):
    x = torch.ones(SIZE, DIM)
    x[2, 1] = value
    with says(SupportError, "site 'x'", *words, "Transform the data"):
        check_pair(partial(model, px=px), guide, {"x": x})


class Triangular(TorchDistribution):
    """A distribution of the user's own, p(x) = 2 x on [0, 1], that may say its support."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, shape, support=None):
        if support is not None:
            self.stated = support
        super().__init__(torch.Size(shape))

    def expand(self, batch_shape, _instance=None):
        return Triangular(batch_shape, self.__dict__.get("stated"))

    @property
    def support(self):
        return self.__dict__.get("stated") or super().support

    def sample(self, sample_shape=torch.Size()):  # noqa: B008
        return torch.rand(self._extended_shape(sample_shape)).sqrt()

    def log_prob(self, value):
        return (2 * value).log()


def test_a_distribution_of_the_users_own(says):
    stated = partial(model, px=lambda loc: Triangular(loc.shape, constraints.unit_interval).to_event(1))
    silent = partial(model, px=lambda loc: Triangular(loc.shape).to_event(1))
    good, bad = torch.rand(SIZE, DIM).clamp_min(0.1), torch.rand(SIZE, DIM) - 2
    check_pair(stated, guide, {"x": good})
    check_pair(silent, guide, {"x": good})
    with says(SupportError, "site 'x'", "Triangular", "Interval"):
        check_pair(stated, guide, {"x": bad})
    with says(NonFiniteError, "site 'x' of the model", "nan"):
        check_pair(silent, guide, {"x": bad})


def test_a_latent_outside_the_priors_support(batch, says):
    positive = dist.Gamma(torch.ones(LATENT), 1.0).to_event(1)
    with says(SupportError, "site 'z'", "Gamma", "guide", "Normal"):
        check_pair(partial(model, prior=positive), guide, batch)


def test_a_log_probability_that_is_not_finite(batch, says):
    def flat(x):
        with data_plate(len(x)):
            scale = torch.ones(len(x), LATENT)
            scale[[2, 5]] = 0.0
            pyro.sample("z", dist.Normal(torch.zeros(LATENT), scale).to_event(1))

    with says(NonFiniteError, "site 'z' of the guide", "rows [2, 5]", "2 of 8", "clip_norm"):
        check_pair(model, flat, batch)


def test_a_network_that_gives_nan(batch, says):
    own = vae()
    own.decoder.layers[0].weight.data.fill_(torch.nan)
    with says(NonFiniteError, "site 'x' of the model is nan", "8 of 8", "weights"):
        check_pair(own, encoder(), batch)


# ---------------------------------------------------------------------------------- parameters, arguments


def test_unused_parameters(batch, says):
    own, q = vae(), encoder()
    own.forgotten, q.spare = nn.Linear(2, 2), nn.Parameter(torch.zeros(3))
    with says(PairError, "3 parameter(s)", "model.forgotten.weight", "guide.spare", "requires_grad_(False)"):
        check_pair(own, q, batch)
    own.forgotten.requires_grad_(False)
    q.spare.requires_grad_(False)
    check_pair(own, q, batch)


def test_a_pair_that_uses_none_of_its_parameters(batch, says):
    class Idle(Program):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return guide(x)

    with says(PairError, "1 parameter(s)", "guide.weight"):
        check_pair(model, Idle(), batch)


def test_a_detached_network(batch, says):
    class Cut(NormalGuide):
        def forward(self, x):
            with data_plate(len(x)):
                return pyro.sample("z", self.posterior(self.encoder(x).detach()))

    with says(PairError, "guide.encoder.layers.0.weight"):
        check_pair(vae(), Cut(MLP(DIM, 2 * LATENT, (4,))), batch)


def test_a_missing_argument(batch, says):
    def conditional(x, label):
        return model(x)

    with says(PairError, "conditional requires 'label'", "the batch has 'x'", "default"):
        check_pair(conditional, guide, batch)
    check_pair(conditional, guide, {**batch, "label": torch.zeros(SIZE)})


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.zeros(3, 2), "y": torch.zeros(4)},
        {"x": torch.zeros(())},
        {},
        {"x": torch.zeros(3), "y": torch.tensor(1)},
    ],
)
def test_tensors_of_unequal_length(batch, says):
    with says(ShapeError, "share the leading dimension", "(B, *event)"):
        check_pair(model, guide, batch)


def test_an_empty_batch(says):
    with says(PairError, "empty batch", "data.train"):
        check_pair(vae(), encoder(), {"x": torch.zeros(0, DIM)})


# -------------------------------------------------------------------------------------------------- tools


def test_a_program_gets_what_it_names():
    seen = call(lambda x, y=2, *, z=3: (x, y, z), {"x": 1, "w": 9, "z": 7}, data_size=5)
    assert seen == (1, 2, 7)
    assert call(lambda x, data_size: (x, data_size), {"x": 1}, data_size=5) == (1, 5)
    assert call(lambda x, data_size: data_size, {"x": 1, "data_size": 6}, data_size=5) == 6  # the data go first


def test_takes():
    assert takes(vae(), "size")
    assert not takes(vae(), "data_size")
    assert takes(Both().model, "x")
    assert not takes(Both().model, "self")


def test_modules_are_listed_once():
    own = vae()
    assert modules(own, own, model) == [own]
    assert modules(model, guide) == []


def test_batch_size():
    assert batch_size({"x": torch.zeros(4, 2), "y": torch.zeros(4)}) == 4


def test_a_traced_pair(batch):
    pair = trace_pair(model, guide, batch)
    inner, outer = pair.latent()["z"]
    assert inner["value"] is outer["value"]
    assert set(pair.observed()) == {"x"}


def test_unscaled_log_probabilities(batch):
    mask = torch.arange(SIZE) < 3
    with poutine.trace() as tracer, poutine.scale(scale=9.0), poutine.mask(mask=mask):
        guide(batch["x"])
    site = tracer.trace.nodes["z"]
    expected = torch.where(mask, site["fn"].log_prob(site["value"]), 0.0)
    torch.testing.assert_close(unscaled_log_prob(site), expected)
