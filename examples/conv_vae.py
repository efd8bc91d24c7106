"""A convolutional VAE of colour images: the probability of 8-bit pixels, in bits/dim.

python examples/conv_vae.py                                        patches of two photographs, offline
python examples/conv_vae.py --data cifar10 --channels 64,128,256   CIFAR-10
python examples/conv_vae.py --data folder:PATH --image-size 32     your own images
python examples/conv_vae.py --components 5                         a mixture at each pixel and colour
python examples/conv_vae.py --data freyfaces.npy --valid 200 --test 200 --arch gated --latent 40 --min-scale 0.011 \\
    --pseudo-inputs 500                                            a small data set: Frey faces

p(x, z) = p(z) prod_i p(x_i | z), where x_i is one of 256 levels and p(x_i | z) a logistic distribution rounded to
them. So p(x) is a probability, and bits/dim = -log p(x) / (dims log 2), where p(x) is estimated by importance sampling.

Data: patches of two photographs, offline. Time: 65 s of one core.
"""

import argparse
import sys
from typing import Any

import torch
from torch import nn

from pyrovae import data
from pyrovae.examples._shared import (
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
from pyrovae.guides import Corrupted, GaussianNoise, NormalGuide
from pyrovae.inference import ELBO
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP, GatedMLP


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/conv_vae", epochs=20)
    p.add_argument("--arch", choices=("conv", "mlp", "gated"), default="conv", help="architecture of the networks")
    p.add_argument("--channels", type=values.some_integers, default=[16, 32, 64], help="channels of the convolutions")
    p.add_argument("--hidden", type=values.integers, default=[300, 300], help="widths of the dense layers")
    p.add_argument("--latent", type=values.positive_int, default=64, help="latent dimension")
    p.add_argument(
        "--components", type=values.positive_int, default=1, help="number of logistics in the mixture at each pixel"
    )
    least = "smallest scale of a logistic, where 1 is the range of the pixels"
    p.add_argument("--min-scale", type=values.non_negative, default=0.0, help=least)
    noise = "scale of the noise on what the guide sees, for small data sets"
    p.add_argument("--corrupt", type=values.non_negative, default=0.0, help=noise)
    inputs = "number of pseudo-inputs of a VampPrior; 0 is a standard normal prior"
    p.add_argument("--pseudo-inputs", type=values.whole, default=0, help=inputs)
    p.add_argument(
        "--warm-up", type=values.whole, default=0, help="epochs in which the weight of the rate rises from 0 to 1"
    )
    p.set_defaults(data="photos", batch_size=64, lr=2e-3, num_samples=100)
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[VAE, NormalGuide | Corrupted]:
    """Model and guide; the decoder starts at the mean of the data."""
    shape = tuple(split["x"].shape[1:])
    likelihood: Likelihood = likelihoods.DiscretizedLogistic(shape, min_scale=flags.min_scale)
    if flags.components > 1:
        likelihood = likelihoods.DiscretizedLogisticMixture(shape, flags.components)
    encoder, decoder = networks(flags, shape, likelihood.params_shape)
    decoder.start_at(likelihood.start(data.excerpt(split["x"])))
    guide = NormalGuide(encoder)
    prior: nn.Module = priors.StandardNormal(flags.latent)
    if flags.pseudo_inputs:
        rows = torch.randperm(len(split["x"]))[: flags.pseudo_inputs]
        prior = priors.VampPrior(guide.given, data.Scale()({"x": split["x"][rows]})["x"])
    model = VAE(prior, likelihood, decoder)
    return model, Corrupted(guide, GaussianNoise(flags.corrupt)) if flags.corrupt else guide


def networks(flags: argparse.Namespace, shape: tuple[int, ...], params_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Encoder x -> 2 D and decoder D -> parameters of the likelihood."""
    if flags.arch == "conv":
        encoder = ConvEncoder(shape, 2 * flags.latent, flags.channels)
        return encoder, ConvDecoder(flags.latent, params_shape, flags.channels[::-1])
    dense = GatedMLP if flags.arch == "gated" else MLP
    return dense(shape, 2 * flags.latent, flags.hidden), dense(flags.latent, params_shape, flags.hidden[::-1])


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    model, guide = pair(flags, dataset.train)
    loss = ELBO(kl_weight=rising_weight(dataset, flags, epochs=flags.warm_up))
    trained = train(model, guide, data.Scale(), dataset, flags, loss=loss)
    write_summary(trained, score(trained, flags), flags, bits=True)
    write_pictures(trained, flags.out)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
