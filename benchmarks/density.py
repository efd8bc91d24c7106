"""Held-out density of tables: `VAETransformer` with its defaults beside the linear model that is nested in it.

    python benchmarks/density.py --seeds 5

Breast cancer and wine, scikit-learn's. 70 % of the rows are for training; columns are standardised by these. Both
models have 8 dimensions; the linear one is scikit-learn's FactorAnalysis. Figures are in nats per test row, of
standardised columns; the error of the difference is over splits, on which both are compared.
"""

import argparse
import math
import time
from collections.abc import Sequence

import numpy as np
from sklearn import datasets
from sklearn.decomposition import FactorAnalysis
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from pyrovae.display import plus_minus
from pyrovae.inference import VAETransformer

DIMS = 8


def densities(name: str, seed: int) -> tuple[float, float, int]:
    """The mean log-density of the test rows under both models, and the epochs of the VAE."""
    x = getattr(datasets, f"load_{name}")().data
    train, test = train_test_split(x, test_size=0.3, random_state=seed)
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    linear = FactorAnalysis(DIMS).fit(train).score(test)
    fitted = VAETransformer(latent_dim=DIMS, random_state=seed, compile=False).fit(train)
    return linear, fitted.score(test), len(fitted.history_.rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=("breast_cancer", "wine"), default=["breast_cancer", "wine"])
    parser.add_argument("--seeds", type=int, default=5, help="number of splits and trainings")
    args = parser.parse_args(argv)
    for name in args.tables:
        start = time.process_time()
        linear, ours, epochs = np.array([densities(name, seed) for seed in range(args.seeds)]).T
        gain, each = ours - linear, (time.process_time() - start) / args.seeds
        error = gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else math.nan
        both = f"FactorAnalysis {linear.mean():.2f}, VAETransformer {ours.mean():.2f}"
        print(f"{name}: {both}, gain {plus_minus(gain.mean(), error)}")
        print(f"  gains {gain.round(2).tolist()}, epochs {epochs.astype(int).tolist()}, {each:.0f} s each", flush=True)


if __name__ == "__main__":
    main()
