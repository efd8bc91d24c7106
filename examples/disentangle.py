"""Disentangling: objectives that ask for independent dimensions, on sprites whose factors are known, in one table.

python examples/disentangle.py                                       VAE, beta-VAE, beta-TCVAE, equal epochs
python examples/disentangle.py --variants factor-vae,dip-vae-ii      FactorVAE and DIP-VAE II
python examples/disentangle.py --variants beta-tcvae --tc-beta 10    one of them
python examples/disentangle.py --data my.npz                         images x, and factors: arrays of integers (N,)

Data: sprites drawn from formulas, offline. Time: 2 min of one core.
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pyrovae import data, plots
from pyrovae.examples._shared import (
    Row,
    Trained,
    add_binarize,
    derive,
    load_data,
    main,
    parser,
    save_picture,
    score,
    train,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.guides import NormalGuide
from pyrovae.inference import (
    DIPVAE,
    ELBO,
    BetaTCVAE,
    Evaluation,
    FactorVAE,
    FactorVAEScore,
    MutualInformationGap,
    Objective,
    decode,
    encode,
    factor_vae_score,
    mutual_information_gap,
)
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

VARIANTS: dict[str, Callable[[argparse.Namespace, int], Objective]] = {
    "vae": lambda flags, size: ELBO(),
    "beta-vae": lambda flags, size: ELBO(kl_weight=flags.beta),
    "beta-tcvae": lambda flags, size: BetaTCVAE(beta=flags.tc_beta, data_size=size),
    "factor-vae": lambda flags, size: FactorVAE(MLP(flags.latent, 1, flags.classifier), gamma=flags.gamma),
    "dip-vae-i": lambda flags, size: DIPVAE(flags.dip, 10 * flags.dip, kind="I"),
    "dip-vae-ii": lambda flags, size: DIPVAE(flags.dip, flags.dip, kind="II"),
}
"""The objective of each variant, by the flags and the number of training data."""

DEFAULT = "vae,beta-vae,beta-tcvae"

STEPS = 10
"""Images along one dimension."""

LEGEND = """
ELBO, rate   nats per test data point; the rate is what the code tells about the data point
MIG          0 to 1: how much more one dimension tells about a factor than any other; the mean, then each factor
FactorVAE    {chance:.2f} (chance) to 1: how often the dimension that varies least tells which factor was fixed
active       dimensions that have not collapsed"""


class Disentangled(NamedTuple):
    """What the comparison says of one variant.

    Args:
        measured: ELBO, rate, distortion and log-evidence.
        gap: the mutual information gap.
        votes: the FactorVAE score.
        trained: the trained pair.
    """

    measured: Evaluation
    gap: MutualInformationGap
    votes: FactorVAEScore
    trained: Trained


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/disentangle", epochs=40)
    p.set_defaults(data="sprites", batch_size=100, lr=2e-3, schedule="cosine", evaluate=0, num_samples=20)
    p.add_argument(
        "--variants",
        type=values.names(VARIANTS),
        default=DEFAULT,
        help=f"which objectives to compare, of {', '.join(VARIANTS)}",
    )
    p.add_argument("--beta", type=values.non_negative, default=3.0, help="weight of the rate, for beta-vae")
    p.add_argument(
        "--tc-beta", type=values.non_negative, default=3.0, help="weight of the total correlation, for beta-tcvae"
    )
    p.add_argument(
        "--gamma", type=values.non_negative, default=2.0, help="weight of the total correlation, for factor-vae"
    )
    p.add_argument(
        "--classifier",
        type=values.integers,
        default=[256, 256],
        help="widths of the classifier's layers, for factor-vae",
    )
    p.add_argument("--dip", type=values.non_negative, default=10.0, help="weight of the covariances, for dip-vae")
    p.add_argument("--hidden", type=values.integers, default=[256, 256], help="widths of the dense layers")
    p.add_argument("--latent", type=values.positive_int, default=6, help="latent dimension")
    add_binarize(p, default="threshold")
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[VAE, NormalGuide, data.Binarize]:
    """Model, guide and transform; the decoder starts at the mean of the data."""
    shape = tuple(split["x"].shape[1:])
    likelihood, decoder = likelihoods.Bernoulli(shape), MLP(flags.latent, shape, flags.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    model = VAE(priors.StandardNormal(flags.latent), likelihood, decoder)
    guide = NormalGuide(MLP(shape, 2 * flags.latent, flags.hidden))
    return model, guide, data.Binarize(flags.binarize, seed=flags.seed)


def run(flags: argparse.Namespace, variant: str) -> Disentangled:
    """One variant, trained by the flags and scored; its run folder is `flags.out`."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, labels=True)
    factors = [name for name in dataset.train if name != "x"]
    loss = VARIANTS[variant](flags, len(dataset.train["x"]))
    trained = train(*pair(flags, dataset.train), dataset, flags, loss=loss)
    measured = score(trained, flags)
    options: dict[str, Any] = {"transform": trained.transform, "seed": flags.seed}
    gap = mutual_information_gap(trained.model, trained.guide, trained.test, factors, **options)
    votes = factor_vae_score(trained.model, trained.guide, trained.test, factors, **options)
    rows = [
        Row("MIG", f"{gap.value:.3f}", "0 to 1, the gap of information between the two best dimensions"),
        Row(
            "FactorVAE", f"{votes.value:.3f}", f"{1 / len(factors):.2f} to 1, accuracy of the vote on the fixed factor"
        ),
    ]
    write_summary(trained, measured, flags, rows=rows, entries={"variant": variant} | entries(gap, votes))
    write_pictures(trained, flags.out)
    return Disentangled(measured, gap, votes, trained)


def entries(gap: MutualInformationGap, votes: FactorVAEScore) -> dict[str, Any]:
    """The scores, as the files hold them."""
    information = {name: part.tolist() for name, part in gap.information.items()}
    return {"mig": gap.value, "gaps": gap.gaps, "information": information, "factor_vae_score": votes.value}


def tabulate(found: Mapping[str, Disentangled]) -> None:
    """Print a row for each variant, and the legend."""
    factors = list(next(iter(found.values())).gap.gaps)
    heads = "".join(f"{name:>{len(name) + 2}}" for name in factors)
    print(f"\n{'':<12}{'ELBO':>19}{'rate':>17}{'MIG':>7}{heads}{'FactorVAE':>11}{'active':>8}{'time':>8}")
    for variant, (measured, gap, votes, trained) in found.items():
        gaps = "".join(f"{gap.gaps[name]:>{len(name) + 2}.2f}" for name in factors)
        print(
            f"{variant:<12}{measured.elbo!s:>19}{measured.rate!s:>17}{gap.value:>7.2f}{gaps}{votes.value:>11.2f}"
            f"{int(votes.active.sum()):>8}{trained.seconds:>6.0f} s"
        )
    print(LEGEND.format(chance=1 / len(factors)))


def draw(flags: argparse.Namespace, found: Mapping[str, Disentangled]) -> None:
    """The gap of each factor, and what the most informative dimension of each factor does to one sprite."""
    factors = list(next(iter(found.values())).gap.gaps)
    gaps = {variant: [one.gap.value, *(one.gap.gaps[name] for name in factors)] for variant, one in found.items()}
    title = "mutual information gap: 1 is a dimension of its own for a factor"
    save_picture(plots.dots(gaps, ["mean", *factors], x="gap, 0 to 1", title=title), flags.out, "gaps")
    if next(iter(found.values())).trained.test["x"].dim() != 4:
        return
    images = torch.stack([walk(one, name) for one in found.values() for name in factors])
    rows = [f"{variant}, {name}" for variant in found for name in factors]
    title = "one test image along the dimension that tells most about a factor"
    save_picture(plots.table(images, rows=rows, title=title), flags.out, "factors")


def walk(one: Disentangled, factor: str) -> Tensor:
    """The first test image, moved along the dimension that tells most about a factor, `(STEPS, C, H, W)`."""
    trained, best = one.trained, int(one.gap.information[factor].argmax())
    z = encode(trained.model, trained.guide, trained.test, transform=trained.transform)["z"]
    codes = z[0].repeat(STEPS, 1)
    codes[:, best] = torch.linspace(float(z[:, best].min()), float(z[:, best].max()), STEPS)
    return decode(trained.model, {"z": codes}).cpu()


def script(flags: argparse.Namespace) -> None:
    """Train and score each variant, and compare them."""
    found: dict[str, Disentangled] = {}
    for variant in flags.variants:
        print(f"\n--- {variant}")
        found[variant] = run(derive(flags, out=flags.out / variant), variant)
    tabulate(found)
    table = {
        variant: {"elbo": one.measured.elbo, "rate": one.measured.rate, "seconds": one.trained.seconds}
        | entries(one.gap, one.votes)
        for variant, one in found.items()
    }
    write_comparison(flags.out, table)
    draw(flags, found)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
