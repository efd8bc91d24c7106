"""The doctor: plates, shapes, values and log-probabilities that break the contract are explained."""

from contextlib import nullcontext
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import TorchDistribution
from torch.distributions import constraints

from pyrovae.errors import NonFiniteError, PairError, ShapeError, SupportError
from pyrovae.inference.pair import check_pair
from pyrovae.models import likelihoods

SIZE, LATENT, DIM = 8, 2, 3


def normal(loc, events=1):
    return dist.Normal(loc, 1.0).to_event(events)


def data_plate(size=SIZE, dim=-1):
    return pyro.plate("data", size, dim=dim)


# ------------------------------------------------------------------------------------------------------ plates, shapes


@pytest.mark.parametrize(
    ("missing", "whose"), [(["guide"], "guide"), (["model"], "model"), (["model", "guide"], "model")]
)
def test_a_missing_plate(missing, whose, model, guide, batch, says):
    model = partial(model, plate=nullcontext()) if "model" in missing else model
    guide = partial(guide, plate=nullcontext()) if "guide" in missing else guide
    with says(PairError, "site 'z'", whose, "outside the plate 'data'", 'pyro.plate("data", 8, dim=-1)'):
        check_pair(model, guide, batch)


def test_a_plate_of_another_name(model, guide, batch, says):
    with says(PairError, "outside the plate 'data'", "['batch']", 'pyro.plate("data", 8, dim=-1)'):
        check_pair(model, partial(guide, plate=pyro.plate("batch", SIZE, dim=-1)), batch)


@pytest.mark.parametrize("size", [1, 5, 16])
def test_a_plate_of_the_wrong_size(size, model, guide, batch, says):
    words = ["plate", "data", 'pyro.plate("data", 8, dim=-1)', "len(x)", str(size)]
    with says((PairError, ShapeError), "guide", *words):
        check_pair(model, partial(guide, plate=data_plate(size)), batch)
    with says((PairError, ShapeError), "model", *words):
        check_pair(partial(model, plate=data_plate(size)), guide, batch)


def test_a_plate_at_the_wrong_dimension(model, guide, batch, says):
    words = ["'z'", "dim -2", 'pyro.plate("data", 8, dim=-1)']
    with says(PairError, "guide", *words):
        check_pair(model, partial(guide, plate=data_plate(dim=-2)), batch)
    with says(PairError, "model", *words):
        check_pair(partial(model, plate=data_plate(dim=-2)), guide, batch)


@pytest.mark.parametrize("latent", [LATENT, SIZE])  # SIZE hides in the batch shape
def test_a_missing_to_event_in_the_guide(latent, model, guide, batch, says):
    with says(ShapeError, "guide", "z", ".to_event("):
        check_pair(partial(model, latent=latent), partial(guide, latent=latent, events=0), batch)


@pytest.mark.parametrize("dim", [DIM, SIZE])
def test_a_missing_to_event_in_the_model(dim, guide, says):
    def bare(x):
        with data_plate(len(x)):
            z = pyro.sample("z", normal(torch.zeros(LATENT)))
            pyro.sample("x", dist.Normal(z[:, :1].expand(len(x), dim), 1.0), obs=x)

    with says(ShapeError, "model", "x", ".to_event("):
        check_pair(bare, guide, {"x": torch.randn(SIZE, dim)})


def test_a_wrong_latent_dimension(model, guide, vae, encoder, batch, says):
    with says(ShapeError, "'z' of the model", "(2,)", "guide's value (8, 5)", "encoder", "prior"):
        check_pair(model, partial(guide, latent=5), batch)
    with says(ShapeError, "'z' of the model", "(8, 2)", "guide's value (8, 4)"):
        check_pair(vae(latent=2), encoder(latent=4), batch)


def test_a_decoder_of_another_shape(vae, encoder, batch, says):
    with says(ShapeError, "'x' of the model", "(8, 4)", "data (8, 3)", "decoder"):
        check_pair(vae(dim=4), encoder(), batch)


def test_data_of_another_shape(vae, encoder, says):
    with says(ShapeError, "MLP", "(*, 3)", "(8, 4)"):
        check_pair(vae(), encoder(), {"x": torch.randn(SIZE, 4)})


def test_what_torch_says_is_passed_on_with_the_shapes(model, guide, says):
    with says(ShapeError, "guide fails on a batch of x (8, 4)", "mat1 and mat2", "networks"):
        check_pair(model, lambda x: guide(x @ torch.zeros(DIM, DIM)), {"x": torch.randn(SIZE, 4)})


def test_an_error_of_the_users_code_is_left_alone(model, batch, says):
    def typo(x):
        return x.shpae

    with says(AttributeError, "shpae"):
        check_pair(model, typo, batch)


# ------------------------------------------------------------------------------------------- values, log-probabilities


def test_nan_in_the_data(model, guide, batch, says):
    batch["x"][3, 1], batch["x"][5, 0] = torch.nan, torch.inf
    with says(NonFiniteError, "site 'x'", "2 NaN or infinite values of 24", "Drop those rows"):
        check_pair(model, lambda x: guide(torch.zeros_like(x)), batch)


def test_grey_pixels_into_a_bernoulli(vae, encoder, says):
    grey = {"x": torch.rand(SIZE, DIM).clamp(0.1, 0.73)}
    with says(SupportError, "Bernoulli", "{0, 1}", "up to 0.73", "Binarize()"):
        check_pair(vae(likelihoods.Bernoulli(DIM)), encoder(), grey)
    check_pair(vae(likelihoods.Bernoulli(DIM, relaxed=True)), encoder(), grey)
    check_pair(vae(likelihoods.Bernoulli(DIM)), encoder(), {"x": grey["x"].round()})


def test_stored_pixels(vae, encoder, says):
    with says(SupportError, "[0, 1]", "255", "Scale()"):
        check_pair(vae(likelihoods.ContinuousBernoulli(DIM)), encoder(), {"x": torch.full((SIZE, DIM), 255.0)})


@pytest.mark.parametrize(
    ("px", "value", "words"),
    [
        (lambda loc: dist.Gamma(loc.exp(), 1.0).to_event(1), -1.5, ["Gamma", "-1.5"]),
        (lambda loc: dist.Bernoulli(logits=loc).to_event(1), 0.25, ["Bernoulli", "0.25", "Binarize"]),
        (lambda loc: dist.Beta(loc.exp(), 1.0).to_event(1), 2.0, ["Beta", "2"]),
        (lambda loc: dist.Poisson(loc.exp()).to_event(1), 0.5, ["Poisson", "0.5"]),
        (lambda loc: dist.LogNormal(loc, 1.0).to_event(1), -2.0, ["LogNormal", "-2"]),
    ],
)
def test_a_value_outside_the_support_of_any_distribution(px, value, words, model, guide, says):
    x = torch.ones(SIZE, DIM)
    x[2, 1] = value
    with says(SupportError, "site 'x'", *words, "choose another likelihood"):
        check_pair(partial(model, px=px), guide, {"x": x})


class Triangular(TorchDistribution):
    """A distribution of the user's own, p(x) = 2 x on [0, 1], that may say its support."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, shape, support=None):
        if support is not None:
            self.stated = support
        super().__init__(torch.Size(shape))

    def expand(self, batch_shape, _instance=None):
        return Triangular(batch_shape, self.__dict__.get("stated"))

    @property
    def support(self):
        return self.__dict__.get("stated") or super().support

    def sample(self, sample_shape=torch.Size()):  # noqa: B008
        return torch.rand(self._extended_shape(sample_shape)).sqrt()

    def log_prob(self, value):
        return (2 * value).log()


def test_a_distribution_of_the_users_own(model, guide, says):
    stated = partial(model, px=lambda loc: Triangular(loc.shape, constraints.unit_interval).to_event(1))
    silent = partial(model, px=lambda loc: Triangular(loc.shape).to_event(1))
    good, bad = torch.rand(SIZE, DIM).clamp_min(0.1), torch.rand(SIZE, DIM) - 2
    check_pair(stated, guide, {"x": good})
    check_pair(silent, guide, {"x": good})
    with says(SupportError, "site 'x'", "Triangular", "Interval"):
        check_pair(stated, guide, {"x": bad})
    with says(NonFiniteError, "site 'x' of the model", "nan"):
        check_pair(silent, guide, {"x": bad})


def test_a_latent_outside_the_priors_support(model, guide, batch, says):
    positive = dist.Gamma(torch.ones(LATENT), 1.0).to_event(1)
    with says(SupportError, "site 'z'", "Gamma", "guide", "Normal"):
        check_pair(partial(model, prior=positive), guide, batch)


def test_a_log_probability_that_is_not_finite(model, batch, says):
    def flat(x):
        with data_plate(len(x)):
            scale = torch.ones(len(x), LATENT)
            scale[[2, 5]] = 0.0
            pyro.sample("z", dist.Normal(torch.zeros(LATENT), scale).to_event(1))

    with says(NonFiniteError, "site 'z' of the guide", "rows [2, 5]", "2 of 8", "clip_norm"):
        check_pair(model, flat, batch)


def test_a_network_that_gives_nan(vae, encoder, batch, says):
    own = vae()
    own.decoder.layers[0].weight.data.fill_(torch.nan)
    with says(NonFiniteError, "site 'x' of the model is nan", "8 of 8", "weights"):
        check_pair(own, encoder(), batch)
