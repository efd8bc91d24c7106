"""What the tests of training share: small tables and pairs, and pairs of every kind that SVI must train."""

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.data import Dataset
from pyrovae.guides import NormalGuide
from pyrovae.inference import SVI, fit
from pyrovae.inference.training.checkpoint import load
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

B, D, Z = 16, 12, 3


def shared(helper):
    """A fixture that gives the helper itself."""
    return pytest.fixture(name=helper.__name__)(lambda: helper)


# ------------------------------------------------------------------------------------------------- fit


def table_pair(width=16, seed=0):
    torch.manual_seed(seed)
    likelihood = likelihoods.Normal(6)
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (width,)))
    return model, NormalGuide(MLP(6, 4, (width,)))


def pair_of_all_data():
    """A pair with a latent that all data points share."""

    class Shared(VAE):
        def forward(self, x=None, *, data_size, size=None):
            shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
            with pyro.plate("data", data_size, subsample_size=len(x) if size is None else size, dim=-1):
                z = pyro.sample("z", self.prior())
                return pyro.sample("x", self.likelihood(self.decoder(z) + shift[..., None]), obs=x)

    class Both(NormalGuide):
        def __init__(self, encoder):
            super().__init__(encoder)
            self.loc = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, *, data_size):
            pyro.sample("shift", dist.Normal(self.loc, 0.1))
            with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
                return pyro.sample("z", self.posterior(self.encoder(x)))

    torch.manual_seed(0)
    return Shared(priors.StandardNormal(2), likelihoods.Normal(6, 0.5), MLP(2, 6, (8,))), Both(MLP(6, 4, (8,)))


def table(size=200, seed=1):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(size, 2, generator=generator)
    return {"x": z @ torch.randn(2, 6, generator=generator) + 0.3 * torch.randn(size, 6, generator=generator)}


def split(size=200):
    return Dataset(table(size), table(50, 2), table(50, 3), "made", "made here")


def weights(*programs):
    return [p.detach().clone() for program in programs for p in program.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def same_state(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_state(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same_state, first, second))
    return first == second


def state_of(folder):
    """The state in a run folder, but for the time that it took."""
    return {name: part for name, part in load(folder / "checkpoint.pt").items() if name != "seconds"}


def quick(model, guide, data, **options):
    """`fit` in batches of 64, without a bar and without compiling."""
    return fit(model, guide, data, **{"progress": False, "compile": False, "batch_size": 64} | options)


_table_pair, _table, _split = shared(table_pair), shared(table), shared(split)
_pair_of_all_data = shared(pair_of_all_data)
_weights, _equal, _same_state = shared(weights), shared(equal), shared(same_state)
_quick, _state_of = shared(quick), shared(state_of)


# ------------------------------------------------------------------------------------------------- SVI


class Model(PyroModule):
    """p(z) p(x | z), Bernoulli."""

    def __init__(self, hidden=8):
        super().__init__()
        self.decoder = nn.Sequential(nn.Linear(Z, hidden), nn.Tanh(), nn.Linear(hidden, D))

    def prior(self, x):
        return dist.Normal(x.new_zeros(Z), 1.0).to_event(1)

    def forward(self, x, kl_weight=1.0):
        with pyro.plate("data", len(x), dim=-1):
            with poutine.scale(scale=kl_weight):
                z = pyro.sample("z", self.prior(x))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)


class Guide(PyroModule):
    """q(z | x), Normal."""

    def __init__(self, hidden=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, hidden), nn.Tanh())
        self.loc, self.log_scale = nn.Linear(hidden, Z), nn.Linear(hidden, Z)

    def forward(self, x, kl_weight=1.0):
        h = self.encoder(x)
        with pyro.plate("data", len(x), dim=-1), poutine.scale(scale=kl_weight):
            pyro.sample("z", dist.Normal(self.loc(h), self.log_scale(h).exp()).to_event(1))


class MixtureModel(Model):
    """A prior with learned components."""

    def __init__(self):
        super().__init__()
        self.locs = nn.Parameter(torch.randn(4, Z))
        self.scales = PyroParam(torch.ones(4, Z), constraint=constraints.positive)

    def prior(self, x):
        return dist.MixtureOfDiagNormals(self.locs, self.scales, torch.zeros(4))


class FlowGuide(Guide):
    """A guide with an inverse autoregressive flow."""

    def __init__(self):
        super().__init__()
        self.flow = dist.transforms.affine_autoregressive(Z, hidden_dims=[8])

    def forward(self, x, kl_weight=1.0):
        h = self.encoder(x)
        with pyro.plate("data", len(x), dim=-1):
            base = dist.Normal(self.loc(h), self.log_scale(h).exp())
            pyro.sample("z", dist.TransformedDistribution(base, [self.flow]))


class NoisyGuide(Guide):
    """Dropout and batch normalisation."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(D, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5))


class DiscreteModel(Model):
    """A component y, summed out: `TraceEnum_ELBO`."""

    def __init__(self):
        super().__init__()
        self.locs = nn.Parameter(torch.randn(2, Z))

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            probs = x.new_tensor([0.3, 0.7])
            y = pyro.sample("y", dist.Categorical(probs), infer={"enumerate": "parallel"})
            z = pyro.sample("z", dist.Normal(self.locs[y], 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=self.decoder(z)).to_event(1), obs=x)


class BinaryModel(Model):
    """Binary latents."""

    def prior(self, x):
        return dist.Bernoulli(x.new_full((Z,), 0.5)).to_event(1)


class BinaryGuide(Guide):
    """Latents without a reparameterisation: score-function gradients."""

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Bernoulli(logits=self.loc(self.encoder(x))).to_event(1))


class BranchingModel(Model):
    """Python branches on a value."""

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z) if z.mean() > 0 else self.decoder(-z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)


class ValidatingModel(Model):
    """A distribution that looks at the data."""

    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=True).to_event(1), obs=x)


PAIRS = {
    "vae": (Model, Guide, Trace_ELBO),
    "particles": (Model, Guide, partial(Trace_ELBO, num_particles=3)),
    "vectorized": (Model, Guide, partial(Trace_ELBO, num_particles=3, vectorize_particles=True)),
    "mean-field": (Model, Guide, TraceMeanField_ELBO),
    "iwae": (Model, Guide, partial(RenyiELBO, alpha=0.0, num_particles=4, vectorize_particles=True)),
    "noise": (Model, NoisyGuide, Trace_ELBO),
    "mixture": (MixtureModel, Guide, Trace_ELBO),
    "flow": (Model, FlowGuide, Trace_ELBO),
    "enum": (DiscreteModel, Guide, partial(TraceEnum_ELBO, max_plate_nesting=1)),
    "score": (BinaryModel, BinaryGuide, Trace_ELBO),
}


@pytest.fixture
def models():
    """The programs of this file by name."""
    kinds = (Model, Guide, BinaryModel, BinaryGuide, BranchingModel, ValidatingModel)
    return {kind.__name__: kind for kind in kinds}


@pytest.fixture(params=PAIRS)
def name(request):
    """The name of a pair; the test runs for each."""
    return request.param


@pytest.fixture
def same_noise():
    """Compiled code draws the random numbers that eager code does."""
    import torch._inductor.config as config

    with config.patch(fallback_random=True):
        yield


def batch(size=B, dtype=torch.float32):
    return (torch.rand(size, D, generator=torch.Generator().manual_seed(1)) < 0.4).to(dtype)


def build(name, dtype=torch.float32, optim=None, **options):
    model, guide, loss = PAIRS[name]
    pyro.clear_param_store()
    torch.manual_seed(0)
    model, guide = model().to(dtype), guide().to(dtype)
    return SVI(model, guide, optim or (torch.optim.SGD, {"lr": 1e-3}), loss(), **options)


def take(svi, steps=10, dtype=torch.float32):
    """The losses of some steps."""
    x = batch(dtype=dtype)
    torch.manual_seed(2)
    return [svi.step(x) for _ in range(steps)]


_batch, _build, _take = shared(batch), shared(build), shared(take)
