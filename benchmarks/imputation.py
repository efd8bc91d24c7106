"""Imputation of tables with half of the cells hidden: `VAEImputer` beside linear models, trees and neighbours.

    python benchmarks/imputation.py --root DATA/tables --seeds 5 --out imputation.jsonl

The protocol is that of Mattei & Frellsen (2019, MIWAE): each column is standardised, half of the cells are hidden
completely at random, and the error is the mean squared error of the hidden cells. All rows are training rows. The
breast cancer table is scikit-learn's; `concrete.txt`, `wine_red.txt` and `yeast.txt` are read from --root, or from the
folder tables of $PYROVAE_DATA, without their targets: a table whose file is missing is skipped. A seed is a mask and a
training; methods are compared on the masks that both have. What --out holds already is not measured again.

Linear: factor analysis by EM with K factors (`factor_analysis`; D - 1 of them are a normal with any covariance up to
one dimension), the same with factors and a ridge that held-out observed cells choose, at which `VAEImputer` starts, and
IterativeImputer with BayesianRidge. Trees: IterativeImputer with ExtraTreesRegressor, 100 trees and 10 rounds, as
missForest has them. For the VAE and factor analysis, the share of the hidden cells in their 90 % intervals by 99 draws
is printed too.
"""

import argparse
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrovae import data
from pyrovae.display import plus_minus
from pyrovae.inference import VAEImputer, coverage, factor_analysis
from pyrovae.inference.estimators.capacity import choose_capacity

FILES = {"concrete": ("concrete.txt", 1), "red": ("wine_red.txt", 1), "yeast": ("yeast.txt", 0)}
"""The file of each table, and how many of its last columns are the target, which is left out."""

OURS = "VAEImputer"

FACTORS = (2, 5, 10, 15)
"""Numbers of factors; those below D, and D - 1."""

Filled = tuple[Tensor, Tensor | None]
"""The completed table, and draws of it where the method makes some."""


def table(name: str, root: Path) -> Tensor | None:
    """The rows of a table, each column standardised; None where its file is missing."""
    if name == "breast":
        from sklearn.datasets import load_breast_cancer

        numbers = load_breast_cancer().data
    else:
        file, targets = FILES[name]
        if not (root / file).exists():
            return None
        numbers = np.loadtxt(root / file)
        numbers = numbers[:, : numbers.shape[1] - targets]
    x = torch.from_numpy(numbers)
    return (x - x.mean(0)) / x.std(0, correction=0)


def vae(x: Tensor, mask: Tensor, seed: int) -> Filled:
    """`VAEImputer` with its defaults; all columns are real."""
    gaps = torch.where(mask, x, torch.nan).numpy()
    imputer = VAEImputer(
        random_state=seed, device="cpu", compile=False, kinds=dict.fromkeys(range(x.shape[1]), "real")
    ).fit(gaps)
    found = torch.from_numpy(np.asarray(imputer.transform(gaps), dtype=float))
    draws = np.stack([np.asarray(one, dtype=float) for one in imputer.sample(gaps, 99)])
    return found, torch.from_numpy(draws)


def linear(factors: int, x: Tensor, mask: Tensor, seed: int) -> Filled:
    """Factor analysis."""
    found = factor_analysis(x, factors, mask)
    return found.impute(x, mask), found.imputations(x, mask, 99, seed=seed)


def chosen(x: Tensor, mask: Tensor, seed: int) -> Filled:
    """The factor analysis at which `VAEImputer` starts: held-out observed cells choose its factors and its ridge."""
    count, ridge = choose_capacity(x, mask)
    found = factor_analysis(x, count, mask, ridge=ridge)
    return found.impute(x, mask), found.imputations(x, mask, 99, seed=seed)


def of_scikit_learn(build: Callable[[int], Any], x: Tensor, mask: Tensor, seed: int) -> Filled:
    """An imputer of scikit-learn."""
    return torch.from_numpy(build(seed).fit_transform(torch.where(mask, x, torch.nan).numpy())), None


def ridge(seed: int) -> Any:
    """IterativeImputer with its default, BayesianRidge."""
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(max_iter=20, random_state=seed)


def trees(seed: int) -> Any:
    """As missForest: 100 trees, 10 rounds."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    return IterativeImputer(ExtraTreesRegressor(100, random_state=seed), max_iter=10, random_state=seed)


def neighbours(_: int) -> Any:
    """Ten nearest rows by the observed cells."""
    from sklearn.impute import KNNImputer

    return KNNImputer(n_neighbors=10, weights="distance")


def mean(_: int) -> Any:
    """The mean of the column."""
    from sklearn.impute import SimpleImputer

    return SimpleImputer()


def methods(width: int, names: Sequence[str]) -> dict[str, Callable[[Tensor, Tensor, int], Filled]]:
    """The methods by name for a table of some columns."""
    counts = [count for count in FACTORS if count < width - 1] + [width - 1]
    found: dict[str, Callable[[Tensor, Tensor, int], Filled]] = {OURS: vae}
    found |= {f"factor analysis, {count}": partial(linear, count) for count in counts}
    found["factor analysis, chosen"] = chosen
    usual = {"IterativeImputer": ridge, "missForest-like": trees, "KNNImputer": neighbours, "mean": mean}
    found |= {name: partial(of_scikit_learn, build) for name, build in usual.items()}
    return {name: method for name, method in found.items() if any(map(name.startswith, names))}


def measure(name: str, x: Tensor, args: argparse.Namespace, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The lines of a table: those of `lines`, and one for each fit that is not among them."""
    found = [line for line in lines if line["table"] == name]
    for seed in range(args.seeds):
        mask = data.mcar(x, 0.5, seed=seed)
        for method, fill in methods(x.shape[1], args.methods).items():
            if any((line["method"], line["seed"]) == (method, seed) for line in found):
                continue
            found.append({"table": name, "seed": seed, "method": method, **measured(fill, x, mask, seed)})
            if args.out:
                with args.out.open("a") as file:
                    file.write(json.dumps(found[-1]) + "\n")
    return found


def measured(fill: Callable[[Tensor, Tensor, int], Filled], x: Tensor, mask: Tensor, seed: int) -> dict[str, Any]:
    """The mean squared error of the hidden cells, their share in 90 % intervals, and the processor time."""
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, draws = fill(x, mask, seed)
    share = None if draws is None else coverage(draws, x, 0.9, where=~mask).value
    error = (found - x)[~mask].square().mean().item()
    return {"error": error, "coverage": share, "seconds": time.process_time() - start}


def show(name: str, x: Tensor, lines: list[dict[str, Any]]) -> None:
    """Print the table of the methods, each beside `VAEImputer` on the masks that both have."""
    by_method: dict[str, dict[int, dict[str, Any]]] = {}
    for line in lines:
        by_method.setdefault(line["method"], {})[line["seed"]] = line
    first = by_method.get(OURS, {})
    heads = f"{'':<24}{'error':>16}{'masks':>7}{OURS + ' less this':>24}{'in 90 %':>9}{'s each':>8}"
    print(f"\n{name} {tuple(x.shape)}\n{heads}")
    for method, found in by_method.items():
        both = sorted(first.keys() & found.keys()) if method != OURS else []
        less = with_error([first[seed]["error"] - found[seed]["error"] for seed in both]) if both else ""
        less += f", {len(both)}" if 0 < len(both) < len(found) else ""
        shares = [line["coverage"] for line in found.values() if line["coverage"] is not None]
        share = f"{100 * np.mean(shares):.1f} %" if shares else ""
        seconds = np.mean([line["seconds"] for line in found.values()])
        error = with_error([line["error"] for line in found.values()])
        print(f"{method:<24}{error:>16}{len(found):>7}{less:>24}{share:>9}{seconds:>8.1f}", flush=True)


def with_error(values: Sequence[float]) -> str:
    """The mean, and its standard error over masks."""
    error = np.std(values, ddof=1) / len(values) ** 0.5 if len(values) > 1 else math.nan
    return plus_minus(float(np.mean(values)), float(error))


def main(argv: Sequence[str] | None = None) -> None:
    root = Path(os.environ.get("PYROVAE_DATA", "data")) / "tables"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=root, help="folder of the three files")
    parser.add_argument("--tables", nargs="+", choices=("breast", *FILES), default=["breast", *FILES])
    every = [OURS, "factor analysis", "IterativeImputer", "missForest-like", "KNNImputer", "mean"]
    parser.add_argument("--methods", nargs="+", default=every, help="beginnings of the names of methods")
    parser.add_argument("--seeds", type=int, default=5, help="number of masks and trainings")
    parser.add_argument("--out", type=Path, help="a file of a line of JSON for each fit, which is kept")
    args = parser.parse_args(argv)
    lines = [json.loads(line) for line in args.out.read_text().splitlines()] if args.out and args.out.exists() else []
    for name in args.tables:
        x = table(name, args.root)
        if x is None:
            print(f"{name}: skipped, {args.root / FILES[name][0]} is missing; set PYROVAE_DATA, or give --root.")
        else:
            show(name, x, measure(name, x, args, lines))


if __name__ == "__main__":
    main()
