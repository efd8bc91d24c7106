"""Tools on a pair whose p(x) and p(z | x) are exact."""

import inspect

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae import inference
from pyrovae.data import incomplete
from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.inference import Annealing
from pyrovae.models import VAE, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks import MLP, JointMLP

SIZE = 6
QUICK = Annealing(num_chains=2, num_temperatures=3, num_leapfrog=2)


@pytest.fixture(scope="module")
def exact(ppca):
    """The pair, its data, the exact log p(x) of each data point, and the kinds of arguments of its tools."""
    torch.manual_seed(0)
    data = ppca.data(SIZE) | {"f": torch.arange(SIZE) % 2, "g": torch.arange(SIZE) % 3}
    return ppca, data, ppca.evidence.log_prob(data["x"])


def on_the_pair(kinds, exact, function, **own):
    """A case of a tool of the exact pair."""
    ppca, data, _ = exact
    guide = ppca.guide()
    shared = {"model": kinds.program(ppca.model), "guide": kinds.program(guide), "data": kinds.batch(data)}
    shared |= {"datum": kinds.batch({"x": data["x"][:1]}), "batch": kinds.batch(data), "annealing": kinds.any_of(QUICK)}
    names = inspect.signature(function).parameters
    return kinds.case(function, **{name: kind for name, kind in shared.items() if name in names} | own)


def close(values, truth):
    torch.testing.assert_close(torch.as_tensor(values).double(), torch.as_tensor(truth).double(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["evaluate", "log_evidence"])
def test_the_exact_guide_gives_the_exact_evidence(name, kinds, exact, fuzz):
    truth = exact[2].mean()

    def check(result, **arguments):
        close(result.value if name == "log_evidence" else result.log_evidence.value, truth)
        if name == "evaluate":
            close(result.per_datum["log_evidence"], exact[2])

    fuzz(on_the_pair(kinds, exact, getattr(inference, name), check=check, examples=60))


def test_a_reconstruction_is_that_of_the_posterior_mean(kinds, exact, fuzz):
    ppca, data, _ = exact

    def check(result, mean, **arguments):
        if mean:
            close(result, ppca.decode(ppca.posterior_mean(data["x"])))

    fuzz(on_the_pair(kinds, exact, inference.reconstruct, check=check, examples=40))


def test_codes_are_those_of_the_guide(kinds, exact, fuzz):
    ppca, data, _ = exact

    def check(result, mean, **arguments):
        assert result["z"].shape == (SIZE, 2)
        if mean:
            close(result["z"], ppca.posterior_mean(data["x"]))

    fuzz(on_the_pair(kinds, exact, inference.encode, check=check, examples=40))


def test_a_code_decodes_to_its_mean(kinds, exact, fuzz):
    ppca, data, _ = exact
    z = ppca.posterior_mean(data["x"])

    def check(result, mean, **arguments):
        if mean:
            close(result, ppca.decode(z))

    fuzz(on_the_pair(kinds, exact, inference.decode, latents=kinds.batch({"z": z}, "z"), check=check, examples=40))


def test_generated_data_have_the_size(kinds, exact, fuzz):
    def check(result, size, **arguments):
        assert result.shape == (size, 5)

    fuzz(on_the_pair(kinds, exact, inference.generate, check=check, examples=40))


PLAIN = [
    "annealed", "anomaly_scores", "augment", "check_pair", "dimension_rates", "entry_scores", "features",
    "posterior_predictive", "prior_predictive", "rate_distortion", "sandwich",
]  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_tools_of_a_pair(name, kinds, exact, fuzz):
    none = kinds.any_of(None)  # the options of one kind of score
    own = {"anomaly_scores": {"num_steps": none, "lr": none, "num_particles": none}}
    examples = {"sandwich": 12, "annealed": 15}.get(name, 25)
    fuzz(on_the_pair(kinds, exact, getattr(inference, name), examples=examples, **own.get(name, {})))


def test_tools_that_need_many_draws(kinds, exact, fuzz):
    many = {"num_simulations": kinds.count(25, 27), "num_samples": kinds.count(21, 24)}
    for case in (
        on_the_pair(kinds, exact, inference.calibration, **many),
        on_the_pair(kinds, exact, inference.diagnose, examples=8, **many, num_refined=kinds.any_of(0)),
        on_the_pair(kinds, exact, inference.nuts, examples=8, num_samples=kinds.count(4, 5)),
    ):
        fuzz(case)


def test_tools_with_arguments_of_their_own(kinds, exact, fuzz):
    ppca, data, _ = exact
    one = {"z": ppca.posterior_mean(data["x"])[0]}
    none_kept = kinds.sampled(True, 0, [])  # no site is right beside weights or predictions
    sites, factors = kinds.any_of(None, ["z"]), kinds.any_of(["f", "g"])
    sites = sites._replace(hostile=none_kept, refused=kinds.sampled("x", "", "3", 3 + 4j, (1, 2), object(), int, len))
    code, direction = kinds.batch(one, "z"), kinds.batch({"z": torch.ones(2).double()}, "z")
    for case in (
        on_the_pair(kinds, exact, inference.posterior, sites=sites, examples=40),
        on_the_pair(kinds, exact, inference.prior, sites=sites, examples=25),
        on_the_pair(kinds, exact, inference.interpolate, start=code, end=code),
        kinds.case(inference.path, start=code, end=code),
        on_the_pair(kinds, exact, inference.vary, codes=kinds.batch({"z": one["z"][None]}, "z"), direction=direction),
        on_the_pair(kinds, exact, inference.traverse, code=kinds.any_of(None)),
        on_the_pair(kinds, exact, inference.latent_map, method=kinds.choice("pca")),
        on_the_pair(kinds, exact, inference.aggregate_posterior, examples=15),
        on_the_pair(kinds, exact, inference.mutual_information_gap, factors=factors),
        on_the_pair(kinds, exact, inference.factor_vae_score, factors=factors, group_size=kinds.count(2)),
    ):
        fuzz(case)


@pytest.fixture
def trainable():
    """A pair of modules, and its data."""
    torch.manual_seed(0)
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(3, 0.5), MLP(2, (3,), [4]))
    return model, NormalGuide(MLP((3,), 4, [4])), {"x": torch.randn(8, 3)}


def test_fit(trainable, kinds, fuzz, tmp_path):
    model, guide, data = trainable
    floats = {"clip_norm": kinds.real(0.1, 2.0, refused=(-1.0,)), "average": kinds.real(0.0, 0.9, refused=(-1.0, 1.5))}
    own = {"epochs": kinds.count(1, 2), "batch_size": kinds.count(2, 8), "patience": kinds.count(), **floats}
    own |= {"valid": kinds.batch(data), "resume": kinds.any_of(False), "precision": kinds.choice("fp32")}
    own |= {"optim": kinds.any_of(torch.optim.SGD), "loss": kinds.any_of(None), "device": kinds.choice("cpu")}
    own |= {"scheduler": kinds.any_of(None), "batches": kinds.any_of(None)}

    def check(result, epochs, **arguments):
        assert result.rows[-1]["epoch"] <= epochs

    def fresh(**arguments):
        """The pair is trained in place, so hostile data must not spoil it for the next call."""
        torch.manual_seed(0)
        for part in (model, guide):
            [layer.reset_parameters() for layer in part.modules() if isinstance(layer, torch.nn.Linear)]
        return inference.fit(**arguments)

    shared = {"model": kinds.program(model), "guide": kinds.program(guide), "data": kinds.batch(data)}
    case = kinds.case(inference.fit, **shared, **own, check=check, examples=60)
    fuzz(case._replace(call=fresh))


def test_tools_of_a_trainable_pair(trainable, kinds, fuzz):
    model, guide, data = trainable
    shared = {"model": kinds.program(model), "guide": kinds.program(guide)}
    gaps = {"data": kinds.batch(data), "num_steps": kinds.count(10, 11)}
    fuzz(kinds.case(inference.gaps, **shared, **gaps, examples=15))
    noise = {"batch": kinds.batch(data), "objective": kinds.any_of(inference.ELBO())}
    fuzz(kinds.case(inference.gradient_noise, **shared, **noise))
    gappy = incomplete(data["x"], torch.rand(8, 3) < 0.5)

    def masked(x=None, mask=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            inner = dist.Normal(z.sum(-1, keepdim=True).expand(*z.shape[:-1], 3), 1.0)
            return pyro.sample("x", inner.mask(True if mask is None else mask).to_event(1), obs=x)

    shared["model"] = kinds.program(masked)
    for tool in (inference.impute, inference.imputations):
        fuzz(kinds.case(tool, **shared, data=kinds.batch(gappy)))


def test_tools_of_labels(kinds, fuzz):
    torch.manual_seed(0)
    decoder, encoder = JointMLP([2, 3], (4,), [5]), JointMLP([4, 3], 4, [5])
    model = SemiSupervisedVAE(priors.StandardNormal(2), likelihoods.Normal(4, 1.0), decoder, 3)
    guide = SemiSupervisedGuide(MLP((4,), 3, [5]), NormalGuide(encoder))
    data = {"x": torch.randn(9, 4), "y": torch.arange(9) % 3}
    for name in ("x", "y"):
        for tool in (inference.classify, inference.accuracy):
            shared = {"model": kinds.program(model), "guide": kinds.program(guide)}
            fuzz(kinds.case(tool, **shared, data=kinds.batch(data, name), label=kinds.choice("y")))
        shared = {"model": kinds.program(model), "guide": kinds.program(guide), "data": kinds.batch(data, name)}
        fuzz(kinds.case(inference.evaluate, **shared)._replace(name=f"evaluate[{name}]"))
