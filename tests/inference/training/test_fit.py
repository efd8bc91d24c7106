"""Training: reproducible, resumable bit for bit, honest about faults."""

import csv
import json
import math
import random
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO

from pyrovae.data import Binarize, Dataset
from pyrovae.errors import CheckpointError, NonFiniteError, OutputError, PairError, SupportError
from pyrovae.examples import _shared as cli
from pyrovae.guides import NormalGuide
from pyrovae.inference import SVI, evaluate, fit, load_weights
from pyrovae.inference.training.averaging import averaged
from pyrovae.inference.training.checkpoint import load
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP


def table_pair(width=16, seed=0):
    torch.manual_seed(seed)
    likelihood = likelihoods.Normal(6)
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, likelihood.params_shape, (width,)))
    return model, NormalGuide(MLP(6, 4, (width,)))


def table(size=200, seed=1):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(size, 2, generator=generator)
    return {"x": z @ torch.randn(2, 6, generator=generator) + 0.3 * torch.randn(size, 6, generator=generator)}


def split(size=200):
    return Dataset(table(size), table(50, 2), table(50, 3), "made", "made here")


def weights(*programs):
    return [p.detach().clone() for program in programs for p in program.parameters()]


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


quick = partial(fit, progress=False, compile=False, batch_size=64)


def test_training_raises_the_elbo_and_returns_one_row_per_epoch():
    model, guide = table_pair()
    before = evaluate(model, guide, table()).elbo.value
    history = quick(model, guide, split(), epochs=5, optim=partial(torch.optim.Adam, lr=1e-2))
    assert [row["epoch"] for row in history.rows] == [1, 2, 3, 4, 5]
    assert history["step"] == [4, 8, 12, 16, 20]
    assert evaluate(model, guide, table()).elbo.value > before + 1
    for row in history.rows:
        assert row["elbo"] == pytest.approx(-row["rate"] - row["distortion"], abs=1e-4)


def test_the_epoch_loss_is_the_mean_over_data_not_over_batches():
    model, guide = table_pair()
    frozen = partial(torch.optim.SGD, lr=0.0)
    history = quick(model, guide, table(70), epochs=1, optim=frozen)  # batches of 64 and of 6
    assert -history["loss"][0] == pytest.approx(evaluate(model, guide, table(70), num_samples=400).elbo.value, abs=0.3)


@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_the_same_seed_gives_the_same_result_and_another_seed_another(compile):
    results = []
    for seed in (3, 3, 4):
        model, guide = table_pair()
        torch.randn(7)  # the global state plays no part
        history = quick(model, guide, split(), epochs=2, seed=seed, compile=compile)
        results.append((history.rows, weights(model, guide)))
    assert results[0][0] == results[1][0]
    assert equal(results[0][1], results[1][1])
    assert not equal(results[0][1], results[2][1])


def test_the_global_random_state_and_the_param_store_are_left_alone():
    torch.manual_seed(5)
    expected = torch.randn(3)
    torch.manual_seed(5)
    model, guide = table_pair()
    torch.manual_seed(5)
    quick(model, guide, table(), epochs=1)
    assert torch.equal(torch.randn(3), expected)
    assert len(pyro.get_param_store()) == 0


@pytest.mark.parametrize("loss", [Trace_ELBO(num_particles=2, vectorize_particles=True), TraceMeanField_ELBO()])
def test_any_pyro_elbo_trains(loss):
    model, guide = table_pair()
    history = quick(model, guide, table(), epochs=3, loss=loss, optim=partial(torch.optim.Adam, lr=1e-2))
    assert history["loss"][-1] < history["loss"][0]


def test_the_learned_guide_of_a_linear_gaussian_pair_reaches_the_evidence():
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


def test_a_schedule_steps_once_per_epoch():
    model, guide = table_pair()
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    history = quick(model, guide, table(), epochs=3, scheduler=decay)
    assert history["lr"] == pytest.approx([1e-3, 5e-4, 2.5e-4])


def test_patience_stops_and_puts_the_best_weights_back(tmp_path):
    model, guide = table_pair()
    wild = partial(torch.optim.SGD, lr=3e-3)  # overshoots after some epochs
    history = quick(model, guide, split(), epochs=60, patience=3, optim=wild, run=tmp_path, clip_norm=50.0)
    best = max(history["elbo"])
    assert history["elbo"][history.best_epoch - 1] == best
    again = evaluate(model, guide, table(50, 2), num_samples=1, seed=0).elbo.value
    assert again == pytest.approx(best, abs=1e-4)
    other = table_pair(seed=9)
    load_weights(*other, tmp_path)
    assert equal(weights(*other), weights(model, guide))


def test_the_mean_of_the_weights_is_validated_and_ends_the_training(tmp_path):
    plain, model_and_guide = [], table_pair()
    for epochs in (1, 2, 3):
        one = table_pair()
        quick(*one, split(), epochs=epochs)
        plain.append(weights(*one))
    history = quick(*model_and_guide, split(), epochs=3, average=0.6, run=tmp_path)
    shares = torch.tensor([0.36, 0.6, 1.0])
    for mean, *parts in zip(weights(*model_and_guide), *plain, strict=True):
        expected = torch.stack([share * part for share, part in zip(shares, parts, strict=True)]).sum(0) / shares.sum()
        torch.testing.assert_close(mean, expected)
    again = evaluate(*model_and_guide, table(50, 2), num_samples=1, seed=0).elbo.value
    assert again == pytest.approx(history["elbo"][-1], abs=1e-4)
    other = table_pair(seed=9)
    load_weights(*other, tmp_path)
    assert equal(weights(*other), weights(*model_and_guide))


def test_the_mean_of_the_weights_of_functions_and_of_whole_numbers():
    assert averaged(None, {"n": torch.tensor(3), "w": torch.ones(2)}, 0.9, 1)["n"] == 3
    old, new = ({"n": torch.tensor(n), "w": torch.full((2,), float(n)), "name": "a"} for n in (3, 5))
    mean = averaged(old, new, 0.5, 2)
    assert mean["n"] == 5
    torch.testing.assert_close(mean["w"], torch.full((2,), (0.5 * 3 + 5) / 1.5))

    def model(x):
        loc = pyro.param("loc", torch.tensor(0.0))
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x):
        pass

    x = torch.ones(100) + 0.1 * torch.randn(100)
    with pyro.get_param_store().scope():
        ends = []
        for epochs, average in [(1, 0.0), (2, 0.0), (2, 0.5)]:
            pyro.clear_param_store()
            quick(model, guide, {"x": x}, epochs=epochs, average=average, valid={"x": x})
            ends.append(pyro.param("loc").item())
    assert ends[2] == pytest.approx((0.5 * ends[0] + ends[1]) / 1.5)


def test_the_run_folder_holds_what_happened(tmp_path):
    model, guide = table_pair()
    history = quick(model, guide, split(), epochs=2, run=tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines()))
    assert [float(row["elbo"]) for row in rows] == history["elbo"]
    assert json.loads((tmp_path / "metrics.json").read_text()) == history.rows
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["batch_size"] == 64
    assert config["torch"] == torch.__version__
    assert "NormalGuide" in config["guide"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["checkpoint.pt", "config.json", "metrics.csv", "metrics.json"]


@pytest.mark.parametrize("options", [{}, {"average": 0.5}, {"average": 0.9, "patience": 3}])
def test_resuming_continues_bit_for_bit(options, tmp_path):
    model, guide = table_pair()
    through = quick(model, guide, split(), epochs=4, **options)
    first = table_pair()
    quick(*first, split(), epochs=2, run=tmp_path, **options)
    second = table_pair(seed=8)
    resumed = quick(*second, split(), epochs=4, run=tmp_path, resume=True, **options)
    assert resumed.rows == through.rows
    assert equal(weights(*second), weights(model, guide))


def test_resuming_without_a_checkpoint_starts(tmp_path):
    model, guide = table_pair()
    assert len(quick(model, guide, table(), epochs=1, run=tmp_path / "new", resume=True).rows) == 1


def test_resuming_another_architecture_optimizer_or_configuration_is_refused(tmp_path):
    quick(*table_pair(), table(), epochs=1, run=tmp_path)
    with pytest.raises(CheckpointError, match="another architecture"):
        quick(*table_pair(width=8), table(), epochs=2, run=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"'batch_size': 64.*'batch_size': 32"):
        fit(*table_pair(), table(), epochs=2, batch_size=32, run=tmp_path, resume=True, progress=False, compile=False)
    with pytest.raises(CheckpointError, match=r"with \{'lr': 0.001\}, this run has \{'lr': 0.01\}.*load_weights"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, optim=partial(torch.optim.Adam, lr=1e-2))
    with pytest.raises(CheckpointError, match=r"with \{'optimizer': 'Adam'.*\{'optimizer': 'SGD'"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, optim=partial(torch.optim.SGD, lr=1e-3))
    with pytest.raises(CheckpointError, match=r"with \{'average': 0.0\}, this run has \{'average': 0.9\}"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, average=0.9)
    decay = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    with pytest.raises(CheckpointError, match=r"\{'scheduler': None\}.*\{'scheduler': 'ExponentialLR'\}"):
        quick(*table_pair(), table(), epochs=2, run=tmp_path, resume=True, scheduler=decay)


@pytest.mark.parametrize("first", [1, 2, 4])
def test_a_resumed_cosine_is_that_of_all_epochs(first, tmp_path):
    quick(*table_pair(), table(), epochs=first, scheduler=cli.schedule("cosine", first), run=tmp_path)
    resumed = quick(*table_pair(), table(), epochs=6, scheduler=cli.schedule("cosine", 6), run=tmp_path, resume=True)
    rates = [1e-3 * (1 + math.cos(math.pi * epoch / 6)) / 2 for epoch in range(6)]
    assert [row["lr"] for row in resumed.rows[first:]] == pytest.approx(rates[first:], abs=1e-12)


TRAIN = """
import sys, torch
from functools import partial
sys.path.insert(0, {here!r})
from test_fit import split, table_pair
from pyrovae.inference import fit
model, guide = table_pair()
scheduler = partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.99)
fit(model, guide, split(2000), epochs={epochs}, batch_size=50, run=sys.argv[1], resume=True, progress=False,
    compile={compile}, scheduler=scheduler, patience=1000, average=0.7)
"""


def train(folder, *, epochs=6, compile=False):
    code = TRAIN.format(here=str(Path(__file__).parent), epochs=epochs, compile=compile)
    return subprocess.Popen([sys.executable, "-c", code, str(folder)], stderr=subprocess.PIPE, text=True)


def finish(process):
    _, error = process.communicate(timeout=300)
    assert process.returncode == 0, error


def wait_for_change(file, process, times):
    seen, last = 0, None
    while seen < times and process.poll() is None:
        stamp = file.stat().st_mtime_ns if file.exists() else None
        seen, last = seen + (stamp != last), stamp
        time.sleep(0.001)


def same_state(first, second):
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same_state(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same_state, first, second))
    return first == second


@pytest.mark.parametrize(
    ("compile", "kills"), [(False, 3), pytest.param(True, 6, marks=pytest.mark.slow)], ids=["eager", "compiled"]
)
def test_a_run_killed_at_random_moments_ends_as_one_that_was_not(tmp_path, compile, kills):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(train(whole, compile=compile))
    moments = random.Random(0)
    for _ in range(kills):
        process = train(killed, compile=compile)
        wait_for_change(killed / "checkpoint.pt", process, moments.randint(1, 2))
        time.sleep(moments.uniform(0, 0.2))
        process.kill()
        process.communicate()
    finish(train(killed, compile=compile))
    assert same_state(load(killed / "checkpoint.pt"), load(whole / "checkpoint.pt"))
    assert (killed / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()


def test_ctrl_c_ends_the_step_and_leaves_a_checkpoint_that_resumes(tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    process = train(stopped, epochs=1000)
    wait_for_change(stopped / "checkpoint.pt", process, 3)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert "KeyboardInterrupt: stopped after step" in error
    assert "resume=True" in error
    state = load(stopped / "checkpoint.pt")
    done = len(state["history"]["rows"])
    assert 0 < len(state["losses"]) <= 40
    finish(train(stopped, epochs=done + 1))
    finish(train(whole, epochs=done + 1))
    assert same_state(load(stopped / "checkpoint.pt"), load(whole / "checkpoint.pt"))


class Explodes(VAE):
    """p(x | z) turns NaN wherever the first number of a datum is above 100."""

    def forward(self, x=None, *, size=None):
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            z = pyro.sample("z", self.prior())
            params = self.decoder(z)
            params = params if x is None else torch.where(x[..., :1] > 100, torch.nan, params)
            return pyro.sample("x", self.likelihood(params), obs=x)


@pytest.mark.filterwarnings("ignore:Encountered NaN")
def test_a_nan_in_the_loss_names_site_and_batch_and_leaves_the_last_good_checkpoint(tmp_path):
    data = table()
    likelihood = likelihoods.Normal(6)
    torch.manual_seed(0)
    model = Explodes(priors.StandardNormal(2), likelihood, MLP(2, 6, (8,)))
    guide = NormalGuide(MLP(6, 4, (8,)))
    quick(model, guide, data, epochs=1, run=tmp_path)
    good = load(tmp_path / "checkpoint.pt")
    last = torch.randperm(200, generator=torch.Generator().manual_seed(0))[-1]  # the first batch is checked before
    data["x"][last, 0] = 1000.0
    with pytest.raises(NonFiniteError, match=r"epoch 2, step \d, rows .*site 'x' of the model is nan at rows \[\d+\]"):
        quick(model, guide, data, epochs=2, run=tmp_path, resume=True)
    assert same_state(load(tmp_path / "checkpoint.pt"), good)
    assert all(p.isfinite().all() for p in weights(model, guide))


def test_faults_are_told_before_training():
    model, guide = table_pair()
    with pytest.raises(PairError, match="got none"):
        quick(model, guide, {"x": torch.empty(0, 6)})
    with pytest.raises(PairError, match="patience wants validation data"):
        quick(model, guide, table(), patience=2)
    with pytest.raises(PairError, match=r"0 <= average < 1, got 1\.0.*0\.95 is a start"):
        quick(model, guide, table(), average=1.0)
    bernoulli = VAE(priors.StandardNormal(2), likelihoods.Bernoulli(6), MLP(2, 6, (8,)))
    with pytest.raises(SupportError, match="Binarise"):
        quick(bernoulli, guide, {"x": torch.rand(20, 6)})


def test_a_run_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"cannot write .* into"):
        quick(*table_pair(), table(), epochs=1, run=tmp_path / "file" / "run")


def test_a_program_that_knows_the_size_of_the_data_is_scaled_by_it():
    class Bayesian(VAE):
        def forward(self, x=None, *, data_size, size=None):
            shift = pyro.sample("shift", dist.Normal(0.0, 1.0))
            with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
                z = pyro.sample("z", self.prior())
                return pyro.sample("x", self.likelihood(self.decoder(z) + shift[..., None]), obs=x)

    class Both(NormalGuide):
        def __init__(self, encoder):
            super().__init__(encoder)
            self.loc = torch.nn.Parameter(torch.zeros(()))

        def forward(self, x, *, data_size):
            pyro.sample("shift", dist.Normal(self.loc, 0.1))
            with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
                return pyro.sample("z", self.posterior(self.encoder(x)))

    torch.manual_seed(0)
    model = Bayesian(priors.StandardNormal(2), likelihoods.Normal(6, 0.5), MLP(2, 6, (8,)))
    history = quick(model, Both(MLP(6, 4, (8,))), split(), epochs=6, optim=partial(torch.optim.Adam, lr=1e-2))
    assert history["loss"][-1] < history["loss"][0]
    assert history["loss"][-1] == pytest.approx(-history["elbo"][-1], rel=0.5)  # nats per datum, both


def test_dynamic_binarisation_trains_on_the_device_each_step():
    torch.manual_seed(0)
    likelihood = likelihoods.Bernoulli((1, 4, 4))
    model = VAE(priors.StandardNormal(2), likelihood, MLP(2, (1, 4, 4), (8,)))
    data = {"x": torch.randint(0, 256, (100, 1, 4, 4), dtype=torch.uint8)}
    history = quick(model, NormalGuide(MLP((1, 4, 4), 4, (8,))), data, epochs=2, transform=Binarize())
    assert 8 < history["loss"][-1] < 16  # 16 ln 2 = 11.1 nats for fair coins


def test_batches_may_be_chosen_in_any_sizes(ppca):
    """Each epoch draws its own; the loss of the epoch is the mean over the data."""
    seen = []

    def batches(generator):
        rows = torch.randperm(10, generator=generator)
        seen.append(rows)
        return [rows[:3], rows[3:5], rows[5:8], rows[8:]]

    def trained(epochs):
        torch.manual_seed(0)
        guide = NormalGuide(MLP(5, 4, []))
        guide.double()
        options = {"batches": batches, "compile": False, "progress": False}
        return fit(ppca.model, guide, ppca.data(10), epochs=epochs, optim=(torch.optim.SGD, {"lr": 0.0}), **options)

    history = trained(3)
    assert [row["step"] for row in history.rows] == [4, 8, 12]
    assert len({tuple(rows.tolist()) for rows in seen}) == 3
    assert history["loss"] == trained(3)["loss"]


def test_a_training_is_compiled_where_it_is_long_enough(monkeypatch):
    asked = []

    def spy(*args, compile, **options):
        asked.append(compile)
        return SVI(*args, compile=False, **options)

    module = sys.modules[fit.__module__]
    monkeypatch.setattr(module, "SVI", spy)
    monkeypatch.setattr(module, "COMPILE_FROM_STEPS", 5)  # an epoch has 4
    for epochs, compile in [(1, None), (2, None), (1, True), (2, False)]:
        fit(*table_pair(), table(), epochs=epochs, batch_size=50, progress=False, compile=compile)
    assert asked == [False, True, True, False]
