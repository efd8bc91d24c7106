"""Synthetic tables beside TVAE of the package ctgan: trained on synthetic rows, tested on real ones.

    python benchmarks/synthesizer.py --tables penguins iris --seeds 2

Each table is split into 70 % for training and 30 % for testing. A synthesizer learns the training rows, target
included, and draws as many. A random forest and a linear model are trained on these and tested on the real test rows.
The score is the mean of their accuracies, or of their R^2 where the target is a number. `real` is the score of the
training rows themselves. `near` is the share of synthetic rows that are nearer to a training row than 95 % of the test
rows are (5 % if they are alike), and `log p(x)` is ours on the test rows, in nats per row; TVAE states none.

TVAE is run with its defaults (300 epochs, batches of 500), ours with its own but for the epochs, which are as many as
`--steps` take. All tables ship inside packages:
scikit-learn, palmerpenguins, statsmodels and vega_datasets, and need no download. Nothing is installed here:
ctgan and those packages belong into an environment of their own, on the path of this script.
"""

import argparse
import math
import time
import warnings
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from pyrovae.inference import VAESynthesizer
from pyrovae.inference.estimators.nearness import nearness

LARGEST = 2000
"""Larger tables are cut to so many rows, drawn at random."""


def from_sklearn(name: str, *, labels: bool = True) -> tuple[pd.DataFrame, str]:
    """A table of scikit-learn; its target is text where it is a label."""
    from sklearn import datasets

    frame = getattr(datasets, f"load_{name}")(as_frame=True).frame
    if labels:
        frame["target"] = "class " + frame["target"].astype(str)
    return frame, "target"


def penguins() -> tuple[pd.DataFrame, str]:
    """Sizes of penguins of three species, with gaps."""
    from palmerpenguins import load_penguins

    return load_penguins(), "species"


def from_statsmodels(name: str, target: str, *, label: bool) -> tuple[pd.DataFrame, str]:
    """A table of statsmodels."""
    import statsmodels.api

    frame = getattr(statsmodels.api.datasets, name).load_pandas().data
    if label:
        frame[target] = "class " + frame[target].astype(int).astype(str)
    return frame, target


def affairs() -> tuple[pd.DataFrame, str]:
    """Fair's survey: whether a wife had an affair."""
    frame, _ = from_statsmodels("fair", "affairs", label=False)
    frame["affairs"] = np.where(frame["affairs"] > 0, "yes", "no")
    return frame, "affairs"


def cars() -> tuple[pd.DataFrame, str]:
    """Cars of the seventies, with gaps; where each was made."""
    from vega_datasets import data

    frame = data.cars()
    return frame.drop(columns=["Name", "Year"]), "Origin"


def weather() -> tuple[pd.DataFrame, str]:
    """Days in Seattle; the kind of weather."""
    from vega_datasets import data

    return data.seattle_weather().drop(columns="date"), "weather"


TABLES: dict[str, Callable[[], tuple[pd.DataFrame, str]]] = {
    "iris": lambda: from_sklearn("iris"),
    "wine": lambda: from_sklearn("wine"),
    "breast": lambda: from_sklearn("breast_cancer"),
    "diabetes": lambda: from_sklearn("diabetes", labels=False),
    "penguins": penguins,
    "cars": cars,
    "weather": weather,
    "affairs": affairs,
    "anes96": lambda: from_statsmodels("anes96", "vote", label=True),
    "travel": lambda: from_statsmodels("modechoice", "choice", label=True),
}
"""Each table and the name of its target."""


def split(frame: pd.DataFrame, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """70 % of the rows, and the others."""
    order = np.random.default_rng(seed).permutation(len(frame))[:LARGEST]
    cut = round(0.7 * len(order))
    return tuple(frame.iloc[part].reset_index(drop=True) for part in (order[:cut], order[cut:]))  # type: ignore


def discrete(frame: pd.DataFrame) -> list[str]:
    """The columns that TVAE is told to be discrete: text and booleans, and whole numbers of at most 20 values."""
    few = [name for name in frame if frame[name].dtype.kind in "iu" and frame[name].nunique() <= 20]
    return [name for name in frame if frame[name].dtype.kind in "Ob"] + few


class Peer:
    """TVAE, which takes no gaps: numbers have their mean there, and categories a value of their own."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def fit(self, frame: pd.DataFrame) -> "Peer":
        import torch
        from ctgan import TVAE

        torch.manual_seed(self.seed)
        np.random.seed(self.seed)  # noqa: NPY002  (TVAE draws from it)
        names = discrete(frame)
        filled = frame.copy()
        for name in frame:
            filled[name] = frame[name].fillna("none" if name in names else frame[name].mean())
        self.model = TVAE(enable_gpu=False)
        self.model.fit(filled, names)
        return self

    def sample(self, size: int) -> pd.DataFrame:
        made = self.model.sample(size)
        return made.replace("none", None) if (made == "none").any().any() else made


def score(train: pd.DataFrame, test: pd.DataFrame, target: str, columns: list[str]) -> float:
    """The mean score on `test` of a forest and a linear model that are trained on `train`."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression, RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    text = [name for name in columns if test[name].dtype.kind not in "iuf"]
    numbers = [name for name in columns if name not in text]
    labels = test[target].dtype.kind not in "iuf"
    models: list[Any] = (
        [RandomForestClassifier(200, random_state=0), LogisticRegression(max_iter=2000)]
        if labels
        else [RandomForestRegressor(200, random_state=0), RidgeCV()]
    )
    if labels and train[target].nunique() < 2:
        return float((test[target] == train[target].iloc[0]).mean())
    found = []
    for model in models:
        features = make_column_transformer(
            (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
            (OneHotEncoder(handle_unknown="ignore"), text),
        )
        found.append(
            make_pipeline(features, model).fit(train[columns], train[target]).score(test[columns], test[target])
        )
    return float(np.mean(found))


def compare(name: str, seed: int, steps: int) -> dict[str, float]:
    """The scores of one split of one table."""
    frame, target = TABLES[name]()
    frame = frame.dropna(subset=[target])
    train, test = split(frame, seed)
    columns = [column for column in frame if column != target]
    row = {"real": score(train, test, target, columns)}
    epochs = math.ceil(steps / math.ceil(len(train) / 64))
    compile = None if steps > 1000 else False  # compiling takes the time of some hundred steps
    start = time.perf_counter()
    ours = VAESynthesizer(epochs=epochs, random_state=seed, compile=compile).fit(train)
    row["s, ours"] = time.perf_counter() - start
    start = time.perf_counter()
    peer = Peer(seed).fit(train)
    row["s, TVAE"] = time.perf_counter() - start
    for who, made in (("ours", ours.sample(len(train), seed=seed)), ("TVAE", peer.sample(len(train)))):
        row[who] = score(made, test, target, columns)
        rows = [ours._batch(part) for part in (train, test, made.astype(train.dtypes))]
        row[f"near, {who}"] = nearness(ours.table_, *rows).near
    row["log p(x)"] = ours.score(test)
    return row


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seeds", type=int, default=1, help="number of splits")
    parser.add_argument("--steps", type=int, default=2000, help="steps of ours")
    args = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    print(f"ctgan {version('ctgan')}, scikit-learn {version('scikit-learn')}", flush=True)
    wins = []
    for name in args.tables:
        rows = pd.DataFrame([compare(name, seed, args.steps) for seed in range(args.seeds)])
        mean, spread = rows.mean(), (rows["ours"] - rows["TVAE"]).std()
        wins.append(mean["ours"] > mean["TVAE"])
        shown = ", ".join(f"{key} {value:.3g}" for key, value in mean.items())
        print(f"{name:<9} {shown}, spread of the difference {spread:.3f}", flush=True)
    print(f"ours is better on {sum(wins)} of {len(wins)}")


if __name__ == "__main__":
    main()
