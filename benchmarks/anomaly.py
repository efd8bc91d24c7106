"""Anomaly detection on the tables of ADBench: `VAEDetector` beside the usual detectors of PyOD.

    python benchmarks/anomaly.py --root DATA/adbench --out RESULTS --methods ours ours-errors
    python benchmarks/anomaly.py --root DATA/adbench --out RESULTS --methods ours-trained --settings clean --seeds 1
    python benchmarks/anomaly.py --root DATA/adbench --out RESULTS --methods usual --seeds 5      needs PyOD 3.6.7
    python benchmarks/anomaly.py --root DATA/adbench --out RESULTS --methods pyod-vae --seeds 1   needs PyOD 3.6.7
    python benchmarks/anomaly.py --out RESULTS --show

The tables are the classical ones of ADBench (Han et al. 2022, arXiv:2206.09426), `1_ALOI.npz` to `47_yeast.npz`,
read from --root, or from the folder adbench of $PYROVAE_DATA. The protocol is theirs: 10,000 random rows of a larger
table, 70 % of the rows for training and 30 % for the test, stratified by the label, and columns scaled to [0, 1] by the
training rows (`VAEDetector` scales by itself). Unlike theirs, a table of fewer than 1,000 rows is not filled up with
copies of its rows, which would put training rows into the test. In the setting `unsupervised` the training rows hold
their anomalies; in `clean` these are left out, and the test rows stay. No detector sees a label.

Every method has its defaults. Those of `VAEDetector` were chosen on the tables of `CHOSEN_ON`, ten that
`numpy.random.default_rng(0)` drew, so the mean over the other tables decides. Each line of a file in RESULTS is one
fit; a run goes on where the files end.
"""

import argparse
import json
import os
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pyrovae.display import plus_minus

CHOSEN_ON = (1, 2, 5, 10, 12, 15, 22, 26, 32, 39)
"""The numbers of the tables on which the defaults of `VAEDetector` were chosen: the first ten of
`sorted(numpy.random.default_rng(0).choice(43, 10, replace=False))`, as places in the list of the 43 tables."""

LARGEST = 10_000
"""The most rows of a table, as in ADBench."""

FEWEST = 10
"""The fewest anomalies of a cut table: of smtp, 10,000 random rows have about 3, which no split divides."""

KINDS = ("elbo", "evidence", "reconstruction")
"""Kinds of score of a `VAEDetector`; one training gives all."""

ERRORS = ("error", "error+rate")
"""Those of a `VAEDetector` that takes all columns as real."""

OURS = "VAEDetector, elbo"
"""The score of our defaults, to which the others are compared."""

SETTINGS = ("unsupervised", "clean")


class Split(NamedTuple):
    """Training rows, test rows, and which of the test rows are anomalies."""

    train: np.ndarray
    test: np.ndarray
    anomalous: np.ndarray


def tables(root: Path) -> dict[int, Path]:
    """The files of the tables by their numbers."""
    return dict(sorted((int(path.name.split("_")[0]), path) for path in root.glob("[0-9]*_*.npz")))


def split(path: Path, seed: int, setting: str) -> Split:
    """One split of a table."""
    from sklearn.model_selection import train_test_split

    with np.load(path) as file:
        x, y = file["X"].astype(float), file["y"].astype(int)
    if len(x) > LARGEST:
        rows = np.random.default_rng(seed).choice(len(x), LARGEST, replace=False)
        lacking = max(0, FEWEST - int(y[rows].sum()))
        more = np.setdiff1d(np.flatnonzero(y), rows)[:lacking]
        rows = np.concatenate([rows, more])
        x, y = x[rows], y[rows]
    train, test, of_train, of_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=seed)
    return Split(train[of_train == 0] if setting == "clean" else train, test, of_test)


Scores = dict[str, np.ndarray]
Method = Callable[[Split, int], Scores]


def ours(kinds: Sequence[str], rows: Split, seed: int) -> Scores:
    """Some kinds of score of one `VAEDetector` with its defaults."""
    from pyrovae.inference import VAEDetector

    detector = VAEDetector(random_state=seed, device="cpu", kind=kinds[0]).fit(rows.train)
    return {f"VAEDetector, {kind}": -detector.set_params(kind=kind).score_samples(rows.test) for kind in kinds}


def trained(rows: Split, seed: int) -> Scores:
    """The ELBO of the `VAEDetector` that did best on the ten tables where the training rows are clean."""
    from pyrovae.inference import VAEDetector

    settings: dict[str, Any] = {"trim": 0, "latent_dim": 8, "epochs": 30, "compile": False}
    detector = VAEDetector(random_state=seed, device="cpu", **settings).fit(rows.train)
    return {"VAEDetector, trained": -detector.score_samples(rows.test)}


def of_pyod(name: str, build: Callable[[int], Any], rows: Split, seed: int) -> Scores:
    """The scores of a detector of PyOD, on columns scaled to [0, 1]."""
    from sklearn.preprocessing import MinMaxScaler

    scaler = MinMaxScaler().fit(rows.train)
    detector = build(seed).fit(scaler.transform(rows.train))
    return {name: detector.decision_function(scaler.transform(rows.test))}


def usual() -> dict[str, Method]:
    """PyOD's detectors with their defaults."""
    from pyod.models.copod import COPOD
    from pyod.models.ecod import ECOD
    from pyod.models.iforest import IForest
    from pyod.models.knn import KNN
    from pyod.models.lof import LOF
    from pyod.models.pca import PCA

    builds: dict[str, Callable[[int], Any]] = {
        "IsolationForest": lambda seed: IForest(random_state=seed),
        "LOF": lambda _: LOF(),
        "kNN": lambda _: KNN(),
        "PCA": lambda seed: PCA(random_state=seed),
        "ECOD": lambda _: ECOD(),
        "COPOD": lambda _: COPOD(),
    }
    return {name: partial(of_pyod, name, build) for name, build in builds.items()}


def pyod_vae() -> dict[str, Method]:
    """PyOD's VAE with its defaults, whose KL is clamped to 0, and with the KL."""
    from pyod.models.vae import VAE

    builds: dict[str, Callable[[int], Any]] = {
        "PyOD VAE": lambda seed: VAE(random_state=seed, verbose=0, device="cpu"),
        "PyOD VAE, with KL": lambda seed: VAE(random_state=seed, verbose=0, device="cpu", capacity=1e9),
    }
    return {name: partial(of_pyod, name, build) for name, build in builds.items()}


METHODS: dict[str, Callable[[], dict[str, Method]]] = {
    "ours": lambda: {OURS: partial(ours, KINDS)},
    "ours-trained": lambda: {"VAEDetector, trained": trained},
    "ours-errors": lambda: {"VAEDetector, error": partial(ours, ERRORS)},
    "usual": usual,
    "pyod-vae": pyod_vae,
}
"""The methods by groups; a method is known by the name of its first score."""


def areas(anomalous: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """The areas under the two curves."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    finite = np.nan_to_num(np.asarray(scores, dtype=float), nan=0.0, posinf=1e300, neginf=-1e300)
    return {"auroc": roc_auc_score(anomalous, finite), "aupr": average_precision_score(anomalous, finite)}


def measure(args: argparse.Namespace, group: str, out: Path) -> None:
    """Fit each method of a group to each split, and add a line for each score."""
    done = {key(row) for row in read(args.out)}
    methods = METHODS[group]()
    with out.open("a") as file:
        for setting, seed, (number, path) in splits(args):
            for name, method in methods.items():
                if (number, seed, setting, name) in done:
                    continue
                rows, start = split(path, seed, setting), time.perf_counter()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    found = method(rows, seed)
                seconds = time.perf_counter() - start
                for score, values in found.items():
                    line = {"table": number, "seed": seed, "setting": setting, "method": score, "seconds": seconds}
                    file.write(json.dumps({**line, **areas(rows.anomalous, values)}) + "\n")
                file.flush()
                first = areas(rows.anomalous, next(iter(found.values())))
                where = f"{setting} {path.stem} {rows.train.shape} seed {seed}"
                print(f"{where}: {name} {first['auroc']:.3f}, {seconds:.1f} s", flush=True)


def splits(args: argparse.Namespace) -> Iterator[tuple[str, int, tuple[int, Path]]]:
    """The settings, seeds and tables in the order of the measurements: all of a seed first."""
    for seed in range(args.seeds):
        for setting in args.settings:
            for number, path in tables(args.root).items():
                if not args.tables or number in args.tables:
                    yield setting, seed, (number, path)


def read(folder: Path) -> list[dict[str, Any]]:
    """The lines of all files."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


def key(row: dict[str, Any]) -> tuple[int, int, str, str]:
    """What a line is about."""
    return row["table"], row["seed"], row["setting"], row["method"]


# ----------------------------------------------------------------------------------------------------- the tables


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print means over the tables that every method has."""
    for setting in SETTINGS:
        found = means([row for row in rows if row["setting"] == setting])
        if not found:
            continue
        common = sorted(set.intersection(*(set(part) for part in found.values())))
        for what, wanted in (("chosen on", CHOSEN_ON), ("the other", None)):
            few = [table for table in common if (table in CHOSEN_ON) == (wanted is not None)]
            print_means(f"{setting}, {what} {len(few)} tables", found, few)


def means(rows: Sequence[dict[str, Any]]) -> dict[str, dict[int, np.ndarray]]:
    """By method and table: the means over seeds of the two areas and of the seconds."""
    parts: dict[str, dict[int, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        parts[row["method"]][row["table"]].append([row["auroc"], row["aupr"], row["seconds"]])
    return {name: {table: np.mean(values, 0) for table, values in part.items()} for name, part in parts.items()}


def print_means(title: str, found: dict[str, dict[int, np.ndarray]], few: Sequence[int]) -> None:
    """One table: means of the areas, the mean rank by AUROC, and the difference to the first kind of ours, paired.

    The kinds of ours are much alike, so that one of them alone has a rank beside the other methods.
    """
    if not few:
        return
    values = {name: np.array([part[table] for table in few]) for name, part in found.items()}
    own = values.get(OURS)
    print(f"\n{title}\n{'':<30}{'AUROC':>7}{'AUPR':>7}{'rank':>7}{'ours less this':>24}{'longest, s':>12}")
    for name, part in sorted(values.items(), key=lambda one: -one[1][:, 0].mean()):
        auroc, aupr, _ = part.mean(0)
        less = "" if own is None else paired(own[:, 0] - part[:, 0])
        rank = rank_of(name, {other: rows[:, 0] for other, rows in values.items()})
        print(f"{name:<30}{auroc:>7.3f}{aupr:>7.3f}{rank:>7.2f}{less:>24}{part[:, 2].max():>12.1f}")


def rank_of(name: str, values: dict[str, np.ndarray]) -> float:
    """The mean rank of a method among the methods that are not ours and one kind of ours, its own or the first.

    Args:
        name: the method.
        values: an area of each method on each table.
    """
    one = name if name.startswith("VAEDetector") else OURS
    group = [other for other in values if other == one or not other.startswith("VAEDetector")]
    return float(ranks(np.array([values[other] for other in group]))[group.index(name)])


def ranks(areas_: np.ndarray) -> np.ndarray:
    """The mean rank of each method, 1 for the best; ties share their ranks."""
    from scipy.stats import rankdata

    return np.mean([rankdata(-column) for column in areas_.T], 0)


def paired(differences: np.ndarray) -> str:
    """The mean of differences, and its standard error over tables."""
    if not differences.any():
        return ""
    mean = differences.mean()
    return ("+" if mean > 0 else "") + plus_minus(mean, differences.std(ddof=1) / len(differences) ** 0.5)


def main(argv: Sequence[str] | None = None) -> None:
    root = Path(os.environ.get("PYROVAE_DATA", "data")) / "adbench"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=root, help="folder of the tables")
    parser.add_argument("--out", type=Path, default=Path("runs/adbench"), help="folder of the results")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["ours"])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--tables", nargs="+", type=int, help="numbers of tables; all by default")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--show", action="store_true", help="print the means of what was measured, and stop")
    args = parser.parse_args(argv)
    if not args.show:
        if not tables(args.root):
            sys.exit(f"skipped: no tables of ADBench in {args.root}; set PYROVAE_DATA, or give --root.")
        args.out.mkdir(parents=True, exist_ok=True)
        for group in args.methods:
            measure(args, group, args.out / f"{group}.jsonl")
    show(read(args.out))


if __name__ == "__main__":
    main()
