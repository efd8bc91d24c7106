"""SVI against Pyro's own, and compiled against eager."""

import copy
import gc
import resource
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceGraph_ELBO
from torch import nn
from torch.distributions import constraints

from pyrovae.errors import DataError, PairError
from pyrovae.inference import ELBO, SVI
from pyrovae.inference.compile.reasons import EagerWarning

pytestmark = pytest.mark.usefixtures("at_once")

B, D = 16, 12


@pytest.fixture
def check_equal(name, build, take):
    """Train one pair of each kind compiled and eagerly, and compare losses, gradients and buffers."""

    def check():
        gradients, losses, buffers = {}, {}, {}
        for compiled in (False, True):
            seen = gradients[compiled] = []
            svi = build(name, reduce=lambda g, seen=seen: seen.append([x.clone() for x in g]), compile=compiled)
            losses[compiled] = take(svi)
            buffers[compiled] = [b for module in (svi.model, svi.guide) for b in module.buffers()]
        torch.testing.assert_close(losses[True], losses[False], rtol=1e-5, atol=1e-5)
        for ours, theirs in zip(gradients[True], gradients[False], strict=True):
            for a, b in zip(ours, theirs, strict=True):
                nothing = 1e-4 if name == "noise" else 1e-6  # biases before a batch norm have gradient 0
                assert (a - b).norm() <= 1e-4 * b.norm() + nothing
        torch.testing.assert_close(buffers[True], buffers[False])

    return check


def test_captured_equals_eager(check_equal, same_noise, captured_only):
    check_equal()


@pytest.mark.slow
def test_compiled_equals_eager(check_equal, same_noise):
    check_equal()


def test_compiled_equals_eager_in_double_precision(same_noise, build, take):
    optim = (torch.optim.Adam, {"lr": 1e-2})
    eager, compiled = (build("vae", torch.float64, optim, compile=c) for c in (False, True))
    ours, theirs = take(compiled, dtype=torch.float64), take(eager, dtype=torch.float64)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(compiled.parameters, eager.parameters, rtol=1e-10, atol=1e-10)


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


def test_control_flow_on_values_runs_eagerly(batch, models):
    x, losses = batch(), []
    for compiled in (False, True):
        torch.manual_seed(0)
        svi = SVI(models["BranchingModel"](), models["Guide"](), (torch.optim.Adam, {"lr": 1e-2}), compile=compiled)
        torch.manual_seed(1)
        if compiled:
            with pytest.warns(EagerWarning, match=r"value of a tensor(.|\n)*z.mean\(\) > 0") as seen:
                losses.append([svi.step(x) for _ in range(5)])
            assert len(seen) == 1
        else:
            losses.append([svi.step(x) for _ in range(5)])
    assert losses[0] == losses[1]


@pytest.mark.parametrize(
    ("model", "guide", "loss", "warned"),
    [("BinaryModel", "BinaryGuide", TraceGraph_ELBO, 0), ("ValidatingModel", "Guide", Trace_ELBO, 1)],
)
def test_what_looks_at_values_gives_pyros_numbers(model, guide, loss, warned, same_noise, batch, models):
    x, losses = batch(), []
    for kind in (pyro.infer.SVI, SVI):
        pyro.clear_param_store()
        torch.manual_seed(0)
        svi = kind(models[model](), models[guide](), pyro.optim.Adam({"lr": 1e-2}), loss=loss())
        torch.manual_seed(1)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            losses.append([svi.step(x) for _ in range(5)])
        eagerly = [w for w in seen if w.category is EagerWarning]
        assert len(eagerly) == (warned if kind is SVI else 0)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_a_kl_weight_is_an_input(captured_only, same_noise, batch, build):
    svi, x, losses = build("vae"), batch(), []
    for weight in (1.0, 5.0, torch.tensor(5.0), 9.0):
        torch.manual_seed(1)
        losses.append(svi.evaluate_loss(x, kl_weight=weight))
    assert losses[1] == losses[2]
    assert losses[1] == pytest.approx((losses[0] + losses[3]) / 2)
    assert svi._steps.value.captures == 1


def test_a_prior_of_parameters_follows_the_step_and_what_it_reads(captured_only, same_noise, build, take):
    """Each step has the log prior of its own parameters, and a number that it reads may change."""
    losses = []
    for compiled in (False, True):
        pair, held = build("vae"), {"precision": 0.5}

        def log_prior(model=pair.model, held=held):
            return -held["precision"] * sum(p.square().sum() for p in model.parameters())

        svi = SVI(pair.model, pair.guide, (torch.optim.SGD, {"lr": 1e-3}), ELBO(log_prior=log_prior), compile=compiled)
        first = take(svi, steps=4)
        held["precision"] = 5.0
        losses.append(first + take(svi, steps=4))
    torch.testing.assert_close(losses[1], losses[0], rtol=1e-5, atol=1e-5)
    assert losses[0][4] > losses[0][3] + 10


def test_training_goes_on_from_a_checkpoint(captured_only, same_noise, build, take):
    optim = (torch.optim.Adam, {"lr": 1e-2})
    svi = build("vae", optim=optim)
    take(svi, 3)
    saved = copy.deepcopy((svi.model.state_dict(), svi.guide.state_dict(), svi.optimizer.state_dict()))
    expected = take(svi, 3)
    again = build("vae", optim=optim)
    take(again, 1)
    for part, state in zip((again.model, again.guide, again.optimizer), saved, strict=True):
        part.load_state_dict(state)
    assert take(again, 3) == expected
    assert again._steps.one.captures == 1


def test_parameters_that_were_moved_are_found_again(captured_only, same_noise, build, take):
    svi, eager = build("vae"), build("vae", compile=False)
    for one in (svi, eager):
        take(one, steps=2)
        for parameter in one.model.parameters():
            parameter.data = 2 * parameter.data  # a new tensor under the old name
    assert take(svi, steps=3) == pytest.approx(take(eager, steps=3))
    for mine, theirs in zip(svi.parameters, eager.parameters, strict=True):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("optim", [torch.optim.Adam, torch.optim.RMSprop])
def test_run_takes_the_steps_that_step_takes(optim, captured_only, same_noise, batch, build):
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
            losses.append(svi.steps(data, 5, order=order, transform=scaled))
        else:
            losses.append(torch.tensor([svi.step(scaled({"x": data["x"][i]})["x"]) for i in order]))
    torch.testing.assert_close(*losses)


def test_bfloat16_keeps_parameters_and_loss_in_float32(captured_only, same_noise, build, take):
    losses = []
    for precision in ("fp32", "bf16"):
        svi = build("vae", optim=torch.optim.Adam, precision=precision)
        losses.append(take(svi, 3))
    assert all(p.dtype == torch.float32 for p in svi.parameters)
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("compiled", [True, False])
def test_bfloat16_holds_for_steps_that_pyro_takes_too(compiled, captured_only, same_noise, build, take):
    def losses(precision):
        return take(build("vae", optim=pyro.optim.Adam({"lr": 1e-2}), precision=precision, compile=compiled), 3)

    exact, rounded = losses("fp32"), losses("bf16")
    assert exact == pytest.approx(rounded, rel=2e-2)
    assert all(a != b for a, b in zip(exact, rounded, strict=True))


def test_seeded_runs_reproduce(build, take):
    first, second = take(build("vae"), 3), take(build("vae"), 3)
    assert first == second
    assert len(set(first)) == 3


def test_errors_teach(batch, models):
    with pytest.raises(PairError, match="fp32, bf16"):
        SVI(models["Model"](), models["Guide"](), torch.optim.Adam, precision="fp8")
    with pytest.raises(PairError, match="torch optimizer class"):
        SVI(models["Model"](), models["Guide"](), 1e-3)
    with pytest.raises(PairError, match=r"svi\.prepare"):
        _ = SVI(models["Model"](), models["Guide"](), torch.optim.Adam).optimizer
    with pytest.raises(DataError, match="batch_size"):
        SVI(models["Model"](), models["Guide"](), torch.optim.Adam).steps({"x": batch()}, 3)


@pytest.mark.slow
def test_nothing_leaks(batch, build):
    svi, batches = build("vae", optim=torch.optim.Adam), [batch(size) for size in (16, 8, 4)]
    for x in batches * 100:
        svi.step(x)
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(10_000):
        svi.step(batches[i % 3])
    assert len(svi._steps.one) == 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("compile", [True, False])
def test_cuda(compile, batch, models):
    svi = SVI(models["Model"]().cuda(), models["Guide"]().cuda(), (torch.optim.Adam, {"lr": 1e-2}), compile=compile)
    losses = svi.steps({"x": batch(64).cuda()}, 50, batch_size=B)
    assert losses.is_cuda
    assert losses[-10:].mean() < losses[:10].mean()
    steps = torch.tensor([svi.step(batch().cuda()) for _ in range(10)])
    assert steps.is_cuda
    assert steps.mean() < losses[:10].mean()
