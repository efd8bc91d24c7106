"""Priors and posteriors beyond the normal, against the plain VAE: the same networks, one table, on real digits.

python examples/flows.py                                            all of them, equal epochs
python examples/flows.py --variants plain,vamp --components 100     some of them
python examples/flows.py --minutes 10 --data mnist --arch gated --latent 40 --binarize static --schedule cosine \\
    --evaluate 0 --num-samples 5000                                 equal training time for each
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from pyrovae import cli, data
from pyrovae.guides import AmortizedGuide, FlowGuide, FullNormalGuide, MixtureGuide, NormalGuide
from pyrovae.inference import ELBO, Evaluation
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP, GatedMLP

CONTEXT = 64  # what the encoder tells the flow guide beside loc and scale

# Each makes the guide from `encoder(number of outputs)`; the flags say the sizes.
GUIDES: dict[str, Callable[..., AmortizedGuide]] = {
    "normal": lambda encoder, a: NormalGuide(encoder(2 * a.latent)),
    "flow": lambda encoder, a: FlowGuide(
        encoder(2 * a.latent + CONTEXT), a.latent, CONTEXT, a.layers, [max(a.width, a.latent)]
    ),
    "mixture": lambda encoder, a: MixtureGuide(encoder(4 * (2 * a.latent + 1)), 4),
    "full": lambda encoder, a: FullNormalGuide(encoder(a.latent * (a.latent + 3) // 2)),
}

# Each makes the prior; only the VampPrior wants the guide, and some data, `(K, *event)`, to start at.
PRIORS: dict[str, Callable[..., nn.Module]] = {
    "normal": lambda a, guide, some: priors.StandardNormal(a.latent),
    "flow": lambda a, guide, some: priors.FlowPrior(a.latent, a.layers, [a.width]),
    "mixture": lambda a, guide, some: priors.MixtureOfNormals(a.latent, a.components),
    "vamp": lambda a, guide, some: priors.VampPrior(guide.given, some),
}

VARIANTS = {  # name: prior, guide
    "plain": ("normal", "normal"),
    "mixture": ("mixture", "normal"),
    "vamp": ("vamp", "normal"),
    "flow-prior": ("flow", "normal"),
    "flow-guide": ("normal", "flow"),
    "full-guide": ("normal", "full"),
    "mixture-guide": ("normal", "mixture"),
    "flow-both": ("flow", "flow"),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/flows", epochs=25)
    p.set_defaults(evaluate=300, num_samples=200)
    p.add_argument("--variants", default="plain,mixture,vamp,flow-prior,flow-guide", help=f"of {','.join(VARIANTS)}")
    p.add_argument("--minutes", type=float, help="train each variant so long, in place of --epochs; it sets the epochs")
    p.add_argument("--arch", choices=("mlp", "gated"), default="mlp", help="networks")
    p.add_argument("--hidden", type=cli.shape_list, help="widths of the dense layers; 200, of gated 300,300")
    p.add_argument("--latent", type=int, default=20, help="latent dimension")
    p.add_argument(
        "--components", type=int, default=100, help="of the mixture prior, and pseudo-inputs of the VampPrior"
    )
    p.add_argument("--layers", type=int, default=4, help="of the flows")
    p.add_argument("--width", type=int, default=128, help="of the flows' networks")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="dynamic", help="of the images")
    p.add_argument("--warm-up", type=int, default=0, help="epochs in which the weight of the rate rises from 0 to 1")
    a = p.parse_args(argv)
    a.hidden = a.hidden or ([300, 300] if a.arch == "gated" else [200])
    if a.minutes and a.compile is None:
        a.compile = True  # the few epochs that are timed run as the many that are trained
    a.variants = a.variants.split(",")
    if unknown := [name for name in a.variants if name not in VARIANTS]:
        p.error(f"--variants has {', '.join(unknown)}, of which there is none. Choose from {','.join(VARIANTS)}.")
    return a


def pair(a: argparse.Namespace, variant: str, train: data.Batch) -> tuple[VAE, AmortizedGuide, data.Binarize]:
    """Model, guide and transform; the decoder starts at the mean of the data."""
    prior, guide_kind = VARIANTS[variant]
    shape = tuple(train["x"].shape[1:])
    network = GatedMLP if a.arch == "gated" else MLP
    likelihood, transform = likelihoods.Bernoulli(shape), data.Binarize(a.binarize, seed=a.seed)
    guide = GUIDES[guide_kind](lambda outputs: network(shape, outputs, a.hidden), a)
    decoder = network(a.latent, likelihood.params_shape, a.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    rows = torch.randperm(len(train["x"]))[: a.components]
    some = transform(transform.prepare({"x": train["x"][rows]}))["x"]
    return VAE(PRIORS[prior](a, guide, some), likelihood, decoder), guide, transform


def train(a: argparse.Namespace, variant: str) -> tuple[cli.Run, Evaluation]:
    """One variant, trained by the flags and scored; its run folder is beside those of the others."""
    run = cli.Run(argparse.Namespace(**vars(a) | {"out": a.out / variant}))
    run.fit(*pair(a, variant, run.data.train), loss=ELBO(kl_weight=run.annealed(a.warm_up)))
    measured = run.evaluate()
    run.summary(measured, variant=variant)
    run.pictures()
    return run, measured


def epochs_in(a: argparse.Namespace, variant: str) -> int:
    """How many epochs of a variant fit into `--minutes`, measured on two that are thrown away."""

    def seconds(epochs: int) -> float:
        run = cli.Run(argparse.Namespace(**vars(a) | {"epochs": epochs, "quiet": True, "resume": False}))
        start = time.perf_counter()
        run.out = a.out / "timing"
        run.fit(*pair(a, variant, run.data.train))
        return time.perf_counter() - start

    seconds(1)  # compiles
    one, three = seconds(1), seconds(3)
    return max(1, round((60 * a.minutes - one) / max((three - one) / 2, 1e-3)) + 1)


def script(a: argparse.Namespace) -> None:
    rows: dict[str, Any] = {}
    for variant in a.variants:
        print(f"\n--- {variant}")
        own = argparse.Namespace(**vars(a) | ({"epochs": epochs_in(a, variant)} if a.minutes else {}))
        run, measured = train(own, variant)
        rows[variant] = (measured, run.seconds, len(run.history.rows))
    print(f"\n{'variant':<14}{'ELBO':>17}{'log-evidence':>18}{'rate':>16}{'time':>10}{'epochs':>8}")
    for name, (measured, seconds, epochs) in rows.items():
        print(
            f"{name:<14}{measured.elbo!s:>17}{measured.log_evidence!s:>18}{measured.rate!s:>16}"
            f"{seconds:>8.0f} s{epochs:>8}"
        )
    print(f"nats per test datum; log-evidence with {a.num_samples} draws a datum, {a.binarize} binarisation")
    table = {
        name: {"elbo": m.elbo, "log_evidence": m.log_evidence, "rate": m.rate, "seconds": seconds, "epochs": epochs}
        for name, (m, seconds, epochs) in rows.items()
    }
    (a.out / "comparison.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
