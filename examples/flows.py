"""Priors and posteriors beyond the normal, against the plain VAE: the same networks, one table, on real digits.

python examples/flows.py                                            five variants, equal epochs
python examples/flows.py --variants plain,vamp --components 100     two of them
python examples/flows.py --variants plain,von-mises-fisher --latent 10      latents on a sphere of as many dimensions
python examples/flows.py --minutes 10 --data mnist --arch gated --latent 40 --binarize static --schedule cosine \\
    --evaluate 0 --num-samples 5000                                 equal training time for each

Data: 5,000 real digits, offline. Time: 80 s of one core.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pyrovae import data
from pyrovae.examples._shared import (
    add_binarize,
    derive,
    load_data,
    main,
    parser,
    rising_weight,
    score,
    train,
    values,
    write_comparison,
    write_comparison_pictures,
    write_pictures,
    write_summary,
)
from pyrovae.guides import (
    AmortizedGuide,
    FlowGuide,
    FullNormalGuide,
    MixtureGuide,
    NormalGuide,
    PowerSphericalGuide,
    VonMisesFisherGuide,
)
from pyrovae.inference import ELBO, Estimate, Evaluation, History
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP, GatedMLP

__all__ = ["PRIORS"]

CONTEXT = 64
"""Width of what the encoder passes to the flow guide besides loc and scale."""

GUIDES: dict[str, Callable[[Callable[[int], nn.Module], argparse.Namespace], AmortizedGuide]] = {
    "normal": lambda encoder, flags: NormalGuide(encoder(2 * flags.latent)),
    "flow": lambda encoder, flags: FlowGuide(
        encoder(2 * flags.latent + CONTEXT), flags.latent, CONTEXT, flags.layers, [max(flags.width, flags.latent)]
    ),
    "mixture": lambda encoder, flags: MixtureGuide(encoder(4 * (2 * flags.latent + 1)), 4),
    "full": lambda encoder, flags: FullNormalGuide(encoder(flags.latent * (flags.latent + 3) // 2)),
    "von-mises-fisher": lambda encoder, flags: VonMisesFisherGuide(encoder(flags.latent + 2)),
    "power-spherical": lambda encoder, flags: PowerSphericalGuide(encoder(flags.latent + 2)),
}
"""How each guide is built from `encoder(number of outputs)`."""

PRIORS: dict[str, Callable[[argparse.Namespace, AmortizedGuide, Tensor], nn.Module]] = {
    "normal": lambda flags, guide, some: priors.StandardNormal(flags.latent),
    "flow": lambda flags, guide, some: priors.FlowPrior(flags.latent, flags.layers, [flags.width]),
    "mixture": lambda flags, guide, some: priors.MixtureOfNormals(flags.latent, flags.components),
    "vamp": lambda flags, guide, some: priors.VampPrior(guide.given, some),
    "sphere": lambda flags, guide, some: priors.UniformOnSphere(flags.latent + 1),
}
"""How each prior is built; only the VampPrior uses the guide, and some data `(K, *event)` to start at."""

VARIANTS = {  # name: prior, guide
    "plain": ("normal", "normal"),
    "mixture": ("mixture", "normal"),
    "vamp": ("vamp", "normal"),
    "flow-prior": ("flow", "normal"),
    "flow-guide": ("normal", "flow"),
    "full-guide": ("normal", "full"),
    "mixture-guide": ("normal", "mixture"),
    "flow-both": ("flow", "flow"),
    "von-mises-fisher": ("sphere", "von-mises-fisher"),
    "power-spherical": ("sphere", "power-spherical"),
}


class Compared(NamedTuple):
    """What the comparison says of one variant.

    Args:
        measured: ELBO, rate, distortion and log-evidence.
        history: the history of the training.
    """

    measured: Evaluation
    history: History

    def entries(self) -> dict[str, Any]:
        """The numbers of the variant, as the file holds them."""
        names = ("elbo", "log_evidence", "rate", "unreliable")
        found = {name: getattr(self.measured, name) for name in names}
        return found | {"seconds": self.history.seconds, "epochs": len(self.history.rows)}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/flows", epochs=25)
    p.set_defaults(evaluate=300, num_samples=200)
    chosen = f"which pairs to compare, from {','.join(VARIANTS)}"
    p.add_argument(
        "--variants", type=values.names(VARIANTS), default="plain,mixture,vamp,flow-prior,flow-guide", help=chosen
    )
    minutes = "training time of each variant; it sets the epochs instead of --epochs"
    p.add_argument("--minutes", type=values.positive, help=minutes)
    p.add_argument("--arch", choices=("mlp", "gated"), default="mlp", help="architecture of the networks")
    p.add_argument("--hidden", type=values.integers, help="widths of the dense layers; 200 for mlp, 300,300 for gated")
    p.add_argument("--latent", type=values.positive_int, default=20, help="latent dimension")
    components = "components of the mixture prior, and pseudo-inputs of the VampPrior"
    p.add_argument("--components", type=values.positive_int, default=100, help=components)
    p.add_argument("--layers", type=values.positive_int, default=4, help="layers of the flows")
    p.add_argument("--width", type=values.positive_int, default=128, help="width of the flows' networks")
    add_binarize(p)
    p.add_argument(
        "--warm-up", type=values.whole, default=0, help="epochs in which the weight of the rate rises from 0 to 1"
    )
    known = p.parse_known_args(argv)[0]
    p.set_defaults(hidden=[300, 300] if known.arch == "gated" else [200])
    if known.minutes:
        p.set_defaults(compile=True)  # the few epochs that are timed must run as the many that follow
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, variant: str, split: data.Batch) -> tuple[VAE, AmortizedGuide, data.Binarize]:
    """Model, guide and transform; the decoder starts at the mean of the data."""
    prior, guide_kind = VARIANTS[variant]
    shape = tuple(split["x"].shape[1:])
    network = GatedMLP if flags.arch == "gated" else MLP
    likelihood, transform = likelihoods.Bernoulli(shape), data.Binarize(flags.binarize, seed=flags.seed)
    guide = GUIDES[guide_kind](lambda outputs: network(shape, outputs, flags.hidden), flags)
    decoder = decoder_of(flags, prior, likelihood)
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    rows = torch.randperm(len(split["x"]))[: flags.components]
    some = transform(transform.prepare({"x": split["x"][rows]}))["x"]
    return VAE(PRIORS[prior](flags, guide, some), likelihood, decoder), guide, transform


def decoder_of(flags: argparse.Namespace, prior: str, likelihood: likelihoods.Likelihood) -> MLP | GatedMLP:
    """The decoder; a sphere of `latent` dimensions is in a space of one more.

    A point of it has entries of about 1 / sqrt(D), and layers start for inputs of about 1: their first weights grow.
    """
    network, on_sphere = GatedMLP if flags.arch == "gated" else MLP, prior == "sphere"
    decoder = network(flags.latent + on_sphere, likelihood.params_shape, flags.hidden[::-1])
    if on_sphere:
        with torch.no_grad():
            next(decoder.parameters()).mul_(math.sqrt(flags.latent + 1))
    return decoder


def run(flags: argparse.Namespace, variant: str) -> Compared:
    """One variant, trained by the flags and scored; its run folder is `flags.out`."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags)
    loss = ELBO(kl_weight=rising_weight(dataset, flags, epochs=flags.warm_up))
    trained = train(*pair(flags, variant, dataset.train), dataset, flags, loss=loss)
    measured = score(trained, flags)
    write_summary(trained, measured, flags, entries={"variant": variant})
    write_pictures(trained, flags.out)
    return Compared(measured, trained.history)


def epochs_in(flags: argparse.Namespace, variant: str) -> int:
    """How many epochs of a variant fit into `--minutes`, measured on trainings that are thrown away."""

    def seconds(epochs: int) -> float:
        timed = derive(flags, out=flags.out / "timing", epochs=epochs, quiet=True, resume=False, overwrite=True)
        torch.manual_seed(flags.seed)
        dataset = load_data(timed)
        start = time.perf_counter()
        train(*pair(timed, variant, dataset.train), dataset, timed)
        return time.perf_counter() - start

    seconds(1)  # compiles
    one, three = seconds(1), seconds(3)
    return max(1, round((60 * flags.minutes - one) / max((three - one) / 2, 1e-3)) + 1)


def tabulate(flags: argparse.Namespace, found: Mapping[str, Compared]) -> None:
    """Print a row for each variant."""
    print(f"\n{'variant':<14}{'ELBO':>20}{'log-evidence':>20}{'k-hat>0.7':>11}{'rate':>18}{'time':>10}{'epochs':>8}")
    for name, (measured, history) in found.items():
        print(
            f"{name:<14}{measured.elbo!s:>20}{Estimate(*measured.log_evidence)!s:>20}{measured.unreliable:>11.0%}"
            f"{measured.rate!s:>18}{history.seconds:>8.0f} s{len(history.rows):>8}"
        )
    print(
        f"nats per test data point; log-evidence with {flags.num_samples} draws per data point, "
        f"{flags.binarize} binarisation; it is too low where k-hat is above 0.7"
    )


def script(flags: argparse.Namespace) -> None:
    """Train and score each variant, and compare them."""
    found: dict[str, Compared] = {}
    for variant in flags.variants:
        print(f"\n--- {variant}")
        epochs = epochs_in(flags, variant) if flags.minutes else None
        found[variant] = run(derive(flags, out=flags.out / variant, epochs=epochs), variant)
    tabulate(flags, found)
    write_comparison(flags.out, {name: one.entries() for name, one in found.items()})
    kinds = {"ELBO": "elbo", "log-evidence": "log_evidence"}
    bounds = {
        kind: {name: getattr(one.measured, key).value for name, one in found.items()} for kind, key in kinds.items()
    }
    write_comparison_pictures(flags.out, bounds, {name: one.history for name, one in found.items()})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
