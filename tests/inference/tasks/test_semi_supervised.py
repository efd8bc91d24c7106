"""The classification term of M2's loss, against the sum over labels by hand, and the guide as a classifier."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import TraceEnum_ELBO, config_enumerate
from torch import nn

from pyrovae.data import Binarize
from pyrovae.errors import PairError
from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.inference import ELBO, SVI, Linear, Supervised, accuracy, classify, fit
from pyrovae.inference.pair.contract import call, local_params
from pyrovae.models import VAE, Program, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

X, CLASSES, LATENT = (1, 3, 3), 4, 2


def build():
    decoder, encoder = JointMLP([LATENT, CLASSES], X, (5,)), JointMLP([X, CLASSES], 2 * LATENT, (5,))
    model = SemiSupervisedVAE(priors.StandardNormal(LATENT), likelihoods.Bernoulli(X), decoder, CLASSES)
    return model.double(), SemiSupervisedGuide(MLP(X, CLASSES, (5,)), NormalGuide(encoder)).double()


class FixedNoise(nn.Module):
    """A posterior of z with fixed noise per label and data point, so a sum by hand has the same draws."""

    def __init__(self, guide, noise):
        super().__init__()
        self.encoder, self.inner, self.noise = guide.encoder, guide, noise

    def given(self, *inputs):
        return Fixed(self.inner.given(*inputs), self.noise)


class Fixed(dist.TorchDistribution):
    has_rsample = True
    arg_constraints = {}  # noqa: RUF012

    def __init__(self, normal, noise):
        self.normal, self.noise = normal, noise
        super().__init__(normal.batch_shape, normal.event_shape)

    def expand(self, shape, _instance=None):
        return Fixed(self.normal.expand(shape), self.noise)

    def rsample(self, sample_shape=()):
        return self.normal.mean + self.normal.stddev * self.noise

    def log_prob(self, value):
        return self.normal.log_prob(value)


def gradients(loss, model, guide):
    parameters = [*model.parameters(), *guide.parameters()]
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def by_hand(model, guide, x, y, noise, weight):
    """The two bounds of M2 and the classification term, written out label by label."""
    log_q = guide.classifier(x).log_softmax(-1)
    bounds = []
    for label in range(CLASSES):
        given = torch.full((len(x),), label)
        q = guide.guide.inner.posterior(guide.guide.encoder(x, given))
        z = q.mean + q.stddev * noise[label]
        log_x = dist.Bernoulli(logits=model.decoder(z, given)).log_prob(x).sum((1, 2, 3))
        log_z = dist.Normal(0, 1).log_prob(z).sum(-1)
        bounds.append(log_x + log_z - math.log(CLASSES) - q.log_prob(z))
    bounds = torch.stack(bounds, -1)
    unlabelled = (log_q.exp() * (bounds - log_q)).sum(-1)
    known = y.clamp_min(0).unsqueeze(-1)
    labelled = bounds.gather(-1, known).squeeze(-1) + weight * log_q.gather(-1, known).squeeze(-1)
    return -torch.where(y >= 0, labelled, unlabelled).sum()


@pytest.mark.parametrize("y", [[-1] * 5, [0, 1, 2, 3, 1], [0, -1, 3, -1, 2]], ids=["unknown", "known", "mixed"])
def test_the_enumerated_loss_is_the_sum_over_labels_by_hand(y):
    (model, guide), x, y = build(), torch.rand(5, *X).round().double(), torch.tensor(y)
    noise = torch.randn(CLASSES, 5, LATENT).double()
    guide.guide = FixedNoise(guide.guide, noise)
    with local_params(model, guide):
        loss = Supervised(3.0).differentiable_loss(lambda b: call(model, b), lambda b: call(guide, b), {"x": x, "y": y})
    expected = by_hand(model, guide, x, y, noise, 3.0)
    torch.testing.assert_close(loss, expected, rtol=1e-10, atol=0)
    for ours, theirs in zip(gradients(loss, model, guide), gradients(expected, model, guide), strict=True):
        torch.testing.assert_close(0.0 if ours is None else ours, 0.0 * theirs if theirs is None else theirs)


def test_the_classification_term_is_apart():
    (model, guide), x, y = build(), torch.rand(5, *X).round().double(), torch.tensor([0, -1, 3, -1, 2])
    expected = guide.classifier(x).log_softmax(-1)[[0, 2, 4], [0, 3, 2]].sum()
    routed = {name: lambda b, p=p: call(p, b) for name, p in (("model", model), ("guide", guide))}
    objective = Supervised(2.0)
    torch.testing.assert_close(objective.log_likelihood(routed["guide"], {"x": x, "y": y}), expected)
    torch.testing.assert_close(objective.log_likelihood(guide, x=x, y=y), expected)
    torch.manual_seed(1)
    whole = objective.differentiable_loss(routed["model"], routed["guide"], {"x": x, "y": y})
    torch.manual_seed(1)
    bound = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(
        routed["model"], config_enumerate(routed["guide"]), {"x": x, "y": y}
    )
    torch.testing.assert_close(whole, bound - 2.0 * expected)


def test_captured_equals_eager(captured_only):
    x, y = torch.rand(5, *X).round().double(), torch.tensor([0, -1, 3, -1, 2])
    trails = {}
    for compile in (True, False):
        torch.manual_seed(0)
        model, guide = build()
        svi = SVI(model, guide, torch.optim.Adam, Supervised(3.0), compile=compile)
        torch.manual_seed(1)
        trails[compile] = svi.steps({"x": x, "y": y}, 5, order=torch.arange(5).expand(5, -1)), svi.parameters
    torch.testing.assert_close(trails[True], trails[False], rtol=1e-9, atol=1e-9)


def test_the_log_shows_the_elbo_without_the_classification_term():
    (model, guide), x, y = build(), torch.rand(8, *X).round().double(), torch.tensor([0, -1, 3, -1, 2, 1, -1, -1])
    objective = Supervised(5.0)
    settings = {"batch_size": 8, "optim": (torch.optim.SGD, {"lr": 0.0}), "compile": False}
    history = fit(model, guide, {"x": x, "y": y}, epochs=1, loss=objective, progress=False, **settings)
    term = 5.0 * objective.log_likelihood(guide, x=x, y=y).item() / 8
    assert history["train_elbo"] == pytest.approx([-(value + term) for value in history["loss"]])


@pytest.mark.parametrize("compile", [False, True])
def test_a_schedule_inside_goes_on_and_its_elbo_is_shown(compile, captured_only):
    torch.manual_seed(0)
    model, guide = VAE(priors.StandardNormal(2), likelihoods.Normal(3), MLP(2, 3)), Labelled()
    objective = Supervised(1.0, ELBO(kl_weight=Linear(0.0, 1.0, 4)))
    svi = SVI(model, guide, torch.optim.Adam, objective, compile=compile)
    losses = svi.steps({"x": torch.randn(8, 3), "y": torch.arange(8) % 2}, 6, batch_size=4)
    assert objective.state_dict()["objective.step"] == 6
    total, count = objective.collect()
    assert count == 24
    assert objective.collect() == (0.0, 0.0)
    assert total < -losses[0]  # the first step has a KL weight of 0


class Labelled(Program):
    """q(z | x), and q(y | x) where no label is given."""

    def __init__(self):
        super().__init__()
        self.encoder, self.classifier = MLP(3, 4, ()), MLP(3, 2, ())

    def forward(self, x, y=None):
        with pyro.plate("data", len(x), dim=-1):
            if y is None:
                pyro.sample("y", dist.Categorical(logits=self.classifier(x)))
            loc, log_scale = self.encoder(x).chunk(2, -1)
            return pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))


# ------------------------------------------------------------------------------------ the guide as a classifier


def test_a_trained_guide_classifies():
    """Two well separated classes, a tenth of the labels known."""
    torch.manual_seed(0)
    truth = torch.randint(2, (200,))
    x = torch.where(truth.unsqueeze(-1) == 1, 2.0, -2.0) + 0.3 * torch.randn(200, 3)
    y = torch.where(torch.arange(200) < 20, truth, -1)
    decoder, encoder = JointMLP([1, 2], 3, (8,)), JointMLP([3, 2], 2, (8,))
    model = SemiSupervisedVAE(priors.StandardNormal(1), likelihoods.Normal(3, scale=0.5), decoder, 2)
    guide = SemiSupervisedGuide(MLP(3, 2, (8,)), NormalGuide(encoder))
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": 0.02}), Supervised(10.0), compile=False)
    svi.steps({"x": x, "y": y}, 60, order=torch.arange(200).expand(60, -1))
    assert accuracy(model, guide, {"x": x, "y": truth}) > 0.98
    probabilities = classify(model, guide, {"x": x, "y": y})
    assert probabilities.shape == (200, 2)
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(200))


def test_a_batch_without_labels(says):
    _, guide = build()
    with says(PairError, "labels named 'y'", "which has x", "-1"):
        Supervised(1.0).log_likelihood(guide, {"x": torch.rand(2, *X).double()})


def test_another_name_of_the_label(says):
    """The site and the tensor of the batch have that name; the labels in the data are not used."""

    def guide(x, kind=None):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("kind", dist.Categorical(logits=x if kind is None else 0 * x))

    model, _ = build()
    x, kind = torch.randn(7, 3), torch.tensor([0, 1, 2, -1, 0, 1, 2])
    found = classify(model, guide, {"x": x, "kind": kind}, label="kind")
    torch.testing.assert_close(found, x.softmax(-1))
    share = (x.argmax(-1) == kind).double().mean().item()
    assert accuracy(model, guide, {"x": x, "kind": kind}, label="kind") == share
    expected = x.log_softmax(-1)[kind >= 0, kind[kind >= 0]].sum()
    torch.testing.assert_close(Supervised(1.0, label="kind").log_likelihood(guide, x=x, kind=kind), expected)


def test_bytes_are_scaled_and_the_random_state_is_left_alone():
    model, guide = (program.float() for program in build())
    x, state = torch.randint(256, (5, *X), dtype=torch.uint8), torch.get_rng_state()
    found = classify(model, guide, {"x": x})
    assert torch.equal(found, classify(model, guide, {"x": x / 255}))
    dynamic = [classify(model, guide, {"x": x}, transform=Binarize(), seed=seed) for seed in (1, 1, 2)]
    assert torch.equal(*dynamic[:2])
    assert not torch.equal(*dynamic[1:])
    assert torch.equal(torch.get_rng_state(), state)


def test_the_bar_is_shown_and_changes_nothing(capsys):
    pair = build()
    data = {"x": torch.rand(5, *X).double(), "y": torch.tensor([0, 1, 3, 1, 2])}
    quiet = classify(*pair, data), accuracy(*pair, data)
    assert "data point" not in capsys.readouterr().err
    assert torch.equal(classify(*pair, data, progress=True), quiet[0])
    assert "5/5" in capsys.readouterr().err
    assert accuracy(*pair, data, progress=True) == quiet[1]
    assert "5/5" in capsys.readouterr().err


def test_no_data(says):
    with says(PairError, "classify requires data", "empty batch"):
        classify(*build(), {"x": torch.rand(0, *X).double()})


def test_the_guide_and_the_data_alone(says):
    """What other tools take first is required here too: the error has the line to write."""
    _, guide = build()
    with says(PairError, "requires a program", "Write accuracy(model, guide, data)."):
        accuracy(guide, {"x": torch.rand(2, *X).double()}, {"y": torch.zeros(2)})


def test_a_guide_without_a_label(says):
    with says(PairError, "no site 'y'", "'z'", "SemiSupervisedGuide"):
        classify(build()[0], NormalGuide(MLP(3, 4, (5,))), {"x": torch.randn(2, 3)})
