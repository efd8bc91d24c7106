"""Few labels, many data: M2, p(y) p(z) p(x | y, z) with y summed out, and M1+M2, the same on the codes of a VAE.

python examples/semi_supervised_vae.py                            accuracy against the number of labels
python examples/semi_supervised_vae.py --labels 100               one row of the table
python examples/semi_supervised_vae.py --program m1+m2            M2 on the codes of a VAE
"""

import argparse
import dataclasses
import math
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from pyrovae import cli, data, plots
from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.inference import Supervised, accuracy, decode
from pyrovae.models import VAE, Likelihood, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP

CHUNK = 1000


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/semi_supervised_vae", epochs=20)
    p.add_argument("--program", choices=("m2", "m1+m2"), default="m2", help="M2 on pixels, or on the codes of a VAE")
    p.add_argument("--labels", type=cli.shape_list, default=[100, 500], help="how many are known, 50,100,500")
    p.add_argument("--alpha", type=float, default=20.0, help="weight of the classification term")
    p.add_argument("--share", type=float, default=0.1, help="of labelled data in a batch, by repetition")
    p.add_argument("--hidden", type=cli.shape_list, default=[500], help="widths of the dense layers, 500,500")
    p.add_argument("--latent", type=int, default=5, help="dimension of z; few, so that the class is left to y")
    p.add_argument("--emphasis", type=float, default=8.0, help="of y at the start, by its first weights")
    p.add_argument("--codes", type=int, default=50, help="dimension of the codes of m1")
    p.add_argument("--m1-epochs", type=int, default=30, help="passes in which m1 is trained")
    return p.parse_args(argv)


def m1(a: argparse.Namespace, train: data.Batch) -> tuple[VAE, NormalGuide]:
    """A VAE of the pixels."""
    shape = tuple(train["x"].shape[1:])
    likelihood, decoder = likelihoods.Bernoulli(shape), MLP(a.codes, shape, a.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    return VAE(priors.StandardNormal(a.codes), likelihood, decoder), NormalGuide(MLP(shape, 2 * a.codes, a.hidden))


def m2(a: argparse.Namespace, likelihood: Likelihood, classes: int) -> tuple[SemiSupervisedVAE, SemiSupervisedGuide]:
    """p(y) p(z) p(x | y, z), and q(y | x) q(z | x, y)."""
    shape = likelihood.event_shape
    decoder = JointMLP([a.latent, classes], likelihood.params_shape, a.hidden[::-1])
    encoder = JointMLP([shape, classes], 2 * a.latent, a.hidden)
    for network in (decoder, encoder):
        network.emphasise(1, a.emphasis)
    model = SemiSupervisedVAE(priors.StandardNormal(a.latent), likelihood, decoder, classes)
    return model, SemiSupervisedGuide(MLP(shape, classes, a.hidden), NormalGuide(encoder))


@dataclass(frozen=True)
class DrawCodes:
    """x ~ Normal(x, scale): a fresh draw of a code at every step."""

    def prepare(self, batch: data.Batch) -> data.Batch:
        return batch

    def __call__(self, batch: data.Batch) -> data.Batch:
        return {**batch, "x": torch.normal(batch["x"], batch["scale"])}


@torch.no_grad()
def coded(guide: NormalGuide, split: data.Batch, device: torch.device) -> data.Batch:
    """Mean and scale of q(z | x) in place of the data."""
    parts = [guide.posterior(guide.encoder(data.Scale()({"x": x.to(device)})["x"])) for x in split["x"].split(CHUNK)]
    return {
        "x": torch.cat([q.mean for q in parts]).cpu(),
        "scale": torch.cat([q.variance.sqrt() for q in parts]).cpu(),
        "y": split["y"],
    }


def encode_with_m1(run: cli.Run, a: argparse.Namespace) -> data.Dataset:
    """Train M1 on the pixels, without labels; return its codes as a data set."""
    run.out, epochs, a.epochs = a.out / "m1", a.epochs, a.m1_epochs
    model, guide = m1(a, run.data.train)
    run.fit(model, guide, data.Binarize())
    a.epochs = epochs
    splits = {
        name: coded(guide.eval(), split, run.device) for name, split in run.data.splits.items() if len(split["x"])
    }
    return dataclasses.replace(run.data, **splits)


def train_m2(run: cli.Run, a: argparse.Namespace, whole: data.Dataset, labels: int) -> float:
    """Train with so many labels, and return the accuracy on the test data."""
    torch.manual_seed(a.seed)
    run.out = a.out / f"{a.program}-{labels}"
    hidden = data.hide_labels(whole.train, labels, share=a.share, seed=a.seed)
    run.data, classes = dataclasses.replace(whole, train=hidden), int(whole.train["y"].max()) + 1
    model, guide, transform = build(a, whole, classes)
    run.fit(model, guide, transform, loss=Supervised(a.alpha))
    return accuracy(guide, run.test)


def build(a: argparse.Namespace, whole: data.Dataset, classes: int) -> tuple[nn.Module, nn.Module, Any]:
    """Model, guide and transform of M2, on pixels or on codes."""
    shape = tuple(whole.train["x"].shape[1:])
    if a.program == "m1+m2":
        return *m2(a, likelihoods.Normal(shape, scale="predicted"), classes), DrawCodes()
    likelihood = likelihoods.Bernoulli(shape)
    model, guide = m2(a, likelihood, classes)
    model.decoder.start_at(likelihood.start(data.excerpt(whole.train["x"])))
    return model, guide, data.Binarize()


def pictures(run: cli.Run, a: argparse.Namespace, classes: int) -> None:
    """Each class in ten styles."""
    run.save("curves", plots.curves(run.history.rows))
    if a.program == "m2" and run.test["x"].dim() == 4:
        z = torch.randn(10, a.latent, generator=torch.Generator().manual_seed(0)).to(run.device)
        y = torch.arange(classes, device=run.device).repeat(len(z))
        images = decode(run.model, {"y": y, "z": z.repeat_interleave(classes, 0)})
        run.save("styles", plots.paths(images.unflatten(0, (len(z), classes)), title="one code a row, all labels"))


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    whole = encode_with_m1(run, a) if a.program == "m1+m2" else run.data
    table = {}
    for labels in a.labels:
        table[labels] = train_m2(run, a, whole, labels)
        print(f"        {labels} labels: accuracy {table[labels]:.2%}")
    run.out = a.out
    run.test = {name: tensor for name, tensor in run.test.items() if name != "y"}  # the evidence of x alone
    count = math.sqrt(len(run.test["x"]))
    rows = [
        (f"{n} labels", f"{p:.2%} ± {100 * math.sqrt(p * (1 - p)) / count:.2f}", "accuracy, all test data")
        for n, p in table.items()
    ]
    run.summary(run.evaluate(), rows=rows, accuracy={str(n): p for n, p in table.items()})
    pictures(run, a, int(whole.train["y"].max()) + 1)


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
