"""Anomalies: scores of a VAE that was trained on what is normal, beside the usual detectors, and what they point at.

python examples/anomaly_detection.py                                   a table and digits, offline
python examples/anomaly_detection.py --parts table                     breast cancer, benign being normal
python examples/anomaly_detection.py --parts images --classes 0,3,8    digits, each held out in turn
python examples/anomaly_detection.py --parts images --normal one       each being the only normal one
python examples/anomaly_detection.py --parts images --data mnist --classes 0,1,2,3,4,5,6,7,8,9 --hidden 512,256
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import LocalOutlierFactor, NearestNeighbors
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from pyrovae import cli, data, plots
from pyrovae.guides import NormalGuide
from pyrovae.inference import VAEDetector, anomaly_scores, entry_scores, reconstruct, threshold
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks.dense import MLP

KINDS = ("elbo", "evidence", "reconstruction", "error", "error+rate")  # of the table
ROWS = 5000  # training images that the baselines take, whose time is quadratic or large


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/anomaly", epochs=30, closing=False)
    p.set_defaults(schedule="cosine", lr=2e-3, num_samples=10, evaluate=0)
    p.add_argument("--parts", default=",".join(PARTS), help=f"of {','.join(PARTS)}")
    p.add_argument("--classes", type=cli.shape_list, default=[1, 4], help="of the images, each in turn")
    p.add_argument("--normal", choices=("rest", "one"), default="rest", help="what is normal: all but the class, or it")
    p.add_argument("--kinds", default=",".join((*KINDS, "complexity")), help="scores of the images")
    p.add_argument("--regret", type=int, default=100, help="test images of which the regret is taken; 0 for none")
    p.add_argument("--false-alarms", type=float, default=0.05, help="the rate that the threshold is set for")
    p.add_argument("--splits", type=int, default=5, help="of the table, each with a training of its own")
    p.add_argument("--table-epochs", type=int, default=100, help="passes over the table")
    p.add_argument("--hidden", type=cli.shape_list, default=[256, 128], help="widths of the networks of images")
    p.add_argument("--latent", type=int, default=10, help="their latent dimension")
    a = p.parse_args(argv)
    a.parts, a.kinds = a.parts.split(","), a.kinds.split(",")
    if unknown := [name for name in a.parts if name not in PARTS]:
        p.error(f"--parts has {', '.join(unknown)}, of which there is none. Choose from {','.join(PARTS)}.")
    return a


class Found(NamedTuple):
    """How well scores tell anomalies: the areas under the curves of ROC, and of precision over recall."""

    auroc: float
    auprc: float


def found(anomalous: np.ndarray, scores: np.ndarray) -> Found:
    return Found(float(roc_auc_score(anomalous, scores)), float(average_precision_score(anomalous, scores)))


def baselines(train: np.ndarray, test: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """The scores of the usual detectors, higher for the more anomalous."""
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


def tabulate(table: Mapping[str, Sequence[Found]], columns: Sequence[str], what: str) -> None:
    """The AUROC in each column, the means of AUROC and AUPRC, and the standard error of the first."""
    print(f"\n{what}")
    print(f"  {'AUROC':<22}" + "".join(f"{name:>8}" for name in columns) + f"{'mean':>17}{'AUPRC, mean':>14}")
    for name, row in table.items():
        values = np.array([one.auroc for one in row])
        error = values.std(ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
        parts = "".join(f"{value:>8.3f}" for value in values)
        print(f"  {name:<22}{parts}{f'{values.mean():.3f} ± {error:.3f}':>17}{np.mean([o.auprc for o in row]):>14.3f}")


# --------------------------------------------------------------------------------------------------- a table


def in_table(a: argparse.Namespace) -> dict[str, Any]:
    """Breast cancer: trained on six tenths of the benign rows, tested on two tenths and on all malignant ones."""
    source = load_breast_cancer(as_frame=True)
    rows, malignant = source.data, source.target == 0
    table: dict[str, list[Found]] = {}
    alarms = []
    for split in range(a.splits):
        train, held = train_test_split(rows[~malignant], test_size=0.4, random_state=a.seed + split)
        valid, benign = train_test_split(held, test_size=0.5, random_state=a.seed + split)
        test = np.concatenate([benign, rows[malignant]])
        anomalous = np.arange(len(test)) >= len(benign)
        settings: dict[str, Any] = {"num_samples": 100, "epochs": a.table_epochs, "device": a.device}
        detector = VAEDetector(random_state=a.seed + split, **settings).fit(train.to_numpy())
        scores = {f"VAE, {kind}": -detector.set_params(kind=kind).score_samples(test) for kind in KINDS}
        unit = StandardScaler().fit(train.to_numpy())
        scores |= baselines(unit.transform(train.to_numpy()), unit.transform(test), a.seed + split)
        for name, one in scores.items():
            table.setdefault(name, []).append(found(anomalous, one))
        detector.set_params(kind="elbo").calibrate(valid.to_numpy(), false_alarms=a.false_alarms)
        alarm = detector.predict(test) == -1
        alarms.append((alarm[~anomalous].mean(), alarm[anomalous].mean()))
    columns = [f"split {split}" for split in range(a.splits)]
    tabulate(table, columns, f"breast cancer: benign is normal, {len(train)} rows to train on, {a.splits} splits")
    false, true = np.mean(alarms, 0)
    print(f"  threshold for {a.false_alarms:.0%} false alarms: {false:.1%} of the benign, {true:.1%} of the malignant")
    save(a, "table_curves", plots.detection(scores, anomalous, title="breast cancer, the last split"))
    worst = np.argsort(-scores["VAE, elbo"])[:12]
    names = [("malignant" if anomalous[row] else "benign") + f" {row}" for row in worst]
    excess = torch.from_numpy(detector.explain(test[worst])).clamp_min(0)
    why = excess / excess.sum(1, keepdim=True)  # the nats of one row may be a thousand times those of the next
    title = "the most anomalous rows: which columns are less expected than in the training rows"
    unit = "share of the row's excess"
    save(a, "table_columns", plots.heat(why, rows=names, columns=list(rows.columns), unit=unit, title=title))
    return {name: [one._asdict() for one in row] for name, row in table.items()} | {"alarms": [false, true]}


# ---------------------------------------------------------------------------------------------------- images


def in_images(a: argparse.Namespace) -> dict[str, Any]:
    """Each class in turn: a VAE of what is normal, and all its scores of the test images."""
    table: dict[str, list[Found]] = {}
    for held in a.classes:
        for name, one in one_class(a, held).items():
            table.setdefault(name, []).append(one)
        print("AUROC   " + ", ".join(f"{name} {row[-1].auroc:.3f}" for name, row in table.items()), flush=True)
    what = "is held out" if a.normal == "rest" else "is normal"
    tabulate(table, [f"{held}" for held in a.classes], f"{a.data}: the class over each column {what}")
    return {name: [one._asdict() for one in row] for name, row in table.items()}


def one_class(a: argparse.Namespace, held: int) -> dict[str, Found]:
    print(f"\n--- class {held} {'held out' if a.normal == 'rest' else 'alone'}")
    run = train(a, held)
    pair: Any = (run.model, run.guide)
    anomalous = is_anomalous(a, held, run.test).numpy()
    options: dict[str, Any] = {"num_samples": a.num_samples, "transform": run.transform, "seed": a.seed}
    scores = {f"VAE, {kind}": anomaly_scores(*pair, run.test, kind=kind, **options).numpy() for kind in a.kinds}
    table = {name: found(anomalous, one) for name, one in scores.items()}
    if a.regret:
        # As many of either, so that few tell something.
        few = torch.cat([part.nonzero()[: a.regret // 2, 0] for part in map(torch.from_numpy, (anomalous, ~anomalous))])
        some = {name: tensor[few] for name, tensor in run.test.items()}
        regret = anomaly_scores(*pair, some, kind="regret", num_steps=100, **options)
        table[f"VAE, regret of {a.regret}"] = found(anomalous[few], regret.numpy())
    beside = baselines(pixels(run.data.train)[:ROWS], pixels(run.test), a.seed)
    table |= {name: found(anomalous, one) for name, one in beside.items()}
    first = f"VAE, {a.kinds[-1]}"
    if len(run.data.valid["x"]):
        alarm_rates(run, a, scores[first], anomalous, first)
    run.save("curves", plots.detection(scores | beside, anomalous, title=f"class {held}, {len(anomalous)} test images"))
    run.save("anomalies", pictures(run, scores[first], first))
    return table


def alarm_rates(run: cli.Run, a: argparse.Namespace, scores: np.ndarray, anomalous: np.ndarray, kind: str) -> None:
    """What a threshold lets through that clean validation images set."""
    clean = anomaly_scores(
        run.model,
        run.guide,
        run.data.valid,
        kind=kind.removeprefix("VAE, "),
        num_samples=a.num_samples,
        transform=run.transform,
        seed=a.seed,
    )
    alarm = scores > threshold(clean, false_alarms=a.false_alarms)
    false, true = alarm[~anomalous].mean(), alarm[anomalous].mean()
    print(f"{kind}, threshold for {a.false_alarms:.0%} false alarms: {false:.1%}, and {true:.1%} of the anomalies")


def is_anomalous(a: argparse.Namespace, held: int, split: data.Batch) -> Tensor:
    return (split["y"] == held) == (a.normal == "rest")


def train(a: argparse.Namespace, held: int) -> cli.Run:
    """A VAE of the normal images, in a run folder of its own."""
    run = cli.Run(argparse.Namespace(**vars(a) | {"out": a.out / f"class-{held}"}))
    splits = {"train": run.data.train, "valid": run.data.valid}
    normal = {n: {k: v[~is_anomalous(a, held, split)] for k, v in split.items()} for n, split in splits.items()}
    run.data = replace(run.data, **normal)
    shape = tuple(run.data.train["x"].shape[1:])
    likelihood, decoder = likelihoods.Normal(shape), MLP(a.latent, shape, a.hidden[::-1])
    decoder.start_at(likelihood.start(data.excerpt(run.data.train["x"])))
    model = VAE(priors.StandardNormal(a.latent), likelihood, decoder)
    run.fit(model, NormalGuide(MLP(shape, 2 * a.latent, a.hidden)), data.Scale())
    return run


def pixels(split: data.Batch) -> np.ndarray:
    return data.Scale()(split)["x"].flatten(1).numpy()


def pictures(run: cli.Run, scores: np.ndarray, kind: str) -> Any:
    """The most anomalous test images, as they are reconstructed, and by which pixels they surprise."""
    worst = torch.from_numpy(np.argsort(-scores)[:12].copy())
    few = {name: tensor[worst] for name, tensor in run.test.items()}
    typical = {name: tensor[:500] for name, tensor in run.data.train.items()}
    pair: Any = (run.model, run.guide)
    options: dict[str, Any] = {"transform": run.transform, "num_samples": 20}
    excess = entry_scores(*pair, few, **options) - entry_scores(*pair, typical, **options).mean(0)
    share = (excess / excess.flatten(1).amax(1).reshape(-1, 1, 1, 1)).clamp(0, 1)
    images = [run.transform(few)["x"], reconstruct(*pair, few, transform=run.transform).clamp(0, 1).cpu(), share]
    names = ["datum", "reconstruction", "unexpected pixels"]
    labels = [str(label) for label in few["y"].tolist()]
    return plots.table(torch.stack(images), rows=names, columns=labels, title=f"highest scores by {kind}; labels above")


# ---------------------------------------------------------------------------------------------------- script


def save(a: argparse.Namespace, name: str, figure: Any) -> None:
    a.out.mkdir(parents=True, exist_ok=True)
    plots.save(figure, a.out / f"{name}.png")


PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {"table": in_table, "images": in_images}


def script(a: argparse.Namespace) -> None:
    start = time.perf_counter()
    results = {part: PARTS[part](a) for part in a.parts}
    seconds = time.perf_counter() - start
    print(f"\n{seconds:.0f} s in all")
    a.out.mkdir(parents=True, exist_ok=True)
    (a.out / "comparison.json").write_text(json.dumps(results | {"seconds": seconds}, indent=1))


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
