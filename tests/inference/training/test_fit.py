"""`fit`: reproducible, honest about faults, and right where the evidence is exact."""

import re
import sys
from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import nn

from pyrovae.data import Binarize
from pyrovae.errors import OutOfMemoryError, PairError, SettingError, SupportError
from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.inference import SVI, evaluate, fit
from pyrovae.models import VAE, ConditionalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP


def test_training_raises_the_elbo_and_returns_one_row_per_epoch(table_pair, table, split, quick):
    model, guide = table_pair()
    before = evaluate(model, guide, table()).elbo.value
    history = quick(model, guide, split(), epochs=5, optim=partial(torch.optim.Adam, lr=1e-2))
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4, 5]
    assert history["step"] == [4, 8, 12, 16, 20]
    assert evaluate(model, guide, table()).elbo.value > before + 1
    for row in history.rows:
        assert row["elbo"] == pytest.approx(-row["rate"] - row["distortion"], abs=1e-4)


def test_the_epoch_loss_is_the_mean_over_data_not_over_batches(table_pair, table, quick):
    model, guide = table_pair()
    frozen = partial(torch.optim.SGD, lr=0.0)
    history = quick(model, guide, table(70), epochs=1, optim=frozen)  # batches of 64 and of 6
    assert -history["loss"][0] == pytest.approx(evaluate(model, guide, table(70), num_samples=400).elbo.value, abs=0.3)


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_result_and_another_seed_another(
    compile, table_pair, split, weights, equal, quick
):
    results = []
    for seed in (3, 3, 4):
        model, guide = table_pair()
        torch.randn(7)  # the global state plays no part
        history = quick(model, guide, split(), epochs=2, seed=seed, compile=compile)
        results.append((history.rows, weights(model, guide)))
    assert results[0][0] == results[1][0]
    assert equal(results[0][1], results[1][1])
    assert not equal(results[0][1], results[2][1])


def test_the_global_random_state_and_the_param_store_are_left_alone(table_pair, table, quick):
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    model, guide = table_pair()
    torch.manual_seed(5)
    quick(model, guide, table(), epochs=1)
    assert torch.equal(torch.randn(3), expected)
    assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("loss", [Trace_ELBO(num_particles=2, vectorize_particles=True), TraceMeanField_ELBO()])
def test_any_pyro_elbo_trains(loss, table_pair, table, quick):
    model, guide = table_pair()
    history = quick(model, guide, table(), epochs=3, loss=loss, optim=partial(torch.optim.Adam, lr=1e-2))
    assert history["loss"][-1] < history["loss"][0]


def test_the_learned_guide_of_a_linear_gaussian_pair_reaches_the_evidence(quick):
    torch.manual_seed(0)
    # Orthogonal columns, so that the exact posterior is diagonal and the guide's family holds it.
    basis = torch.linalg.qr(torch.randn(5, 2))[0] * torch.tensor([2.0, 1.0])
    scale, size = 0.5, 400

    def model(x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            return pyro.sample("x", dist.Normal(z @ basis.T, scale).to_event(1), obs=x)

    guide = NormalGuide(MLP(5, 4, ()))
    x = model(size=size)
    truth = dist.MultivariateNormal(torch.zeros(5), basis @ basis.T + scale**2 * torch.eye(5)).log_prob(x).mean()
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.97)
    quick(model, guide, {"x": x}, epochs=100, optim=partial(torch.optim.Adam, lr=3e-2), scheduler=decay)
    measured = evaluate(model, guide, {"x": x}, num_samples=400)
    assert truth - 0.05 <= measured.elbo.value <= truth + 3 * measured.elbo.error


def test_faults_are_told_before_training(table_pair, table, quick):
    model, guide = table_pair()
    with pytest.raises(PairError, match="got none"):
        quick(model, guide, {"x": torch.empty(0, 6)})
    with pytest.raises(PairError, match="patience requires validation data"):
        quick(model, guide, table(), patience=2)
    with pytest.raises(PairError, match=r"0 <= average < 1, got 1\.0.*0\.95 is a start"):
        quick(model, guide, table(), average=1.0)
    bernoulli = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), MLP(2, 6, (8,)))
    with pytest.raises(SupportError, match="Binarise"):
        quick(bernoulli, guide, {"x": torch.rand(20, 6)})


def test_dynamic_binarisation_trains_on_the_device_each_step(quick):
    torch.manual_seed(0)
    likelihood = likelihoods.Bernoulli((1, 4, 4))
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, (1, 4, 4), (8,)))
    data = {"x": torch.randint(0, 256, (100, 1, 4, 4), dtype=torch.uint8)}
    history = quick(model, NormalGuide(MLP((1, 4, 4), 4, (8,))), data, epochs=2, transform=Binarize())
    assert 8 < history["loss"][-1] < 16  # 16 ln 2 = 11.1 nats for fair coins


def test_a_long_training_is_compiled_unless_told_otherwise(monkeypatch, table_pair, table):
    asked = []

    def spy(*args, compile, **options):
        asked.append(compile)
        return SVI(*args, compile=False, **options)

    module = sys.modules[fit.__module__]
    monkeypatch.setattr(module, "SVI", spy)
    monkeypatch.setattr(module, "COMPILE_FROM_STEPS", 5)  # an epoch has 4
    for epochs, compile in [(1, None), (2, None), (1, True), (2, False), (1, "beside")]:
        fit(*table_pair(), table(), epochs=epochs, batch_size=50, progress=False, compile=compile)
    assert asked == [False, "beside", True, False, "beside"]


# ------------------------------------------------------------------------------------------- at the door


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 1.5},
        {"epochs": -1},
        {"epochs": True},
        {"batch_size": 0},
        {"batch_size": "64"},
        {"clip_norm": -1.0},
        {"clip_norm": float("nan")},
        {"clip_norm": float("inf")},
        {"patience": 0},
        {"average": float("nan")},
        {"seed": -1},
        {"seed": 1_700_000_000_000_000_000},
        {"seed": 0.5},
    ],
    ids=str,
)
def test_settings_without_a_meaning(settings, tmp_path, table_pair, split):
    ((name, value),) = settings.items()
    with pytest.raises(SettingError, match=f"^{name} requires .*{re.escape(str(value))}"):
        fit(*table_pair(), split(), run=tmp_path / "run", progress=False, **settings)
    assert not list(tmp_path.iterdir())


def test_a_last_batch_that_the_pair_cannot_take_is_refused_before_the_first_step(tmp_path, split):
    """A batch of one data point has no variance."""
    network = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    model = VAE(priors.StandardNormal(2), likelihoods.Normal(6), MLP(2, 6, (4,)))
    data = split(129)
    with pytest.raises(PairError, match=r"every batch, got an error from the one of 1 data points: .*batch_size=127"):
        fit(model, NormalGuide(network), data, batch_size=128, run=tmp_path / "run", progress=False)
    assert (
        len(fit(model, NormalGuide(network), data, epochs=1, batch_size=127, progress=False, compile=False).rows) == 1
    )


def test_optimizers_and_schedules_that_are_none(table_pair, table, quick):
    for optim, words in [
        ("adam", "optim requires a torch optimizer class"),
        (torch.optim.LBFGS, r"one step for each gradient, got LBFGS.*torch.optim.Adam"),
        ((torch.optim.LBFGS, {"lr": 1.0}), "got LBFGS"),
    ]:
        with pytest.raises(PairError, match=words):
            quick(*table_pair(), table(), optim=optim)
    for scheduler, words in [
        ("cosine", "scheduler requires a function .*got str.*partial"),
        (torch.optim.lr_scheduler.ExponentialLR(torch.optim.SGD([torch.zeros(1)], 0.1), 0.9), "got ExponentialLR"),
        (lambda optimizer: 3, "one that gives int"),
    ]:
        with pytest.raises(PairError, match=words):
            quick(*table_pair(), table(), scheduler=scheduler)


def test_memory_that_ran_out_names_the_batch_size(table_pair, table, quick):
    def model(x):
        torch.empty(2**60, dtype=torch.uint8)

    with pytest.raises(OutOfMemoryError, match=r"Write batch_size=32 or less"):
        quick(model, table_pair()[1], table())


def test_a_resume_needs_a_run(table_pair, table, says):
    with says(SettingError, "resume=True requires a run folder, got run=None", 'run="runs/mine", resume=True'):
        fit(*table_pair(), table(), resume=True, progress=False)


def test_a_pair_without_parameters_has_nothing_to_train(ppca, table_pair, table, says):
    words = ["a pair with parameters that require a gradient, got none", "self.decoder = MLP", "requires_grad_(True)"]
    with says(PairError, *words):
        fit(ppca.model, ppca.guide(), ppca.data(8), progress=False, device="cpu")
    model, guide = (program.requires_grad_(False) for program in table_pair())
    with says(PairError, *words):
        fit(model, guide, table(), progress=False, device="cpu")


@pytest.mark.parametrize("split", ["train", "valid"])
def test_labels_of_the_whole_data_are_checked_before_the_first_step(split, quick, says):
    """Only the first batch was: a label of a later one was taken for none."""
    torch.manual_seed(0)
    model = ConditionalVAE(priors.StandardNormal(2), likelihoods.Normal(6, 0.5), JointMLP([2, 3], (6,), [4]))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, [4])))
    good = {"x": torch.randn(300, 6), "y": torch.arange(300) % 3}
    for wrong in (3, -1):
        y = good["y"].clone()
        y[123] = wrong
        data = {"train": good, "valid": good} | {split: {**good, "y": y}}
        before = [p.clone() for p in model.parameters()]
        with says(SupportError, "labels 'y' in {0, ..., 2}", f"got {wrong} (1 of 300 rows)"):
            quick(model, guide, data["train"], valid=data["valid"], epochs=1)
        assert all(map(torch.equal, before, model.parameters()))
    quick(model, guide, good, epochs=1)


def test_labels_that_the_transform_makes_are_those_of_the_batch(quick):
    model = ConditionalVAE(priors.StandardNormal(2), likelihoods.Normal(6, 0.5), JointMLP([2, 3], (6,), [4]))
    guide = ConditionalGuide(NormalGuide(JointMLP([6, 3], 4, [4])))
    data = {"x": torch.randn(90, 6), "y": 10 * (torch.arange(90) % 3)}
    quick(model, guide, data, epochs=1, transform=lambda batch: {**batch, "y": batch["y"] // 10})
