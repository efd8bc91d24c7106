"""How far a guide can be trusted, verified where posterior, gaps and information are exact."""

import math
import warnings

import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import nn
from torch.distributions import kl_divergence

from pyrovae.errors import NonFiniteError, PairError, ShapeError
from pyrovae.guides import NormalGuide
from pyrovae.inference import evaluate
from pyrovae.inference.diagnostics import (
    Calibration,
    aggregate_posterior,
    calibration,
    diagnose,
    effective_sample_size,
    gaps,
    nuts,
    psis_khat,
)
from pyrovae.inference.diagnostics.refine import Refined, shifted
from pyrovae.models import VAE, Program, likelihoods, priors
from pyrovae.networks.dense import MLP


def as_it_is(batch):
    return batch


# ------------------------------------------------------------------------------------ importance weights


@pytest.mark.parametrize("draws", [21, 100, 1000])
def test_khat_is_that_of_arviz(draws):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ announces its next version
        arviz = pytest.importorskip("arviz")
    if not hasattr(arviz, "psislw"):
        pytest.skip("this ArviZ keeps psislw elsewhere")
    scales = torch.tensor([0.1, 0.5, 1, 3, 30, 900], dtype=torch.float64)
    log_weight = scales * torch.randn(draws, 6, dtype=torch.float64)
    _, expected = arviz.psislw(log_weight.T.numpy().copy())
    torch.testing.assert_close(psis_khat(log_weight), torch.as_tensor(expected), rtol=0, atol=1e-6)


def test_khat_is_the_shape_of_a_pareto_tail():
    """P(w > t) = t^(-1 / k)."""
    k = torch.tensor([0.3, 0.6, 1.0, 1.5])
    log_weight = -k * torch.rand(100_000, 4, dtype=torch.float64).log()
    torch.testing.assert_close(psis_khat(log_weight).float(), k, rtol=0.12, atol=0)


def test_khat_of_equal_weights_and_of_vanishing_ones():
    equal = torch.full((100,), -300.0) + 1e-4 * torch.randn(100)
    lone = torch.full((100,), -torch.inf)
    lone[:3] = 0
    assert psis_khat(torch.stack([equal, lone], 1)).tolist() == [0, math.inf]


def test_the_effective_sample_size():
    weights = torch.tensor([[1.0, 1.0], [1.0, 0.0], [2.0, 0.0]])
    torch.testing.assert_close(effective_sample_size(weights.log()), torch.tensor([16 / 6, 1.0]).double())


def test_weights_that_are_not_finite(says):
    bad = torch.zeros(30, 3)
    bad[4, 1], bad[:, 2] = torch.nan, -torch.inf
    for function in (psis_khat, effective_sample_size):
        with says(NonFiniteError, "2 of 3 data, rows [1, 2]"):
            function(bad)
    with says(PairError, "21 draws", "got 20"):
        psis_khat(torch.zeros(20, 3))


def test_many_weights_are_quick():
    assert psis_khat(torch.randn(300, 5000)).shape == (5000,)


# ------------------------------------------------------------------------------------------- in one call


def test_the_exact_guide_is_trusted(ppca):
    trust = diagnose(ppca.model, ppca.guide(), ppca.data(300), num_samples=300)
    assert trust.per_datum["khat"].max() < 0.5
    torch.testing.assert_close(trust.per_datum["effective"], torch.full((300,), 300.0).double())
    assert trust.good, str(trust)
    assert trust["k-hat above 0.7"].value == 0
    assert trust["calibration (p-value)"].value > 0.01
    assert trust.absent == {"gaps": "not asked for (refine=100)"}


def test_a_guide_ten_times_too_narrow_is_not(ppca):
    trust = diagnose(ppca.model, ppca.guide(stretch=0.1), ppca.data(100), num_samples=300)
    assert trust.per_datum["khat"].median() > 0.7
    line = trust["k-hat above 0.7"]
    assert not line.good
    assert "do not trust importance-sampled numbers there" in line.verdict
    assert f"{100 * line.value:.0f} % of the data" in line.verdict
    assert trust["calibration (p-value)"].verdict == "the guide is too narrow in 2 of 2 dimensions"
    assert not trust.good
    assert sum(text.startswith("! ") for text in str(trust).splitlines()) == sum(not v.good for v in trust.verdicts)


def test_what_it_measures_is_what_evaluate_does(ppca):
    data = ppca.data(7)
    trust = diagnose(ppca.model, ppca.guide(0.1), data, num_samples=400, simulations=0, memory=2**18)
    measured = evaluate(ppca.model, ppca.guide(0.1), data, num_samples=400)
    for name in ("elbo", "rate", "log_evidence"):
        error = trust.per_datum[f"{name}_error"] + measured.per_datum[f"{name}_error"]
        assert ((trust.per_datum[name] - measured.per_datum[name]).abs() < 5 * error).all()


def test_every_pair_goes_through(representative):
    pair = representative
    trust = diagnose(pair.model, pair.guide, pair.batch, num_samples=24, simulations=25, transform=as_it_is)
    assert set(trust.latents) == set(pair.latent)
    assert all(math.isfinite(v.value) and (v.error is None or math.isfinite(v.error)) for v in trust.verdicts)
    assert all(len(reason) > 10 for reason in trust.absent.values())
    for name, event in pair.latent.items():
        latent, dims = trust.latents[name], math.prod(event)
        for quantity in ("rate", "mean", "activity", "correlation"):
            value = getattr(latent, quantity)
            assert (value is None) == (quantity in latent.absent)
            assert value is None or value.isfinite().all()
            assert value is None or value.shape[-1] == dims
    assert len(str(trust).splitlines()) == 1 + len(trust.verdicts) + len(trust.absent)


def test_every_guide_can_be_refined_or_says_why_not(representative, says):
    pair = representative
    few = {name: tensor[:2] for name, tensor in pair.batch.items()}
    point, label = "autoencoder" in repr(pair.guide), "y" in pair.latent
    before = [p.clone() for p in (*pair.model.parameters(), *pair.guide.parameters())]
    if point or label or "Delta" in repr(pair.guide):
        with says(PairError, "point mass" if not label else "Categorical"):
            gaps(pair.model, pair.guide, few, num_steps=10, num_samples=5, transform=as_it_is)
        return
    found = gaps(pair.model, pair.guide, few, num_steps=10, num_samples=5, transform=as_it_is)
    total = found.approximation.value + found.amortisation.value
    assert total == pytest.approx(found.inference.value, abs=1e-9)
    after = [*pair.model.parameters(), *pair.guide.parameters()]
    assert all(torch.equal(a, b) and b.requires_grad and b.grad is None for a, b in zip(before, after, strict=True))


def test_a_pair_of_ones_own():
    """Two latents, one of them a summed-out label, an inner plate, and covariates."""

    class Model(Program):
        def __init__(self):
            super().__init__()
            self.decoder = nn.Linear(6, 4)

        def forward(self, x=None, c=None, *, size=None):
            with pyro.plate("data", len(c), dim=-1):
                k = pyro.sample("k", dist.Categorical(torch.ones(3)), infer={"enumerate": "parallel"})
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                with pyro.plate("parts", 3, dim=-2):
                    w = pyro.sample("w", dist.Normal(0.0, 1.0))
                w = w.mT.unsqueeze(-3) if w.dim() > 2 else w.mT
                told = torch.cat([z, w, c.unsqueeze(-1).expand(*z.shape[:-1], 1)], -1)
                return pyro.sample("x", dist.Normal(self.decoder(told) + k.unsqueeze(-1), 1.0).to_event(1), obs=x)

    class Guide(Program):
        def __init__(self):
            super().__init__()
            self.encoder = nn.Linear(5, 10)

        def forward(self, x, c):
            h = self.encoder(torch.cat([x, c.unsqueeze(-1)], -1))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Normal(h[:, :2], h[:, 2:4].exp()).to_event(1))
                with pyro.plate("parts", 3, dim=-2):
                    pyro.sample("w", dist.Normal(h[:, 4:7].T, h[:, 7:].T.exp()))

    data = {"x": torch.randn(6, 4), "c": torch.randn(6)}
    trust = diagnose(Model(), Guide(), data, num_samples=40, simulations=25, refine=2, transform=as_it_is)
    assert {name: len(latent.activity) for name, latent in trust.latents.items()} == {"z": 2, "w": 3}
    assert trust.absent == {"latent k": "summed out, so the guide says nothing of it"}
    assert trust.calibration.ranks["w"].shape == (25, 3)
    assert trust.gaps is not None
    beside = nuts(Model(), Guide(), {n: t[:1] for n, t in data.items()}, num_samples=4, warmup=4, max_tree_depth=2)
    assert beside.draws["w"].shape == (2, 4, 3)
    assert beside.absent == {"k": "summed out"}


def test_a_latent_of_all_data_has_no_weights(says):
    def model(x=None, *, data_size=None, size=None):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", data_size or size, subsample_size=None if x is None else len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(0.0, 1.0))
            return pyro.sample("x", dist.Normal(w + z, 1.0), obs=x)

    def guide(x, data_size):
        pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
            pyro.sample("z", dist.Normal(x / 2, 0.7))

    data = {"x": torch.randn(8)}
    trust = diagnose(model, guide, data, num_samples=30, simulations=25)
    assert set(trust.latents) == {"z"}
    assert not trust.per_datum
    assert set(trust.absent) == {"latent w", "weights", "aggregate posterior", "calibration", "gaps"}
    for function in (aggregate_posterior, gaps):
        with says(PairError, "outside the plate 'data'"):
            function(model, guide, data)
    with says(PairError, "outside the plate 'data'"):
        nuts(model, guide, {"x": data["x"][:1]})


def test_what_is_not_there_to_diagnose(ppca, says):
    with says(PairError, "diagnose wants data"):
        diagnose(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    with says(PairError, "num_samples >= 21, got 20"):
        diagnose(ppca.model, ppca.guide(), ppca.data(3), num_samples=20)


# ----------------------------------------------------------------------------------- latent dimensions


def two_dimensions(scale):
    """z1 carries x, z2 nothing: q(z1 | x) = Normal(x, scale), q(z2 | x) = p(z2) = Normal(0, 1)."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z[..., :1], 1.0).to_event(1), obs=x)

    def guide(x):
        loc = torch.cat([x, torch.zeros_like(x)], -1)
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(loc, torch.tensor([scale, 1.0])).to_event(1))

    return model, guide


def test_rates_activity_and_moments_are_the_exact_ones():
    x = torch.randn(400, 1)
    latent = diagnose(*two_dimensions(0.5), {"x": x}, num_samples=500, simulations=0).latents["z"]
    rate = (0.25 + x[:, 0].square() - 1) / 2 - math.log(0.5)
    assert latent.how == "closed form, of factors"
    torch.testing.assert_close(latent.rate.float(), torch.stack([rate, torch.zeros(400)], 1))
    assert latent.rate_error.max() < 1e-6
    assert latent.active.tolist() == [True, False]
    assert latent.activity[0].item() == pytest.approx(x.var().item(), rel=0.02)
    assert latent.activity[1] < 1e-3  # without the noise of the draws, 1 / 500
    torch.testing.assert_close(latent.variance.mean(0), torch.tensor([0.25, 1.0]).double(), rtol=0.02, atol=0)
    assert latent.aggregate_variance[0].item() == pytest.approx(0.25 + x.var().item(), rel=0.03)


def test_rates_by_draws_are_within_their_errors():
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Laplace(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.StudentT(5.0, x, 1.0).to_event(1))

    x = torch.randn(50, 2)
    trust = diagnose(model, guide, {"x": x}, num_samples=4000, simulations=0)
    latent = trust.latents["z"]
    assert latent.how == "by draws, of factors"
    q, p = dist.StudentT(5.0, x, 1.0), dist.Laplace(0.0, 1.0)
    grid = torch.linspace(-60, 60, 12_001)[:, None, None]
    exact = (q.log_prob(grid).exp() * (q.log_prob(grid) - p.log_prob(grid))).sum(0) * 0.01
    off = (latent.rate - exact) / latent.rate_error
    assert off.abs().max() < 5
    assert 0.8 < off.std() < 1.25
    assert trust["rate of z"].error > 0


def test_the_marginals_of_a_correlated_guide(ppca):
    trust = diagnose(ppca.model, ppca.guide(), ppca.data(5), num_samples=50, simulations=0)
    latent, mean = trust.latents["z"], trust.latents["z"].mean
    assert latent.how == "closed form, of marginals"
    variance = ppca.covariance.diagonal()
    exact = (variance + mean.square() - 1 - variance.log()) / 2
    torch.testing.assert_close(latent.rate, exact, rtol=0, atol=0.3)  # the mean is that of 50 draws
    assert trust["rate of z"].value == pytest.approx(latent.rate.sum(-1).mean().item())


def test_correlation_over_all_data():
    """Two latents that copy x and -x, with noise."""
    model, _ = two_dimensions(1.0)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.cat([x, -x], -1), 0.5).to_event(1))

    trust = diagnose(model, guide, {"x": torch.randn(2000, 1)}, num_samples=21, simulations=0)
    assert trust.latents["z"].correlation[0, 1].item() == pytest.approx(-1 / 1.25, abs=0.04)
    line = trust["correlation in z"]
    assert (line.good, "z[0] and z[1]" in line.verdict) == (False, True)


def test_a_collapsed_guide_is_called_so():
    model, _ = two_dimensions(1.0)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).expand([len(x), 2]).to_event(1))

    trust = diagnose(model, guide, {"x": torch.randn(50, 1)}, num_samples=200, simulations=0)
    assert "posterior collapse: 0 of 2 latent dimensions are active" in trust["active in z"].verdict
    assert not trust["mutual information"].good
    assert trust["marginal KL"].good


# ---------------------------------------------------------------------------------- aggregate posterior


def test_mutual_information_and_marginal_kl(ppca):
    """Of x in R: z | x ~ Normal(x, s), so q(z) is a mixture, integrated on a grid."""
    model, guide = two_dimensions(0.3)
    x = torch.randn(40, 1, dtype=torch.float64)
    found = aggregate_posterior(model, guide, {"x": x}, num_samples=4000)
    z = torch.linspace(-8, 8, 16_001).double()
    each = dist.Normal(x, 0.3).log_prob(z)  # (40, grid)
    mixture = each.logsumexp(0) - math.log(40)
    information = (each.exp() * (each - mixture)).sum().item() * 0.001 / 40
    marginal = (mixture.exp() * (mixture - dist.Normal(0.0, 1.0).log_prob(z))).sum().item() * 0.001
    assert abs(found.mutual_information.value - information) < 4 * found.mutual_information.error
    assert abs(found.marginal_kl.value - marginal) < 4 * found.marginal_kl.error
    assert found.mutual_information.error < 0.03
    assert found.size == 40


def test_mutual_information_of_many_data_is_that_of_their_distribution(ppca):
    """With the exact posterior I = log det(I + W'W / s^2) / 2, and q(z) is the prior."""
    data = ppca.data(4000)
    found = aggregate_posterior(ppca.model, ppca.guide(), data, num_samples=400)
    exact = -torch.logdet(ppca.covariance).item() / 2
    assert found.mutual_information.value == pytest.approx(exact, abs=4 * found.mutual_information.error + 0.02)
    assert found.marginal_kl.value == pytest.approx(0, abs=4 * found.marginal_kl.error + 0.02)


def test_information_is_at_most_log_n_and_says_so(ppca):
    trust = diagnose(ppca.model, ppca.guide(stretch=0.01), ppca.data(20), num_samples=50, simulations=0)
    assert trust.aggregate.mutual_information.value == pytest.approx(math.log(20), abs=1e-3)
    assert "all that 20 data can show" in trust["mutual information"].verdict
    assert "too few to tell" in trust["marginal KL"].verdict


def test_chunks_do_not_change_the_aggregate(ppca):
    data = ppca.data(23)
    whole, parts = (aggregate_posterior(ppca.model, ppca.guide(), data, memory=m) for m in (2**28, 2**21))
    for a, b in zip(whole.mutual_information, parts.mutual_information, strict=True):
        assert a == pytest.approx(b, abs=0.2)


def test_an_auxiliary_draw_leaves_no_aggregate(ppca, says):
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
            pyro.sample("z", dist.Normal(a.unsqueeze(-1).expand(*a.shape, 2).double(), 1.0).to_event(1))

    with says(PairError, "auxiliary draw 'a'"):
        aggregate_posterior(ppca.model, guide, ppca.data(3))


# -------------------------------------------------------------------------------------------------- gaps


def test_the_exact_guide_has_no_gap(ppca):
    found = gaps(ppca.model, ppca.guide(), ppca.data(10), num_steps=200, num_samples=200)
    for name in ("inference", "approximation", "amortisation"):
        assert getattr(found, name).value == pytest.approx(0, abs=0.03)
    assert "the parameters of 'z' (MultivariateNormal)" in found.family


@pytest.mark.parametrize(("shift", "stretch"), [(0.3, 1.0), (0.0, 0.5)])
def test_a_wrong_network_of_the_right_family_has_an_amortisation_gap(ppca, shift, stretch):
    """It is KL(q || p(z | x)), and the approximation gap is 0."""
    data = ppca.data(10)
    found = gaps(ppca.model, ppca.guide(shift, stretch), data, num_steps=200)
    q = dist.MultivariateNormal(torch.full((2,), shift).double(), ppca.covariance * stretch**2)
    exact = kl_divergence(q, dist.MultivariateNormal(torch.zeros(2).double(), ppca.covariance)).item()
    assert found.amortisation.value == pytest.approx(exact, abs=4 * found.amortisation.error + 0.03)
    assert found.approximation.value == pytest.approx(0, abs=0.03)
    evidence = ppca.evidence.log_prob(data["x"])
    assert found.log_evidence.value == pytest.approx(evidence.mean().item(), abs=4 * found.log_evidence.error + 1e-3)
    assert found.per_datum["inference"].shape == (10,)
    assert str(found).splitlines()[0].startswith("log_evidence")


def correlated():
    """A posterior with correlation, and a diagonal guide at its optimum: scales 1 / sqrt(precision_dd)."""

    class Model(Program):
        def forward(self, x=None, *, size=None):
            with pyro.plate("data", len(x) if size is None else size, dim=-1):
                z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
                return pyro.sample("x", dist.Normal(z.sum(-1, keepdim=True), 0.5).to_event(1), obs=x)

    precision = torch.eye(2) + 4 * torch.ones(2, 2)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x * 4 / 9, precision.diagonal().rsqrt()).to_event(1))

    gap = (precision.diagonal().log().sum() - precision.logdet()).item() / 2
    return Model(), guide, gap


def test_a_diagonal_guide_of_a_correlated_posterior_has_an_approximation_gap():
    model, guide, exact = correlated()
    found = gaps(model, guide, {"x": torch.randn(20, 1)}, num_steps=200, num_samples=4000)
    assert found.approximation.value == pytest.approx(exact, abs=4 * found.approximation.error + 0.02)
    assert found.amortisation.value == pytest.approx(0, abs=0.03)
    assert exact > 0.3
    assert abs(found.rise) < 0.05


def test_gaps_of_a_network_leave_it_alone_and_compile(captured_only):
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(4, scale=0.5), MLP(2, 4, (5,)))
    guide = NormalGuide(MLP(4, 4, (5,))).train()
    data = {"x": torch.randn(6, 4)}
    eager, compiled = (gaps(model, guide, data, num_steps=20, num_samples=100, compile=c) for c in (False, True))
    torch.testing.assert_close(eager.per_datum["refined"], compiled.per_datum["refined"], rtol=1e-3, atol=1e-3)
    assert eager.amortisation.value > 0
    assert guide.training
    assert not list(pyro.get_param_store())


def test_gaps_wants_steps(ppca, says):
    with says(PairError, "num_steps >= 10", "got 9"):
        gaps(ppca.model, ppca.guide(), ppca.data(2), num_steps=9)


def test_refined_by_nothing_is_the_guide(representative):
    pair = representative
    if "y" in pair.latent or "Delta" in repr(pair.guide):
        pytest.skip("labels and point masses are not refined")
    from pyrovae.inference.pair.running import evaluating
    from pyrovae.inference.pair.scoring import log_terms

    with evaluating(pair.model, pair.guide):
        refined = Refined(pair.guide, pair.batch)
        assert not set(map(id, refined.parameters())) & set(map(id, pair.guide.parameters()))
        assert all(len(p) == 6 or p.shape[1] == 6 for p in refined.parameters())
        weights = []
        for guide in (pair.guide, refined):
            torch.manual_seed(0)
            weights.append(log_terms(pair.model, guide, pair.batch, 3).log_weight)
        torch.testing.assert_close(*weights, rtol=1e-4, atol=1e-3)


GAMMA = {"concentration", "rate"}


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        (dist.LogNormal(torch.zeros(2), 1.0).to_event(1), {"loc", "scale"}),
        (dist.Beta(torch.ones(2), 2.0).to_event(1), {"concentration1", "concentration0"}),
        (dist.Categorical(torch.ones(3)), {"logits"}),
        (dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), {"loc", "scale_tril"}),
        (dist.TransformedDistribution(dist.Gamma(2.0, 3.0), [dist.transforms.ExpTransform()]), GAMMA),
    ],
)
def test_which_parameters_are_free(fn, names):
    seen = []

    def note(name, value):
        seen.append(name.removeprefix("z_"))
        return value

    again = shifted(fn, "z", note)
    assert set(seen) == names
    z = fn.sample()
    torch.testing.assert_close(again.log_prob(z), fn.log_prob(z))


def test_what_cannot_be_refined(ppca, says):
    class Odd(dist.TorchDistribution):
        arg_constraints = {}  # noqa: RUF012

    with says(PairError, "Odd ('z')", "no parameters"):
        shifted(Odd(validate_args=False), "shift_z", lambda _, value: value)


# ------------------------------------------------------------------------------------------- calibration


def test_ranks_of_the_exact_guide_are_uniform(ppca):
    p_values = [calibration(ppca.model, ppca.guide(), 200, num_samples=19, seed=s).p_value for s in range(20)]
    assert min(p_values) > 0.005
    assert sum(p < 0.5 for p in p_values) > 3


@pytest.mark.parametrize(
    ("change", "words"), [({"stretch": 0.3}, "too narrow"), ({"stretch": 3.0}, "too wide"), ({"shift": 0.3}, "shifted")]
)
def test_ranks_of_a_wrong_guide_are_not(ppca, change, words):
    found = calibration(ppca.model, ppca.guide(**change), 300)
    assert found.p_value < 1e-6
    assert found.words() == f"the guide is {words} in 2 of 2 dimensions"
    assert found.ranks["z"].shape == (300, 2)
    assert 0 <= found.ranks["z"].min() <= found.ranks["z"].max() <= 99


def test_labels_are_ranked_at_random_among_equals():
    """p(y | x) = p(y), and the guide draws just that."""

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            pyro.sample("y", dist.Categorical(torch.tensor([0.2, 0.8])))
            return pyro.sample("x", dist.Normal(0.0, 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Categorical(torch.tensor([0.2, 0.8]).expand(len(x), 2)))

    assert calibration(model, guide, 2000).p_value > 0.01


def test_a_prime_number_of_ranks(ppca):
    assert calibration(ppca.model, ppca.guide(), 200, num_samples=22).p_value > 0.001


def test_another_shape_is_named():
    ranks = torch.cat([torch.arange(100).repeat_interleave(9), torch.full((50,), 25), torch.full((50,), 74)])
    found = Calibration({"z": ranks[:, None]}, {"z": torch.tensor([1e-5])}, 99)
    assert found.words() == "the guide is of another shape in 1 of 1 dimensions"


def test_calibration_wants_simulations(ppca, says):
    with says(PairError, "size >= 25", "got 24"):
        calibration(ppca.model, ppca.guide(), 24)
    with says(ShapeError, "calibration wants 30 rows"):
        calibration(ppca.model, ppca.guide(), 30, given={"c": torch.zeros(3)})


# -------------------------------------------------------------------------------------------------- NUTS


@pytest.mark.slow
def test_nuts_agrees_with_the_exact_posterior(ppca):
    x = ppca.data(1)["x"]
    beside = nuts(ppca.model, ppca.guide(), {"x": x}, num_samples=200, warmup=100, max_tree_depth=4)
    exact, scale = ppca.posterior_mean(x)[0], ppca.covariance.diagonal().sqrt()
    error = scale / beside.effective["z"].sqrt()
    assert ((beside.mean["z"] - exact).abs() < 4 * error).all()
    torch.testing.assert_close(beside.scale["z"], scale, rtol=0.25, atol=0)
    assert beside.mean_z["z"].abs().max() < 4
    assert beside.draws["z"].shape == (2, 200, 2)
    assert beside.mixed
    assert str(beside).splitlines()[1].startswith("z[0]")


def test_nuts_finds_a_guide_shifted_and_narrow(ppca):
    x = ppca.data(1)["x"]
    guide = ppca.guide(shift=1.0, stretch=0.1)
    beside = nuts(ppca.model, guide, {"x": x}, num_samples=60, warmup=40, max_tree_depth=3)
    assert (beside.shift["z"] > 2).all()
    torch.testing.assert_close(beside.ratio["z"], torch.full((2,), 0.1).double(), rtol=0.5, atol=0)
    assert (beside.mean_z["z"] > 5).all()


def test_nuts_wants_one_datum(ppca, says):
    with says(PairError, "one datum", "got 2"):
        nuts(ppca.model, ppca.guide(), ppca.data(2))


def test_nuts_wants_a_continuous_latent(says):
    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            y = pyro.sample("y", dist.Categorical(torch.ones(2)))
            return pyro.sample("x", dist.Normal(y.float(), 1.0), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("y", dist.Categorical(torch.ones(len(x), 2)))

    with says(PairError, "continuous latent"):
        nuts(model, guide, {"x": torch.zeros(1)})
