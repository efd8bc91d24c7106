"""A convolutional VAE of colour images: the probability of 8-bit pixels, in bits/dim.

python examples/conv_vae.py                                        patches of two photographs, offline
python examples/conv_vae.py --data cifar10 --channels 64,128,256   CIFAR-10
python examples/conv_vae.py --data folder:PATH --image-size 32     your own images
python examples/conv_vae.py --components 5                         a mixture at each pixel and colour
python examples/conv_vae.py --data freyfaces.npy --valid 200 --test 200 --arch gated --latent 40 --min-scale 0.011 \\
    --pseudo-inputs 500                                            few data: Frey faces

p(x, z) = p(z) prod_i p(x_i | z), where x_i is one of 256 levels and p(x_i | z) a logistic distribution rounded to
them. So p(x) is a probability, and bits/dim = -log p(x) / (dims log 2), where p(x) is estimated by importance sampling.
"""

import argparse
import sys
from typing import Any

import torch
from torch import nn

from pyrovae import cli, data
from pyrovae.guides import Corrupted, GaussianNoise, NormalGuide
from pyrovae.inference import ELBO
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP, GatedMLP


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/conv_vae", epochs=20)
    p.add_argument("--arch", choices=("conv", "mlp", "gated"), default="conv", help="networks")
    p.add_argument("--channels", type=cli.shape_list, default=[16, 32, 64], help="of the convolutions")
    p.add_argument("--hidden", type=cli.shape_list, default=[300, 300], help="widths of dense layers")
    p.add_argument("--latent", type=int, default=64, help="latent dimension")
    p.add_argument("--components", type=int, default=1, help="logistics that are mixed at each pixel and colour")
    p.add_argument("--min-scale", type=float, default=0.0, help="of a logistic, where 1 is the range of the pixels")
    p.add_argument("--corrupt", type=float, default=0.0, help="scale of noise on what the guide sees, for few data")
    p.add_argument("--pseudo-inputs", type=int, default=0, help="of a VampPrior; 0 is a standard normal prior")
    p.add_argument("--warm-up", type=int, default=0, help="epochs in which the weight of the rate rises from 0 to 1")
    p.set_defaults(data="photos", batch_size=64, lr=2e-3, num_samples=100)
    return p.parse_args(argv)


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[VAE, NormalGuide | Corrupted]:
    shape = tuple(train["x"].shape[1:])
    likelihood: Likelihood = likelihoods.DiscretizedLogistic(shape, min_scale=a.min_scale)
    if a.components > 1:
        likelihood = likelihoods.DiscretizedLogisticMixture(shape, a.components)
    encoder, decoder = networks(a, shape, likelihood.params_shape)
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    guide = NormalGuide(encoder)
    prior: nn.Module = priors.StandardNormal(a.latent)
    if a.pseudo_inputs:
        rows = torch.randperm(len(train["x"]))[: a.pseudo_inputs]
        prior = priors.VampPrior(guide.given, data.Scale()({"x": train["x"][rows]})["x"])
    return VAE(prior, likelihood, decoder), Corrupted(guide, GaussianNoise(a.corrupt)) if a.corrupt else guide


def networks(a: argparse.Namespace, shape: tuple[int, ...], params_shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Encoder x -> 2 D and decoder D -> parameters of the likelihood."""
    if a.arch == "conv":
        return ConvEncoder(shape, 2 * a.latent, a.channels), ConvDecoder(a.latent, params_shape, a.channels[::-1])
    dense = GatedMLP if a.arch == "gated" else MLP
    return dense(shape, 2 * a.latent, a.hidden), dense(a.latent, params_shape, a.hidden[::-1])


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide = pair(a, run.data.train)
    run.fit(model, guide, data.Scale(), loss=ELBO(kl_weight=run.annealed(a.warm_up)))
    run.summary(run.evaluate(), bits=True)
    run.pictures()


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
