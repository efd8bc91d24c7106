"""Hierarchies of latents, p(zL) ... p(z1 | z2) p(x | z1), with the rate of each level, on real digits.

python examples/hierarchical_vae.py                                   three levels, a ladder
python examples/hierarchical_vae.py --model chain --latents 32,16     p(z2) p(z1 | z2) p(x | z1)
python examples/hierarchical_vae.py --guide bottom-up                 q(z1 | x) q(z2 | z1) q(z3 | z2)
python examples/hierarchical_vae.py --arch conv                       a ladder with spatial latents
python examples/hierarchical_vae.py --free-bits 0 --warm-up 0         without what keeps levels in use
python examples/hierarchical_vae.py --pseudo-inputs 500               a VampPrior at the top
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from pyrovae import cli, data
from pyrovae.guides import BottomUpGuide, Corrupted, GaussianNoise, TopDownGuide
from pyrovae.inference import ELBO
from pyrovae.models import ConditionalNormal, HierarchicalVAE, LadderVAE, Level, Likelihood, likelihoods, priors
from pyrovae.networks.blocks import ConvBlock, DenseBlock
from pyrovae.networks.dense import MLP, GatedMLP
from pyrovae.networks.shape import Shape, as_shape

Hierarchy = HierarchicalVAE | LadderVAE
Guide = BottomUpGuide | TopDownGuide | Corrupted

DENSE = {"mlp": MLP, "gated": GatedMLP, "conv": MLP}  # the dense networks of each --arch

LIKELIHOODS: dict[str, Callable[..., Likelihood]] = {
    "bernoulli": likelihoods.Bernoulli,
    "logistic": likelihoods.DiscretizedLogistic,
    "normal": likelihoods.Normal,
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/hierarchical_vae", epochs=40)
    p.add_argument("--model", choices=("ladder", "chain"), default="ladder", help="whether x sees all levels, or z1")
    p.add_argument("--guide", choices=("top-down", "bottom-up"), default="top-down", help="the order of inference")
    p.add_argument("--arch", choices=DENSE, default="mlp", help="networks; conv for the ladder")
    p.add_argument("--latents", type=cli.shape_list, help="dimensions of z1,z2,...; of conv, channels but at the top")
    p.add_argument("--width", type=int, help="of the states: units, or channels of conv")
    p.add_argument("--likelihood", choices=LIKELIHOODS, help="p(x|z); bernoulli for grey images, else normal")
    p.add_argument("--min-scale", type=float, default=0.0, help="of p(x|z), for logistic and normal")
    p.add_argument("--pseudo-inputs", type=int, default=0, help="of a VampPrior at the top; 0 is a standard normal")
    p.add_argument("--corrupt", type=float, default=0.0, help="scale of noise on what the guide sees, for few data")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="dynamic", help="for bernoulli")
    p.add_argument("--free-bits", type=float, default=2.0, help="nats per level that cost nothing")
    p.add_argument("--warm-up", type=int, default=10, help="epochs in which the weight of the rate rises from 0 to 1")
    a = p.parse_args(argv)
    a.latents = a.latents or ([1, 2, 16] if a.arch == "conv" else [32, 16, 8])
    a.width = a.width or (16 if a.arch == "conv" else 128)
    if a.arch == "conv" and a.model == "chain":
        p.error("--arch conv is a ladder: leave --model chain out.")
    if len(a.latents) < 2:
        p.error("--latents wants two levels or more: 32,16.")
    if a.pseudo_inputs and a.guide == "bottom-up":
        p.error("--pseudo-inputs wants q(zL | x), which --guide bottom-up has not: leave --guide out.")
    return a


def normal(given: Shape, event: Shape, hidden: int, network: type[MLP] = MLP) -> ConditionalNormal:
    """The normal of a latent of shape `event`, by a dense network on data or latents."""
    first, *rest = as_shape(event)
    return ConditionalNormal(network(given, (2 * first, *rest), [hidden]), 1 + len(rest))


def dense_normal(width: int, latent: int) -> ConditionalNormal:
    """The normal of a latent by a residual block on a state of that width."""
    return ConditionalNormal(DenseBlock(width, 2 * latent, width))


def spatial_normal(given: Sequence[int], event: Sequence[int], hidden: int) -> ConditionalNormal:
    """The normal of a latent `(C, H, W)`, by a convolutional block on a state of that size."""
    return ConditionalNormal(ConvBlock(given, (2 * event[0], *event[1:]), hidden), event_dim=3)


def chain(a: argparse.Namespace, likelihood: Likelihood) -> tuple[HierarchicalVAE, list[Shape]]:
    """p(zL) p(z_{L-1} | zL) ... p(z1 | z2) p(x | z1), and the shapes of z1, ..., zL."""
    network = DENSE[a.arch]
    conditionals = [normal(above, below, a.width, network) for below, above in pairwise(a.latents)][::-1]
    decoder = network(a.latents[0], likelihood.params_shape, [a.width, a.width])
    model = HierarchicalVAE(priors.StandardNormal(a.latents[-1]), conditionals, likelihood, decoder)
    return model, a.latents


def ladder(a: argparse.Namespace, likelihood: Likelihood) -> tuple[LadderVAE, list[Shape]]:
    """Dense latents z1, ..., zL beside a path of states of one width."""
    (*below, top), network = a.latents, DENSE[a.arch]
    levels = [Level(dense_normal(a.width, d), DenseBlock(a.width, a.width, a.width, side=d)) for d in below[::-1]]
    first, decoder = network(top, a.width, [a.width]), network(a.width, likelihood.params_shape, [a.width])
    model = LadderVAE(priors.StandardNormal(top), first, levels, likelihood, decoder)
    return model, a.latents


def conv_ladder(a: argparse.Namespace, likelihood: Likelihood) -> tuple[LadderVAE, list[Shape]]:
    """A dense zL over spatial latents: z1 at half the size of the image, those above at a quarter."""
    *below, top = a.latents
    sizes = conv_sizes(likelihood.event_shape, len(below))
    events = [(channels, *size) for channels, size in zip(below, sizes, strict=True)]
    states = [(a.width, *size) for size in sizes]
    levels = [
        Level(spatial_normal(here, event, a.width), ConvBlock(here, beneath, a.width, side=event[0]))
        for event, here, beneath in zip(events, states, [states[0], *states[:-1]], strict=True)
    ]
    first, decoder = MLP(top, states[-1], [8 * a.width]), ConvBlock(states[0], likelihood.params_shape, a.width)
    prior = priors.StandardNormal(top)
    return LadderVAE(prior, first, levels[::-1], likelihood, decoder), [*events, top]


def conv_sizes(shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """Sizes of the spatial latents from the bottom up: 28 x 28 gives 14 x 14, 7 x 7, 7 x 7, ..."""
    half = (shape[1] + 1) // 2, (shape[2] + 1) // 2
    return [half, *[((half[0] + 1) // 2, (half[1] + 1) // 2)] * (levels - 1)]


def guide_of(
    a: argparse.Namespace, model: Hierarchy, events: list[Shape], shape: Shape
) -> BottomUpGuide | TopDownGuide:
    """From the bottom up, q(z1 | x) q(z2 | z1) ..., or from the top down, through the model."""
    network = DENSE[a.arch]
    if a.guide == "bottom-up":
        hidden = 8 * a.width if a.arch == "conv" else a.width
        return BottomUpGuide([normal(given, event, hidden, network) for given, event in pairwise([shape, *events])])
    if a.arch == "conv":
        return conv_top_down(model, events, shape, a.width)
    encoders = [network(shape, a.width, [a.width]), *(DenseBlock(a.width, a.width, a.width) for _ in events[1:])]
    return TopDownGuide(model, encoders, [dense_normal(a.width, latent) for latent in a.latents])


def conv_top_down(model: Hierarchy, events: list[Shape], shape: Shape, width: int) -> TopDownGuide:
    """Convolutional encoders and messages, dense ones at the top."""
    *below, top = map(as_shape, events)
    states = [(width, *event[1:]) for event in below]
    encoders: list[nn.Module] = [
        ConvBlock(wide, narrow, width) for wide, narrow in pairwise([as_shape(shape), *states])
    ]
    messages = [spatial_normal(state, event, width) for state, event in zip(states, below, strict=True)]
    hidden = 8 * width
    return TopDownGuide(model, [*encoders, MLP(states[-1], hidden, [])], [*messages, normal(hidden, top, hidden)])


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[Hierarchy, Guide, Any]:
    """Model, guide, and the transform that the likelihood wants."""
    shape = tuple(train["x"].shape[1:])
    grey = len(shape) == 3 and shape[0] == 1
    kind = a.likelihood or ("bernoulli" if grey else "normal")
    likelihood = LIKELIHOODS[kind](shape, **({} if kind == "bernoulli" else {"min_scale": a.min_scale}))
    build = conv_ladder if a.arch == "conv" else ladder if a.model == "ladder" else chain
    model, events = build(a, likelihood)
    model.decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    transform = data.Binarize(a.binarize, seed=a.seed) if kind == "bernoulli" else data.Scale()
    guide = guide_of(a, model, events, shape)
    if isinstance(guide, TopDownGuide) and a.pseudo_inputs:
        some = {"x": train["x"][torch.randperm(len(train["x"]))[: a.pseudo_inputs]]}
        model.prior = priors.VampPrior(guide.top, transform(transform.prepare(some))["x"])
    return model, Corrupted(guide, GaussianNoise(a.corrupt)) if a.corrupt else guide, transform


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide, transform = pair(a, run.data.train)
    run.fit(model, guide, transform, loss=ELBO(kl_weight=run.annealed(a.warm_up), free_bits=a.free_bits))
    run.summary(run.evaluate(), bits=a.likelihood == "logistic")
    run.pictures()


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
