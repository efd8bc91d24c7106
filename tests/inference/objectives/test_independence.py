"""FactorVAE's classifier where the total correlation is known, and DIP-VAE's covariance against its formula."""

import math
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae.errors import CheckpointError, PairError, SettingError, ShapeError
from pyrovae.guides import FullNormalGuide, NormalGuide
from pyrovae.inference import DIPVAE, ELBO, SVI, FactorVAE, Linear, fit
from pyrovae.inference.pair.contract import local_params
from pyrovae.inference.pair.tracing import sites
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

RHO = 0.8
TOTAL_CORRELATION = -0.5 * math.log(1 - RHO**2)


class Quadratic(nn.Module):
    """A logit a + b z1 z2 + c |z|^2: that of two normals of one covariance RHO is in this family."""

    def __init__(self):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(3).double())

    def forward(self, z):
        features = torch.stack([torch.ones(len(z)).double(), z[:, 0] * z[:, 1], z.square().sum(-1)], -1)
        return features @ self.weights


def correlated(size):
    covariance = torch.tensor([[1.0, RHO], [RHO, 1.0]]).double()
    return dist.MultivariateNormal(torch.zeros(2).double(), covariance).sample((size,))


def test_the_classifier_at_its_optimum_gives_the_total_correlation():
    """log N(z; R) - log N(z; I) = -log det R / 2 + [2 rho z1 z2 - rho^2 |z|^2] / 2 (1 - rho^2)."""
    classifier = Quadratic()
    objective, codes = FactorVAE(classifier), correlated(10_000)
    optimizer = torch.optim.Adam(classifier.parameters(), lr=0.1)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 0.1 * (1 - step / 150)
        optimizer.zero_grad()
        objective.cross_entropy(codes).backward()
        optimizer.step()
    wanted = torch.tensor([TOTAL_CORRELATION, RHO / (1 - RHO**2), -0.5 * RHO**2 / (1 - RHO**2)]).double()
    torch.testing.assert_close(classifier.weights.detach(), wanted, rtol=0.1, atol=0.08)
    assert objective.log_ratio(codes).mean().item() == pytest.approx(TOTAL_CORRELATION, abs=0.04)


def test_the_shuffled_codes_are_independent():
    """The mean of z1 z2 falls from RHO to 0; each dimension keeps its values."""
    seen = []

    class Noting(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()).double())

        def forward(self, z):
            seen.append(z)
            return z[:, :1] * self.weight

    codes = correlated(20_000)
    FactorVAE(Noting()).cross_entropy(codes)
    kept, shuffled = seen[0].split(len(codes))
    assert torch.equal(kept, codes)
    assert kept.prod(-1).mean().item() == pytest.approx(RHO, abs=0.03)
    assert shuffled.prod(-1).mean().item() == pytest.approx(0.0, abs=0.03)
    assert torch.equal(shuffled.sort(0).values, codes.sort(0).values)
    assert not torch.equal(shuffled, codes)


def pieces(objective, model, guide, x):
    """The particles of an objective, and its bound."""
    with local_params(model, guide):
        objective.loss(model, guide, x)
        particles = objective.draw(partial(model, x), partial(guide, x))
        return particles, objective.bound(particles)


def test_the_bound_and_whom_its_gradient_reaches(small, binary):
    """The penalty is gamma times the logit; the pair's gradient is that of it, the classifier's that of its entropy."""
    (model, guide), classifier = small(), MLP(2, 1, (5,))
    objective = FactorVAE(classifier, gamma=3.0)
    particles, _ = pieces(objective, model, guide, binary())
    z = sites(particles.pair.guide)["z"]["value"]
    torch.manual_seed(1)
    bound = objective.bound(particles)
    wanted = particles.terms.log_weight[0] - 3 * classifier(z).squeeze(-1)
    torch.testing.assert_close(bound, wanted)
    weight, own = guide.encoder.layers[0].weight, list(classifier.parameters())
    (ours,) = torch.autograd.grad(bound.sum(), weight, retain_graph=True)
    (theirs,) = torch.autograd.grad(wanted.sum(), weight, retain_graph=True)
    torch.testing.assert_close(ours, theirs)
    found = torch.autograd.grad(-bound.sum(), own, retain_graph=True)
    torch.manual_seed(1)
    entropy = torch.autograd.grad(len(z) * objective.cross_entropy(z.detach()), own)
    torch.testing.assert_close(found, entropy)


def test_without_weight_it_is_the_elbo(small, binary, loss):
    model, guide = small()
    torch.testing.assert_close(
        loss(FactorVAE(MLP(2, 1, (5,)), 0.0), model, guide, binary()), loss(ELBO(), model, guide, binary())
    )


def test_a_guide_that_is_no_product(binary):
    """A full covariance: beta-TCVAE refuses it, the classifier does not."""
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), MLP(2, 6, (7,)))
    guide = FullNormalGuide(MLP(6, 5, (7,)))
    assert FactorVAE(MLP(2, 1, (5,))).loss(model, guide, binary()).isfinite()


def training(pair, objective, binary, **options):
    options = {"epochs": 4, "batch_size": 4, "compile": False, "progress": False} | options
    return fit(*pair, {"x": binary(10)}, loss=objective, **options)


def test_the_optimizer_trains_the_classifier_too(small, binary):
    objective = FactorVAE(MLP(2, 1, (5,)), Linear(0.0, 3.0, 5))
    before = [p.clone() for p in objective.parameters()]
    pair = small()
    history = training(pair, objective, binary)
    assert all(not torch.equal(a, b) for a, b in zip(before, objective.parameters(), strict=True))
    assert all(p.grad is None for p in objective.parameters())
    assert history["train_elbo"][-1] != -history["loss"][-1]


def test_a_resumed_training_is_bit_exact(small, binary, tmp_path):
    """The weights of the classifier, and their optimizer's moments, continue where they were."""
    make = partial(FactorVAE, gamma=Linear(0.0, 3.0, 9))
    whole, parts = small(), small()
    for a, b in zip(parts, whole, strict=True):
        a.load_state_dict(b.state_dict())
    nets = [MLP(2, 1, (5,)) for _ in range(3)]
    nets[1].load_state_dict(nets[0].state_dict())
    through = training(whole, make(nets[0]), binary)
    training(parts, make(nets[1]), binary, epochs=2, run=tmp_path)
    resumed = training(parts, make(nets[2]), binary, run=tmp_path, resume=True)  # nets[2] starts from other weights
    assert resumed.rows == through.rows
    for a, b in ((parts[0], whole[0]), (parts[1], whole[1]), (nets[2], nets[0])):
        for one, other in zip(a.parameters(), b.parameters(), strict=True):
            assert torch.equal(one, other)


def test_resuming_with_another_classifier(small, binary, tmp_path, says):
    pair = small()
    training(pair, FactorVAE(MLP(2, 1, (5,))), binary, epochs=1, run=tmp_path)
    with says(CheckpointError, "loss.classifier"):
        training(pair, FactorVAE(MLP(2, 1, (5, 5))), binary, run=tmp_path, resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["factor", "dip-i", "dip-ii"])
def test_captured_equals_eager(name, captured_only, small, binary):
    losses, trained = {}, {}
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = small()
        makes = {"factor": lambda: FactorVAE(MLP(2, 1, (5,))), "dip-i": partial(DIPVAE, kind="I"), "dip-ii": DIPVAE}
        objective = makes[name]().double()
        svi = SVI(model.double(), guide.double(), torch.optim.Adam, objective, compile=compile)
        losses[compile] = svi.steps({"x": binary().double()}, 6, order=torch.arange(8).expand(6, -1))
        trained[compile] = svi.parameters
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-10, atol=0)
    torch.testing.assert_close(trained[True], trained[False], rtol=0, atol=1e-8)


@pytest.mark.parametrize("kind", ["I", "II"])
def test_the_covariance_by_the_formula(small, binary, kind):
    model, guide = small(3)
    x, objective = binary(), DIPVAE(7.0, 5.0, kind=kind)
    particles, bound = pieces(objective, model, guide, x)
    q = guide.posterior(guide.encoder(x)).base_dist
    size = len(x)
    mean = sum(q.loc) / size
    wanted = sum(torch.outer(loc - mean, loc - mean) for loc in q.loc) / size
    if kind == "II":
        wanted = wanted + sum(torch.diag(scale**2) for scale in q.scale) / size
    torch.testing.assert_close(objective.covariance(particles), wanted)
    penalty = sum(
        (7 * wanted[i, j] ** 2 if i != j else 5 * (wanted[i, i] - 1) ** 2) for i in range(3) for j in range(3)
    )
    torch.testing.assert_close(bound, particles.terms.log_weight[0] - penalty)


def test_the_second_covariance_is_that_of_the_codes():
    """Over many draws, the covariance of z itself."""
    size = 50_000
    locs, scales = torch.randn(size, 2).cumsum(-1).double(), torch.rand(size, 2).double()

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros(len(x)), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(locs, scales).to_event(1))

    particles, _ = pieces(DIPVAE(), model, guide, torch.zeros(size))
    z = sites(particles.pair.guide)["z"]["value"]
    torch.testing.assert_close(DIPVAE().covariance(particles), torch.cov(z.mT), rtol=0, atol=0.04)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: FactorVAE(MLP(2, 1, (5,)), -1.0), "gamma"),
        (lambda: DIPVAE(-1.0), "off_diagonal"),
        (lambda: DIPVAE(diagonal=-1.0), "diagonal"),
        (lambda: DIPVAE(kind="III"), "kind"),
    ],
)
def test_settings_without_a_meaning(make, word, says):
    with says(SettingError, word):
        make()


@pytest.mark.parametrize("classifier", [None, nn.ReLU(), torch.sigmoid])
def test_no_classifier(classifier, says):
    with says(PairError, "FactorVAE requires a classifier with parameters", "MLP(D, 1, [256, 256])"):
        FactorVAE(classifier)


def test_a_classifier_of_two_logits(small, binary, says):
    with says(ShapeError, "one logit for each code", "(8, 2) for 8 codes"):
        FactorVAE(MLP(2, 2, (5,))).loss(*small(), binary())


def test_a_pair_of_two_latents(says, chain, guides_of_the_chain):
    run = partial(chain, {"up": torch.eye(2).double(), "out": torch.eye(2).double()})
    guide = partial(guides_of_the_chain["top-down"], torch.zeros(4, 3).double())
    x = torch.zeros(4, 2).double()
    with says(PairError, "FactorVAE requires one latent vector", "'z1' (2,)", "'z2' (2,)"):
        FactorVAE(MLP(2, 1, (5,))).loss(run, guide, x)
    with says(PairError, "DIPVAE requires one latent", "'z1'", "ELBO(kl_weight=...)"):
        DIPVAE().loss(run, guide, x)


def test_a_pyro_optimizer_would_not_train_the_classifier(small, says):
    with says(PairError, "FactorVAE has parameters of its own", "requires a torch optimizer", "PyroOptim"):
        SVI(*small(), pyro.optim.ClippedAdam({"lr": 1e-3}), FactorVAE(MLP(2, 1, (5,))))


def test_an_instance_without_the_classifier(small, binary, says):
    model, guide = small()
    optim = torch.optim.Adam([*model.parameters(), *guide.parameters()])
    with says(PairError, "optim requires an optimizer of all parameters", "classifier"):
        training((model, guide), FactorVAE(MLP(2, 1, (5,))), binary, optim=optim)


def test_a_product_is_required_of_dip(binary, says):
    model = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), MLP(2, 6, (7,)))
    with says(PairError, "DIPVAE requires a product over dimensions", "MultivariateNormal"):
        DIPVAE().loss(model, FullNormalGuide(MLP(6, 5, (7,))), binary())
    DIPVAE().loss(model, NormalGuide(MLP(6, 4, (7,))), binary())


@pytest.mark.parametrize("make", [partial(FactorVAE, MLP(2, 1, (5,))), DIPVAE])
def test_a_repr_says_what_it_is(make):
    objective = make()
    assert repr(objective).startswith(type(objective).__name__ + "(")
