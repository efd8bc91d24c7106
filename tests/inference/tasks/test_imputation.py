"""Imputation is exact where the conditional is known: probabilistic PCA with entries missing."""

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn

from pyrovae import data
from pyrovae.errors import DataError, NonFiniteError, PairError
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference import IWAE, SVI, coverage, evaluate, imputations, impute, interval
from pyrovae.models import VAE, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP

SIZE = 12


class Known:
    """The exact conditional of what is missing of `ppca`'s data, which is normal: the formula of a partition."""

    def __init__(self, ppca, size=SIZE):
        self.x = ppca.data(size)["x"]
        self.batch = data.incomplete(self.x, data.mcar(self.x, 0.5, seed=1))
        self.mask = self.batch["mask"]
        self.mask[0], self.mask[1] = False, True  # a row where everything is missing, and one where nothing is
        self.batch = data.incomplete(self.x, self.mask)
        whole = ppca.evidence
        self.mean, self.covariance, self.log_evidence = whole.loc.repeat(size, 1), [], torch.zeros(size).double()
        for i, seen in enumerate(self.mask):
            among, across = whole.covariance_matrix[seen][:, seen], whole.covariance_matrix[~seen][:, seen]
            if seen.any():
                part = dist.MultivariateNormal(whole.loc[seen], among)
                self.log_evidence[i] = part.log_prob(self.x[i, seen])
            gain = torch.linalg.solve(among, across.T).T
            self.mean[i, ~seen] = whole.loc[~seen] + gain @ (self.x[i, seen] - whole.loc[seen])
            self.covariance.append(whole.covariance_matrix[~seen][:, ~seen] - gain @ across.T)


@pytest.fixture
def ppca(ppca):
    """Noisy data, for which the prior of z, the guide here, is a fair proposal."""
    return type(ppca)(scale=2.0)


@pytest.fixture
def known(ppca):
    return Known(ppca)


@pytest.fixture
def pair(ppca):
    """The model, with its prior as the guide, so the weights vary."""

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            return pyro.sample("z", dist.Normal(ppca.loc.new_zeros(2), 1.0).to_event(1))

    return Masked(ppca.model), ZeroFilled(guide)


def test_the_evidence_is_that_of_the_marginal(known, pair):
    measured = evaluate(*pair, known.batch, num_samples=20_000)
    off = measured.per_datum["log_evidence"] - known.log_evidence
    assert (off.abs() < 4 * measured.per_datum["log_evidence_error"] + 1e-9).all()
    assert measured.log_evidence.error < 0.05


def test_the_mean_is_that_of_the_conditional_within_its_error(known, pair):
    found = impute(*pair, known.batch, num_samples=20_000, memory=2**24)
    missing = ~known.mask
    torch.testing.assert_close(found.x[known.mask], known.x[known.mask], rtol=0, atol=0)
    assert (found.error[known.mask] == 0).all()
    score = ((found.x - known.mean) / found.error)[missing]
    assert found.error[missing].max() < 0.1
    assert 0.5 < score.square().mean() < 2
    nothing_seen, all_seen = found.effective_sample_size[:2]
    assert all_seen < nothing_seen <= 20_000 + 1e-3  # the posterior of a row of gaps is the prior


def test_chunks_change_the_draws_alone(known, pair):
    whole = impute(*pair, known.batch, num_samples=3000)
    parts = impute(*pair, known.batch, num_samples=3000, memory=2**22)
    error = (whole.error.square() + parts.error.square()).sqrt()
    assert ((whole.x - parts.x).abs() <= 5 * error).all()
    torch.testing.assert_close(whole.error, parts.error, rtol=0.3, atol=0.01)


def test_the_draws_have_the_covariance_of_the_conditional(known, pair):
    draws = imputations(*pair, known.batch, 3000, num_samples=6000)
    assert draws.shape == (3000, *known.x.shape)
    assert (draws[:, known.mask] == known.x[known.mask]).all()
    for i, seen in enumerate(known.mask):
        if seen.all():
            continue
        drawn = draws[:, i, ~seen]
        torch.testing.assert_close(drawn.mean(0), known.mean[i, ~seen], rtol=0, atol=0.2)
        torch.testing.assert_close(drawn.T.cov().reshape(len(drawn[0]), -1), known.covariance[i], rtol=0.25, atol=0.15)


def test_intervals_of_the_exact_conditional_cover_as_often_as_they_say(ppca, pair):
    known = Known(ppca, 300)
    draws = imputations(*pair, known.batch, 39, num_samples=1000)
    found = coverage(draws, known.x, where=~known.mask)
    low, high = interval(draws)
    between = ((low <= known.x) & (known.x <= high))[~known.mask].double().mean().item()
    assert abs(found.value - 0.9) < 4 * found.error < 0.08
    assert found.value == pytest.approx(between, abs=1e-12)  # for continuous values the two are equal
    assert (low[known.mask] == known.x[known.mask]).all()


def test_miwae_is_iwae_on_the_masked_pair(known, pair):
    bound = IWAE(2000).differentiable_loss
    model, guide = pair
    loss = bound(lambda: model(**known.batch), lambda: guide(**known.batch)) / SIZE
    assert -loss.item() == pytest.approx(known.log_evidence.mean().item(), abs=0.2)


# ---------------------------------------------------------------------------------------------- kinds of data


def test_categories_are_imputed_by_the_most_probable(says):
    """A latent with two values: the observed column determines it, and it determines the other column."""
    columns = {"real": likelihoods.Normal(1, scale=0.1), "kind": likelihoods.Categorical(1, 3)}
    likelihood = likelihoods.Heterogeneous(columns)

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            c = pyro.sample("c", dist.Bernoulli(0.4), infer={"enumerate": "parallel"})
            logits = torch.stack([4 * c, 0 * c, 4 - 4 * c], -1)
            params = torch.cat([2 * c.unsqueeze(-1) - 1, logits], -1)
            return pyro.sample("x", likelihood(params), obs=x)

    def guide(x):
        pass

    x = torch.tensor([[1.0, math.nan], [-1.0, math.nan], [math.nan, 0.0], [math.nan, math.nan]])
    found = impute(Masked(model), ZeroFilled(guide), data.incomplete(x), num_samples=3)
    odds = 0.4 * math.exp(4) / (0.4 * math.exp(4) + 0.6)
    wanted = torch.tensor([[1.0, 0.0], [-1.0, 2.0], [2 * odds - 1, 0.0], [2 * 0.4 - 1, 2.0]])
    torch.testing.assert_close(found.x, wanted, atol=1e-5, rtol=0)
    assert found.error[0].isnan().tolist() == [False, True]
    assert found.error[2, 0] < 1e-5  # the latent is summed out
    draws = imputations(Masked(model), ZeroFilled(guide), data.incomplete(x), 400, num_samples=2)
    assert draws[:, 2, 0].mean().item() == pytest.approx(2 * odds - 1, abs=0.1)
    assert set(draws[:, 3, 1].unique().tolist()) == {0.0, 1.0, 2.0}


def test_images_and_counts(captured_only):
    """A mask of pixels that the channels share; training on it, compiled; a pixel that no data point has."""
    torch.manual_seed(0)
    x = torch.poisson(torch.full((8, 2, 3, 3), 2.0))
    batch = data.incomplete(x, data.mcar(x[:, :1], 0.4))
    batch["mask"][:, 0, 0, 0] = False
    likelihood = likelihoods.Poisson((2, 3, 3))
    model = Masked(VAE(priors.StandardNormal(2), likelihood, MLP(2, (2, 3, 3), (5,))))
    guide = ZeroFilled(NormalGuide(MLP((4, 3, 3), 4, (5,))), mask=True)
    svi = SVI(model, guide, torch.optim.Adam, IWAE(3))
    losses = svi.steps(batch, 3, order=torch.arange(8).expand(3, -1))
    assert losses.isfinite().all()
    for compile in (True, False):
        found = impute(model, guide, batch, num_samples=20, compile=compile)
        assert found.x.shape == x.shape
        assert found.x.isfinite().all()
        assert (found.x[batch["mask"]] == x[batch["mask"]]).all()
    draws = imputations(model, guide, batch, 5, num_samples=20)
    assert (draws == draws.round()).all()


def test_the_table_and_the_bar(known, pair, capsys):
    quiet = impute(*pair, known.batch)
    assert "data point" not in capsys.readouterr().err
    found = impute(*pair, known.batch, progress=True)
    assert f"{SIZE}/{SIZE}" in capsys.readouterr().err
    assert torch.equal(found.x, quiet.x)
    lines = str(found).splitlines()
    assert lines[0].split() == ["data", "points", str(SIZE)]
    assert lines[2].startswith("effective_sample_size")
    assert f"lowest {found.effective_sample_size.min().item():.1f}" in lines[2]


def test_nothing_missing_comes_back(known, pair):
    batch = {"x": known.x, "mask": torch.ones_like(known.mask)}
    assert torch.equal(impute(*pair, batch, num_samples=2).x, known.x)
    assert torch.equal(imputations(*pair, batch, 2, num_samples=3)[0], known.x)


def test_it_says_what_is_wrong(ppca, known, pair, says):
    model, guide = pair
    with says(PairError, "'x'", "data.incomplete"):
        impute(model, guide, {"x": known.x})
    batch = known.batch | {"mask": torch.full(known.mask.shape, torch.nan)}
    for missing in (lambda: impute(*pair, batch), lambda: imputations(*pair, batch)):
        with says(DataError, "mask requires true where x was observed, or 0 and 1", "nan"):
            missing()
    with says(PairError, "models.Masked"):
        impute(ppca.model, guide, known.batch)
    with says(PairError, "imputations requires data", "empty batch"):
        imputations(model, guide, {name: tensor[:0] for name, tensor in known.batch.items()})
    broken = known.batch | {"x": torch.where(known.mask, math.nan, known.x)}
    with says(NonFiniteError, "finite data at site 'x'"):
        impute(model, guide, broken, num_samples=3)

    class Global(nn.Module):
        def forward(self, x=None, mask=None, *, size=None, data_size=None):
            w = pyro.sample("w", dist.Normal(0.0, 1.0))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("x", dist.Normal(w.unsqueeze(-1), torch.ones(5)).to_event(1), obs=x)

    def of_all(x, data_size=None):
        pyro.sample("w", dist.Normal(0.0, 1.0))

    with says(PairError, "outside the plate 'data'"):
        impute(Global(), of_all, known.batch)
