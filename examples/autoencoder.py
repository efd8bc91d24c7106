"""The deterministic autoencoder, whose q(z | x) is a point mass, and denoising: by an autoencoder, and by a VAE.

python examples/autoencoder.py                                    784-128-64-36-18-9 and back, squared error
python examples/autoencoder.py --arch conv --data photos          convolutions 12-24-48-96
python examples/autoencoder.py --denoise noise                    a denoising autoencoder
python examples/autoencoder.py --denoise erase --variational      a denoising VAE

Data: 5,000 real digits, offline. Time: 1 min.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from torch import Tensor, nn

from pyrovae import data, plots
from pyrovae.examples._shared import (
    Row,
    Trained,
    load_data,
    main,
    parser,
    save_picture,
    score,
    train,
    values,
    write_summary,
)
from pyrovae.guides import Corrupted, DeltaGuide, Erasing, GaussianNoise, NormalGuide
from pyrovae.inference import reconstruct
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP

CORRUPTIONS: dict[str, Callable[[], nn.Module]] = {"noise": lambda: GaussianNoise(0.5), "erase": lambda: Erasing(0.5)}

Guide = NormalGuide | DeltaGuide | Corrupted


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/autoencoder", epochs=60)
    p.add_argument("--arch", choices=("mlp", "conv"), default="mlp", help="architecture of the networks")
    p.add_argument("--hidden", type=values.integers, default=[128, 64, 36, 18], help="widths of the dense layers")
    p.add_argument(
        "--channels", type=values.some_integers, default=[12, 24, 48, 96], help="channels of the convolutions"
    )
    p.add_argument("--latent", type=values.positive_int, help="dimension of the code; 9 for mlp, 128 for conv")
    p.add_argument("--denoise", choices=CORRUPTIONS, help="what the encoder sees in training: x + noise, or x erased")
    p.add_argument("--variational", action="store_true", help="a normal q(z|x) and prior instead of the point mass")
    return p.parse_args(argv)


def pair(flags: argparse.Namespace, shape: tuple[int, ...]) -> tuple[VAE, Guide]:
    """Model and guide; the likelihood is normal, so the distortion is the squared error up to constants."""
    latent = flags.latent or (128 if flags.arch == "conv" else 9)
    encoder, decoder = networks(flags, shape, latent, 2 * latent if flags.variational else latent)
    # The decoder's output is squashed to [0, 1], where the pixels are.
    decoder = nn.Sequential(decoder, nn.Sigmoid())
    if flags.variational:
        model = VAE(priors.StandardNormal(latent), likelihoods.Normal(shape, scale="learned"), decoder)
    else:
        model = VAE(priors.Flat(latent), likelihoods.Normal(shape, scale=1.0), decoder)
    guide = NormalGuide(encoder) if flags.variational else DeltaGuide(encoder)
    return model, Corrupted(guide, CORRUPTIONS[flags.denoise]()) if flags.denoise else guide


def networks(
    flags: argparse.Namespace, shape: tuple[int, ...], latent: int, params: int
) -> tuple[nn.Module, nn.Module]:
    """Encoder x -> parameters of q(z | x), and decoder z -> the shape of x."""
    if flags.arch == "conv":
        return ConvEncoder(shape, params, flags.channels), ConvDecoder(latent, shape, flags.channels[::-1])
    return MLP(shape, params, flags.hidden), MLP(latent, shape, flags.hidden[::-1])


def squared_errors(trained: Trained, flags: argparse.Namespace) -> dict[str, float]:
    """Mean squared errors per number on the test data: reconstructions, corrupted data, and those denoised."""
    x = trained.transform({"x": trained.test["x"].to(trained.device)})["x"]
    found = {"MSE": mean_square(rebuilt(trained, x) - x)}
    if flags.denoise:
        torch.manual_seed(flags.seed)
        noisy = trained.guide.corruption(x)
        found |= {"MSE corrupted": mean_square(noisy - x), "MSE denoised": mean_square(rebuilt(trained, noisy) - x)}
    return found


def rebuilt(trained: Trained, seen: Tensor) -> Tensor:
    """The reconstructions of what is seen, a thousand at a time."""
    return torch.cat([reconstruct(trained.model, trained.guide, {"x": part}) for part in seen.split(1000)])


def mean_square(difference: Tensor) -> float:
    """The mean of the squares, in double precision."""
    return difference.double().square().mean().item()


def draw(trained: Trained, flags: argparse.Namespace) -> None:
    """Training curves, and test images over their reconstructions, corrupted ones too."""
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    x = trained.transform({"x": trained.test["x"][:20].to(trained.device)})["x"]
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        return
    save_picture(plots.reconstructions(x, rebuilt(trained, x)), flags.out, "reconstructions")
    if flags.denoise:
        noisy = trained.guide.corruption(x)
        save_picture(plots.reconstructions(noisy, rebuilt(trained, noisy)), flags.out, "denoised")


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags)
    model, guide = pair(flags, tuple(dataset.train["x"].shape[1:]))
    trained = train(model, guide, data.Scale(), dataset, flags)
    errors = squared_errors(trained, flags)
    units = {"MSE": "reconstructions, per number, all test data"}
    rows = [Row(name, f"{value:.5f}", units.get(name, "per number, all test data")) for name, value in errors.items()]
    # A point mass has no density, and a flat prior is improper: there is no evidence.
    hide = () if flags.variational else ("ELBO", "rate", "log-evidence")
    entries = {name.lower().replace(" ", "_"): value for name, value in errors.items()}
    write_summary(trained, score(trained, flags), flags, rows=rows, hide=hide, entries=entries)
    draw(trained, flags)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
