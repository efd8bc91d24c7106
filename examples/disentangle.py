"""Disentangling: the plain VAE, the beta-VAE and the beta-TCVAE on sprites whose factors are known, one table.

python examples/disentangle.py                                       all three, equal epochs
python examples/disentangle.py --variants beta-tcvae --tc-beta 10    one of them
python examples/disentangle.py --data my.npz                         images x, and factors: arrays of integers (N,)
"""

import argparse
import json
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from pyrovae import cli, data
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    ELBO,
    BetaTCVAE,
    Evaluation,
    FactorScore,
    InformationGap,
    Objective,
    factor_vae_score,
    mutual_information_gap,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

VARIANTS: dict[str, Callable[[argparse.Namespace, int], Objective]] = {  # of the flags and the size of the data
    "vae": lambda a, size: ELBO(),
    "beta-vae": lambda a, size: ELBO(kl_weight=a.beta),
    "beta-tcvae": lambda a, size: BetaTCVAE(beta=a.tc_beta, data_size=size),
}

LEGEND = """
ELBO, rate   nats per test datum; the rate is what the code tells of the datum
MIG          0 to 1: how much more of a factor one dimension tells than any other; the mean, then each factor
FactorVAE    {chance:.2f} (chance) to 1: how often the dimension that varies least tells which factor was fixed
active       dimensions that have not collapsed"""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/disentangle", epochs=40)
    p.set_defaults(data="sprites", batch_size=100, lr=2e-3, schedule="cosine", evaluate=0, num_samples=20)
    p.add_argument("--variants", default=",".join(VARIANTS), help=f"of {','.join(VARIANTS)}")
    p.add_argument("--beta", type=float, default=3.0, help="weight of the rate, for beta-vae")
    p.add_argument("--tc-beta", type=float, default=3.0, help="weight of the total correlation, for beta-tcvae")
    p.add_argument("--hidden", type=cli.shape_list, default=[256, 256], help="widths of the dense layers")
    p.add_argument("--latent", type=int, default=6, help="latent dimension")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="threshold", help="of the images")
    a = p.parse_args(argv)
    a.variants = a.variants.split(",")
    if unknown := [name for name in a.variants if name not in VARIANTS]:
        p.error(f"--variants has {', '.join(unknown)}, of which there is none. Choose from {','.join(VARIANTS)}.")
    return a


class Row(NamedTuple):
    """What the table says of one variant."""

    measured: Evaluation
    gap: InformationGap
    score: FactorScore
    seconds: float


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[VAE, NormalGuide, data.Binarize]:
    """Model, guide and transform; the decoder starts at the mean of the data."""
    shape = tuple(train["x"].shape[1:])
    likelihood, decoder = likelihoods.Bernoulli(shape), MLP(a.latent, shape, a.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    model = VAE(priors.StandardNormal(a.latent), likelihood, decoder)
    return model, NormalGuide(MLP(shape, 2 * a.latent, a.hidden)), data.Binarize(a.binarize, seed=a.seed)


def train(a: argparse.Namespace, variant: str) -> Row:
    """One variant, trained by the flags and scored; its run folder is beside those of the others."""
    run = cli.Run(argparse.Namespace(**vars(a) | {"out": a.out / variant}))
    factors = [name for name in run.data.train if name != "x"]
    run.fit(*pair(a, run.data.train), loss=VARIANTS[variant](a, len(run.data.train["x"])))
    measured = run.evaluate()
    options: dict[str, Any] = {"transform": run.transform, "seed": a.seed}
    gap = mutual_information_gap(run.model, run.guide, run.test, factors, **options)
    score = factor_vae_score(run.model, run.guide, run.test, factors, **options)
    rows = [
        ("MIG", f"{gap.value:.3f}", "0 to 1, the gap of information between the two best dimensions"),
        ("FactorVAE", f"{score.value:.3f}", f"{1 / len(factors):.2f} to 1, accuracy of the vote on the fixed factor"),
    ]
    run.summary(measured, rows=rows, variant=variant, **scores(gap, score))
    run.pictures()
    return Row(measured, gap, score, run.seconds)


def scores(gap: InformationGap, score: FactorScore) -> dict[str, Any]:
    """For the files."""
    information = {name: part.tolist() for name, part in gap.information.items()}
    return {"mig": gap.value, "gaps": gap.gaps, "information": information, "factor_vae_score": score.value}


def script(a: argparse.Namespace) -> None:
    rows: dict[str, Row] = {}
    for variant in a.variants:
        print(f"\n--- {variant}")
        rows[variant] = train(a, variant)
    names = list(next(iter(rows.values())).gap.gaps)
    heads = "".join(f"{name:>{len(name) + 2}}" for name in names)
    print(f"\n{'':<12}{'ELBO':>16}{'rate':>15}{'MIG':>7}{heads}{'FactorVAE':>11}{'active':>8}{'time':>8}")
    for variant, (measured, gap, score, seconds) in rows.items():
        gaps = "".join(f"{gap.gaps[name]:>{len(name) + 2}.2f}" for name in names)
        print(
            f"{variant:<12}{measured.elbo!s:>16}{measured.rate!s:>15}{gap.value:>7.2f}{gaps}{score.value:>11.2f}"
            f"{int(score.active.sum()):>8}{seconds:>6.0f} s"
        )
    print(LEGEND.format(chance=1 / len(names)))
    table = {
        variant: {"elbo": row.measured.elbo, "rate": row.measured.rate, "seconds": row.seconds}
        | scores(row.gap, row.score)
        for variant, row in rows.items()
    }
    (a.out / "comparison.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
