"""Representations: what the codes of a VAE are good for, beside PCA.

python examples/representation.py                          all four parts, on 5,000 digits, offline
python examples/representation.py --parts probe            labels told by the codes: a linear probe, and 1-NN
python examples/representation.py --parts plane            two dimensions, drawn with their labels
python examples/representation.py --parts augment          few labels, and new data drawn around theirs
python examples/representation.py --parts compress         rate against distortion
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import torch
from sklearn.decomposition import PCA
from sklearn.svm import SVC
from torch import Tensor

from pyrovae import cli, data, plots
from pyrovae.guides import NormalGuide
from pyrovae.inference import ELBO, QuantisedPCA, RateDistortion, augment, features, probe, rate_distortion
from pyrovae.models import VAE, Likelihood, likelihoods, priors
from pyrovae.networks.dense import MLP

STEPS = torch.logspace(-0.1, 0.9, 12).tolist()  # of quantised components, for pixels in [0, 1]
SCALE = 0.1  # of p(x | z) where images are compressed; with the weight of the rate it sets the exchange of the two


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/representation", epochs=40)
    p.set_defaults(schedule="cosine", lr=2e-3, num_samples=100)
    p.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    p.add_argument("--latent", type=int, default=10, help="dimension of the codes, of probe and augment")
    p.add_argument("--hidden", type=cli.shape_list, default=[512, 256], help="widths of their networks")
    p.add_argument("--plane-hidden", type=cli.shape_list, default=[512, 256, 128], help="of those of the plane")
    p.add_argument("--warm-up", type=int, default=10, help="epochs in which the weight of the rate rises to 1")
    p.add_argument("--labels", type=cli.shape_list, default=[50, 100, 200], help="how many are known, for augment")
    p.add_argument("--copies", type=int, default=10, help="draws around each datum with a label")
    p.add_argument("--stretch", type=float, default=1.0, help="how far they go; 1: as far as the guide says")
    p.add_argument("--trials", type=int, default=5, help="choices of the data whose labels are known")
    p.add_argument("--kl-weights", type=numbers, default=[1.0, 4.0, 16.0], help="a point of the curve each")
    p.add_argument("--channel", type=int, default=32, help="dimension of the codes, for compress")
    p.add_argument("--channel-hidden", type=cli.shape_list, default=[400], help="widths of their networks")
    a = p.parse_args(argv)
    a.parts = a.parts.split(",")
    if unknown := [name for name in a.parts if name not in PARTS]:
        p.error(f"--parts has {', '.join(unknown)}, of which there is none. Choose from {','.join(PARTS)}.")
    return a


def numbers(text: str) -> list[float]:
    """`"0.5,2"` as `[0.5, 2.0]`."""
    return [float(part) for part in text.split(",")]


class Study:
    """The flags, the pairs that are trained by them, and the one that two parts share."""

    def __init__(self, a: argparse.Namespace) -> None:
        self.a = a

    @cached_property
    def coder(self) -> cli.Run:
        """A VAE whose codes are looked at."""
        return self.train("codes", self.a.latent, self.a.hidden)

    def train(
        self,
        name: str,
        latent: int,
        hidden: list[int],
        likelihood: Callable[[tuple[int, ...]], Likelihood] = likelihoods.Bernoulli,
        kl_weight: float | None = None,
    ) -> cli.Run:
        """A dense VAE, of binarised images unless the likelihood is another; its run folder is `name`."""
        print(f"\n--- {name}")
        run = cli.Run(argparse.Namespace(**vars(self.a) | {"out": self.a.out / name}))
        train = run.data.train["x"]
        of_x = likelihood(tuple(train.shape[1:]))
        decoder = MLP(latent, of_x.params_shape, hidden[::-1])
        decoder.start_at(of_x.start(data.excerpt(train)))
        model = VAE(priors.StandardNormal(latent), of_x, decoder)
        guide = NormalGuide(MLP(of_x.event_shape, 2 * latent, hidden))
        transform = data.Binarize() if isinstance(of_x, likelihoods.Bernoulli) else data.Scale()
        weight = run.annealed(self.a.warm_up) if kl_weight is None else kl_weight
        run.fit(model, guide, transform, loss=ELBO(kl_weight=weight, analytic=True))
        return run

    def save(self, name: str, figure: Any) -> None:
        """Write a picture of several runs."""
        self.a.out.mkdir(parents=True, exist_ok=True)
        plots.save(figure, self.a.out / f"{name}.png")


def codes(run: cli.Run, split: data.Batch) -> Tensor:
    """The means of q(z | x), x in grey levels."""
    return features(run.model, run.guide, split, transform=data.Scale()).cpu()


def pixels(split: data.Batch) -> Tensor:
    """One row of numbers in [0, 1] for each datum."""
    return data.Scale()(split)["x"].flatten(1).cpu()


# --------------------------------------------------------------------------------- labels told by the codes


def tell(study: Study) -> dict[str, Any]:
    return probed(study.coder)


def draw(study: Study) -> dict[str, Any]:
    """`latent_z.png` has the labels."""
    return probed(study.train("plane", 2, study.a.plane_hidden))


def probed(run: cli.Run) -> dict[str, Any]:
    """The codes and as many principal components, on all test data; numbers, pictures and table of the run."""
    train, dims = run.data.train, codes(run, run.test).shape[1]
    axes = PCA(dims, random_state=run.arguments.seed).fit(pixels(train).numpy())
    sets: dict[str, Callable[[data.Batch], Tensor]] = {
        f"VAE-{dims}": lambda split: codes(run, split),
        f"PCA-{dims}": lambda split: torch.from_numpy(axes.transform(pixels(split).numpy())),
    }
    found = {name: probe(of(train), train["y"], of(run.test), run.test["y"]) for name, of in sets.items()}
    kinds = {"linear": "logistic regression", "nearest": "the nearest training datum"}
    table = [
        (f"{kind} {name}", str(getattr(one, kind)), f"accuracy of {meaning}, {len(run.test['y'])} test data")
        for kind, meaning in kinds.items()
        for name, one in found.items()
    ]
    run.summary(run.evaluate(), rows=table, probe=found)
    run.pictures()
    return {name: one._asdict() for name, one in found.items()}


# ------------------------------------------------------------------------------------------------ few labels


def few_labels(study: Study) -> dict[str, Any]:
    """A support-vector machine on few labels: on their pixels, on more of them in two ways, and on codes."""
    a, run = study.a, study.coder
    table: dict[str, dict[int, tuple[float, float]]] = {}
    for labels in a.labels:
        trials = [trial(a, run, labels, seed) for seed in range(a.trials)]
        for name in trials[0]:
            right = torch.tensor([found[name] for found in trials])
            table.setdefault(name, {})[labels] = (right.mean().item(), right.std().item() / math.sqrt(a.trials))
    print(
        f"\naccuracy of a support-vector machine, {len(run.test['y'])} test data, mean of {a.trials} choices of labels"
    )
    print(f"  {'':<22}" + "".join(f"{f'{labels} labels':>17}" for labels in a.labels))
    for name, row in table.items():
        print(f"  {name:<22}" + "".join(f"{f'{100 * p:.1f} ± {100 * error:.1f} %':>17}" for p, error in row.values()))
    curves = {n: (list(row), *map(list, zip(*row.values(), strict=True))) for n, row in table.items()}
    title = f"a support-vector machine on few labels, mean of {a.trials} choices"
    study.save("few_labels", plots.lines(curves, x="labels", y="accuracy on test data", title=title))
    study.save("augmented", augmented(a, run))
    return table


def trial(a: argparse.Namespace, run: cli.Run, labels: int, seed: int) -> dict[str, float]:
    """The accuracy of each kind of training data, for one choice of labels."""
    hidden = data.hide_labels(run.data.train, labels, share=0.0, seed=seed)
    known = {name: tensor[hidden["y"] >= 0] for name, tensor in hidden.items()}
    drawn = around(a, run, known, a.copies, seed)
    x, more, y = pixels(known), pixels(drawn), torch.cat([known["y"], drawn["y"].cpu()])
    size = (more - x.repeat(a.copies, 1)).square().mean().sqrt()
    noisy = x.repeat(a.copies, 1) + size * torch.randn(more.shape, generator=torch.Generator().manual_seed(seed))
    test = pixels(run.test)
    return {
        "pixels": score(x, known["y"], test, run.test["y"]),
        "and noise of that size": score(torch.cat([x, noisy]), y, test, run.test["y"]),
        "and draws of the VAE": score(torch.cat([x, more]), y, test, run.test["y"]),
        "codes": score(codes(run, known), known["y"], codes(run, run.test), run.test["y"]),
    }


def around(a: argparse.Namespace, run: cli.Run, known: data.Batch, copies: int, seed: int) -> data.Batch:
    return augment(run.model, run.guide, known, copies, stretch=a.stretch, transform=data.Scale(), seed=seed)


def score(x: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor) -> float:
    return float(SVC(C=10.0).fit(x.numpy(), y.numpy()).score(x_test.numpy(), y_test.numpy()))


def augmented(a: argparse.Namespace, run: cli.Run) -> Any:
    """Test data, and what is drawn around each."""
    few = {name: tensor[:8] for name, tensor in run.test.items()}
    drawn = around(a, run, few, 8, a.seed)["x"].cpu().unflatten(0, (8, -1)).transpose(0, 1)
    images = torch.cat([data.Scale()(few)["x"].unsqueeze(1).cpu(), drawn], 1)
    columns = ["datum", *["draw"] * 8]
    return plots.table(images, columns=columns, title="each datum, and the means of p(x | z) at draws around its code")


# ---------------------------------------------------------------------------------------------- compression


class Row(NamedTuple):
    """One weight of the rate: the VAE, its point, and that of quantised components of as many bits, with its images."""

    run: cli.Run
    point: RateDistortion
    beside: RateDistortion
    images: Tensor


def compress(study: Study) -> dict[str, Any]:
    """A VAE for each weight of the rate, beside quantised principal components."""
    runs = {weight: compressor(study, weight) for weight in study.a.kl_weights}
    first = runs[study.a.kl_weights[0]]
    pca, x = QuantisedPCA(pixels(first.data.train)), pixels(first.scored)
    rows = {}
    for weight, run in runs.items():
        point = rate_distortion(run.model, run.guide, run.scored, transform=run.transform)
        run.summary(run.evaluate(), rate_distortion=point)
        rows[weight] = Row(run, point, *as_many_bits(pca, x, point.rate))
    tabulate(rows, *x.shape)
    curves = {
        "VAE": [row.point for row in rows.values()],
        "PCA, quantised and entropy-coded": [pca.code(x, step)[0] for step in STEPS],
    }
    series = {name: ([point.rate for point in row], [point.psnr() for point in row]) for name, row in curves.items()}
    words = {"x": "rate, bits per pixel", "y": "PSNR, dB", "title": "rate and distortion on test data"}
    study.save("rate_distortion", plots.lines(series, **words))
    study.save("decoded", decoded(rows))
    return {name: [point._asdict() for point in row] for name, row in curves.items()}


def compressor(study: Study, weight: float) -> cli.Run:
    a = study.a
    return study.train(f"kl-weight-{weight:g}", a.channel, a.channel_hidden, normal, weight)


def normal(shape: tuple[int, ...]) -> Likelihood:
    return likelihoods.Normal(shape, scale=SCALE)


def as_many_bits(pca: QuantisedPCA, x: Tensor, rate: float) -> tuple[RateDistortion, Tensor]:
    """At the step whose rate is this one, found by bisection."""
    low, high = math.log(1e-3), math.log(1e2)
    for _ in range(20):
        middle = (low + high) / 2
        found = pca.code(x, math.exp(middle))
        low, high = (middle, high) if found[0].rate > rate else (low, middle)
    return found


def tabulate(rows: dict[float, Row], size: int, dims: int) -> None:
    print(f"\n{size} test data. Beside: all principal components, quantised and entropy-coded, as many bits")
    print(f"  {'kl_weight':<10}{'bits/dim':>9}{'bits/datum':>12}{'MSE':>9}{'PSNR':>10}{'MSE of PCA':>13}{'PSNR':>10}")
    for weight, (_, point, beside, _) in rows.items():
        print(
            f"  {weight:<10g}{point.rate:>9.4f}{point.rate * dims:>12.1f}{point.mse:>9.4f}{point.psnr():>7.2f} dB"
            f"{beside.mse:>13.4f}{beside.psnr():>7.2f} dB"
        )


def decoded(rows: dict[float, Row]) -> Any:
    """Test data as they come out of each code."""
    few = {name: tensor[:10] for name, tensor in next(iter(rows.values())).run.test.items()}
    images, names = [data.Scale()(few)["x"].cpu()], ["data"]
    for run, point, _, beside in rows.values():
        drawn = augment(run.model, run.guide, few, 1, transform=run.transform)["x"].cpu()
        images += [drawn, beside[: len(drawn)].reshape(drawn.shape)]
        names += [f"VAE, {point.rate:.3f} bits", f"PCA, {point.rate:.3f} bits"]
    return plots.table(torch.stack(images), rows=names, title="decoded, by bits per pixel")


PARTS: dict[str, Callable[[Study], dict[str, Any]]] = {
    "probe": tell,
    "plane": draw,
    "augment": few_labels,
    "compress": compress,
}


def script(a: argparse.Namespace) -> None:
    study, results = Study(a), {}
    for part in a.parts:
        results[part] = PARTS[part](study)
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "comparison.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
