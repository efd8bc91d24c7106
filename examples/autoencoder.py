"""The deterministic autoencoder, a point mass for q(z | x), and denoising: of an autoencoder, and of a VAE.

python examples/autoencoder.py                                    784-128-64-36-18-9 and back, squared error
python examples/autoencoder.py --arch conv --data photos          convolutions 12-24-48-96
python examples/autoencoder.py --denoise noise                    a denoising autoencoder
python examples/autoencoder.py --denoise erase --variational      a denoising VAE
"""

import argparse
import sys
from typing import Any

import torch
from torch import Tensor, nn

from pyrovae import cli, data, plots
from pyrovae.guides import Corrupted, DeltaGuide, Erasing, GaussianNoise, NormalGuide
from pyrovae.inference import reconstruct
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP

CORRUPTIONS = {"noise": lambda: GaussianNoise(0.5), "erase": lambda: Erasing(0.5)}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/autoencoder", epochs=60)
    p.add_argument("--arch", choices=("mlp", "conv"), default="mlp", help="networks")
    p.add_argument("--hidden", type=cli.shape_list, default=[128, 64, 36, 18], help="widths of the dense layers")
    p.add_argument("--channels", type=cli.shape_list, default=[12, 24, 48, 96], help="of the convolutions")
    p.add_argument("--latent", type=int, help="dimension of the code; 9 for mlp, 128 for conv")
    p.add_argument("--denoise", choices=CORRUPTIONS, help="what the encoder sees in training: x + noise, or x erased")
    p.add_argument("--variational", action="store_true", help="a normal q(z|x) and prior in place of the point mass")
    return p.parse_args(argv)


def pair(a: argparse.Namespace, shape: tuple[int, ...]) -> tuple[VAE, Any]:
    """Model and guide; the likelihood is normal, so that the distortion is the squared error up to constants."""
    latent = a.latent or (128 if a.arch == "conv" else 9)
    encoder, decoder = networks(a, shape, latent, 2 * latent if a.variational else latent)
    # The decoder's output is squashed to [0, 1], where the pixels are.
    decoder = nn.Sequential(decoder, nn.Sigmoid())
    if a.variational:
        model = VAE(priors.StandardNormal(latent), likelihoods.Normal(shape, scale="learned"), decoder)
    else:
        model = VAE(priors.Flat(latent), likelihoods.Normal(shape, scale=1.0), decoder)
    guide: Any = NormalGuide(encoder) if a.variational else DeltaGuide(encoder)
    return model, Corrupted(guide, CORRUPTIONS[a.denoise]()) if a.denoise else guide


def networks(a: argparse.Namespace, shape: tuple[int, ...], latent: int, params: int) -> tuple[nn.Module, nn.Module]:
    """Encoder x -> parameters of q(z | x), and decoder z -> the shape of x."""
    if a.arch == "conv":
        return ConvEncoder(shape, params, a.channels), ConvDecoder(latent, shape, a.channels[::-1])
    return MLP(shape, params, a.hidden), MLP(latent, shape, a.hidden[::-1])


def errors(run: cli.Run) -> dict[str, float]:
    """Mean squared errors per number, on the test data: of reconstructions, and of denoised data and the noisy ones."""
    x = run.transform({"x": run.test["x"].to(run.device)})["x"]
    found = {"MSE": mean_square(rebuilt(run, x) - x)}
    if run.arguments.denoise:
        torch.manual_seed(run.arguments.seed)
        noisy = run.guide.corruption(x)
        found |= {"MSE corrupted": mean_square(noisy - x), "MSE denoised": mean_square(rebuilt(run, noisy) - x)}
    return found


def rebuilt(run: cli.Run, seen: Tensor) -> Tensor:
    """The reconstructions of what is seen, a thousand at a time."""
    return torch.cat([reconstruct(run.model, run.guide, {"x": part}) for part in seen.split(1000)])


def mean_square(difference: Tensor) -> float:
    return difference.double().square().mean().item()


def pictures(run: cli.Run) -> None:
    """Training curves, and test data over their reconstructions, those of corrupted ones too."""
    run.save("curves", plots.curves(run.history.rows))
    x = run.transform({"x": run.test["x"][:20].to(run.device)})["x"]
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        return
    run.save("reconstructions", plots.reconstructions(x, rebuilt(run, x)))
    if run.arguments.denoise:
        noisy = run.guide.corruption(x)
        run.save("denoised", plots.reconstructions(noisy, rebuilt(run, noisy)))


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide = pair(a, tuple(run.data.train["x"].shape[1:]))
    run.fit(model, guide, data.Scale())
    measured = errors(run)
    units = {"MSE": "of reconstructions, per number, all test data"}
    rows = [(name, f"{value:.5f}", units.get(name, "per number, all test data")) for name, value in measured.items()]
    # A point mass has no density, and a flat prior is improper: there is no evidence.
    hide = () if a.variational else ("ELBO", "rate", "log-evidence")
    named = {name.lower().replace(" ", "_"): value for name, value in measured.items()}
    run.summary(run.evaluate(), rows=rows, hide=hide, **named)
    pictures(run)


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
