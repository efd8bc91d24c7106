"""The deterministic autoencoder, whose q(z | x) is a point mass, and denoising: by an autoencoder, and by a VAE.

python examples/autoencoder.py                                    784-128-64-36-18-9 and back, squared error
python examples/autoencoder.py --latent 2                         a plane of codes, and what each point of it decodes to
python examples/autoencoder.py --arch conv --data photos          convolutions 12-24-48-96
python examples/autoencoder.py --denoise noise                    a denoising autoencoder
python examples/autoencoder.py --denoise erase --variational      a denoising VAE

Data: 5,000 real digits, offline. Time: 35 s of one core.
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
    transform_for,
    values,
    write_summary,
)
from pyrovae.guides import Corrupted, DeltaGuide, Erasing, GaussianNoise, NormalGuide
from pyrovae.inference import decode, encode, reconstruct
from pyrovae.inference.latent.projection import principal_plane
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.convolutional import ConvDecoder, ConvEncoder
from pyrovae.networks.dense import MLP

CORRUPTIONS: dict[str, Callable[[], nn.Module]] = {"noise": lambda: GaussianNoise(0.5), "erase": lambda: Erasing(0.5)}

SIDE, EXTENT = 20, 2.5
"""Images along a side of the decoded plane, and half of its width, in standard deviations of the codes."""

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


def pair(flags: argparse.Namespace, split: data.Batch) -> tuple[VAE, Guide, data.Transform]:
    """Model, guide and transform; the likelihood is normal, so the distortion is the squared error up to constants."""
    shape, transform = tuple(split["x"].shape[1:]), transform_for("normal", split, flags)
    latent = flags.latent or (128 if flags.arch == "conv" else 9)
    encoder, decoder = networks(flags, shape, latent, 2 * latent if flags.variational else latent)
    if isinstance(transform, data.Scale):  # the decoder's output is squashed to [0, 1], where the pixels are
        decoder = nn.Sequential(decoder, nn.Sigmoid())
    if flags.variational:
        model = VAE(priors.StandardNormal(latent), likelihoods.Normal(shape, scale="learned"), decoder)
    else:
        model = VAE(priors.Flat(latent), likelihoods.Normal(shape, scale=1.0), decoder)
    guide = NormalGuide(encoder) if flags.variational else DeltaGuide(encoder)
    return model, Corrupted(guide, CORRUPTIONS[flags.denoise]()) if flags.denoise else guide, transform


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
    """Training curves, the map of the codes, and test images over their reconstructions, corrupted ones too."""
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    save_picture(plots.step_losses(trained.history.step_losses), flags.out, "steps")
    z = encode(trained.model, trained.guide, trained.test, transform=trained.transform)["z"]
    x = trained.transform({"x": trained.test["x"][:20].to(trained.device)})["x"]
    images = x.dim() == 4 and x.shape[1] in (1, 3)
    if z.shape[1] > 1:
        draw_plane(trained, flags, z, images)
    if not images:
        return
    save_picture(plots.reconstructions(x, rebuilt(trained, x)), flags.out, "reconstructions")
    if flags.denoise:
        noisy = trained.guide.corruption(x)
        save_picture(plots.reconstructions(noisy, rebuilt(trained, noisy)), flags.out, "denoised")


def draw_plane(trained: Trained, flags: argparse.Namespace, z: Tensor, images: bool) -> None:
    """The codes of the test data on their two principal axes, and of images the decoded plane of these."""
    plane = principal_plane(z)
    points = plane.project(z)
    y, classes = trained.test.get("y"), trained.data.classes
    save_picture(plots.latent_map(points.cpu(), y, classes=classes, axes=plane.axes), flags.out, "latent")
    if not images:
        return
    line = torch.linspace(-EXTENT, EXTENT, SIDE, device=z.device)
    square = torch.stack(torch.meshgrid(line, -line, indexing="xy"), -1).reshape(-1, 2)
    codes = plane.lift(points.mean(0) + square * points.std(0))
    figure = plots.manifold(decode(trained.model, {"z": codes}).cpu(), extent=EXTENT)
    axes = figure.axes[0]
    axes.set_title("the decoded plane of the codes", loc="left", fontsize=10)
    axes.set_xlabel(f"{plane.axes[0]}, in standard deviations of the codes")
    axes.set_ylabel(plane.axes[1])
    save_picture(figure, flags.out, "manifold")


def script(flags: argparse.Namespace) -> None:
    """Train, score, draw."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    trained = train(*pair(flags, dataset.train), dataset, flags)
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
