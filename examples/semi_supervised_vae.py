"""Few labels, many data: M2, p(y) p(z) p(x | y, z) with y summed out, and M1+M2, the same on the codes of a VAE.

python examples/semi_supervised_vae.py                            accuracy against the number of labels
python examples/semi_supervised_vae.py --labels 100               one row of the table
python examples/semi_supervised_vae.py --program m1+m2            M2 on the codes of a VAE

Data: 5,000 real digits, offline. Time: 2 min of one core.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from pyrovae import data, plots
from pyrovae.display import plus_minus
from pyrovae.examples._shared import (
    Row,
    Trained,
    derive,
    load_data,
    main,
    parser,
    save_picture,
    score,
    train,
    values,
    write_summary,
)
from pyrovae.guides import NormalGuide, SemiSupervisedGuide
from pyrovae.inference import Supervised, accuracy, decode
from pyrovae.models import VAE, Likelihood, SemiSupervisedVAE, likelihoods, priors
from pyrovae.networks.dense import MLP
from pyrovae.networks.joint import JointMLP


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/semi_supervised_vae", epochs=20)
    p.add_argument("--program", choices=("m2", "m1+m2"), default="m2", help="M2 on pixels, or on the codes of a VAE")
    p.add_argument(
        "--labels", type=values.counts, default=[100, 500], help="numbers of known labels, for example 50,100"
    )
    p.add_argument("--alpha", type=values.non_negative, default=20.0, help="weight of the classification term")
    p.add_argument(
        "--share", type=values.below_one, default=0.1, help="share of labelled data in a batch, by repetition"
    )
    p.add_argument(
        "--hidden", type=values.integers, default=[500], help="widths of the dense layers, for example 500,500"
    )
    p.add_argument(
        "--latent", type=values.positive_int, default=5, help="dimension of z; small, so that the class is left to y"
    )
    p.add_argument("--emphasis", type=values.positive, default=8.0, help="factor on the initial weights of the input y")
    p.add_argument("--codes", type=values.positive_int, default=50, help="dimension of the codes of M1")
    p.add_argument("--m1-epochs", type=values.whole, default=30, help="passes over the training data for M1")
    return p.parse_args(argv)


def m1(flags: argparse.Namespace, split: data.Batch) -> tuple[VAE, NormalGuide]:
    """A VAE of the pixels."""
    shape = tuple(split["x"].shape[1:])
    likelihood, decoder = likelihoods.Bernoulli(shape), MLP(flags.codes, shape, flags.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    guide = NormalGuide(MLP(shape, 2 * flags.codes, flags.hidden))
    return VAE(priors.StandardNormal(flags.codes), likelihood, decoder), guide


def m2(
    flags: argparse.Namespace, likelihood: Likelihood, classes: int
) -> tuple[SemiSupervisedVAE, SemiSupervisedGuide]:
    """p(y) p(z) p(x | y, z), and q(y | x) q(z | x, y)."""
    shape = likelihood.event_shape
    decoder = JointMLP([flags.latent, classes], likelihood.params_shape, flags.hidden[::-1])
    encoder = JointMLP([shape, classes], 2 * flags.latent, flags.hidden)
    for network in (decoder, encoder):
        network.emphasise(1, flags.emphasis)
    model = SemiSupervisedVAE(priors.StandardNormal(flags.latent), likelihood, decoder, classes)
    return model, SemiSupervisedGuide(MLP(shape, classes, flags.hidden), NormalGuide(encoder))


@torch.no_grad()
def coded(guide: NormalGuide, split: data.Batch, device: torch.device) -> data.Batch:
    """Mean and scale of q(z | x) instead of the data, computed for a thousand of them at a time."""
    parts = [guide.posterior(guide.encoder(data.Scale()({"x": x.to(device)})["x"])) for x in split["x"].split(1000)]
    return {
        "x": torch.cat([q.mean for q in parts]).cpu(),
        "scale": torch.cat([q.variance.sqrt() for q in parts]).cpu(),
        "y": split["y"],
    }


def encode_with_m1(flags: argparse.Namespace, pixels: data.Dataset) -> data.Dataset:
    """Train M1 on the pixels, without labels; return its codes as a data set."""
    model, guide = m1(flags, pixels.train)
    trained = train(model, guide, data.Binarize(), pixels, flags)
    splits: dict[str, Any] = {
        name: coded(guide.eval(), split, trained.device) for name, split in pixels.splits.items() if len(split["x"])
    }
    return replace(pixels, **splits)


def train_m2(flags: argparse.Namespace, whole: data.Dataset, labels: int) -> Trained:
    """Train M2 with this number of labels."""
    torch.manual_seed(flags.seed)
    hidden = data.hide_labels(whole.train, labels, share=flags.share, seed=flags.seed)
    pair = build(flags, whole, num_classes(whole))
    return train(*pair, replace(whole, train=hidden), flags, loss=Supervised(flags.alpha))


def build(
    flags: argparse.Namespace, whole: data.Dataset, classes: int
) -> tuple[SemiSupervisedVAE, SemiSupervisedGuide, data.Transform]:
    """Model, guide and transform of M2, on pixels or on codes."""
    shape = tuple(whole.train["x"].shape[1:])
    if flags.program == "m1+m2":
        return *m2(flags, likelihoods.Normal(shape, scale="predicted"), classes), data.DrawNormal()
    likelihood = likelihoods.Bernoulli(shape)
    model, guide = m2(flags, likelihood, classes)
    decoder: Any = model.decoder
    decoder.start_at(likelihood.start(data.excerpt(whole.train["x"])))
    return model, guide, data.Binarize()


def num_classes(whole: data.Dataset) -> int:
    """The number of labels, which count from 0."""
    return int(whole.train["y"].max()) + 1


def accuracy_rows(table: Mapping[int, float], size: int) -> list[Row]:
    """The accuracy of each number of labels, with its binomial standard error."""
    return [
        Row(
            f"{labels} labels",
            f"{plus_minus(100 * p, 100 * math.sqrt(p * (1 - p)) / math.sqrt(size))} %",
            "accuracy, all test data",
        )
        for labels, p in table.items()
    ]


def draw(trained: Trained, flags: argparse.Namespace, classes: int) -> None:
    """Training curves, and each class in ten styles."""
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    if flags.program == "m2" and trained.test["x"].dim() == 4:
        z = torch.randn(10, flags.latent, generator=torch.Generator().manual_seed(0)).to(trained.device)
        y = torch.arange(classes, device=trained.device).repeat(len(z))
        images = decode(trained.model, {"y": y, "z": z.repeat_interleave(classes, 0)})
        rows = plots.paths(images.unflatten(0, (len(z), classes)), title="one code per row, all labels")
        save_picture(rows, flags.out, "styles")


def script(flags: argparse.Namespace) -> None:
    """Train with each number of labels, score the last pair, draw."""
    torch.manual_seed(flags.seed)
    whole = load_data(flags, labels=True)
    if flags.program == "m1+m2":
        whole = encode_with_m1(derive(flags, out=flags.out / "m1", epochs=flags.m1_epochs), whole)
    table = {}
    for labels in flags.labels:
        trained = train_m2(derive(flags, out=flags.out / f"{flags.program}-{labels}"), whole, labels)
        table[labels] = accuracy(trained.model, trained.guide, trained.test)
        print(f"        {labels} labels: accuracy {table[labels]:.2%}")
    # The evidence of x alone.
    unlabelled = replace(trained, test={name: tensor for name, tensor in trained.test.items() if name != "y"})
    rows = accuracy_rows(table, len(unlabelled.test["x"]))
    entries = {"accuracy": {str(labels): p for labels, p in table.items()}}
    write_summary(unlabelled, score(unlabelled, flags), flags, rows=rows, entries=entries)
    draw(trained, flags, num_classes(whole))


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
