"""Importance-weighted autoencoders: tighter bounds, and the gradients that train them.

python examples/iwae.py                                            the ELBO against IWAE, three gradients; one table
python examples/iwae.py --particles 50 --gradient dreg             one of them: trained, scored, drawn
python examples/iwae.py --particles 5 --layers 2                   two stochastic layers, p(z2) p(z1 | z2) p(x | z1)
python examples/iwae.py --particles 50 --data mnist --schedule cosine --evaluate 0 --num-samples 5000

Data: 5,000 real digits, offline. Time: 2 min of one core.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from pyrovae import data
from pyrovae.examples._shared import (
    Trained,
    add_binarize,
    derive,
    load_data,
    main,
    parser,
    score,
    scored,
    train,
    values,
    write_comparison,
    write_comparison_pictures,
    write_pictures,
    write_summary,
)
from pyrovae.guides import BottomUpGuide, NormalGuide
from pyrovae.inference import IWAE, Estimate, Evaluation, GradientNoise, History, evaluate, gradient_noise
from pyrovae.models import VAE, ConditionalNormal, HierarchicalVAE, likelihoods, priors
from pyrovae.networks.dense import MLP

__all__ = ["arguments", "pair"]

Dense = partial(MLP, activation=nn.Tanh)

GRADIENTS = ("plain", "stl", "dreg")
"""The gradients of the guide: plain, sticking the landing, doubly reparameterised."""

COMPARED: dict[str, tuple[int, Any]] = {"ELBO": (1, "plain")} | {
    f"IWAE-10, {gradient}": (10, gradient) for gradient in GRADIENTS
}
"""Particles and gradient of each pair in the table."""

COMMON = "IWAE-10, plain"
"""The pair at whose weights all gradients are measured."""


class Bounded(NamedTuple):
    """What the comparison says of one objective.

    Args:
        bound: the objective's own bound on the scored data.
        measured: ELBO, rate, distortion and log-evidence.
        noise: the guide's gradient.
        history: the history of the training.
    """

    bound: Estimate
    measured: Evaluation
    noise: GradientNoise
    history: History


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example.

    Args:
        argv: the command line; by default that of the process.
    """
    p = parser(__doc__, out="runs/iwae", epochs=20)
    p.set_defaults(batch_size=100)
    p.add_argument(
        "--particles",
        type=values.positive_int,
        help="train one pair with this many particles; by default, a comparison",
    )
    p.add_argument("--gradient", choices=GRADIENTS, default="plain", help="gradient of the guide, with --particles")
    p.add_argument("--layers", type=int, choices=(1, 2), default=1, help="number of stochastic layers")
    add_binarize(p)
    return p.parse_args(argv)


def one_layer(likelihood: likelihoods.Bernoulli) -> tuple[VAE, NormalGuide]:
    """784-200-200-50 and back, the network of Burda et al. (2016)."""
    shape = likelihood.event_shape
    return VAE(priors.StandardNormal(50), likelihood, Dense(50, shape, [200, 200])), NormalGuide(
        Dense(shape, 2 * 50, [200, 200])
    )


def two_layers(likelihood: likelihoods.Bernoulli) -> tuple[HierarchicalVAE, BottomUpGuide]:
    """784-200-200-100-100-100-50 and back: z1 has 100 dimensions, z2 has 50."""
    shape = likelihood.event_shape
    upper, lower = Dense(50, 2 * 100, [100, 100]), Dense(100, shape, [200, 200])
    model = HierarchicalVAE(priors.StandardNormal(50), [ConditionalNormal(upper)], likelihood, lower)
    first, second = Dense(shape, 2 * 100, [200, 200]), Dense(100, 2 * 50, [100, 100])
    return model, BottomUpGuide([ConditionalNormal(first), ConditionalNormal(second)])


def pair(
    flags: argparse.Namespace, split: data.Batch
) -> tuple[VAE | HierarchicalVAE, NormalGuide | BottomUpGuide, data.Binarize]:
    """Model, guide and transform.

    Args:
        flags: the flags of this example.
        split: training data; the decoder starts at their mean.
    """
    likelihood = likelihoods.Bernoulli(tuple(split["x"].shape[1:]))
    model, guide = one_layer(likelihood) if flags.layers == 1 else two_layers(likelihood)
    decoder: Any = model.decoder
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    return model, guide, data.Binarize(flags.binarize, seed=flags.seed)


def run(flags: argparse.Namespace, particles: int, gradient: Any) -> tuple[Trained, Evaluation]:
    """One pair, trained by the flags and scored; its run folder is `flags.out`."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags)
    trained = train(*pair(flags, dataset.train), dataset, flags, loss=IWAE(particles, gradient=gradient))
    measured = score(trained, flags)
    write_summary(trained, measured, flags, entries={"particles": particles, "gradient": gradient})
    return trained, measured


def compare(flags: argparse.Namespace) -> dict[str, Bounded]:
    """Train each objective, and measure the gradients of all of them at the weights of one."""
    runs = {
        name: run(derive(flags, out=flags.out / name.replace(", ", "-").lower()), *how)
        for name, how in COMPARED.items()
    }
    common, _ = runs[COMMON]
    batch = common.transform({name: tensor[:100].to(common.device) for name, tensor in common.test.items()})
    found = {}
    for name, (particles, gradient) in COMPARED.items():
        trained, measured = runs[name]
        options: dict[str, Any] = {"num_samples": particles, "transform": trained.transform, "seed": flags.seed}
        bound = evaluate(trained.model, trained.guide, scored(trained, flags), **options).log_evidence
        noise = gradient_noise(common.model, common.guide, batch, IWAE(particles, gradient=gradient))
        found[name] = Bounded(bound, measured, noise, trained.history)
    return found


def entries(one: Bounded) -> dict[str, Any]:
    """The numbers of one objective, as the file holds them."""
    gradient = {"norm": one.noise.norm, "scale": one.noise.scale, "snr": one.noise.signal_to_noise}
    measured = {"log_evidence": one.measured.log_evidence, "unreliable": one.measured.unreliable}
    return {"bound": one.bound, **measured, "gradient": gradient}


def tabulate(found: Mapping[str, Bounded]) -> None:
    """Print a row for each objective."""
    bounds = f"{'objective':<16}{'its bound':>20}{'log-evidence':>20}{'k-hat>0.7':>11}"
    print(f"\n{bounds}{'gradient: sd':>14}{'signal/noise':>14}")
    for name, (bound, measured, noise, _) in found.items():
        print(
            f"{name:<16}{bound!s:>20}{Estimate(*measured.log_evidence)!s:>20}{measured.unreliable:>11.0%}"
            f"{noise.scale:>14.3f}{noise.signal_to_noise:>14.2f}"
        )
    print(f"nats per test data point; the guide's gradients at the weights of {COMMON!r}, on one batch of 100")


def draw(flags: argparse.Namespace, found: Mapping[str, Bounded]) -> None:
    """The bounds of the objectives, and how their trainings went."""
    bounds = {
        "ELBO": {name: one.measured.elbo.value for name, one in found.items()},
        "its own bound": {name: one.bound.value for name, one in found.items()},
        "log-evidence": {name: one.measured.log_evidence.value for name, one in found.items()},
    }
    write_comparison_pictures(flags.out, bounds, {name: one.history for name, one in found.items()})


def script(flags: argparse.Namespace) -> None:
    """Train one pair, or compare the objectives."""
    if flags.particles is not None:
        trained, _ = run(flags, flags.particles, flags.gradient)
        write_pictures(trained, flags.out)
        return
    found = compare(flags)
    tabulate(found)
    write_comparison(flags.out, {name: entries(one) for name, one in found.items()})
    draw(flags, found)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
