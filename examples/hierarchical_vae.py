"""Hierarchies of latents, p(zL) ... p(z1 | z2) p(x | z1), and the rate of each level, on real digits.

python examples/hierarchical_vae.py                                   three levels, a ladder
python examples/hierarchical_vae.py --model chain --latents 32,16     p(z2) p(z1 | z2) p(x | z1)
python examples/hierarchical_vae.py --guide bottom-up                 q(z1 | x) q(z2 | z1) q(z3 | z2)
python examples/hierarchical_vae.py --arch conv                       a ladder with spatial latents
python examples/hierarchical_vae.py --free-bits 0 --warm-up 0         without what keeps the levels in use
python examples/hierarchical_vae.py --pseudo-inputs 500               a VampPrior at the top

Data: 5,000 real digits, offline. Time: 40 s of one core.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from pyrovae import data
from pyrovae.examples._shared import (
    add_binarize,
    load_data,
    main,
    parser,
    rising_weight,
    score,
    starting,
    train,
    transform_for,
    values,
    write_pictures,
    write_summary,
)
from pyrovae.guides import BottomUpGuide, Corrupted, GaussianNoise, TopDownGuide
from pyrovae.inference import ELBO
from pyrovae.models import ConditionalNormal, HierarchicalVAE, LadderVAE, Level, Likelihood, likelihoods, priors
from pyrovae.networks.blocks import ConvBlock, ConvHead, DenseBlock
from pyrovae.networks.dense import MLP, GatedMLP
from pyrovae.networks.shape import Shape, as_shape

BOUND = 2.0
"""Log scales of a convolutional ladder lie in (-2, 2): with wider bounds, eight levels diverge after some epochs."""

Hierarchy = HierarchicalVAE | LadderVAE
Guide = BottomUpGuide | TopDownGuide | Corrupted

DENSE = {"mlp": MLP, "gated": GatedMLP, "conv": MLP}
"""The dense networks of each architecture."""

LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": likelihoods.Bernoulli,
    "logistic": likelihoods.DiscretizedLogistic,
    "normal": likelihoods.Normal,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/hierarchical_vae", epochs=40)
    add_networks(p)
    p.add_argument("--likelihood", choices=LIKELIHOODS, help="p(x|z); bernoulli for grey images, else normal")
    p.add_argument(
        "--min-scale", type=values.non_negative, default=0.0, help="smallest scale of p(x|z), for logistic and normal"
    )
    inputs = "number of pseudo-inputs of a VampPrior at the top; 0 is a standard normal prior"
    p.add_argument("--pseudo-inputs", type=values.whole, default=0, help=inputs)
    noise = "scale of the noise on what the guide sees, for small data sets"
    p.add_argument("--corrupt", type=values.non_negative, default=0.0, help=noise)
    add_binarize(p)
    p.add_argument("--free-bits", type=values.non_negative, default=2.0, help="nats per level that cost nothing")
    p.add_argument(
        "--warm-up", type=values.whole, default=10, help="epochs in which the weight of the rate rises from 0 to 1"
    )
    conv = p.parse_known_args(argv)[0].arch == "conv"
    p.set_defaults(latents=[1, 2, 16] if conv else [32, 16, 8], width=16 if conv else 128)
    flags = p.parse_args(argv)
    if conv and flags.model == "chain":
        p.error("--arch conv requires --model ladder, got chain. Leave --model out.")
    if len(flags.latents) < 2:
        p.error(f"--latents requires two levels or more, got {flags.latents}. Write 32,16.")
    if flags.pseudo_inputs and flags.guide == "bottom-up":
        p.error("--pseudo-inputs requires q(zL | x), which --guide bottom-up does not have. Leave --guide out.")
    return flags


def add_networks(p: argparse.ArgumentParser) -> None:
    """Add the flags that choose the architecture of model and guide."""
    p.add_argument(
        "--model", choices=("ladder", "chain"), default="ladder", help="whether x depends on all levels, or z1"
    )
    p.add_argument("--guide", choices=("top-down", "bottom-up"), default="top-down", help="the order of inference")
    p.add_argument("--arch", choices=DENSE, default="mlp", help="architecture of the networks; conv for the ladder")
    latents = "dimensions of z1,z2,...; for conv, channels except at the top"
    p.add_argument("--latents", type=values.integers, help=latents)
    p.add_argument("--width", type=values.positive_int, help="width of the states: units, or channels for conv")


def normal(given: Shape, event: Shape, hidden: int, network: type[MLP] = MLP, bound: float = 7.0) -> ConditionalNormal:
    """The normal of a latent of shape `event`, by a dense network on data or latents; log scales are bounded."""
    first, *rest = as_shape(event)
    return ConditionalNormal(network(given, (2 * first, *rest), [hidden]), 1 + len(rest), bound)


def dense_normal(width: int, latent: int) -> ConditionalNormal:
    """The normal of a latent by a residual block on a state of that width."""
    return ConditionalNormal(DenseBlock(width, 2 * latent, width))


def spatial_normal(given: Sequence[int], channels: int) -> ConditionalNormal:
    """The normal of a latent of that many channels, by a 1x1 convolution on a state of its size."""
    return ConditionalNormal(ConvHead(given, 2 * channels), event_dim=3, bound=BOUND)


def chain(flags: argparse.Namespace, likelihood: Likelihood) -> tuple[HierarchicalVAE, list[Shape]]:
    """p(zL) p(z_{L-1} | zL) ... p(z1 | z2) p(x | z1), and the shapes of z1, ..., zL."""
    network = DENSE[flags.arch]
    conditionals = [normal(above, below, flags.width, network) for below, above in pairwise(flags.latents)][::-1]
    decoder = network(flags.latents[0], likelihood.params_shape, [flags.width, flags.width])
    model = HierarchicalVAE(priors.StandardNormal(flags.latents[-1]), conditionals, likelihood, decoder)
    return model, flags.latents


def ladder(flags: argparse.Namespace, likelihood: Likelihood) -> tuple[LadderVAE, list[Shape]]:
    """Dense latents z1, ..., zL along a path of states of one width."""
    (*below, top), network, width = flags.latents, DENSE[flags.arch], flags.width
    levels = [
        Level(dense_normal(width, latent), DenseBlock(width, width, width, side=latent)) for latent in below[::-1]
    ]
    first, decoder = network(top, width, [width]), network(width, likelihood.params_shape, [width])
    model = LadderVAE(priors.StandardNormal(top), first, levels, likelihood, decoder)
    return model, flags.latents


def conv_ladder(flags: argparse.Namespace, likelihood: Likelihood) -> tuple[LadderVAE, list[Shape]]:
    """A dense zL over spatial latents: z1 at half the size of the image, those above at a quarter."""
    *below, top = flags.latents
    sizes = conv_sizes(likelihood.event_shape, len(below))
    events = [(channels, *size) for channels, size in zip(below, sizes, strict=True)]
    states = [(flags.width, *size) for size in sizes]
    levels = [
        Level(spatial_normal(here, event[0]), ConvBlock(here, beneath, flags.width, side=event[0]))
        for event, here, beneath in zip(events, states, [states[0], *states[:-1]], strict=True)
    ]
    first, decoder = MLP(top, states[-1], [8 * flags.width]), ConvBlock(states[0], likelihood.params_shape, flags.width)
    prior = priors.StandardNormal(top)
    return LadderVAE(prior, first, levels[::-1], likelihood, decoder), [*events, top]


def conv_sizes(shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """Sizes of the spatial latents from the bottom up: 28 x 28 gives 14 x 14, 7 x 7, 7 x 7, ..."""
    half = (shape[1] + 1) // 2, (shape[2] + 1) // 2
    return [half, *[((half[0] + 1) // 2, (half[1] + 1) // 2)] * (levels - 1)]


def guide_of(
    flags: argparse.Namespace, model: Hierarchy, events: list[Shape], shape: Shape
) -> BottomUpGuide | TopDownGuide:
    """From the bottom up, q(z1 | x) q(z2 | z1) ..., or from the top down, through the model."""
    network, width = DENSE[flags.arch], flags.width
    if flags.guide == "bottom-up":
        hidden = 8 * width if flags.arch == "conv" else width
        return BottomUpGuide([normal(given, event, hidden, network) for given, event in pairwise([shape, *events])])
    if flags.arch == "conv":
        return conv_top_down(model, events, shape, width)
    encoders = [network(shape, width, [width]), *(DenseBlock(width, width, width) for _ in events[1:])]
    return TopDownGuide(model, encoders, [dense_normal(width, latent) for latent in flags.latents])


def conv_top_down(model: Hierarchy, events: list[Shape], shape: Shape, width: int) -> TopDownGuide:
    """Convolutional encoders and messages, dense ones at the top."""
    *below, top = map(as_shape, events)
    states = [(width, *event[1:]) for event in below]
    encoders: list[nn.Module] = [
        ConvBlock(wide, narrow, width) for wide, narrow in pairwise([as_shape(shape), *states])
    ]
    messages = [spatial_normal(state, event[0]) for state, event in zip(states, below, strict=True)]
    hidden = 8 * width
    return TopDownGuide(
        model, [*encoders, MLP(states[-1], hidden, [])], [*messages, normal(hidden, top, hidden, bound=BOUND)]
    )


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[Hierarchy, Guide, Any]:
    """Model, guide, and the transform that the likelihood requires."""
    shape = tuple(split["x"].shape[1:])
    grey = len(shape) == 3 and shape[0] == 1
    kind = flags.likelihood or ("bernoulli" if grey else "normal")
    likelihood = LIKELIHOODS[kind](shape, **({} if kind == "bernoulli" else {"min_scale": flags.min_scale}))
    transform = transform_for(kind, split, flags)
    build = conv_ladder if flags.arch == "conv" else ladder if flags.model == "ladder" else chain
    model, events = build(flags, likelihood)
    decoder: Any = model.decoder
    decoder.start_at(likelihood.start(starting(split, transform)))
    guide = guide_of(flags, model, events, shape)
    if isinstance(guide, TopDownGuide) and flags.pseudo_inputs:
        some = {"x": split["x"][torch.randperm(len(split["x"]))[: flags.pseudo_inputs]]}
        model.prior = priors.VampPrior(guide.top, transform(transform.prepare(some))["x"])
    return model, Corrupted(guide, GaussianNoise(flags.corrupt)) if flags.corrupt else guide, transform


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    weight = rising_weight(dataset, flags, epochs=flags.warm_up)
    loss = ELBO(kl_weight=weight, free_bits=flags.free_bits)
    trained = train(*pair(flags, dataset.train), dataset, flags, loss=loss)
    write_summary(trained, score(trained, flags), flags, bits=flags.likelihood == "logistic")
    write_pictures(trained, flags.out)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
