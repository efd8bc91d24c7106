"""Counts of genes in cells, scVI and scANVI: p(z) p(x | z, total, batch) of counts, and few labels of types on top.

python examples/cells.py                                        counts of two batches, the totals given
python examples/cells.py --likelihood zinb --total latent       zero-inflated, the total of a cell a latent
python examples/cells.py --labels 60                            60 cells with a type, and the types of all others
python examples/cells.py --data cells.h5ad --report             your own AnnData file

Data: 2,000 cells drawn from a known program, offline. Time: 20 s of one core.
"""

import argparse
import math
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from pyrovae import data
from pyrovae.display import plus_minus
from pyrovae.errors import DataError
from pyrovae.examples._shared import (
    Row,
    load_data,
    main,
    parser,
    rising_weight,
    score,
    train,
    values,
    write_pictures,
    write_summary,
)
from pyrovae.guides import CountGuide, NormalGuide, SemiSupervisedCountGuide
from pyrovae.inference import ELBO, Supervised, accuracy
from pyrovae.models import ConditionalNormal, CountVAE, SemiSupervisedCountVAE, likelihoods, priors
from pyrovae.networks import MLP, NormedMLP
from pyrovae.networks.joint import JointMLP

LIKELIHOODS = {"nb": likelihoods.NegativeBinomial, "zinb": likelihoods.ZeroInflatedNegativeBinomial}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/cells", epochs=60)
    p.set_defaults(data="cells", patience=15)
    p.add_argument("--likelihood", choices=LIKELIHOODS, default="nb", help="negative binomial, or zero-inflated")
    p.add_argument("--total", choices=("given", "latent"), default="given", help="the total count of a cell")
    by_batch = "one inverse dispersion for each gene, or for each gene and batch"
    p.add_argument("--dispersion", choices=("gene", "gene-batch"), default="gene", help=by_batch)
    p.add_argument("--labels", type=values.whole, default=0, help="number of cells with a type; 0: no types")
    p.add_argument("--alpha", type=values.non_negative, default=50.0, help="weight of the classification term")
    p.add_argument("--hidden", type=values.integers, default=[128], help="widths of the dense layers")
    p.add_argument("--latent", type=values.positive_int, default=10, help="latent dimension")
    p.add_argument("--dropout", type=values.below_one, default=0.1, help="dropout of the encoder")
    p.add_argument("--warm-up", type=values.whole, default=10, help="epochs in which the weight of the rate rises to 1")
    return p.parse_args(argv)


def counted(flags: argparse.Namespace, cells: data.Dataset) -> data.Dataset:
    """The data of the program: a latent total is no data."""
    if "total" not in cells.train:
        raise DataError(
            f"This example requires counts of cells, got {flags.data}. Write --data cells, or a .h5ad file."
        )
    if flags.labels and "y" not in cells.train:
        raise DataError(f"--labels requires types, {flags.data!r} has none. Write --labels 0.")
    left_out = {"total"} if flags.total == "latent" else set()
    splits: dict[str, Any] = {
        name: {n: t for n, t in split.items() if n not in left_out} for name, split in cells.splits.items()
    }
    return replace(cells, **splits)


def parts(flags: argparse.Namespace, split: data.Batch) -> tuple[Any, nn.Module, NormalGuide, nn.Module | None, Any]:
    """Likelihood, decoder, guide of z, network of the total and its prior, started at the training data."""
    genes, count = split["x"].shape[1], int(split["batch"].max()) + 1 if "batch" in split else 1
    covariates = [count] if "batch" in split else []
    by_batch = count if covariates and flags.dispersion == "gene-batch" else 0
    likelihood = LIKELIHOODS[flags.likelihood](genes, shares=True, batches=by_batch)
    decoder = NormedMLP([flags.latent, *covariates], likelihood.params_shape, flags.hidden[::-1], dropout=0.0)
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    encoder = NormedMLP([genes, *covariates], 2 * flags.latent, flags.hidden, flags.dropout)
    if flags.total == "given":
        return likelihood, decoder, NormalGuide(encoder), None, None
    prior = priors.LogNormalTotal(count)
    prior.start(split["x"].sum(-1), split.get("batch"))
    return likelihood, decoder, NormalGuide(encoder), NormedMLP([genes, *covariates], 2, flags.hidden), prior


def build(flags: argparse.Namespace, split: data.Batch, classes: int) -> tuple[nn.Module, nn.Module]:
    """The pair without labels, or with few."""
    likelihood, decoder, guide, totals, prior = parts(flags, split)
    code = priors.StandardNormal(flags.latent)
    if not flags.labels:
        return CountVAE(code, likelihood, decoder, prior), CountGuide(guide, totals)
    conditional = ConditionalNormal(JointMLP([flags.latent, classes], 2 * flags.latent, flags.hidden))
    style = NormalGuide(JointMLP([flags.latent, classes], 2 * flags.latent, flags.hidden))
    model = SemiSupervisedCountVAE(code, conditional, likelihood, decoder, classes, prior)
    classifier = MLP(flags.latent, classes, flags.hidden)
    return model, SemiSupervisedCountGuide(classifier, guide, style, totals)


def accuracy_row(share: float, size: int) -> Row:
    """The accuracy of q(y | x), with its binomial standard error."""
    error = 100 * math.sqrt(share * (1 - share) / size)
    return Row("accuracy", f"{plus_minus(100 * share, error)} %", "types of test cells, never seen")


def script(flags: argparse.Namespace) -> None:
    """Train, score, classify where there are labels, draw."""
    torch.manual_seed(flags.seed)
    cells = counted(flags, load_data(flags))
    classes = int(cells.train["y"].max()) + 1 if "y" in cells.train else 0
    model, guide = build(flags, cells.train, classes)
    known: data.Dataset = cells
    loss: Any = None
    rows: list[Row] = []
    entries: dict[str, Any] = {}
    if flags.labels:
        known = replace(cells, train=data.hide_labels(cells.train, flags.labels, seed=flags.seed))
        loss = Supervised(flags.alpha)
    elif flags.warm_up:
        loss = ELBO(kl_weight=rising_weight(cells, flags, epochs=flags.warm_up))
    trained = train(model, guide, data.Scale(), known, flags, loss=loss)
    if flags.labels:
        found = accuracy(model, guide, trained.test)
        rows, entries = [accuracy_row(found, len(trained.test["x"]))], {"accuracy": found}
    scored = replace(trained, test=without_labels(trained.test))
    write_summary(scored, score(scored, flags), flags, rows=rows, entries=entries)
    write_pictures(trained, flags.out)


def without_labels(batch: data.Batch) -> Mapping[str, Any]:
    """The tensors of the test cells but the types: the evidence is that of the counts."""
    return {name: tensor for name, tensor in batch.items() if name != "y"}


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
