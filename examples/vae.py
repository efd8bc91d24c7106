"""A variational autoencoder, p(x, z) = p(z) p(x | z), on real digits.

python examples/vae.py                                   5,000 digits, offline
python examples/vae.py --data mnist --arch conv          the full MNIST, convolutions
python examples/vae.py --data folder:PATH --arch conv    your own images
python examples/vae.py --latent 2                        a latent plane that can be looked at
"""

import argparse
import sys
from typing import Any

from pyrovae import cli, data
from pyrovae.guides import NormalGuide
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP

LIKELIHOODS = {
    "bernoulli": lambda shape: likelihoods.Bernoulli(shape),
    "bernoulli-grey": lambda shape: likelihoods.Bernoulli(shape, relaxed=True),
    "continuous-bernoulli": lambda shape: likelihoods.ContinuousBernoulli(shape),
    "normal": lambda shape: likelihoods.Normal(shape, scale="learned"),
}

PRESETS: dict[str, dict[str, Any]] = {
    # The tutorials' program: grey levels under a Bernoulli's cross-entropy, all training images.
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
    p = cli.parser(__doc__.splitlines()[0], out="runs/vae", epochs=60)
    p.add_argument("--preset", choices=PRESETS, help="defaults of a known program")
    p.add_argument("--arch", choices=("mlp", "conv"), default="mlp", help="networks")
    p.add_argument("--hidden", type=cli.shape_list, default=[400], help="widths of the dense layers, 400,200")
    p.add_argument("--channels", type=cli.shape_list, help="of the convolutions; 8,16,32, for colour 12,24,48,96")
    p.add_argument("--latent", type=int, help="latent dimension; 20 for mlp, 32 for conv")
    p.add_argument("--likelihood", choices=LIKELIHOODS, help="p(x|z); bernoulli for grey images, else normal")
    p.add_argument("--binarize", choices=("dynamic", "static", "threshold"), default="dynamic", help="for bernoulli")
    preset = p.parse_known_args(argv)[0].preset
    p.set_defaults(**PRESETS.get(preset, {}))
    return p.parse_args(argv)


def pair(a: argparse.Namespace, train: data.Batch) -> tuple[VAE, NormalGuide, Any]:
    """Model, guide, and the transform that the likelihood wants."""
    shape = tuple(train["x"].shape[1:])
    grey = len(shape) == 3 and shape[0] == 1
    kind = a.likelihood or ("bernoulli" if grey else "normal")
    likelihood = LIKELIHOODS[kind](shape)
    transform = data.Binarize(a.binarize, seed=a.seed) if kind == "bernoulli" else data.Scale()
    encoder, decoder = networks(a, shape, likelihood)
    decoder.start_at(likelihood.start(data.excerpt(train["x"])))
    return VAE(priors.StandardNormal(decoder.in_shape[0]), likelihood, decoder), NormalGuide(encoder), transform


def networks(a: argparse.Namespace, shape: tuple[int, ...], likelihood: Likelihood) -> tuple[Any, Any]:
    """Encoder x -> 2 D and decoder D -> parameters of the likelihood."""
    if a.arch == "conv":
        latent, channels = a.latent or 32, a.channels or ([8, 16, 32] if shape[0] == 1 else [12, 24, 48, 96])
        encoder = ConvEncoder(shape, 2 * latent, channels)
        return encoder, ConvDecoder(latent, likelihood.params_shape, channels[::-1])
    latent = a.latent or 20
    return MLP(shape, 2 * latent, a.hidden), MLP(latent, likelihood.params_shape, a.hidden[::-1])


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide, transform = pair(a, run.data.train)
    history = run.fit(model, guide, transform)
    if a.preset:
        print("train loss per epoch:", " ".join(f"{loss:.2f}" for loss in history["loss"]))
    run.summary(run.evaluate())
    run.pictures()


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
