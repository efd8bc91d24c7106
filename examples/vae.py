"""A variational autoencoder, p(x, z) = p(z) p(x | z), of real digits.

python examples/vae.py                                   5,000 digits, offline
python examples/vae.py --data mnist --arch conv          the full MNIST, convolutions
python examples/vae.py --data folder:PATH --arch conv    your own images
python examples/vae.py --latent 2                        a latent plane that fits into a picture

Data: 5,000 real digits, offline. Time: 35 s of one core.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

import torch

from pyrovae import data
from pyrovae.examples._shared import (
    add_binarize,
    load_data,
    main,
    parser,
    score,
    starting,
    train,
    transform_for,
    values,
    write_pictures,
    write_summary,
)
from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP

__all__ = ["arguments", "pair"]

LIKELIHOODS: dict[str, Callable[[tuple[int, ...]], Likelihood]] = {
    "bernoulli": lambda shape: likelihoods.Bernoulli(shape),
    "bernoulli-grey": lambda shape: likelihoods.Bernoulli(shape, relaxed=True),
    "continuous-bernoulli": lambda shape: likelihoods.ContinuousBernoulli(shape),
    "normal": lambda shape: likelihoods.Normal(shape, scale="learned"),
}

PRESETS: dict[str, dict[str, Any]] = {
    # The program of the tutorials: grey levels under a Bernoulli's cross-entropy, all training images.
    "mlp-grey": {
        "arch": "mlp",
        "hidden": [400],
        "latent": 20,
        "likelihood": "bernoulli-grey",
        "lr": 1e-3,
        "batch_size": 128,
        "valid": 0,
    },
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example.

    Args:
        argv: the command line; by default that of the process.
    """
    p = parser(__doc__, out="runs/vae", epochs=60)
    p.add_argument("--preset", choices=PRESETS, help="the defaults of a known program")
    p.add_argument("--arch", choices=("mlp", "conv"), default="mlp", help="architecture of the networks")
    p.add_argument(
        "--hidden", type=values.integers, default=[400], help="widths of the dense layers, for example 400,200"
    )
    p.add_argument(
        "--channels", type=values.some_integers, help="channels of the convolutions; 8,16,32, or 12,24,48,96 in colour"
    )
    p.add_argument("--latent", type=values.positive_int, help="latent dimension; 20 for mlp, 32 for conv")
    p.add_argument("--likelihood", choices=LIKELIHOODS, help="p(x|z); bernoulli for grey images, else normal")
    add_binarize(p)
    preset = p.parse_known_args(argv)[0].preset
    p.set_defaults(**PRESETS.get(preset, {}))
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[VAE, NormalGuide, data.Transform]:
    """Model, guide, and the transform that the likelihood requires.

    Args:
        flags: the flags of this example.
        split: training data; the decoder starts at their mean.
    """
    shape = tuple(split["x"].shape[1:])
    grey = len(shape) == 3 and shape[0] == 1
    kind = flags.likelihood or ("bernoulli" if grey else "normal")
    likelihood = LIKELIHOODS[kind](shape)
    transform = transform_for(kind, split, flags)
    encoder, decoder = networks(flags, shape, likelihood)
    decoder.start_at(likelihood.start(starting(split, transform)))
    return VAE(priors.StandardNormal(decoder.in_shape[0]), likelihood, decoder), NormalGuide(encoder), transform


def networks(flags: argparse.Namespace, shape: tuple[int, ...], likelihood: Likelihood) -> tuple[Any, Any]:
    """Encoder x -> 2 D and decoder D -> parameters of the likelihood."""
    if flags.arch == "conv":
        latent, channels = flags.latent or 32, flags.channels or ([8, 16, 32] if shape[0] == 1 else [12, 24, 48, 96])
        encoder = ConvEncoder(shape, 2 * latent, channels)
        return encoder, ConvDecoder(latent, likelihood.params_shape, channels[::-1])
    latent = flags.latent or 20
    return MLP(shape, 2 * latent, flags.hidden), MLP(latent, likelihood.params_shape, flags.hidden[::-1])


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    trained = train(*pair(flags, dataset.train), dataset, flags)
    if flags.preset:
        print("train loss per epoch:", " ".join(f"{loss:.2f}" for loss in trained.history["loss"]))
    write_summary(trained, score(trained, flags), flags)
    write_pictures(trained, flags.out)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
