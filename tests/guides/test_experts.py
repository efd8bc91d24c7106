"""The guide of several modalities: products and mixtures of experts, for each subset that a data point has."""

from functools import partial

import pyro.distributions as dist
import pytest
import torch

from pyrovae.data import every_subset
from pyrovae.errors import SettingError
from pyrovae.guides import ExpertsGuide
from pyrovae.inference import ELBO, IWAE, SVI
from pyrovae.models import MultimodalVAE, likelihoods, priors
from pyrovae.models.distributions import UniformMixture
from pyrovae.networks.dense import MLP
from pyrovae.numeric import bounded_scale

NAMES = ("a", "b", "c")


@pytest.fixture
def build():
    """A guide of three modalities of two numbers, and of one latent."""
    return lambda combine: ExpertsGuide({name: MLP(2, 2, (5,)).double() for name in NAMES}, combine)


@pytest.fixture
def batch():
    return {name: torch.randn(4, 2).double() for name in NAMES}


GRID = torch.linspace(-40, 40, 80_001, dtype=torch.float64)


def experts(guide, batch):
    """The density of each expert on the grid, `(B, G)`, by name."""
    found = {}
    for name, x in batch.items():
        loc, raw_scale = guide.encoders[name](x).chunk(2, -1)
        found[name] = dist.Normal(loc, bounded_scale(raw_scale)).log_prob(GRID).exp()
    return found


def normalised(density):
    return density / (density.sum(-1, keepdim=True) * (GRID[1] - GRID[0]))


def on_grid(fn):
    return fn.log_prob(GRID[:, None, None]).exp().T


def test_the_product_is_that_of_the_prior_and_the_experts(build, batch):
    guide = build("product")
    prior = dist.Normal(0.0, 1.0).log_prob(GRID).exp()
    for subset in every_subset(NAMES):
        part = {name: batch[name] for name in subset}
        each = experts(guide, part)
        wanted = normalised(prior * torch.stack(list(each.values())).prod(0))
        torch.testing.assert_close(on_grid(guide.given(**part)), wanted, rtol=1e-6, atol=1e-9)


def test_the_mixture_is_the_mean_of_the_experts(build, batch):
    guide = build("mixture")
    for subset in every_subset(NAMES):
        part = {name: batch[name] for name in subset}
        wanted = torch.stack(list(experts(guide, part).values())).mean(0)
        torch.testing.assert_close(on_grid(guide.given(**part)), wanted, rtol=1e-6, atol=1e-9)


def test_the_mixture_of_products_is_the_mean_over_the_subsets(build, batch):
    guide = build("mixture-of-products")
    for subset in every_subset(NAMES):
        part = {name: batch[name] for name in subset}
        each = experts(guide, part)
        products = [normalised(torch.stack([each[name] for name in few]).prod(0)) for few in every_subset(subset)]
        torch.testing.assert_close(on_grid(guide.given(**part)), torch.stack(products).mean(0), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("combine", ["product", "mixture", "mixture-of-products"])
def test_each_data_point_has_the_posterior_of_its_own_modalities(build, batch, combine):
    """In one batch, with flags, as alone, without what is missing; what is hidden has no effect."""
    guide = build(combine)
    subsets = [("a",), ("b", "c"), ("a", "b", "c"), ("c",)]
    flags = {f"has_{name}": torch.tensor([name in subset for subset in subsets]) for name in NAMES}
    hidden = {n: torch.where(flags[f"has_{n}"][:, None], x, torch.nan) for n, x in batch.items()}
    together = on_grid(guide.given(**hidden, **flags))
    for row, subset in enumerate(subsets):
        alone = guide.given(**{name: batch[name][row : row + 1] for name in subset})
        torch.testing.assert_close(together[row], on_grid(alone)[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(guide.given(**hidden, **flags).mean[row], alone.mean[0])


@pytest.mark.parametrize("combine", ["product", "mixture", "mixture-of-products"])
def test_without_anything_it_is_the_prior(build, batch, combine):
    """Rows with something are as before; those without have N(0, I), in density and moments."""
    guide, some = build(combine), torch.tensor([True, True, False, False])
    q, full = guide.given(**batch, **{f"has_{name}": some for name in NAMES}), guide.given(**batch)
    z = torch.randn(5, 4, 2, dtype=q.mean.dtype)
    torch.testing.assert_close(q.log_prob(z)[:, :2], full.log_prob(z)[:, :2])
    torch.testing.assert_close(q.log_prob(z)[:, 2:], torch.distributions.Normal(0, 1).log_prob(z[:, 2:]).sum(-1))
    assert (q.mean[2:] == 0).all()
    assert (q.stddev[2:] == 1).all()


def test_another_combination(says):
    with says(SettingError, "combine", "'product'"):
        ExpertsGuide({"x": MLP(2, 2)}, "sum")


# ---------------------------------------------------------------------------- gradients, against the exact integral


@pytest.mark.parametrize("loss", [ELBO, partial(ELBO, 2), partial(IWAE, 1, gradient="stl"), partial(IWAE, 1)])
@pytest.mark.parametrize("combine", ["mixture", "mixture-of-products"])
def test_the_gradient_of_the_bound_is_that_of_the_integral(combine, loss):
    """The mean gradient of many draws against that of the ELBO, an integral over one latent on a grid."""
    torch.manual_seed(1)
    likelihood = {name: likelihoods.Normal(1, scale=0.8) for name in ("a", "b")}
    decoders = {name: MLP(1, 1, ()).double() for name in likelihood}
    model = MultimodalVAE(priors.StandardNormal(1).double(), likelihood, decoders).double()
    guide = ExpertsGuide({name: MLP(1, 2, ()).double() for name in likelihood}, combine)
    data = {name: torch.full((1, 1), value).double() for name, value in (("a", 0.7), ("b", -0.4))}
    parameters = list(guide.parameters())

    line = torch.linspace(-12, 12, 4001, dtype=torch.float64)[:, None, None]
    log_q = guide.given(**data).log_prob(line)
    log_p = model.prior().log_prob(line)
    log_p = log_p + sum(likelihood[n](decoders[n](line)).log_prob(data[n]) for n in data)
    elbo = (log_q.exp() * (log_p - log_q)).sum() * (line[1] - line[0])
    exact = torch.autograd.grad(elbo, parameters)

    size = 20_000
    many = {name: x.expand(size, 1) for name, x in data.items()}
    value = loss().differentiable_loss(model, guide, **many) / -size
    for ours, theirs in zip(torch.autograd.grad(value, parameters), exact, strict=True):
        torch.testing.assert_close(ours, theirs.reshape(ours.shape), rtol=0.05, atol=0.05)


def test_stratified_draws_have_less_noise():
    """Two draws, one of each expert, against two draws that are independent: E log p + log q of far experts."""
    torch.manual_seed(0)
    loc = torch.tensor([[-3.0], [1.0]]).expand(20_000, 2, 1)
    q = UniformMixture(loc, torch.full_like(loc, 0.1), torch.ones(20_000, 2, dtype=torch.bool))
    together = q.rsample((2,)).mean(0).var()
    apart = torch.stack([q.rsample(), q.rsample()]).mean(0).var()
    assert together < 0.01 * apart


def test_it_trains(build):
    """A few steps, with a modality that is missing at some data points."""
    guide = ExpertsGuide({name: MLP(2, 4, (5,)) for name in NAMES}, "mixture-of-products")
    likelihood = {name: likelihoods.Normal(2, scale=0.5) for name in NAMES}
    model = MultimodalVAE(priors.StandardNormal(2), likelihood, {name: MLP(2, 2, (5,)) for name in NAMES})
    z = torch.randn(64, 2)
    data = {name: z + 0.1 * torch.randn(64, 2) for name in NAMES} | {"has_b": torch.rand(64) < 0.5}
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), loss=IWAE(4), compile=False)
    losses = svi.steps(data, 60, order=torch.arange(64).expand(60, 64))
    assert losses[-10:].mean() < 0.8 * losses[:10].mean()
