"""Normal guides: the density of the diagonal one, a posterior outside its family, and the factor of the full one."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.guides import FullNormalGuide, NormalGuide
from pyrovae.inference import Annealing, annealed, evaluate
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.networks.dense import MLP


@pytest.fixture
def guide():
    return NormalGuide(MLP((2, 3), 8, (5,)))


def test_its_density_is_the_normal_of_its_encoder(guide):
    x = torch.randn(7, 2, 3)
    trace = poutine.trace(guide).get_trace(x)
    loc, raw = guide.encoder(x).chunk(2, dim=-1)
    scale = torch.exp(7 * torch.tanh(raw / 7))
    trace.compute_log_prob()
    z = trace.nodes["z"]["value"]
    assert z.shape == (7, 4)
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], dist.Normal(loc, scale).log_prob(z).sum(-1))
    assert trace.nodes["_RETURN"]["value"] is z


def test_it_has_one_site_in_the_data_plate(guide):
    trace = poutine.trace(guide).get_trace(torch.randn(7, 2, 3))
    assert trace.stochastic_nodes == ["data", "z"]
    assert not trace.observation_nodes
    (frame,) = trace.nodes["z"]["cond_indep_stack"]
    assert (frame.name, frame.dim, frame.size) == ("data", -1, 7)


def test_its_draws_are_reparameterised(guide):
    guide(torch.randn(7, 2, 3)).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in guide.parameters())


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_leading_dimensions_of_the_posterior(guide, lead):
    q = guide.posterior(torch.zeros(*lead, 8))
    assert (q.batch_shape, q.event_shape) == (lead, (4,))


def test_samples_vectorise(guide):
    with pyro.plate("samples", 6, dim=-2):
        assert guide(torch.randn(7, 2, 3)).shape == (6, 7, 4)


def test_its_scale_is_bounded(guide):
    scale = guide.posterior(torch.tensor([0.0, 0.0, 0.0, 0.0, -1e6, -1.0, 1.0, 1e6])).base_dist.scale
    assert scale.min().item() == pytest.approx(math.exp(-7), rel=1e-4)
    assert scale.max().item() == pytest.approx(math.exp(7), rel=1e-4)


def test_it_leaves_no_trace_in_the_global_store(guide):
    guide(torch.randn(7, 2, 3))
    assert not list(pyro.get_param_store())
    assert pyro.settings.get("module_local_params") is False


def test_a_state_dict_goes_round(guide):
    other, x = NormalGuide(MLP((2, 3), 8, (5,))), torch.randn(7, 2, 3)
    other.load_state_dict(guide.state_dict())
    torch.manual_seed(1)
    z = guide(x)
    torch.manual_seed(1)
    assert torch.equal(other(x), z)


def test_data_of_another_shape(guide, says):
    with says(ShapeError, "(*, 2, 3)", "(7, 3, 2)"):
        guide(torch.randn(7, 3, 2))


def test_repr_names_the_encoder(guide):
    assert "NormalGuide" in repr(guide)
    assert "MLP" in repr(guide)


# ------------------------------------------------------------------------------- other covariances, other posteriors


def test_the_factor_of_the_full_guide_has_each_number_once():
    params = torch.arange(1.0, 15.0) / 7
    q = FullNormalGuide(nn.Identity()).posterior(params)
    factor = q.scale_tril
    assert torch.equal(factor, factor.tril())
    raw = factor.tril(-1) + torch.diag(7 * torch.atanh(factor.diagonal().log() / 7))
    entries = raw[tuple(torch.tril_indices(4, 4))]
    torch.testing.assert_close(entries.sort().values, params[4:])
    torch.testing.assert_close(q.loc, params[:4])


def test_of_two_modes_the_diagonal_guide_finds_one_and_misses_log_2(folded, constant, trained):
    model, x, log_evidence = folded
    guide = NormalGuide(constant(1.0, 0.0, -0.5, 0.0))
    assert trained(model, guide, x) == pytest.approx(log_evidence - math.log(2), abs=0.05)
    data = {"x": x.expand(16)}
    z = torch.cat([trace_pair(model, guide, data).latent()["z"][0]["value"] for _ in range(50)])
    assert (z[:, 0] > 0).float().mean().item() > 0.95
    assert evaluate(model, guide, data, num_samples=1000, compile=False).log_evidence.value < log_evidence - 0.3
    seen = annealed(model, guide, data, Annealing(start="prior"))
    assert seen.log_evidence.value == pytest.approx(log_evidence, abs=0.1)
