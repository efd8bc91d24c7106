"""Data outside the support of their site are refused wherever a pair meets data, and not by `fit` alone."""

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import NonFiniteError, ShapeError, SupportError
from pyrovae.guides import ConditionalGuide, NormalGuide, SemiSupervisedGuide, ZeroFilled
from pyrovae.inference import (
    annealed,
    anomaly_scores,
    calibration,
    diagnose,
    evaluate,
    generate,
    log_evidence,
    posterior,
    prior,
)
from pyrovae.inference.pair import check_pair
from pyrovae.models import VAE, ConditionalVAE, Masked, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks import JointMLP
from pyrovae.networks.dense import MLP

SIZE, DIM, CLASSES = 9, 4, 3
TOOLS = [evaluate, log_evidence, posterior, annealed, diagnose, anomaly_scores]


def dense(likelihood):
    shape = likelihood.event_shape
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (4,)))
    return model, NormalGuide(MLP(shape, 4, (4,)))


def spoilt(x, value):
    """One number of the last row is another one: the first rows, and the first batch, are right."""
    x[-1, 1] = value
    return {"x": x}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize(
    ("likelihood", "value", "words"),
    [
        (likelihoods.Bernoulli(DIM), 0.3, ["Bernoulli", "0.3", "Binarize()"]),
        (likelihoods.Bernoulli(DIM), 255.0, ["Bernoulli", "255", "Scale()"]),
        (likelihoods.Poisson(DIM), 2.5, ["Poisson", "2.5", "raw counts"]),
        (likelihoods.ContinuousBernoulli(DIM), -0.5, ["ContinuousBernoulli", "-0.5"]),
    ],
)
def test_one_value_outside_the_support(tool, likelihood, value, words, says):
    data = spoilt(torch.ones(SIZE, DIM), value)
    with says(SupportError, "site 'x'", *words):
        tool(*dense(likelihood), data)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.__name__)
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_one_value_that_is_not_finite(tool, value, says):
    with says(NonFiniteError, "site 'x'", "NaN or infinite", "1 NaN", "rows [8] of the data"):
        tool(*dense(likelihoods.Normal(DIM)), spoilt(torch.randn(SIZE, DIM), value))


def test_grey_levels_at_a_bernoulli_of_the_users_own(says):
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=z).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x, 1.0).to_event(1))

    with says(SupportError, "requires values in {0, 1}", 'transform=data.Binarize("dynamic")'):
        check_pair(model, guide, {"x": torch.rand(4, 2)})
    with says(SupportError, "requires values in {0, 1}", "Transform the data"):
        check_pair(model, guide, {"x": 255 * torch.rand(4, 2)})


def test_a_single_draw_is_checked_batch_by_batch(says):
    with says(SupportError, "Poisson", "2.5"):
        evaluate(*dense(likelihoods.Poisson(DIM)), spoilt(torch.ones(SIZE, DIM), 2.5), num_samples=1)


@pytest.mark.parametrize(
    ("family", "value"), [(lambda h: dist.Gamma(h.exp(), 1.0), -1.0), (lambda h: dist.Geometric(logits=h), 0.5)]
)
def test_a_distribution_of_the_users_own_program(family, value, says):
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(DIM), 1.0).to_event(1))
            pyro.sample("x", family(z).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(len(x), DIM), 1.0).to_event(1))

    assert evaluate(model, guide, {"x": torch.ones(SIZE, DIM)}, num_samples=2).elbo.value < 0
    with says(SupportError, "site 'x'", f"{value:g}"):
        evaluate(model, guide, spoilt(torch.ones(SIZE, DIM), value), num_samples=2)


def test_entries_that_a_mask_hides_may_be_anything(says):
    model, guide = dense(likelihoods.Poisson(DIM))
    masked, filled = Masked(model), ZeroFilled(guide)
    x, mask = torch.ones(SIZE, DIM), torch.ones(SIZE, DIM, dtype=torch.bool)
    x[-1, 1], mask[-1, 1] = torch.nan, False
    assert evaluate(masked, filled, {"x": x, "mask": mask}, num_samples=3).elbo.value < 0
    mask[-1, 1] = True
    with says(NonFiniteError, "site 'x'"):
        evaluate(masked, filled, {"x": x, "mask": mask}, num_samples=3)


# ------------------------------------------------------------------------------------------ labels


@pytest.fixture
def conditional():
    model = ConditionalVAE(priors.StandardNormal(2), likelihoods.Normal(DIM), JointMLP([2, CLASSES], DIM, (4,)))
    return model, ConditionalGuide(NormalGuide(JointMLP([DIM, CLASSES], 4, (4,))))


@pytest.fixture
def semi_supervised():
    decoder, encoder = JointMLP([2, CLASSES], DIM, (4,)), JointMLP([DIM, CLASSES], 4, (4,))
    model = SemiSupervisedVAE(priors.StandardNormal(2), likelihoods.Normal(DIM), decoder, CLASSES)
    return model, SemiSupervisedGuide(MLP(DIM, CLASSES, (4,)), NormalGuide(encoder))


def labelled(last):
    y = torch.arange(SIZE) % CLASSES
    y[-1] = last
    return {"x": torch.randn(SIZE, DIM), "y": y}


@pytest.mark.parametrize("last", [CLASSES, 99, -1])
def test_labels_that_the_networks_do_not_know(last, conditional, says):
    for function in (check_pair, evaluate, posterior):
        function(*conditional, labelled(2))
        with says(SupportError, "'y'", "{0, ..., 2}", str(last), "Number the labels from 0"):
            function(*conditional, labelled(last))


@pytest.mark.parametrize("last", [CLASSES, 99, -1])
def test_labels_to_generate_from(last, conditional, says):
    y = torch.tensor([0, 1, last])
    tools = [
        lambda given: generate(conditional[0], 3, given=given),
        lambda given: prior(conditional[0], 4, given=given),
        lambda given: calibration(*conditional, 25, given={"y": given["y"].repeat(9)}),
    ]
    for tool in tools:
        tool({"y": y.clamp(0, 2)})
        with says(SupportError, "'y'", "{0, ..., 2}", str(last)):
            tool({"y": y})


def test_labels_of_shape_n_1(conditional, says):
    data = labelled(2)
    data["y"] = data["y"].unsqueeze(-1)
    for function in (check_pair, evaluate):
        with says(ShapeError, "y.squeeze(-1)", "(B,)"):
            function(*conditional, data)


def test_labels_of_a_latent_site(semi_supervised, says):
    assert evaluate(*semi_supervised, labelled(-1), num_samples=3).elbo.value < 0
    for wrong in (CLASSES, -2):
        for function in (check_pair, evaluate):
            with says(SupportError, "'y'", str(wrong), "-1 where they are unknown"):
                function(*semi_supervised, labelled(wrong))
    missing = labelled(-1)
    missing["y"] = missing["y"].float()
    missing["y"][-1] = torch.nan
    with says(SupportError, "'y'", "nan", "-1"):
        evaluate(*semi_supervised, missing)
