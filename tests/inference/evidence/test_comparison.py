"""One table of several estimators of log p(x)."""

from dataclasses import replace

import torch

from pyrovae.data import Binarize
from pyrovae.guides import ConditionalGuide, DeltaGuide, NormalGuide
from pyrovae.inference import Annealing, compare_evidence
from pyrovae.models import VAE, ConditionalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

SHORT = Annealing(num_temperatures=12, num_leapfrog=4)


TINY = Annealing(num_chains=3, num_temperatures=3, num_leapfrog=1)


def test_the_table(ppca):
    data, how = ppca.data(20), replace(SHORT, num_temperatures=20, num_leapfrog=2)
    table = compare_evidence(
        ppca.model, ppca.guide(0.1, 1.2), data, how, num_samples=500, num_simulations=30, transform=None, compile=False
    )
    names = ["ELBO", "importance sampling", "AIS from the guide", "AIS from the prior"]
    names += ["ELBO", "importance sampling", "AIS from the guide", "the same backwards"]
    assert [row.estimator.startswith(name) for row, name in zip(table.rows, names, strict=True)] == [True] * 8
    assert [row.data for row in table.rows] == ["given"] * 4 + ["simulated"] * 4
    exact = ppca.evidence.log_prob(data["x"]).mean().item()
    for name in names[1:4]:
        row = table["given", name]
        assert abs(row.estimate.value - exact) < 4 * row.estimate.error + 0.2
        assert row.seconds > 0
        assert row.effective_sample_size > 1
    assert table["given", "ELBO"].estimate.value < exact
    assert table["simulated", "the same backwards"].estimate == table.sandwich.upper.log_evidence
    assert set(table.per_datum) == {"elbo", "log_evidence", "guide", "prior"}
    assert all(part.shape == (20,) for part in table.per_datum.values())
    lines = str(table).splitlines()
    assert len(lines) == 9
    assert all(word in lines[0] for word in ("estimator", "nats per data point", "ESS", "seconds"))
    assert max(map(len, lines)) <= 144


def test_what_cannot_be_estimated_is_noted():
    """The other rows are there where the start is a point mass, or where the model does not generate."""
    decoder = MLP(2, 4)
    vae = VAE(priors.StandardNormal(2), likelihoods.Normal(4), decoder)

    def model(x):
        return vae(x)

    guide, data = DeltaGuide(MLP(4, 2)), {"x": torch.rand(3, 4)}
    table = compare_evidence(model, guide, data, TINY, num_samples=2, compile=False)
    assert table["given", "AIS from the guide"].estimate is None
    assert "point mass" in table["given", "AIS from the guide"].note
    assert table["given", "AIS from the prior"].estimate is not None
    assert "size" in table["simulated", "sandwich"].note
    assert table.sandwich is None
    assert table.rows[-1].estimator == "sandwich"
    table = compare_evidence(model, guide, data, TINY, num_samples=2, num_simulations=0, compile=False)
    assert len(table.rows) == 4


def test_the_table_of_a_conditional_pair():
    """The simulated data points are conditioned on the labels of the first data points."""
    prior, likelihood = priors.StandardNormal(2), likelihoods.Bernoulli(6)
    model = ConditionalVAE(prior, likelihood, JointMLP([2, 3], 6, (5,)))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, (5,))))
    data = {"x": torch.rand(5, 6).round(), "y": torch.randint(3, (5,)), "unused": torch.zeros(5)}
    table = compare_evidence(model, guide, data, TINY, num_samples=50, num_simulations=30, compile=False)
    assert table.sandwich.per_datum["lower"].shape == (5,)


def test_labels_that_no_program_takes_do_not_limit_the_simulation(ppca):
    data = {**ppca.data(5), "y": torch.arange(5)}
    table = compare_evidence(ppca.model, ppca.guide(0.1), data, TINY, num_samples=5, num_simulations=8, compile=False)
    assert table.sandwich.per_datum["lower"].shape == (8,)


def test_all_estimators_get_the_same_pixels_of_a_random_transform():
    vae = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(4), MLP(2, 4))
    seen = set()

    def model(x=None, *, size=None):
        if x is not None and len(x) == 9:
            seen.add(tuple(x.flatten().tolist()))
        return vae(x, size=size)

    data, options = {"x": torch.rand(9, 4)}, {"num_samples": 2, "num_simulations": 3, "compile": False}
    compare_evidence(model, NormalGuide(MLP(4, 4)), data, TINY, transform=Binarize(), **options)
    assert len(seen) == 1


def test_a_progress_bar_for_each_estimator(ppca, capsys):
    options = {"num_samples": 20, "num_simulations": 3, "compile": False}
    compare_evidence(ppca.model, ppca.guide(0.1), ppca.data(4), TINY, **options)
    assert not capsys.readouterr().err
    compare_evidence(ppca.model, ppca.guide(0.1), ppca.data(4), TINY, progress=True, **options)
    shown = capsys.readouterr().err
    # Importance sampling on both sets of data; from the guide, from the prior, and both ways on the simulated data.
    assert shown.count("1/1") == 2
    assert (shown.count("4/4"), shown.count("7/7")) == (2, 1)
