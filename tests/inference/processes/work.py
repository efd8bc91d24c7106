"""What the processes of a test do: trainings and evaluations of small pairs, whose numbers are written to a file.

python work.py NAME FOLDER, with the variables of a launcher; each process writes FOLDER/RANK.pt. Without them it is one
process.
"""

import os
import signal
import sys
import warnings
from functools import partial
from pathlib import Path
from unittest import mock

import pyro
import pyro.distributions as dist
import torch
from pyro.infer import Trace_ELBO
from torch import nn

from pyrovae.data import Binarize
from pyrovae.errors import PyrovaeError
from pyrovae.guides import NormalGuide, TopDownGuide
from pyrovae.inference import (
    ELBO,
    IWAE,
    MMD,
    BetaTCVAE,
    evaluate,
    fit,
    log_evidence,
    posterior,
)
from pyrovae.inference.processes.launch import current
from pyrovae.inference.training.loop import Loop
from pyrovae.models import VAE, ConditionalNormal, LadderVAE, Level, Program, likelihoods, priors
from pyrovae.networks.blocks import DenseBlock
from pyrovae.networks.dense import MLP

D, Z, N, BATCH = 12, 3, 32, 8


def images(size=N, seed=1):
    return {"x": torch.rand(size, D, generator=torch.Generator().manual_seed(seed))}


def plain(*layers):
    encoder, decoder = nn.Sequential(MLP(D, 2 * Z, (9,)), *layers), MLP(Z, D, (9,))
    return VAE(priors.StandardNormal(Z), likelihoods.Bernoulli(D), decoder), NormalGuide(encoder)


def ladder():
    levels = [Level(normal(6, 4), DenseBlock(6, 6, 5, side=4))]
    model = LadderVAE(priors.StandardNormal(2), MLP(2, 6, (5,)), levels, likelihoods.Bernoulli(D), MLP(6, D, (7,)))
    encoders = [MLP(D, 6, (7,)), DenseBlock(6, 6, 5)]
    return model, TopDownGuide(model, encoders, [normal(6, width) for width in (4, 2)])


def normal(width, latent):
    return ConditionalNormal(DenseBlock(width, 2 * latent, 5))


class Global(Program):
    """p(w) prod_i p(u_i) p(x_i | w, u_i), where all data points share w."""

    def forward(self, x=None, *, data_size=N, size=None):
        w = pyro.sample("w", dist.Normal(0.0, 1.0).expand([D]).to_event(1))
        with pyro.plate("data", data_size, subsample_size=len(x) if size is None else size, dim=-1):
            u = pyro.sample("u", dist.Gamma(2.0, 1.0))
            return pyro.sample("x", dist.Normal(w * u.unsqueeze(-1), 1.0).to_event(1), obs=x)


class GlobalGuide(Program):
    def __init__(self):
        super().__init__()
        self.loc, self.net = nn.Parameter(0.1 * torch.randn(D)), nn.Linear(D, 2)

    def forward(self, x, *, data_size):
        pyro.sample("w", dist.Normal(self.loc, 0.2).to_event(1))
        with pyro.plate("data", data_size, subsample_size=len(x), dim=-1):
            pyro.sample("u", dist.Gamma(*nn.functional.softplus(self.net(x)).add(0.5).unbind(-1)))


class Unscaled(Program):
    """The same model without the size of all data."""

    def forward(self, x=None, *, size=None):
        w = pyro.sample("w", dist.Normal(0.0, 1.0))
        with pyro.plate("data", len(x) if size is None else size, dim=-1):
            return pyro.sample("x", dist.Normal(w, 1.0).expand([D]).to_event(1), obs=x)


class UnscaledGuide(Program):
    def __init__(self):
        super().__init__()
        self.loc = nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        pyro.sample("w", dist.Normal(self.loc, 0.2))


class Mean:
    """The loss of a data point; the gradients are those of the mean."""

    def differentiable_loss(self, model, guide, *args, **kwargs):
        (batch,) = args
        return Trace_ELBO().differentiable_loss(model, guide, *args, **kwargs) / len(batch["x"])


class Squared:
    """A loss that is no sum over data points."""

    def differentiable_loss(self, model, guide, *args, **kwargs):
        return Trace_ELBO().differentiable_loss(model, guide, *args, **kwargs) ** 2


PAIRS = {
    "vae": (plain, {"transform": Binarize(), "loss": ELBO()}),
    "iwae": (plain, {"transform": Binarize(), "loss": IWAE(4)}),
    "ladder": (ladder, {"transform": Binarize("threshold")}),
    "global": (lambda: (Global(), GlobalGuide()), {}),
    "dropout": (partial(plain, nn.Dropout(0.5)), {"transform": Binarize()}),
}


def trained(name, *, size=N, compile=False, epochs=2, **options):
    """A training: its history, and the pair. The gradients are those of SGD, so the weights tell them."""
    make, given = PAIRS[name]
    torch.manual_seed(0)
    model, guide = make()
    options = {"optim": (torch.optim.SGD, {"lr": 1e-4, "momentum": 0.5}), "batch_size": BATCH} | given | options
    valid = images(9, 2)
    history = fit(
        model, guide, images(size), valid=valid, epochs=epochs, compile=compile, progress=False, device="cpu", **options
    )
    return history, model, guide


def numbers(name, **options):
    """What a training gives: the losses of the steps, the rows of the epochs, and the weights."""
    history, model, guide = trained(name, **options)
    weights = {f"{i}.{n}": p.detach() for i, part in enumerate((model, guide)) for n, p in part.named_parameters()}
    return {"losses": history.step_losses, "rows": history.rows, "weights": weights}


def trainings(compile):
    names = [name for name in PAIRS if name != "dropout" or not compile]
    return {name: numbers(name, compile=compile) for name in names}


def ragged():
    """The last batch has five rows, or one, which is too few for two processes."""
    return {size: numbers("vae", size=size) for size in (2 * BATCH + 5, 2 * BATCH + 1)}


def evaluations(folder, *, compile):
    """Evaluations of a trained pair, one of them compiled, and of a pair with a latent of all data."""
    _, model, guide = trained("ladder")
    data, transform = images(21, 3), Binarize()
    common = {"transform": transform, "seed": 3}
    found = {
        "evaluation": evaluate(model, guide, data, num_samples=30, **common).per_datum,
        "compiled": evaluate(model, guide, data, num_samples=30, compile=compile, **common).per_datum,
        "evidence": tuple(log_evidence(model, guide, data, num_samples=50, memory=2**14, **common)),
    }
    draws = posterior(model, guide, data, 20, predictive=True, **common)
    found["draws"] = {str(key): named.values for key, named in draws.arrays.items()}
    corrected = posterior(model, guide, data, 20, corrected=True, out=folder / "draws.nc", **common)
    found["file"] = {str(key): named.values.clone() for key, named in corrected.arrays.items()}
    shared, scored = trained("global")[1:], {"x": images(7)["x"]}
    return found | {"global": evaluate(*shared, scored, num_samples=30, seed=1).per_datum}


def message(task):
    """The error of a task, in words."""
    try:
        task()
    except (PyrovaeError, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def refused():
    """Trainings that several processes cannot share, and one that fails on one of them."""
    rank = current().rank
    norm = nn.Sequential(nn.BatchNorm1d(2 * Z))
    PAIRS["norm"] = (partial(plain, norm), {"transform": Binarize()})
    PAIRS["unscaled"] = (lambda: (Unscaled(), UnscaledGuide()), {})
    bad = images()
    return {
        "MMD": message(lambda: trained("vae", loss=MMD(10.0))),
        "BetaTCVAE": message(lambda: trained("vae", loss=BetaTCVAE(data_size=N))),
        "free bits": message(lambda: trained("vae", loss=ELBO(free_bits=0.5))),
        "norm": message(lambda: trained("norm")),
        "unscaled": message(lambda: trained("unscaled")),
        "mean": message(lambda: trained("vae", loss=Mean())),
        "coupled": message(lambda: trained("vae", loss=Squared())),
        "seed": message(lambda: trained("vae", seed=rank)),
        "devices": message(lambda: trained("vae", devices=3)),
        "strategy": message(lambda: trained("vae", strategy="fsdp")),
        "after": message(lambda: trained("vae")),
        "data": message(lambda: evaluate(*plain(), {"x": bad["x"].index_fill(0, torch.tensor(20), torch.nan)})),
        "last": message(lambda: trained("vae")),
    }


def stopped(folder):
    """Process 1 is asked to stop: both do."""

    def line(self):
        if current().rank == current().size - 1 and len(self.rows) == 2:
            signal.raise_signal(signal.SIGTERM)
        return ""

    options = {"epochs": 4, "run": folder / "stopped"}
    with mock.patch.object(Loop, "_line", line):
        first = message(lambda: trained("vae", **options))
    return {"message": first, "whole": numbers("vae", resume=True, **options)}


def main():
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="lightning_fabric")
    name, folder = sys.argv[1], Path(sys.argv[2])
    tasks = {
        "numbers": lambda: {
            "eager": trainings(False),
            "compiled": trainings(True),
            "ragged": ragged(),
            "evaluations": evaluations(folder, compile=True),
        },
        "errors": lambda: {"first": message(lambda: trained("vae")), "refused": refused(), "stopped": stopped(folder)},
    }
    torch.save(tasks[name](), folder / f"{os.environ.get('RANK', 0)}.pt")


if __name__ == "__main__":
    main()
