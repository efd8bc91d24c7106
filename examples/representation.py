"""Representations: what the codes of a VAE are good for, compared with PCA.

python examples/representation.py                          all four parts, on 5,000 digits, offline
python examples/representation.py --parts probe            labels predicted from the codes: a linear probe, and 1-NN
python examples/representation.py --parts plane            two dimensions, drawn with their labels
python examples/representation.py --parts augment          few labels, and new data drawn around theirs
python examples/representation.py --parts compress         rate against distortion

Data: 5,000 real digits, offline. Time: 2 min of one core.
"""

import argparse
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from pyrovae import data, plots
from pyrovae.display import plus_minus
from pyrovae.examples._shared import (
    Row,
    Trained,
    derive,
    load_data,
    main,
    parser,
    rising_weight,
    save_picture,
    score,
    scored,
    train,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.guides import NormalGuide
from pyrovae.inference import ELBO, QuantisedPCA, RateDistortion, augment, features, probe, rate_distortion
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.dense import MLP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STEPS = torch.logspace(-0.1, 0.9, 12).tolist()
"""Steps of the quantised components, for pixels in [0, 1]."""

SCALE = 0.1
"""The scale of p(x | z) where images are compressed; it and the weight of the rate trade rate for distortion."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/representation", epochs=40)
    p.set_defaults(schedule="cosine", lr=2e-3, num_samples=100)
    p.add_argument("--parts", type=values.names(PARTS), default=",".join(PARTS), help="which parts to run")
    p.add_argument(
        "--latent", type=values.positive_int, default=10, help="dimension of the codes, for probe and augment"
    )
    p.add_argument(
        "--hidden", type=values.integers, default=[512, 256], help="widths of the layers, for probe and augment"
    )
    p.add_argument(
        "--plane-hidden", type=values.integers, default=[512, 256, 128], help="widths of the layers, for plane"
    )
    p.add_argument(
        "--warm-up", type=values.whole, default=10, help="epochs in which the weight of the rate rises from 0 to 1"
    )
    p.add_argument("--labels", type=values.counts, default=[50, 100, 200], help="numbers of known labels, for augment")
    p.add_argument("--copies", type=values.positive_int, default=10, help="draws around each data point with a label")
    stretch = "scale of the draws around a data point; 1 draws as the guide does"
    p.add_argument("--stretch", type=values.non_negative, default=1.0, help=stretch)
    p.add_argument(
        "--trials", type=values.positive_int, default=5, help="number of random choices of the data with a label"
    )
    p.add_argument(
        "--kl-weights", type=values.numbers, default=[1.0, 4.0, 16.0], help="weights of the rate, for compress"
    )
    p.add_argument("--channel", type=values.positive_int, default=32, help="dimension of the codes, for compress")
    p.add_argument("--channel-hidden", type=values.integers, default=[400], help="widths of the layers, for compress")
    return p.parse_args(argv)


def train_vae(
    flags: argparse.Namespace,
    latent: int,
    hidden: list[int],
    likelihood: Callable[[tuple[int, ...]], Likelihood] = likelihoods.Bernoulli,
    kl_weight: float | None = None,
) -> Trained:
    """A dense VAE, of binarised images unless the likelihood is another; its run folder is `flags.out`."""
    print(f"\n--- {flags.out.name}")
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images", labels=True)
    of_x = likelihood(tuple(dataset.train["x"].shape[1:]))
    decoder = MLP(latent, of_x.params_shape, hidden[::-1])
    decoder.start_at(of_x.start(data.excerpt(dataset.train["x"])))
    model = VAE(priors.StandardNormal(latent), of_x, decoder)
    guide = NormalGuide(MLP(of_x.event_shape, 2 * latent, hidden))
    transform = data.Binarize() if isinstance(of_x, likelihoods.Bernoulli) else data.Scale()
    weight = rising_weight(dataset, flags, epochs=flags.warm_up) if kl_weight is None else kl_weight
    return train(model, guide, transform, dataset, flags, loss=ELBO(kl_weight=weight, analytic=True))


def codes(trained: Trained, split: data.Batch) -> Tensor:
    """The means of q(z | x), x in grey levels."""
    return features(trained.model, trained.guide, split, transform=data.Scale()).cpu()


def pixels(split: data.Batch) -> Tensor:
    """A row of numbers in [0, 1] for each data point."""
    return data.Scale()(split)["x"].flatten(1).cpu()


# ------------------------------------------------------------------------- labels predicted from the codes


def probe_codes(flags: argparse.Namespace, coder: Callable[[], Trained]) -> dict[str, Any]:
    """Labels predicted from the codes of the VAE that parts share."""
    return probed(derive(flags, out=flags.out / "codes"), coder())


def probe_plane(flags: argparse.Namespace, _: Callable[[], Trained]) -> dict[str, Any]:
    """Labels predicted from codes in the plane; `latent_z.png` shows them."""
    own = derive(flags, out=flags.out / "plane")
    return probed(own, train_vae(own, 2, flags.plane_hidden))


def probed(flags: argparse.Namespace, trained: Trained) -> dict[str, Any]:
    """Accuracies by the codes and by as many principal components, on all test data; summary and pictures."""
    from sklearn.decomposition import PCA

    split, test = trained.data.train, trained.test
    dims = codes(trained, test).shape[1]
    axes = PCA(dims, random_state=flags.seed).fit(pixels(split).numpy())
    sets: dict[str, Callable[[data.Batch], Tensor]] = {
        f"VAE-{dims}": lambda split: codes(trained, split),
        f"PCA-{dims}": lambda split: torch.from_numpy(axes.transform(pixels(split).numpy())),
    }
    found = {name: probe(of(split), split["y"], of(test), test["y"]) for name, of in sets.items()}
    kinds = {"linear": "logistic regression", "nearest": "the nearest training data point"}
    rows = [
        Row(f"{kind} {name}", str(getattr(one, kind)), f"accuracy of {meaning}, {len(test['y'])} test data points")
        for kind, meaning in kinds.items()
        for name, one in found.items()
    ]
    entries = {"probe": {name: asdict(one) for name, one in found.items()}}
    write_summary(trained, score(trained, flags), flags, rows=rows, entries=entries)
    write_pictures(trained, flags.out)
    return entries["probe"]


# ------------------------------------------------------------------------------------------------ few labels


def few_labels(flags: argparse.Namespace, coder: Callable[[], Trained]) -> dict[str, Any]:
    """A support-vector machine on few labels: on their pixels, on more of them in two ways, and on codes."""
    trained = coder()
    table: dict[str, dict[int, tuple[float, float]]] = {}
    for labels in flags.labels:
        trials = [trial(flags, trained, labels, seed) for seed in range(flags.trials)]
        for name in trials[0]:
            right = torch.tensor([found[name] for found in trials])
            table.setdefault(name, {})[labels] = (right.mean().item(), right.std().item() / math.sqrt(flags.trials))
    tabulate_accuracies(flags, table, len(trained.test["y"]))
    curves = {name: (list(row), *map(list, zip(*row.values(), strict=True))) for name, row in table.items()}
    title = f"a support-vector machine on few labels, mean of {flags.trials} choices"
    figure = plots.lines(curves, x="labels", y="accuracy on test data", title=title)
    save_picture(figure, flags.out, "few_labels")
    save_picture(augmented(flags, trained), flags.out, "augmented")
    return table


def tabulate_accuracies(
    flags: argparse.Namespace, table: Mapping[str, Mapping[int, tuple[float, float]]], size: int
) -> None:
    """Print a row for each kind of training data."""
    choices = f"mean of {flags.trials} choices of labels"
    print(f"\naccuracy of a support-vector machine, {size} test data points, {choices}")
    print(f"  {'':<22}" + "".join(f"{f'{labels} labels':>17}" for labels in flags.labels))
    for name, row in table.items():
        print(f"  {name:<22}" + "".join(f"{f'{plus_minus(100 * p, 100 * error)} %':>17}" for p, error in row.values()))


def trial(flags: argparse.Namespace, trained: Trained, labels: int, seed: int) -> dict[str, float]:
    """The accuracy of each kind of training data, for one choice of labels."""
    hidden = data.hide_labels(trained.data.train, labels, share=0.0, seed=seed)
    known = {name: tensor[hidden["y"] >= 0] for name, tensor in hidden.items()}
    drawn = around(flags, trained, known, flags.copies, seed)
    x, more, y = pixels(known), pixels(drawn), torch.cat([known["y"], drawn["y"].cpu()])
    size = (more - x.repeat(flags.copies, 1)).square().mean().sqrt()
    noise = torch.randn(more.shape, generator=torch.Generator().manual_seed(seed))
    noisy = x.repeat(flags.copies, 1) + size * noise
    test, y_test = pixels(trained.test), trained.test["y"]
    return {
        "pixels": svm_accuracy(x, known["y"], test, y_test),
        "and noise of that size": svm_accuracy(torch.cat([x, noisy]), y, test, y_test),
        "and draws of the VAE": svm_accuracy(torch.cat([x, more]), y, test, y_test),
        "codes": svm_accuracy(codes(trained, known), known["y"], codes(trained, trained.test), y_test),
    }


def around(flags: argparse.Namespace, trained: Trained, known: data.Batch, copies: int, seed: int) -> data.Batch:
    """The means of p(x | z) at draws around the codes of known data, with their labels."""
    options: dict[str, Any] = {"stretch": flags.stretch, "transform": data.Scale(), "seed": seed}
    return augment(trained.model, trained.guide, known, copies, **options)


def svm_accuracy(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> float:
    """The accuracy of a support-vector machine on test data."""
    from sklearn.svm import SVC

    return float(SVC(C=10.0).fit(x.numpy(), y.numpy()).score(x_test.numpy(), y_test.numpy()))


def augmented(flags: argparse.Namespace, trained: Trained) -> "Figure":
    """Test data, and what is drawn around each data point."""
    few = {name: tensor[:8] for name, tensor in trained.test.items()}
    drawn = around(flags, trained, few, 8, flags.seed)["x"].cpu().unflatten(0, (8, -1)).transpose(0, 1)
    images = torch.cat([data.Scale()(few)["x"].unsqueeze(1).cpu(), drawn], 1)
    title = "each data point, and the means of p(x | z) at draws around its code"
    return plots.table(images, columns=["data point", *["draw"] * 8], title=title)


# ---------------------------------------------------------------------------------------------- compression


class Compressed(NamedTuple):
    """One weight of the rate: the VAE, and quantised principal components of as many bits.

    Args:
        trained: the VAE.
        point: its rate and distortion.
        pca_point: those of the components.
        pca_images: the test data as the components reproduce them.
    """

    trained: Trained
    point: RateDistortion
    pca_point: RateDistortion
    pca_images: Tensor


def compress(flags: argparse.Namespace, _: Callable[[], Trained]) -> dict[str, Any]:
    """A VAE for each weight of the rate, and quantised principal components."""
    own = {weight: derive(flags, out=flags.out / f"kl-weight-{weight:g}") for weight in flags.kl_weights}
    pairs = {w: train_vae(its, flags.channel, flags.channel_hidden, normal, w) for w, its in own.items()}
    first = pairs[flags.kl_weights[0]]
    pca, x = QuantisedPCA(pixels(first.data.train)), pixels(scored(first, flags))
    found = {}
    for weight, trained in pairs.items():
        batch = scored(trained, flags)
        point = rate_distortion(trained.model, trained.guide, batch, transform=trained.transform)
        entries = {"rate_distortion": (point.rate, point.mse)}
        write_summary(trained, score(trained, own[weight]), own[weight], entries=entries)
        found[weight] = Compressed(trained, point, *as_many_bits(pca, x, point.rate))
    tabulate_rates(found, *x.shape)
    curves = {
        "VAE": [one.point for one in found.values()],
        "PCA, quantised and entropy-coded": [pca.code(x, step)[0] for step in STEPS],
    }
    series = {name: ([point.rate for point in row], [point.psnr() for point in row]) for name, row in curves.items()}
    title = "rate and distortion on test data"
    figure = plots.lines(series, x="rate, bits per pixel", y="PSNR, dB", title=title)
    save_picture(figure, flags.out, "rate_distortion")
    save_picture(decoded(found), flags.out, "decoded")
    return {name: [{"rate": point.rate, "mse": point.mse} for point in row] for name, row in curves.items()}


def normal(shape: tuple[int, ...]) -> Likelihood:
    """The likelihood of images that are compressed."""
    return likelihoods.Normal(shape, scale=SCALE)


def as_many_bits(pca: QuantisedPCA, x: Tensor, rate: float) -> tuple[RateDistortion, Tensor]:
    """The code at the step that has this rate, found by bisection."""
    low, high = math.log(1e-3), math.log(1e2)
    for _ in range(20):
        middle = (low + high) / 2
        found = pca.code(x, math.exp(middle))
        low, high = (middle, high) if found[0].rate > rate else (low, middle)
    return found


def tabulate_rates(found: Mapping[float, Compressed], size: int, dims: int) -> None:
    """Print a row for each weight of the rate."""
    components = "all principal components, quantised and entropy-coded, as many bits"
    print(f"\n{size} test data points; PCA: {components}")
    print(f"  {'kl_weight':<10}{'bits/dim':>9}{'bits/point':>12}{'MSE':>9}{'PSNR':>10}{'MSE of PCA':>13}{'PSNR':>10}")
    for weight, (_, point, pca, _) in found.items():
        print(
            f"  {weight:<10g}{point.rate:>9.4f}{point.rate * dims:>12.1f}{point.mse:>9.4f}{point.psnr():>7.2f} dB"
            f"{pca.mse:>13.4f}{pca.psnr():>7.2f} dB"
        )


def decoded(found: Mapping[float, Compressed]) -> "Figure":
    """Test data as each code reproduces them."""
    first = next(iter(found.values()))
    few = {name: tensor[: min(10, len(first.pca_images))] for name, tensor in first.trained.test.items()}
    images, titles = [data.Scale()(few)["x"].cpu()], ["data"]
    for trained, point, _, pca_images in found.values():
        drawn = augment(trained.model, trained.guide, few, 1, transform=trained.transform)["x"].cpu()
        images += [drawn, pca_images[: len(drawn)].reshape(drawn.shape)]
        titles += [f"VAE, {point.rate:.3f} bits", f"PCA, {point.rate:.3f} bits"]
    return plots.table(torch.stack(images), rows=titles, title="decoded, by bits per pixel")


PARTS: dict[str, Callable[[argparse.Namespace, Callable[[], Trained]], dict[str, Any]]] = {
    "probe": probe_codes,
    "plane": probe_plane,
    "augment": few_labels,
    "compress": compress,
}
"""The parts, each a function of the flags and of what trains the VAE that parts share."""


def script(flags: argparse.Namespace) -> None:
    """Run the parts; the VAE that they share is trained once, when the first of them needs it."""
    own = derive(flags, out=flags.out / "codes")
    coder = cache(lambda: train_vae(own, flags.latent, flags.hidden))
    write_comparison(flags.out, {part: PARTS[part](flags, coder) for part in flags.parts})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
