"""Scores of entries: they add up to the distortion, and the entry that is off has the highest one."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.inference import entry_scores, evaluate
from pyrovae.models import TextVAE


@pytest.fixture
def batch(ppca):
    return ppca.data(40)


def test_entries_add_up_to_the_distortion(representative):
    """The same seed draws the same codes."""
    pair = representative
    if "y" in pair.latent or isinstance(pair.model, TextVAE):
        pytest.skip("labels are observed together with x, or tokens are scored jointly")
    by_entry = entry_scores(pair.model, pair.guide, pair.batch, num_samples=7)
    assert by_entry.shape == pair.batch["x"].shape
    distortion = evaluate(pair.model, pair.guide, pair.batch, num_samples=7).per_datum["distortion"]
    assert torch.allclose(by_entry.flatten(1).sum(1), distortion, rtol=1e-4)


def test_an_entry_that_is_off_has_the_highest_score(ppca, batch):
    x = batch["x"].clone()
    x[:, 3] += 10
    assert (entry_scores(ppca.model, ppca.guide(), {"x": x}).argmax(1) == 3).double().mean() > 0.9


def test_chunks_of_draws_are_averaged(ppca, batch):
    whole = entry_scores(ppca.model, ppca.guide(), batch, num_samples=2000)
    parts = entry_scores(ppca.model, ppca.guide(), batch, num_samples=2000, memory=2**22)
    assert torch.allclose(whole, parts, atol=0.3)


def in_plates(x=None, *, size=None):
    """Each data point is T = 3 steps of two numbers, in a plate of their own."""
    with pyro.plate("data", size or len(x), dim=-1):
        z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
        with pyro.plate("time", 3, dim=-2):
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=None if x is None else x.transpose(0, 1))


def in_plates_guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x.mean(1), 0.1).to_event(1))


@pytest.mark.parametrize("num_samples", [1, 40])
def test_inner_plates_are_dimensions_of_the_entries(num_samples):
    x = torch.randn(4, 3, 2)
    by_entry = entry_scores(in_plates, in_plates_guide, {"x": x}, num_samples=num_samples)
    assert by_entry.shape == (4, 3, 2)
    expected = (x - x.mean(1, keepdim=True)).square() / 2 + math.log(2 * math.pi) / 2
    assert torch.allclose(by_entry.float(), expected, atol=0.5)


def test_a_likelihood_that_scores_entries_together_has_no_entries(ppca, batch, says):
    def together(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2).double(), 1.0).to_event(1))
            pyro.sample("x", dist.MultivariateNormal(ppca.decode(z), torch.eye(5).double()), obs=x)

    with says(PairError, "'x'", "MultivariateNormal", "(5,)", "to_event"):
        entry_scores(together, ppca.guide(), batch)


def test_entries_of_a_site_that_is_not_there(ppca, batch, says):
    with says(PairError, "no site 'w'", "'x'"):
        entry_scores(ppca.model, ppca.guide(), batch, site="w")


def test_a_latent_that_is_summed_out_has_no_entries(says):
    def mixture(x=None, *, size=None):
        with pyro.plate("data", size or len(x), dim=-1):
            c = pyro.sample("c", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(c.unsqueeze(-1).expand((*c.shape, 2)), 1.0).to_event(1), obs=x)

    with says(PairError, "'c' is summed out"):
        entry_scores(mixture, lambda x: None, {"x": torch.randn(3, 2)})


def test_no_data(ppca, says):
    with says(PairError, "entry_scores requires data", "empty batch"):
        entry_scores(ppca.model, ppca.guide(), ppca.data(0))


def test_bytes_are_scaled():
    x = torch.randint(256, (6, 3, 2), dtype=torch.uint8)
    found, scaled = (entry_scores(in_plates, in_plates_guide, {"x": value}) for value in (x, x / 255))
    assert torch.equal(found, scaled)


def test_the_bar_is_shown_and_changes_nothing(ppca, batch, capsys):
    quiet = entry_scores(ppca.model, ppca.guide(), batch)
    assert "data point" not in capsys.readouterr().err
    assert torch.equal(entry_scores(ppca.model, ppca.guide(), batch, progress=True), quiet)
    assert "40/40" in capsys.readouterr().err
