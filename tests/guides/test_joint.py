"""Joint guides of a component and a code, and the mixture whose component is a site."""

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyrovae.errors import SettingError
from pyrovae.guides import JointGuide, NormalGuide, Responsibilities
from pyrovae.inference import Enumerated, decode, encode, evaluate, generate, log_evidence
from pyrovae.inference.pair.contract import local_params
from pyrovae.models import VAE, ConditionalNormal, MixtureVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

K, D = 3, 2


@pytest.fixture
def model():
    prior = ConditionalNormal(MLP(K, 2 * D, ()))
    made = MixtureVAE(priors.OneHot(K, learned=True), prior, likelihoods.Normal(4, scale=0.5), MLP(D, 4, (5,)))
    torch.nn.init.normal_(made.components.logits)
    return made.double()


@pytest.fixture
def guide(model):
    shares = Responsibilities(model.components, model.prior)
    return JointGuide(shares, NormalGuide(MLP(4, 2 * D, (5,))), factorised=True).double()


def mixture_prior(model):
    """The same p(z), with the component summed out."""
    normal = model.prior(torch.eye(K).double()).base_dist
    logits = model.components.logits.detach()
    return dist.MixtureOfDiagNormals(normal.loc.detach(), normal.scale.detach(), logits)


def test_the_responsibilities_are_those_of_bayes(model, guide):
    z = torch.randn(6, D).double()
    with poutine.trace() as trace, poutine.condition(data={"z": z}):
        model(size=6)
    found = guide.classifier(z).softmax(-1)
    for k in range(K):
        c = torch.eye(K)[k].double().expand(6, K)
        joint = model.components().log_prob(c) + model.prior(c).log_prob(z)
        torch.testing.assert_close(found[:, k], (joint - mixture_prior(model).log_prob(z)).exp())
    assert not list(guide.classifier.parameters())
    assert trace.trace.nodes["c"]["value"].shape == (6, K)


def test_the_draws_of_z_have_the_moments_of_the_mixture(model):
    with poutine.trace() as trace:
        model(size=40_000)
    z, mixture = trace.trace.nodes["z"]["value"], mixture_prior(model)
    normal = model.prior(torch.eye(K).double()).base_dist
    weights = mixture.component_logits.softmax(-1) if hasattr(mixture, "component_logits") else None
    weights = model.components.logits.softmax(-1) if weights is None else weights
    mean = weights @ normal.loc
    square = weights @ (normal.loc.square() + normal.scale.square())
    torch.testing.assert_close(z.mean(0), mean, rtol=0, atol=0.03)
    torch.testing.assert_close(z.square().mean(0), square, rtol=0.05, atol=0.05)


class Mixed(torch.nn.Module):
    """A mixture of normals as a prior of a VAE."""

    def __init__(self, model):
        super().__init__()
        self.model = (model,)

    def forward(self):
        return mixture_prior(self.model[0])


def test_the_evidence_is_that_of_the_vae_with_the_mixture_as_its_prior(model, guide):
    """log p(x) by importance sampling with the component as a latent, and with it summed out."""
    batch = {"x": torch.randn(5, 4).double()}
    plain = VAE(Mixed(model), model.likelihood, model.decoder)
    options = {"num_samples": 20_000, "seed": 1}
    ours = log_evidence(model, guide, batch, **options)
    theirs = log_evidence(plain, guide.guide, batch, **options)
    assert ours.value == pytest.approx(theirs.value, abs=4 * (ours.error**2 + theirs.error**2) ** 0.5 + 0.02)


def test_the_bound_of_the_factorised_guide_is_below_that_of_the_mixture(model, guide):
    """By KL(q(c | x) || p(c | z)), which is at least 0."""
    x = torch.randn(5, 4).double()
    with local_params(model, guide):
        torch.manual_seed(1)
        ours = -Enumerated(500).loss(model, guide, x)
    exact = evaluate(VAE(Mixed(model), model.likelihood, model.decoder), guide.guide, {"x": x}, num_samples=500).elbo
    assert ours.item() / 5 < exact.value + 0.05


def test_a_factorised_code_does_not_depend_on_the_component(model, guide):
    x = torch.randn(4, 4).double()
    with pyro.plate("components", K, dim=-2):
        values = {"c": torch.eye(K).double().unsqueeze(1).expand(K, 4, K)}
        with poutine.trace() as trace, poutine.condition(data=values):
            guide(x)
    loc = trace.trace.nodes["z"]["fn"].base_dist.loc
    assert torch.equal(loc[0], loc[1])


def test_a_joint_code_depends_on_the_component(model):
    guide = JointGuide(MLP(4, K, (5,)), NormalGuide(JointMLP([4, K], 2 * D, (5,)))).double()
    x, locs = torch.randn(4, 4).double(), []
    for k in range(2):
        with poutine.trace() as trace, poutine.condition(data={"c": torch.eye(K).double()[k].expand(4, K)}):
            guide(x)
        locs.append(trace.trace.nodes["z"]["fn"].base_dist.loc)
    assert not torch.allclose(*locs)


def test_the_code_of_a_component_is_the_most_probable_corner(model, guide):
    batch = {"x": torch.randn(6, 4).double()}
    c = encode(model, guide, batch)["c"]
    logits = guide.classifier(guide.guide.given(batch["x"]).mean)
    assert torch.equal(c.argmax(-1), logits.argmax(-1))
    assert ((c == 0) | (c == 1)).all()


def test_generation_from_one_component(model):
    c = torch.eye(K).double()
    x = decode(model, {"c": c, "z": model.prior(c).mean})
    torch.testing.assert_close(x, model.likelihood(model.decoder(model.prior(c).mean)).mean)
    assert generate(model, 7).shape == (7, 4)


def test_settings_without_a_meaning(says):
    with says(SettingError, "factorised"):
        JointGuide(MLP(4, K, (5,)), NormalGuide(MLP(4, 2 * D, (5,))), factorised=None)


@pytest.mark.parametrize("learned", [True, False])
def test_the_prior_of_a_component(learned, says):
    prior = priors.OneHot(4, learned=learned)
    assert len(list(prior.parameters())) == int(learned)
    assert "logits" not in prior.state_dict() or learned
    torch.testing.assert_close(prior().log_prob(torch.eye(4)).exp(), torch.full((4,), 0.25))
    assert prior().enumerate_support().shape == (4, 4)
    assert repr(prior) == f"OneHot(4, learned={learned})"
    with says(SettingError, "components"):
        priors.OneHot(0)
    with says(SettingError, "learned"):
        priors.OneHot(2, learned="yes")
