"""A whole diagnosis in one call."""

import math
import sys

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from pyrovae.errors import PairError, SettingError
from pyrovae.inference import evaluate
from pyrovae.inference.diagnostics import aggregate_posterior, calibration, diagnose, gaps, nuts
from pyrovae.inference.pair.on_data import PairOnData
from pyrovae.inference.pair.tracing import trace_pair
from pyrovae.models import Program

AIS = {"AIS from the prior"}


def as_it_is(batch):
    return batch


def test_the_exact_guide_is_trusted(ppca):
    diagnosis = diagnose(ppca.model, ppca.guide(), ppca.data(300), num_samples=300)
    assert diagnosis.per_datum["khat"].max() < 0.5
    torch.testing.assert_close(diagnosis.per_datum["effective_sample_size"], torch.full((300,), 300.0).double())
    assert diagnosis.good, str(diagnosis)
    assert diagnosis["k-hat above 0.7"].value == 0
    assert diagnosis["calibration (p-value)"].value > 0.01
    assert diagnosis.absent == {
        "gaps": "not requested (num_refined=100)",
        "AIS from the prior": "not requested (annealing=Annealing())",
        "local test": "not needed, the ranks find nothing (local_test)",
    }


def test_what_it_measures_is_what_evaluate_does(ppca):
    data = ppca.data(7)
    diagnosis = diagnose(ppca.model, ppca.guide(0.1), data, num_samples=400, num_simulations=0, memory=2**18)
    measured = evaluate(ppca.model, ppca.guide(0.1), data, num_samples=400)
    for name in ("elbo", "rate", "log_evidence"):
        error = diagnosis.per_datum[f"{name}_error"] + measured.per_datum[f"{name}_error"]
        assert ((diagnosis.per_datum[name] - measured.per_datum[name]).abs() < 5 * error).all()


def test_every_pair_goes_through(representative):
    pair = representative
    diagnosis = diagnose(pair.model, pair.guide, pair.batch, num_samples=24, num_simulations=25, transform=as_it_is)
    assert set(diagnosis.latents) == set(pair.latent)
    assert all(math.isfinite(v.value) and (v.error is None or math.isfinite(v.error)) for v in diagnosis.verdicts)
    assert all(len(reason) > 10 for reason in diagnosis.absent.values())
    for name, event in pair.latent.items():
        latent, dims = diagnosis.latents[name], math.prod(event)
        for quantity in ("rate", "mean", "activity", "correlation"):
            value = getattr(latent, quantity)
            assert (value is None) == (quantity in latent.absent)
            assert value is None or value.isfinite().all()
            assert value is None or value.shape[-1] == dims
    assert len(str(diagnosis).splitlines()) == 1 + len(diagnosis.verdicts) + len(diagnosis.absent)


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
    diagnosis = diagnose(Model(), Guide(), data, num_samples=40, num_simulations=25, num_refined=2, transform=as_it_is)
    assert {name: len(latent.activity) for name, latent in diagnosis.latents.items()} == {"z": 2, "w": 3}
    assert set(diagnosis.absent) == {"latent k", "AIS from the prior"}
    assert diagnosis.absent["latent k"] == "summed out, so the guide does not draw it"
    assert diagnosis.calibration.ranks["w"].shape == (25, 3)
    assert diagnosis.gaps is not None
    found = nuts(Model(), Guide(), {n: t[:1] for n, t in data.items()}, num_samples=4, num_warmup=4, max_tree_depth=2)
    assert found.draws["w"].shape == (2, 4, 3)
    assert found.absent == {"k": "summed out"}


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
    diagnosis = diagnose(model, guide, data, num_samples=30, num_simulations=25)
    assert set(diagnosis.latents) == {"z"}
    assert not diagnosis.per_datum
    assert set(diagnosis.absent) == {"latent w", "weights", "aggregate posterior", "calibration", "gaps", *AIS}
    for function in (aggregate_posterior, gaps):
        with says(PairError, "outside the plate 'data'"):
            function(model, guide, data)
    with says(PairError, "outside the plate 'data'"):
        nuts(model, guide, {"x": data["x"][:1]})


def test_what_is_not_there_to_diagnose(ppca, says):
    with says(PairError, "diagnose requires data"):
        diagnose(ppca.model, ppca.guide(), {"x": torch.zeros(0, 5)})
    for wrong in (20, -1, 100.5):
        with says(SettingError, "num_samples", "at least 21", str(wrong)):
            diagnose(ppca.model, ppca.guide(), ppca.data(3), num_samples=wrong)
    for name in ("num_simulations", "num_refined"):
        with says(SettingError, name, "at least 0, got -1"):
            diagnose(ppca.model, ppca.guide(), ppca.data(3), **{name: -1})


def test_each_part_has_the_numbers_that_it_has_alone(ppca):
    """A random transform, so that each part depends on the random state that it starts from."""

    def noisy(batch):
        return {"x": batch["x"] + 0.1 * torch.randn_like(batch["x"])}

    pair, data = (ppca.model, ppca.guide(0.1, 0.8)), ppca.data(20)
    found = diagnose(*pair, data, num_samples=50, num_simulations=30, num_refined=4, transform=noisy)
    few = {"x": data["x"][:4]}
    assert found.aggregate == aggregate_posterior(*pair, data, transform=noisy)
    alone = gaps(*pair, few, num_samples=50, transform=noisy)
    assert all(torch.equal(found.gaps.per_datum[name], part) for name, part in alone.per_datum.items())
    assert torch.equal(found.calibration.ranks["z"], calibration(*pair, 30).ranks["z"])


def test_a_diagnosis_opens_its_data_once(ppca, monkeypatch):
    """One trace of the pair on its data, and one on those that the calibration simulates."""
    rows = []

    def counted(model, guide, batch, *, data_size):
        rows.append(data_size)
        return trace_pair(model, guide, batch, data_size=data_size)

    monkeypatch.setattr(sys.modules[PairOnData.__module__], "trace_pair", counted)
    diagnose(ppca.model, ppca.guide(), ppca.data(6), num_samples=21, num_simulations=25, num_refined=2)
    assert rows == [6, 25]


def test_progress_of_each_part(ppca, capsys):
    parts = {"num_samples": 21, "num_simulations": 25, "num_refined": 2}
    diagnose(ppca.model, ppca.guide(), ppca.data(6), **parts)
    assert not capsys.readouterr().err
    diagnose(ppca.model, ppca.guide(), ppca.data(6), **parts, progress=True)
    shown = capsys.readouterr().err
    assert all(total in shown for total in ("6/6", "25/25", "500/500"))
