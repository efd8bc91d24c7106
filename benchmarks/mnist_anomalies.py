"""The usual detectors on MNIST with one digit held out, on all images that a VAE of `anomaly-detection` is trained on.

    python benchmarks/mnist_anomalies.py --digits 0 1 2 3 4 5 6 7 8 9 --out runs/mnist-anomalies.json

Each digit in turn is the anomaly. A detector sees the training images of the nine other digits, about 45,000 of 50,000,
and its AUROC is on all 10,000 test images, as in `python examples/anomaly_detection.py --parts images --data mnist`.
`LocalOutlierFactor(novelty=True)` and nearest neighbours are computed from one search for neighbours in place of ten:
it finds the nearest training images of each digit, and a held-out digit leaves its own out.

`--vae RUN/comparison.json` puts the scores of such a run beside them: differences to LocalOutlierFactor are paired by
digit, with their error over digits.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae import data
from pyrovae.display import mean_and_error

LOCAL = 20
"""The neighbours of `LocalOutlierFactor`, its default."""

NEAREST = 5
"""The neighbours whose mean distance is a score."""

ROWS = 500
"""Images whose distances are computed at once."""


class Neighbours(NamedTuple):
    """The nearest training images of each image, the nearest first.

    Args:
        distance: Euclidean, `(N, K)`.
        place: their places among the training images, `(N, K)`.
    """

    distance: Tensor
    place: Tensor


def neighbours_by_class(images: Tensor, train: Tensor, labels: Tensor, *, own: bool) -> dict[int, Neighbours]:
    """The `LOCAL` nearest training images of each label.

    Args:
        images: rows `(N, D)`.
        train: the training images, `(M, D)`.
        labels: theirs, `(M,)`.
        own: whether `images` are the training images, of which none is its own neighbour.
    """
    places = {int(label): (labels == label).nonzero()[:, 0] for label in labels.unique()}
    found: dict[int, list[Neighbours]] = {label: [] for label in places}
    squares = train.square().sum(1)
    for start in range(0, len(images), ROWS):
        part = images[start : start + ROWS]
        distance = torch.addmm(squares, part, train.T, alpha=-2) + part.square().sum(1, keepdim=True)
        if own:
            distance[torch.arange(len(part)), torch.arange(start, start + len(part))] = math.inf
        for label, here in places.items():
            least = distance[:, here].topk(min(LOCAL, len(here)), largest=False)
            found[label].append(Neighbours(least.values.clamp_min(0).sqrt(), here[least.indices]))
    return {label: Neighbours(*map(torch.cat, zip(*parts, strict=True))) for label, parts in found.items()}


def without(found: Mapping[int, Neighbours], held: int) -> Neighbours:
    """The nearest training images of all labels but one."""
    rest = [part for label, part in found.items() if label != held]
    distance, place = (torch.cat(list(parts), 1) for parts in zip(*rest, strict=True))
    least = distance.topk(LOCAL, largest=False)
    return Neighbours(least.values, place.gather(1, least.indices))


def local_outlier_factor(test: Neighbours, train: Neighbours) -> Tensor:
    """The score of each test image, `(N,)`: how much less dense it is around it than around its neighbours.

    References: Breunig et al. (2000), LOF: identifying density-based local outliers.
    """
    reach = train.distance[:, -1]

    def density(found: Neighbours) -> Tensor:
        return 1 / (torch.maximum(found.distance, reach[found.place]).mean(1) + 1e-10)

    return density(train)[test.place].mean(1) / density(test)


def scores(held: int, split: "Split") -> dict[str, np.ndarray]:
    """The scores of all detectors, higher for the more anomalous; `held` is the digit that they did not see."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest

    test, train = without(split.near_test, held), without(split.near_train, held)
    seen, asked = split.train[split.labels != held].numpy(), split.test.numpy()
    axes = PCA(0.9, random_state=0).fit(seen)
    return {
        "LocalOutlierFactor": local_outlier_factor(test, train).numpy(),
        "5 nearest, distance": test.distance[:, :NEAREST].mean(1).numpy(),
        "PCA, squared error": np.square(asked - axes.inverse_transform(axes.transform(asked))).sum(1),
        "IsolationForest": -IsolationForest(random_state=0).fit(seen).score_samples(asked),
    }


class Split(NamedTuple):
    """Images as rows of numbers in [0, 1], the training labels, and the neighbours of all images."""

    train: Tensor
    labels: Tensor
    test: Tensor
    near_train: dict[int, Neighbours]
    near_test: dict[int, Neighbours]


def areas(anomalous: np.ndarray, found: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The areas under the two curves, by detector."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    measures = {"auroc": roc_auc_score, "auprc": average_precision_score}
    return {
        name: {area: float(of(anomalous, values)) for area, of in measures.items()} for name, values in found.items()
    }


def show(results: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    """Print the AUROC by detector and digit, means, and differences to the first detector, paired by digit.

    All errors are over digits.
    """
    digits = list(results)
    ends = f"{'mean':>17}{'less the first':>18}{'AUPRC, mean':>14}"
    print(f"\n{'AUROC':<22}" + "".join(f"{digit:>7}" for digit in digits) + ends)
    names = list(next(iter(results.values())))
    found = {name: np.array([results[digit][name]["auroc"] for digit in digits]) for name in names}
    for name, values in found.items():
        precision = np.mean([results[digit][name]["auprc"] for digit in digits])
        parts = "".join(f"{value:>7.3f}" for value in values)
        less = "" if name == names[0] else mean_and_error(values - found[names[0]])
        print(f"{name:<22}{parts}{mean_and_error(values):>17}{less:>18}{precision:>14.3f}")


def of_example(path: Path, digits: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """The areas of a VAE's scores by digit, as `anomaly-detection` wrote them.

    Args:
        path: its comparison.json.
        digits: its `--classes`.

    Raises:
        SystemExit: it has another number of digits.
    """
    rows = {name: row for name, row in json.loads(path.read_text())["images"].items() if name.startswith("VAE")}
    sizes = {len(row) for row in rows.values()}
    if sizes != {len(digits)}:
        sys.exit(f"--vae requires a run with the {len(digits)} classes of --digits, got {path} with {sizes}.")
    return {str(digit): {name: row[place] for name, row in rows.items()} for place, digit in enumerate(digits)}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--digits", nargs="+", type=int, default=list(range(10)), help="held out, each in turn")
    parser.add_argument("--images", type=int, help="the most training images; all by default")
    parser.add_argument("--vae", type=Path, help="comparison.json of the example with these digits as its classes")
    parser.add_argument("--out", type=Path, default=Path("runs/mnist-anomalies.json"), help="file of the results")
    args = parser.parse_args(argv)
    start, source = time.perf_counter(), data.load("mnist")
    x, labels = pixels(source.train)[: args.images], source.train["y"][: args.images]
    asked, digits = pixels(source.test), source.test["y"]
    near_train = neighbours_by_class(x, x, labels, own=True)
    split = Split(x, labels, asked, near_train, neighbours_by_class(asked, x, labels, own=False))
    print(f"{len(x)} training images, {time.perf_counter() - start:.0f} s for their neighbours", flush=True)
    results = {}
    for held in args.digits:
        results[str(held)] = areas((digits == held).numpy(), scores(held, split))
        print(f"{held}: " + ", ".join(f"{name} {area['auroc']:.3f}" for name, area in results[str(held)].items()))
    beside = of_example(args.vae, args.digits) if args.vae else {}
    show({digit: found | beside.get(digit, {}) for digit, found in results.items()})
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps({"seconds": time.perf_counter() - start, "digits": results}, indent=2) + "\n")


def pixels(split: data.Batch) -> Tensor:
    """A row of numbers in [0, 1] for each image."""
    return data.Scale()(split)["x"].flatten(1)


if __name__ == "__main__":
    main()
