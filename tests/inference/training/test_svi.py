"""SVI against Pyro's own, and compiled against eager."""

import copy
import gc
import resource
import warnings
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
from pyrovae.inference.compile.reasons import EagerWarning
from pyrovae.inference.training.svi import SVI

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


def check_equal(name):
    gradients, losses, buffers = {}, {}, {}
    for compiled in (False, True):
        seen = gradients[compiled] = []
        svi = build(name, reduce=lambda g, seen=seen: seen.append([x.clone() for x in g]), compile=compiled)
        losses[compiled] = train(svi)
        buffers[compiled] = [b for module in (svi.model, svi.guide) for b in module.buffers()]
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-5, atol=1e-5)
    for ours, theirs in zip(gradients[True], gradients[False], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            nothing = 1e-4 if name == "noise" else 1e-6  # biases before a batch norm have gradient 0
            assert (a - b).norm() <= 1e-4 * b.norm() + nothing
    torch.testing.assert_close(buffers[True], buffers[False])


@pytest.mark.parametrize("name", PAIRS)
def test_captured_equals_eager(name, same_noise, captured_only):
    check_equal(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", PAIRS)
def test_compiled_equals_eager(name, same_noise):
    check_equal(name)


def test_compiled_equals_eager_in_double_precision(same_noise):
    optim = (torch.optim.Adam, {"lr": 1e-2})
    eager, compiled = (build("vae", torch.float64, optim, compile=c) for c in (False, True))
    ours, theirs = train(compiled, dtype=torch.float64), train(eager, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(compiled.parameters, eager.parameters, rtol=1e-10, atol=1e-10)


OPTIMIZERS = {
    "class": torch.optim.Adam,
    "partial": partial(torch.optim.AdamW, lr=1e-2, weight_decay=0.1),
    "sgd": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    "other": (torch.optim.RMSprop, {"lr": 1e-3}),
    "pyro": pyro.optim.Adam({"lr": 1e-2}),
    "clipped": pyro.optim.ClippedAdam({"lr": 1e-2, "clip_norm": 1.0}),
    "per-parameter": pyro.optim.Adam(lambda name: {"lr": 1e-2 if "decoder" in name else 1e-3}),
    "schedule": pyro.optim.ExponentialLR({"optimizer": torch.optim.Adam, "optim_args": {"lr": 1e-2}, "gamma": 0.9}),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, same_noise, captured_only):
    eager, compiled = (build("vae", optim=copy.deepcopy(OPTIMIZERS[name]), compile=c) for c in (False, True))
    assert train(compiled, 4) == pytest.approx(train(eager, 4), rel=1e-5)


def test_settings_per_parameter_are_asked_for_by_name(captured_only):
    svi = build("vae", optim=OPTIMIZERS["per-parameter"])
    svi.prepare(batch())
    rates = {id(p): group["lr"] for group in svi.optimizer.param_groups for p in group["params"]}
    assert {rates[id(p)] for p in svi.model.parameters()} == {1e-2}
    assert {rates[id(p)] for p in svi.guide.parameters()} == {1e-3}


def test_an_instance_trains_its_own_parameters(captured_only):
    model, guide = Model(), Guide()
    svi = SVI(model, guide, torch.optim.Adam(guide.parameters()))
    before = copy.deepcopy(model.state_dict())
    svi.step(batch())
    assert len(svi.parameters) == len(list(guide.parameters()))
    torch.testing.assert_close(dict(model.state_dict()), dict(before))


def vae_program():
    """Pyro's VAE example: global `pyro.module`, softplus networks, a relaxed Bernoulli."""

    class Decoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(5, 20), nn.Softplus(), nn.Linear(20, D))

        def forward(self, z):
            return self.net(z)

    class Encoder(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nn.Sequential(nn.Linear(D, 20), nn.Softplus())
            self.loc, self.scale = nn.Linear(20, 5), nn.Linear(20, 5)

        def forward(self, x):
            h = self.hidden(x)
            return self.loc(h), torch.exp(self.scale(h))

    class Example(nn.Module):
        def __init__(self):
            super().__init__()
            self.encoder, self.decoder = Encoder(), Decoder()

        def model(self, x):
            pyro.module("decoder", self.decoder)
            with pyro.plate("data", x.shape[0]):
                z = pyro.sample("latent", dist.Normal(x.new_zeros(len(x), 5), x.new_ones(len(x), 5)).to_event(1))
                img = self.decoder(z)
                pyro.sample("obs", dist.Bernoulli(logits=img, validate_args=False).to_event(1), obs=x)

        def guide(self, x):
            pyro.module("encoder", self.encoder)
            with pyro.plate("data", x.shape[0]):
                pyro.sample("latent", dist.Normal(*self.encoder(x)).to_event(1))

    return Example()


def test_the_example_of_pyro_trains_to_the_same_losses(same_noise):
    x = torch.rand(B, D, generator=torch.Generator().manual_seed(1))  # grey, hence "relaxed"
    losses = []
    for kind in (SVI, pyro.infer.SVI):
        pyro.clear_param_store()
        torch.manual_seed(0)
        vae = vae_program()
        svi = kind(vae.model, vae.guide, pyro.optim.Adam({"lr": 1e-2}), loss=Trace_ELBO())
        torch.manual_seed(1)
        losses.append([svi.step(x) for _ in range(10)])
        losses.append([svi.evaluate_loss(x)])
    assert losses[0] == pytest.approx(losses[2], rel=1e-5)
    assert losses[1] == pytest.approx(losses[3], rel=1e-4)


def test_constrained_parameters_of_the_store(same_noise, captured_only):
    def model(x):
        pyro.sample("x", dist.Normal(pyro.sample("z", dist.Normal(0.0, 1.0)), 1.0).expand([len(x)]).to_event(1), obs=x)

    def guide(x):
        scale = pyro.param("scale", torch.tensor(0.5), constraint=constraints.positive)
        pyro.sample("z", dist.Normal(pyro.param("loc", torch.tensor(0.0)), scale))

    x, results = torch.randn(5) + 3, []
    for kind in (SVI, pyro.infer.SVI):
        pyro.clear_param_store()
        torch.manual_seed(1)
        svi = kind(model, guide, pyro.optim.Adam({"lr": 0.1}), loss=Trace_ELBO())
        results.append([svi.step(x) for _ in range(5)] + [pyro.param("scale").item()])
    assert results[0] == pytest.approx(results[1], rel=1e-5)


class BranchingModel(Model):
    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z) if z.mean() > 0 else self.decoder(-z)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)


def test_control_flow_on_values_runs_eagerly():
    x, losses = batch(), []
    for compiled in (False, True):
        torch.manual_seed(0)
        svi = SVI(BranchingModel(), Guide(), (torch.optim.Adam, {"lr": 1e-2}), compile=compiled)
        torch.manual_seed(1)
        if compiled:
            with pytest.warns(EagerWarning, match=r"value of a tensor(.|\n)*z.mean\(\) > 0") as seen:
                losses.append([svi.step(x) for _ in range(5)])
            assert len(seen) == 1
        else:
            losses.append([svi.step(x) for _ in range(5)])
    assert losses[0] == losses[1]


class ValidatingModel(Model):
    def forward(self, x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", self.prior(x))
            logits = self.decoder(z)
            pyro.sample("x", dist.Bernoulli(logits=logits, validate_args=True).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("model", "guide", "loss"), [(BinaryModel, BinaryGuide, TraceGraph_ELBO), (ValidatingModel, Guide, Trace_ELBO)]
)
def test_what_looks_at_values_runs_eagerly_and_gives_pyros_numbers(model, guide, loss, same_noise):
    x, losses = batch(), []
    for kind in (pyro.infer.SVI, SVI):
        pyro.clear_param_store()
        torch.manual_seed(0)
        svi = kind(model(), guide(), pyro.optim.Adam({"lr": 1e-2}), loss=loss())
        torch.manual_seed(1)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            losses.append([svi.step(x) for _ in range(5)])
        eagerly = [w for w in seen if w.category is EagerWarning]
        assert len(eagerly) == (kind is SVI)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_learning_rate_schedule_does_not_recompile(captured_only, same_noise):
    results = []
    for compiled in (False, True):
        svi = build("vae", optim=(torch.optim.Adam, {"lr": 1e-2}), compile=compiled)
        svi.prepare(batch())
        schedule = torch.optim.lr_scheduler.ExponentialLR(svi.optimizer, 0.5)
        torch.manual_seed(1)
        results.append([])
        for _ in range(4):
            results[-1].append(svi.step(batch()))
            schedule.step()
    assert svi._fused.captures == 1
    assert results[0] == pytest.approx(results[1], rel=1e-5)


def test_a_kl_weight_is_an_input(captured_only, same_noise):
    svi, x, losses = build("vae"), batch(), []
    for weight in (1.0, 5.0, torch.tensor(5.0), 9.0):
        torch.manual_seed(1)
        losses.append(svi.evaluate_loss(x, kl_weight=weight))
    assert losses[1] == losses[2]
    assert losses[1] == pytest.approx((losses[0] + losses[3]) / 2)
    assert svi._evaluate.captures == 1


def test_training_goes_on_from_a_checkpoint(captured_only, same_noise):
    optim = (torch.optim.Adam, {"lr": 1e-2})
    svi = build("vae", optim=optim)
    train(svi, 3)
    saved = copy.deepcopy((svi.model.state_dict(), svi.guide.state_dict(), svi.optimizer.state_dict()))
    expected = train(svi, 3)
    again = build("vae", optim=optim)
    train(again, 1)
    for part, state in zip((again.model, again.guide, again.optimizer), saved, strict=True):
        part.load_state_dict(state)
    assert train(again, 3) == expected
    assert again._fused.captures == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_a_loss_that_is_not_finite_changes_nothing(compiled, captured_only):
    svi = build("vae", optim=torch.optim.Adam, compile=compiled)
    svi.step(batch())
    before = copy.deepcopy(svi.optimizer.state_dict()), [p.clone() for p in svi.parameters]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered NaN")
        loss = svi.step(batch(), kl_weight=float("inf"), sync=False)
    assert not torch.isfinite(loss)
    torch.testing.assert_close((svi.optimizer.state_dict(), svi.parameters), before)


def test_parameters_that_were_moved_are_found_again(captured_only, same_noise):
    svi, eager = build("vae"), build("vae", compile=False)
    for one in (svi, eager):
        train(one, steps=2)
        for parameter in one.model.parameters():
            parameter.data = 2 * parameter.data  # a new tensor under the old name
    assert train(svi, steps=3) == pytest.approx(train(eager, steps=3))
    for mine, theirs in zip(svi.parameters, eager.parameters, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("optim", [torch.optim.Adam, torch.optim.RMSprop])
def test_run_takes_the_steps_that_step_takes(optim, captured_only, same_noise):
    data = {"x": (torch.rand(40, D) * 255).to(torch.uint8), "label": torch.zeros(40)}
    order = torch.randint(40, (5, B))

    def scaled(batch):
        return {**batch, "x": (batch["x"] > 100).float()}

    losses = []
    for way in ("run", "step"):
        svi = build("vae", optim=optim)
        svi.prepare(scaled(data)["x"])
        torch.manual_seed(3)
        if way == "run":
            losses.append(svi.run(data, 5, order=order, transform=scaled))
        else:
            losses.append(torch.stack([svi.step(scaled({"x": data["x"][i]})["x"], sync=False) for i in order]))
    torch.testing.assert_close(*losses)


@pytest.mark.slow
def test_small_steps_run_several_to_a_graph(same_noise):
    data, order = {"x": batch(64)}, torch.randint(64, (66, B))
    losses = []
    for compiled in (False, True):
        svi = build("vae", optim=torch.optim.Adam, compile=compiled)
        svi.prepare(batch())
        torch.manual_seed(3)
        losses.append(svi.run(data, 66, order=order))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=1e-4)


def test_bfloat16_keeps_parameters_and_loss_in_float32(captured_only, same_noise):
    losses = []
    for precision in ("fp32", "bf16"):
        svi = build("vae", optim=torch.optim.Adam, precision=precision)
        losses.append(train(svi, 3))
    assert all(p.dtype == torch.float32 for p in svi.parameters)
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]


def test_seeded_runs_reproduce():
    first, second = train(build("vae"), 3), train(build("vae"), 3)
    assert first == second
    assert len(set(first)) == 3


def test_errors_teach():
    with pytest.raises(PairError, match="fp32, bf16"):
        SVI(Model(), Guide(), torch.optim.Adam, precision="fp8")
    with pytest.raises(PairError, match="torch optimizer class"):
        SVI(Model(), Guide(), 1e-3).step(batch())
    with pytest.raises(PairError, match=r"svi\.prepare"):
        _ = SVI(Model(), Guide(), torch.optim.Adam).optimizer
    with pytest.raises(DataError, match="batch_size"):
        SVI(Model(), Guide(), torch.optim.Adam).run({"x": batch()}, 3)


@pytest.mark.slow
def test_nothing_leaks():
    svi, batches = build("vae", optim=torch.optim.Adam), [batch(size) for size in (16, 8, 4)]
    for x in batches * 100:
        svi.step(x, sync=False)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(10_000):
        svi.step(batches[i % 3], sync=False)
    assert len(svi._fused) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compile", [True, False])
def test_cuda(compile):
    svi = SVI(Model().cuda(), Guide().cuda(), (torch.optim.Adam, {"lr": 1e-2}), compile=compile)
    losses = svi.run({"x": batch(64).cuda()}, 50, batch_size=B)
    assert losses.is_cuda
    assert losses[-10:].mean() < losses[:10].mean()
    steps = torch.stack([svi.step(batch().cuda(), sync=False) for _ in range(10)])
    assert steps.is_cuda
    assert steps.mean() < losses[:10].mean()
