"""SVI against Pyro's own, and compiled against eager."""

import copy
import gc
import resource
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from pyro.infer import RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from pyro.nn import PyroModule, PyroParam
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import DataError, PairError
from pyrovae.inference import svi as svi_module
from pyrovae.inference.compile import EagerWarning
from pyrovae.inference.svi import SVI

B, D, Z = 16, 12, 3


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
def same_noise():
    """Compiled code draws the random numbers that eager code does."""
    import torch._inductor.config as config

    with config.patch(fallback_random=True):
        yield


@pytest.fixture(autouse=True)
def clean():
    pyro.clear_param_store()
    torch.manual_seed(0)
    yield
    pyro.clear_param_store()


def batch(size=B, dtype=torch.float32):
    return (torch.rand(size, D, generator=torch.Generator().manual_seed(1)) < 0.4).to(dtype)


def build(name, dtype=torch.float32, optim=None, **options):
    model, guide, loss = PAIRS[name]
    torch.manual_seed(0)
    model, guide = model().to(dtype), guide().to(dtype)
    return SVI(model, guide, optim or (torch.optim.SGD, {"lr": 1e-3}), loss(), **options)


def train(svi, steps=10, dtype=torch.float32):
    """Losses, and the gradient of each parameter at the end."""
    x = batch(dtype=dtype)
    torch.manual_seed(2)
    return [svi.step(x) for _ in range(steps)]


@pytest.mark.parametrize("name", PAIRS)
def test_compiled_equals_eager(name, same_noise):
    gradients = {}
    losses = {}
    for compiled in (False, True):
        seen = gradients[compiled] = []
        svi = build(name, reduce=lambda grads, seen=seen: seen.append([g.clone() for g in grads]), compile=compiled)
        losses[compiled] = train(svi)
        buffers = [b for module in (svi.model, svi.guide) for b in module.buffers()]
        gradients[compiled, "buffers"] = buffers
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients[True], gradients[False], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).norm() <= 1e-4 * b.norm() + 1e-5
    torch.testing.assert_close(gradients[True, "buffers"], gradients[False, "buffers"])


@pytest.mark.parametrize("name", ["vae"])
def test_compiled_equals_eager_in_double_precision(name, same_noise):
    optim = (torch.optim.Adam, {"lr": 1e-2})
    eager = build(name, torch.float64, optim, compile=False)
    compiled = build(name, torch.float64, optim)
    torch.testing.assert_close(
        train(compiled, dtype=torch.float64), train(eager, dtype=torch.float64), rtol=1e-10, atol=1e-10
    )
    torch.testing.assert_close(compiled.parameters, eager.parameters, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    "optim",
    [
        torch.optim.Adam,
        partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1),
        (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
        (torch.optim.RMSprop, {"lr": 1e-3}),
        pyro.optim.Adam({"lr": 1e-2}),
        pyro.optim.ClippedAdam({"lr": 1e-2, "clip_norm": 1.0}),
        pyro.optim.Adam(lambda name: {"lr": 1e-2 if "decoder" in name else 1e-3}),
        pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 1e-2}, "gamma": 0.9}),
    ],
    ids=["adam", "adamw", "sgd", "rmsprop", "pyro", "clipped", "per-parameter", "schedule"],
)
def test_optimizers(optim, same_noise):
    eager, compiled = (build("vae", optim=copy.deepcopy(optim), compile=c) for c in (False, True))
    if isinstance(optim, pyro.optim.PyroOptim) and callable(optim.pt_optim_args):
        pytest.skip("names of local parameters")
    assert train(compiled, 4) == pytest.approx(train(eager, 4), rel=1e-5)
