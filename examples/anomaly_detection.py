"""Anomalies: scores of a VAE that was trained on normal data, compared with the usual detectors, and their reasons.

python examples/anomaly_detection.py                                   a table and digits, offline
python examples/anomaly_detection.py --parts table                     breast cancer; benign rows are normal
python examples/anomaly_detection.py --parts images --classes 0,3,8    digits, each held out in turn
python examples/anomaly_detection.py --parts images --normal one       each in turn is the only normal one
python examples/anomaly_detection.py --parts images --data mnist --classes 0,1,2,3,4,5,6,7,8,9 --hidden 512,256

Data: breast cancer, 569 rows, and 5,000 real digits, offline. Time: 45 s of one core.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from pyrovae import data, plots
from pyrovae.display import mean_and_error
from pyrovae.errors import DataError
from pyrovae.examples._shared import (
    Trained,
    derive,
    load_data,
    main,
    parser,
    save_picture,
    train,
    values,
    write_comparison,
)
from pyrovae.guides import NormalGuide
from pyrovae.inference import VAEDetector, anomaly_scores, entry_scores, reconstruct, threshold
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = ("elbo", "evidence", "reconstruction", "error", "error+rate")
"""The scores of rows of a table."""

IMAGE_KINDS = (*KINDS, "complexity")
"""The scores of images."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/anomaly", epochs=30, closing=False)
    p.set_defaults(schedule="cosine", lr=2e-3, num_samples=10, evaluate=0)
    p.add_argument("--parts", type=values.names(PARTS), default=",".join(PARTS), help="which parts to run")
    p.add_argument("--classes", type=values.labels, default=[1, 4], help="the classes of the images, each in turn")
    normal = "what is normal: all classes except that one, or that one alone"
    p.add_argument("--normal", choices=("rest", "one"), default="rest", help=normal)
    kinds = "scores of the images"
    p.add_argument("--kinds", type=values.names((*IMAGE_KINDS, "regret")), default=",".join(IMAGE_KINDS), help=kinds)
    p.add_argument(
        "--regret", type=values.few_or_none, default=100, help="number of test images to compute the regret of"
    )
    p.add_argument(
        "--false-alarms", type=values.fraction, default=0.05, help="the rate of false alarms that sets the threshold"
    )
    p.add_argument(
        "--splits",
        type=values.positive_int,
        default=5,
        help="number of splits of the table, each with its own training",
    )
    p.add_argument("--table-epochs", type=values.whole, default=100, help="passes over the table")
    p.add_argument("--hidden", type=values.integers, default=[256, 128], help="widths of the layers, for images")
    images = "most training images that the usual detectors see, for a quick look; as many as the VAE by default"
    p.add_argument("--baseline-images", type=values.positive_int, help=images)
    p.add_argument("--latent", type=values.positive_int, default=10, help="latent dimension, for images")
    return p.parse_args(argv)


class Detection(NamedTuple):
    """How well scores separate anomalies from normal data.

    Args:
        auroc: the area under the receiver operating characteristic.
        auprc: the area under precision over recall.
        seen: the number of training rows that the detector saw.
    """

    auroc: float
    auprc: float
    seen: int

    def entries(self) -> dict[str, float]:
        """The areas and the rows, as the file holds them."""
        return self._asdict()


def detection(anomalous: np.ndarray, scores: np.ndarray, seen: int) -> Detection:
    """The two areas, of scores that are higher for the more anomalous, by a detector of so many training rows."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return Detection(float(roc_auc_score(anomalous, scores)), float(average_precision_score(anomalous, scores)), seen)


def usual_scores(train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The scores of the usual detectors, higher for the more anomalous."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import IsolationForest
    from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors

    axes = PCA(0.9, random_state=seed).fit(train)
    forest = IsolationForest(random_state=seed).fit(train)
    factor = LocalOutlierFactor(novelty=True).fit(train)
    neighbours = NearestNeighbors(n_neighbors=5).fit(train)
    return {
        "IsolationForest": -forest.score_samples(test),
        "LocalOutlierFactor": -factor.score_samples(test),
        "PCA, squared error": np.square(test - axes.inverse_transform(axes.transform(test))).sum(1),
        "5 nearest, distance": neighbours.kneighbors(test)[0].mean(1),
    }


def tabulate(table: Mapping[str, Sequence[Detection]], columns: Sequence[str], title: str) -> None:
    """Print the AUROC in each column, their mean, by how much the first row is above it, AUPRC, and the training rows.

    Both have their errors over columns; the difference is paired by column.
    """
    print(f"\n{title}")
    ends = f"{'mean':>17}{'first less this':>18}{'AUPRC, mean':>14}{'rows seen':>11}"
    print(f"  {'AUROC':<22}" + "".join(f"{name:>8}" for name in columns) + ends)
    areas = {name: np.array([one.auroc for one in row]) for name, row in table.items()}
    first = next(iter(areas))
    for name, row in table.items():
        parts = "".join(f"{value:>8.3f}" for value in areas[name])
        less = "" if name == first else mean_and_error(areas[first] - areas[name])
        seen, precision = round(np.mean([one.seen for one in row])), np.mean([one.auprc for one in row])
        print(f"  {name:<22}{parts}{mean_and_error(areas[name]):>17}{less:>18}{precision:>14.3f}{seen:>11,}")


def collected(parts: Sequence[Mapping[str, Detection]]) -> dict[str, list[Detection]]:
    """The detections of each method, over splits or classes."""
    return {name: [part[name] for part in parts] for name in parts[0]}


def entries(table: Mapping[str, Sequence[Detection]]) -> dict[str, Any]:
    """A table, as the file holds it."""
    return {name: [one.entries() for one in row] for name, row in table.items()}


# --------------------------------------------------------------------------------------------------- a table


@dataclass(frozen=True)
class SplitScores:
    """What one split of the table gives.

    Attributes:
        detector: the trained VAE.
        size: number of training rows.
        test: the test rows.
        anomalous: which of them are malignant.
        scores: by detector, higher for the more anomalous.
        alarms: the shares of benign and of malignant rows above the threshold.
    """

    detector: VAEDetector
    size: int
    test: np.ndarray
    anomalous: np.ndarray
    scores: dict[str, np.ndarray]
    alarms: tuple[float, float]

    def detections(self) -> dict[str, Detection]:
        """How well each detector does."""
        return {name: detection(self.anomalous, scores, self.size) for name, scores in self.scores.items()}


def score_table(flags: argparse.Namespace) -> dict[str, Any]:
    """Breast cancer: trained on six tenths of the benign rows, tested on two tenths and on all malignant ones."""
    from sklearn.datasets import load_breast_cancer

    source = load_breast_cancer(as_frame=True)
    splits = [
        score_split(flags, source.data, source.target == 0, flags.seed + number) for number in range(flags.splits)
    ]
    table, last = collected([split.detections() for split in splits]), splits[-1]
    title = f"breast cancer: benign is normal, {last.size} training rows, {flags.splits} splits"
    tabulate(table, [f"split {number}" for number in range(flags.splits)], title)
    false, true = np.mean([split.alarms for split in splits], 0)
    print(
        f"  threshold for {flags.false_alarms:.0%} false alarms: {false:.1%} of the benign, {true:.1%} of the malignant"
    )
    curves = plots.detection(last.scores, last.anomalous, title="breast cancer, the last split")
    save_picture(curves, flags.out, "table_curves")
    save_picture(draw_columns(last, list(source.data.columns)), flags.out, "table_columns")
    return entries(table) | {"alarms": [false, true]}


def score_split(flags: argparse.Namespace, rows: Any, malignant: Any, seed: int) -> SplitScores:
    """Train on one split of the table, and score its test rows by all detectors."""
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    train, held = train_test_split(rows[~malignant], test_size=0.4, random_state=seed)
    valid, benign = train_test_split(held, test_size=0.5, random_state=seed)
    test = np.concatenate([benign, rows[malignant]])
    anomalous = np.arange(len(test)) >= len(benign)
    settings: dict[str, Any] = {"num_samples": 100, "epochs": flags.table_epochs, "device": flags.device}
    settings |= {"trim": 0.0}  # all training rows are benign
    detector = VAEDetector(random_state=seed, **settings).fit(train.to_numpy())
    scores = {f"VAE, {kind}": -detector.set_params(kind=kind).score_samples(test) for kind in KINDS}
    unit = StandardScaler().fit(train.to_numpy())
    scores |= usual_scores(unit.transform(train.to_numpy()), unit.transform(test), seed)
    detector.set_params(kind="elbo").calibrate(valid.to_numpy(), false_alarms=flags.false_alarms)
    alarm = detector.predict(test) == -1
    alarms = (alarm[~anomalous].mean(), alarm[anomalous].mean())
    return SplitScores(detector, len(train), test, anomalous, scores, alarms)


def draw_columns(split: SplitScores, columns: list[str]) -> "Figure":
    """The most anomalous rows, by the columns that are less expected than in the training rows."""
    worst = np.argsort(-split.scores["VAE, elbo"])[:12]
    rows = [("malignant" if split.anomalous[row] else "benign") + f" {row}" for row in worst]
    excess = torch.from_numpy(split.detector.explain(split.test[worst])).clamp_min(0)
    share = excess / excess.sum(1, keepdim=True)  # the nats of one row may be a thousand times those of the next
    title = "the most anomalous rows: which columns are less expected than in the training rows"
    return plots.heat(share, rows=rows, columns=columns, unit="share of the row's excess", title=title)


# ---------------------------------------------------------------------------------------------------- images


def score_images(flags: argparse.Namespace) -> dict[str, Any]:
    """Each class in turn: a VAE of the normal images, and all scores of the test images."""
    parts: list[dict[str, Detection]] = []
    for held in flags.classes:
        print(f"\n--- class {held} {'held out' if flags.normal == 'rest' else 'alone'}")
        parts.append(score_class(derive(flags, out=flags.out / f"class-{held}"), held))
        print("AUROC   " + ", ".join(f"{name} {one.auroc:.3f}" for name, one in parts[-1].items()), flush=True)
    table = collected(parts)
    what = "is held out" if flags.normal == "rest" else "is normal"
    title = f"{flags.data}: the class over each column {what}"
    tabulate(table, [f"{held}" for held in flags.classes], title)
    return entries(table)


def score_class(flags: argparse.Namespace, held: int) -> dict[str, Detection]:
    """Train a VAE of the normal images, and score the test images by all detectors; pictures go to `flags.out`."""
    trained = train_normal(flags, held)
    anomalous = is_anomalous(flags, held, trained.test).numpy()
    scores = {f"VAE, {kind}": vae_scores(flags, trained, trained.test, kind).numpy() for kind in flags.kinds}
    size = len(trained.data.train["x"])
    found = {name: detection(anomalous, one, size) for name, one in scores.items()}
    if flags.regret:
        found[f"VAE, regret of {flags.regret}"] = regret(flags, trained, anomalous)
    shown = pixels(trained.data.train)[: flags.baseline_images]
    usual = usual_scores(shown, pixels(trained.test), flags.seed)
    found |= {name: detection(anomalous, one, len(shown)) for name, one in usual.items()}
    last = flags.kinds[-1]
    if len(trained.data.valid["x"]):
        print_alarms(flags, trained, last, scores[f"VAE, {last}"], anomalous)
    title = f"class {held}, {len(anomalous)} test images"
    save_picture(plots.detection(scores | usual, anomalous, title=title), flags.out, "curves")
    save_picture(draw_anomalies(trained, scores[f"VAE, {last}"], last), flags.out, "anomalies")
    return found


def train_normal(flags: argparse.Namespace, held: int) -> Trained:
    """A VAE of the normal images."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags, kind="images", labels=True)
    if not (dataset.test["y"] == held).any() or (dataset.test["y"] == held).all():
        raise DataError(f"--classes requires labels of some test images, got {held}. Write --classes 0,1.")
    splits = {"train": dataset.train, "valid": dataset.valid}
    normal: dict[str, Any] = {
        n: {k: v[~is_anomalous(flags, held, split)] for k, v in split.items()} for n, split in splits.items()
    }
    dataset = replace(dataset, **normal)
    shape = tuple(dataset.train["x"].shape[1:])
    likelihood, decoder = likelihoods.Normal(shape), MLP(flags.latent, shape, flags.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(dataset.train["x"])))
    model = VAE(priors.StandardNormal(flags.latent), likelihood, decoder)
    return train(model, NormalGuide(MLP(shape, 2 * flags.latent, flags.hidden)), data.Scale(), dataset, flags)


def is_anomalous(flags: argparse.Namespace, held: int, split: data.Batch) -> Tensor:
    """Which images are anomalous where a class is held out, or is the only normal one."""
    return (split["y"] == held) == (flags.normal == "rest")


def vae_scores(
    flags: argparse.Namespace, trained: Trained, batch: data.Batch, kind: str, num_steps: int | None = None
) -> Tensor:
    """The scores of one kind; the regret takes a number of steps."""
    options: dict[str, Any] = {"num_samples": flags.num_samples, "transform": trained.transform, "seed": flags.seed}
    return anomaly_scores(trained.model, trained.guide, batch, kind=kind, num_steps=num_steps, **options)


def regret(flags: argparse.Namespace, trained: Trained, anomalous: np.ndarray) -> Detection:
    """The regret of a few test images, half of them anomalous, half normal."""
    masks = map(torch.from_numpy, (anomalous, ~anomalous))
    few = torch.cat([mask.nonzero()[: flags.regret // 2, 0] for mask in masks])
    some = {name: tensor[few] for name, tensor in trained.test.items()}
    scores = vae_scores(flags, trained, some, "regret", num_steps=100)
    return detection(anomalous[few], scores.numpy(), len(trained.data.train["x"]))


def print_alarms(
    flags: argparse.Namespace, trained: Trained, kind: str, scores: np.ndarray, anomalous: np.ndarray
) -> None:
    """The shares of test images above a threshold that normal validation images set."""
    clean = vae_scores(flags, trained, trained.data.valid, kind)
    alarm = scores > threshold(clean, false_alarms=flags.false_alarms)
    false, true = alarm[~anomalous].mean(), alarm[anomalous].mean()
    rate = f"{flags.false_alarms:.0%} false alarms"
    print(f"VAE, {kind}, threshold for {rate}: {false:.1%}, and {true:.1%} of the anomalies")


def pixels(split: data.Batch) -> np.ndarray:
    """A row of numbers in [0, 1] for each image."""
    return data.Scale()(split)["x"].flatten(1).numpy()


def draw_anomalies(trained: Trained, scores: np.ndarray, kind: str) -> "Figure":
    """The most anomalous test images, their reconstructions, and the pixels that are unexpected."""
    worst = torch.from_numpy(np.argsort(-scores)[:12].copy())
    few = {name: tensor[worst] for name, tensor in trained.test.items()}
    typical = {name: tensor[:500] for name, tensor in trained.data.train.items()}
    scored = partial(entry_scores, trained.model, trained.guide, transform=trained.transform, num_samples=20)
    excess = scored(few) - scored(typical).mean(0)
    share = (excess / excess.flatten(1).amax(1).reshape(-1, 1, 1, 1)).clamp(0, 1)
    rebuilt = reconstruct(trained.model, trained.guide, few, transform=trained.transform).clamp(0, 1).cpu()
    images = torch.stack([trained.transform(few)["x"], rebuilt, share])
    rows, columns = ["data point", "reconstruction", "unexpected pixels"], [str(y) for y in few["y"].tolist()]
    return plots.table(images, rows=rows, columns=columns, title=f"highest scores by VAE, {kind}; labels above")


# ---------------------------------------------------------------------------------------------------- script

PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"table": score_table, "images": score_images}


def script(flags: argparse.Namespace) -> None:
    """Run the parts."""
    start = time.perf_counter()
    results = {part: PARTS[part](flags) for part in flags.parts}
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s in all")
    write_comparison(flags.out, results | {"seconds": seconds})


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
