"""Guides of hierarchies, on a linear-Gaussian hierarchy whose evidence and posterior are exact."""

import copy
import math

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from pyrovae.errors import PairError
from pyrovae.guides import BottomUpGuide, TopDownGuide
from pyrovae.inference import check_pair, evaluate
from pyrovae.inference.pair.scoring import log_terms
from pyrovae.inference.training.pair_weights import restore, weights
from pyrovae.models import ConditionalNormal, HierarchicalVAE, likelihoods, priors
from pyrovae.models.distributions import precision_weighted
from pyrovae.networks.dense import MLP


class LinearHierarchy:
    """p(z2) = Normal(0, I), p(z1 | z2) = Normal(A z2 + a, s1^2 I), p(x | z1) = Normal(B z1 + b, s0^2 I).

    So p(x) = Normal(B a + b, B (A A' + s1^2 I) B' + s0^2 I). With diagonal A and B the posterior is a product over
    dimensions, and both kinds of guides hold it.
    """

    def __init__(self, diagonal: bool, s1: float = 0.7, s0: float = 0.5) -> None:
        generator = torch.Generator().manual_seed(2)
        upper, lower = torch.eye(3) + 0.3 * torch.randn(2, 3, 3, generator=generator, dtype=torch.float64)
        if diagonal:
            upper, lower = upper.diagonal().diag_embed(), lower.diagonal().diag_embed()
        a, b = torch.randn(2, 3, generator=generator, dtype=torch.float64)
        step, decoder = linear(3, 6), linear(3, 3)
        with torch.no_grad():
            step.weight[:3], step.weight[3:] = upper, 0.0
            step.bias[:3], step.bias[3:] = a, 7 * math.atanh(math.log(s1) / 7)
            decoder.weight.copy_(lower), decoder.bias.copy_(b)
        likelihood = likelihoods.Normal(3, scale=s0).double()
        prior = priors.StandardNormal(3).double()
        self.model = HierarchicalVAE(prior, [ConditionalNormal(step)], likelihood, decoder).requires_grad_(False)
        covariance = upper @ upper.T + s1**2 * torch.eye(3)
        self.evidence = dist.MultivariateNormal(lower @ a + b, lower @ covariance @ lower.T + s0**2 * torch.eye(3))

    def data(self, size: int) -> dict[str, Tensor]:
        return {"x": self.evidence.sample((size,))}

    def guide(self, kind: str) -> BottomUpGuide | TopDownGuide:
        """An untrained guide whose family contains the exact posterior of the diagonal case."""
        if kind == "bottom-up":
            return BottomUpGuide([ConditionalNormal(linear(3, 6)), ConditionalNormal(linear(3, 6))])
        encoders = [nn.Identity(), nn.Identity()]
        return TopDownGuide(self.model, encoders, [ConditionalNormal(linear(3, 6)), ConditionalNormal(linear(3, 6))])


def linear(wide: int, narrow: int) -> nn.Linear:
    return nn.Linear(wide, narrow).double()


def train(model, guide, data):
    """Maximise the ELBO, with the same noise at each step."""
    optimizer = torch.optim.LBFGS(guide.parameters(), max_iter=100, history_size=20, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        torch.manual_seed(0)
        value = -log_terms(model, guide, data, 32).log_weight.mean()
        value.backward()
        return value

    optimizer.step(loss)


KINDS = ["bottom-up", "top-down"]


@pytest.mark.parametrize("kind", KINDS)
def test_both_guides_learn_the_exact_posterior_of_a_diagonal_hierarchy(kind):
    hierarchy = LinearHierarchy(diagonal=True)
    guide, data = hierarchy.guide(kind), hierarchy.data(64)
    train(hierarchy.model, guide, data)
    exact = hierarchy.evidence.log_prob(data["x"])
    measured = evaluate(hierarchy.model, guide, data, num_samples=200)
    assert measured.elbo.value <= exact.mean().item() + 4 * measured.elbo.error
    assert measured.elbo.value == pytest.approx(exact.mean().item(), abs=0.02)
    assert measured.log_evidence.value == pytest.approx(exact.mean().item(), abs=0.005)
    assert measured.per_datum["elbo_error"].max() < 0.05  # the weights hardly vary


@pytest.mark.parametrize("kind", KINDS)
def test_the_elbo_is_below_the_exact_evidence_and_importance_samples_find_it(kind):
    hierarchy = LinearHierarchy(diagonal=False)
    guide, data = hierarchy.guide(kind), hierarchy.data(64)
    train(hierarchy.model, guide, data)
    exact = hierarchy.evidence.log_prob(data["x"]).mean().item()
    measured = evaluate(hierarchy.model, guide, data, num_samples=4000)
    assert measured.elbo.value < exact - 0.02  # no diagonal guide has this posterior
    assert measured.log_evidence.value == pytest.approx(exact, abs=4 * measured.log_evidence.error)
    assert measured.log_evidence.error < 0.02


def test_the_bottom_up_density_is_a_chain(says):
    hierarchy = LinearHierarchy(diagonal=False)
    guide, x = hierarchy.guide("bottom-up"), hierarchy.data(5)["x"]
    trace = poutine.trace(guide).get_trace(x)
    z1, z2 = trace.nodes["z1"]["value"], trace.nodes["z2"]["value"]
    assert trace.stochastic_nodes == ["data", "z1", "z2"]
    first, second = guide.conditionals
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["z1"]["log_prob"], first(x).log_prob(z1))
    torch.testing.assert_close(trace.nodes["z2"]["log_prob"], second(z1).log_prob(z2))


def test_the_top_down_density_merges_messages_with_the_models_path():
    hierarchy = LinearHierarchy(diagonal=False)
    guide, x = hierarchy.guide("top-down"), hierarchy.data(5)["x"]
    trace = poutine.trace(guide).get_trace(x)
    z1, z2 = trace.nodes["z1"]["value"], trace.nodes["z2"]["value"]
    assert trace.stochastic_nodes == ["data", "z2", "z1"]
    first, second = guide.messages
    merged = precision_weighted(hierarchy.model.conditionals[0](z2), first(x))
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["z2"]["log_prob"], second(x).log_prob(z2))
    torch.testing.assert_close(trace.nodes["z1"]["log_prob"], merged.log_prob(z1))


# --------------------------------------------------------------------- a guide that runs the model's networks


@pytest.fixture
def pair():
    conditionals = [ConditionalNormal(MLP(2, 6, (5,))), ConditionalNormal(MLP(3, 8, (5,)))]
    model = HierarchicalVAE(priors.StandardNormal(2), conditionals, likelihoods.Bernoulli(9), MLP(4, 9, (5,)))
    messages = [ConditionalNormal(MLP(5, 2 * d, (4,))) for d in (4, 3, 2)]
    return model, TopDownGuide(model, [MLP(9, 5, (6,)), MLP(5, 5, (6,)), MLP(5, 5, (6,))], messages)


def test_parameters_are_registered_once(pair):
    model, guide = pair
    assert not {*model.parameters()} & {*guide.parameters()}
    assert all(name.startswith(("encoders.", "messages.")) for name in guide.state_dict())


def test_it_trains_the_models_networks_too(pair):
    model, guide = pair
    z = guide(torch.rand(5, 9))["z1"]
    z.sum().backward()
    assert all(p.grad is not None for conditional in model.conditionals for p in conditional.parameters())
    check_pair(model, guide, {"x": torch.rand(5, 9).round()})


def test_its_top_makes_a_vamp_prior(pair):
    model, guide = pair
    x = torch.rand(7, 9).round()
    model.prior = priors.VampPrior(guide.top, x[:3])
    z = torch.randn(2)
    each = torch.stack([guide.top(u).log_prob(z) for u in model.prior.pseudo_inputs()])
    torch.testing.assert_close(model.prior().log_prob(z), each.logsumexp(0) - math.log(3))
    check_pair(model, guide, {"x": x})


def same(one, other):
    x = {"x": torch.ones(5, 9)}
    draws = []
    for pair in (one, other):
        torch.manual_seed(3)
        draws.append(log_terms(*pair, x, 2).log_weight)
    return torch.equal(*draws)


def test_a_copy_of_the_pair_belongs_together(pair):
    twin = copy.deepcopy(pair)
    assert same(pair, twin)
    with torch.no_grad():
        for parameter in twin[0].parameters():
            parameter.add_(0.1)
    assert not same(pair, twin)
    twin[1](torch.ones(5, 9))["z1"].sum().backward()
    assert all(p.grad is None for p in pair[0].parameters())
    assert any(p.grad is not None for p in twin[0].parameters())


def test_weights_go_from_one_pair_to_another(pair):
    other = copy.deepcopy(pair)
    with torch.no_grad():
        for parameter in (*other[0].parameters(), *other[1].parameters()):
            parameter.add_(0.1)
    restore(*other, weights(*pair))
    assert same(pair, other)


def test_it_moves_with_the_model(pair):
    _, guide = pair[0].double(), pair[1].double()
    assert guide(torch.rand(5, 9).double())["z1"].dtype == torch.float64


def test_one_message_for_each_level(pair, says):
    model, guide = pair
    with says(PairError, "each of the model's 3 latents", "got 2 and 3"):
        TopDownGuide(model, guide.encoders[:2], guide.messages)


def test_repr_names_the_model(pair):
    assert "through HierarchicalVAE" in repr(pair[1])
