"""Missing data: a VAE trained on what was observed, what it says of the rest, and the usual imputations beside it.

python examples/imputation.py                              a medical table, half of it missing
python examples/imputation.py --seeds 5                    the same with five masks
python examples/imputation.py --missing mnar --rate 0.3    large values hide themselves
python examples/imputation.py --data digits                images of which one half is missing
python examples/imputation.py --data digits --missing mcar --rate 0.7
"""

import argparse
import dataclasses
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae import cli, data, plots
from pyrovae.guides import NormalGuide, ZeroFilled
from pyrovae.inference import IWAE, Estimate, coverage, imputations, impute
from pyrovae.models import VAE, Likelihood, Masked, likelihoods, priors
from pyrovae.networks.dense import MLP, SkipMLP

MASKS: dict[str, Callable[..., Tensor]] = {"mcar": data.mcar, "mar": data.mar, "mnar": data.mnar}
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
DRAWS = 99

# What a flag is when it is not given, by the kind of data.
TABLE: dict[str, Any] = {"missing": "mcar", "hidden": [128, 128, 128], "latent": 10, "particles": 20, "lr": 2e-3}
TABLE |= {"epochs": 300, "batch_size": 64}
IMAGES: dict[str, Any] = {"missing": "halves", "hidden": [400, 200], "latent": 20, "particles": 5, "lr": 1e-3}
IMAGES |= {"epochs": 60, "batch_size": 128}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = cli.parser(__doc__.splitlines()[0], out="runs/imputation", epochs=300)
    p.add_argument("--missing", choices=(*MASKS, "halves"), help="what hides data; mcar of tables, halves of images")
    p.add_argument("--rate", type=float, default=0.5, help="the share that is missing")
    p.add_argument("--complete", type=float, default=0.5, help="of images: the share to train on that has no gap")
    p.add_argument("--seeds", type=int, default=1, help="of tables: so many masks and trainings, from --seed on")
    p.add_argument("--hidden", type=cli.shape_list, help="widths of the encoder's layers, 128,128,128")
    p.add_argument("--latent", type=int, help="dimension of z")
    p.add_argument("--particles", type=int, help="of the objective, IWAE")
    p.set_defaults(data="breast-cancer", num_samples=1000, epochs=None, batch_size=None, lr=None)
    return p.parse_args(argv)


def pair(a: argparse.Namespace, likelihood: Likelihood, x: Tensor, mask: Tensor) -> tuple[Masked, ZeroFilled]:
    """p(x_observed, z), and q(z | x_observed) that sees the mask; the decoder starts at the observed marginals."""
    first, *rest = likelihood.event_shape
    decoder = SkipMLP(a.latent, likelihood.params_shape, a.hidden[:1], nn.Tanh)
    decoder.start_at(likelihood.start(data.hot_deck(x, mask, seed=a.seed)))
    encoder = MLP((2 * first, *rest), 2 * a.latent, a.hidden, nn.Tanh)
    model = VAE(priors.StandardNormal(a.latent), likelihood, decoder)
    return Masked(model), ZeroFilled(NormalGuide(encoder), mask=True)


def hide(a: argparse.Namespace, x: Tensor, seed: int) -> Tensor:
    """A mask by the flags."""
    if a.missing == "halves":
        return data.halves(x, seed=seed)
    return MASKS[a.missing](x, a.rate, seed=seed)


# ------------------------------------------------------------------------------------------------- baselines


def baselines(train: Tensor, seen: Tensor, test: Tensor, mask: Tensor, *, small: bool) -> dict[str, Tensor]:
    """What scikit-learn makes of the test data, trained on `train` with its mask: by name, `(N, D)`."""
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    trees = ExtraTreesRegressor(20, min_samples_leaf=2, random_state=0)
    methods: dict[str, Any] = {"mean": SimpleImputer(keep_empty_features=True)}
    methods["KNNImputer"] = KNNImputer(n_neighbors=10, weights="distance", keep_empty_features=True)
    if small:
        methods["IterativeImputer"] = IterativeImputer(max_iter=20, random_state=0)
        methods["missForest-like"] = IterativeImputer(trees, max_iter=4, random_state=0)
    result = {}
    for name, method in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            method.fit(_with_gaps(train, seen))
            result[name] = torch.from_numpy(method.transform(_with_gaps(test, mask))).to(test.dtype)
    return result


def _with_gaps(x: Tensor, mask: Tensor) -> np.ndarray:
    return torch.where(mask, x, torch.nan).flatten(1).double().numpy()


def squared_error(x: Tensor, truth: Tensor, mask: Tensor) -> float:
    """The mean over what was missing."""
    return (x.reshape(truth.shape) - truth)[~mask].square().mean().item()


# ---------------------------------------------------------------------------------------------------- tables


def standardised(run: cli.Run) -> Tensor:
    """All rows of the table, each column standardised."""
    x = torch.cat([split["x"].float() for split in run.data.splits.values() if len(split["x"])])
    scale = x.std(0, correction=0)
    return (x - x.mean(0)) / torch.where(scale > 0, scale, 1.0)


def one_mask(a: argparse.Namespace, run: cli.Run, x: Tensor, seed: int) -> dict[str, Any]:
    """Train on one mask and fill it in: squared errors by method, the same by column, coverages."""
    a.seed = seed
    torch.manual_seed(seed)
    batch = data.incomplete(x, hide(a, x, seed))
    mask = batch["mask"]
    likelihood = likelihoods.Normal(x.shape[1], "each")
    model, guide = pair(a, likelihood, batch["x"], mask)
    empty = {name: tensor[:0] for name, tensor in batch.items()}
    run.data = dataclasses.replace(run.data, train=batch, valid=empty, test=batch)
    run.fit(model, guide, data.Scale(), loss=IWAE(a.particles))
    options: dict[str, Any] = {"num_samples": a.num_samples, "seed": seed}
    start = time.perf_counter()
    filled = {"VAE": impute(model, guide, batch, **options).x}
    draws = imputations(model, guide, batch, DRAWS, **options)
    print(f"        imputed in {time.perf_counter() - start:.0f} s")
    filled |= baselines(x, mask, x, mask, small=True)
    covered = {level: coverage(draws, x, level, where=~mask) for level in LEVELS}
    errors = {name: squared_error(found, x, mask) for name, found in filled.items()}
    print("        " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()), flush=True)
    columns = {
        name: ((found - x).square() * ~mask).sum(0).div((~mask).sum(0)).tolist() for name, found in filled.items()
    }
    return {"errors": errors, "columns": columns, "coverage": covered}


def table(a: argparse.Namespace, run: cli.Run) -> None:
    """Train and fill in, once for each seed."""
    x = standardised(run)
    found = [one_mask(a, run, x, seed) for seed in range(a.seed, a.seed + a.seeds)]
    names = list(found[0]["errors"])
    means = {name: _mean([f["errors"][name] for f in found]) for name in names}
    covered = found[-1]["coverage"]
    rows = [(name, mean, f"mean squared error, {a.seeds} mask{'s' * (a.seeds > 1)}") for name, mean in means.items()]
    rows.append(("coverage", str(covered[0.9]), "of 90 % intervals"))
    run.summary(
        run.evaluate(),
        rows=rows,
        squared_error={name: [f["errors"][name] for f in found] for name in names},
        coverage={str(level): share._asdict() for level, share in covered.items()},
    )
    run.save("curves", plots.curves(run.history.rows))
    run.save("coverage", _calibration({"missing entries": covered}))
    columns = {name: np.mean([f["columns"][name] for f in found], 0).tolist() for name in names if name != "mean"}
    title = "imputation by column"
    run.save("columns", plots.dots(columns, _names(a, x), x="mean squared error, standardised", title=title))


def _names(a: argparse.Namespace, x: Tensor) -> list[str]:
    """The columns' names."""
    if a.data == "breast-cancer":
        from sklearn.datasets import load_breast_cancer

        return list(load_breast_cancer().feature_names)
    return [f"column {i}" for i in range(x.shape[1])]


def _mean(values: list[float]) -> str:
    """And its standard error, where there are several."""
    error = f" ± {np.std(values, ddof=1) / len(values) ** 0.5:.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{error}"


def _calibration(series: dict[str, dict[float, Estimate]]) -> Any:
    """How often intervals hold the truth, against how often they should."""
    points: dict[str, Any] = {
        name: (
            [100 * level for level in covered],
            *zip(*[(100 * e.value, 100 * e.error) for e in covered.values()], strict=True),
        )
        for name, covered in series.items()
    }
    points["exact"] = ([100 * level for level in LEVELS], [100 * level for level in LEVELS])
    title = "how often an interval holds what was missing"
    return plots.lines(points, x="level of the interval, %", y="truth inside, %", title=title)


# ---------------------------------------------------------------------------------------------------- images


def images(a: argparse.Namespace, run: cli.Run) -> None:
    """Train on images with gaps; fill in those of the test data."""
    shape = tuple(run.data.train["x"].shape[1:])
    grey = shape[0] == 1
    whole = {name: split["x"] for name, split in run.data.splits.items()}
    masks = {name: hide(a, x, a.seed + i) for i, (name, x) in enumerate(whole.items())}
    masks["train"] = masks["train"].clone()
    masks["train"][: round(a.complete * len(masks["train"]))] = True  # only these tell how the halves go together
    run.data = dataclasses.replace(run.data, **{name: {"x": x, "mask": masks[name]} for name, x in whole.items()})
    x = data.excerpt(whole["train"], 2**23)
    likelihood = likelihoods.Bernoulli(shape) if grey else likelihoods.Normal(shape, "learned")
    model, guide = pair(a, likelihood, x, masks["train"][:: -(-len(whole["train"]) // len(x))])
    run.fit(model, guide, data.Binarize("dynamic") if grey else data.Scale(), loss=IWAE(a.particles))
    # The truth must stay the same from here on.
    run.transform = data.Binarize("static", seed=a.seed) if grey else data.Scale()
    run.test = run.transform.prepare(run.data.test)
    test = run.scored
    truth, mask = run.transform(test)["x"], test["mask"]
    options: dict[str, Any] = {"num_samples": a.num_samples, "seed": a.seed, "transform": run.transform}
    found = impute(model, guide, test, **options)
    filled = {"VAE": found.x}
    draws = imputations(model, guide, test, DRAWS, **options)
    few = slice(0, 4000)
    filled |= baselines(data.Scale()({"x": whole["train"][few]})["x"], masks["train"][few], truth, mask, small=False)
    errors = {name: squared_error(found, truth, mask) for name, found in filled.items()}
    varying = data.excerpt(whole["train"]).std(0) > 0.1
    covered = {
        "pixels that vary": {level: coverage(draws, truth, level, where=~mask & varying) for level in LEVELS},
        "ink of an image": {level: coverage(_ink(draws, mask), _ink(truth, mask), level) for level in LEVELS},
    }
    rows = [(name, f"{error:.4f}", "mean squared error, missing pixels") for name, error in errors.items()]
    rows += [("coverage", str(shares[0.9]), f"of 90 % intervals, {name}") for name, shares in covered.items()]
    rows.append(("effective", f"{found.effective.median():.0f}", f"draws of {a.num_samples}, by the weights; median"))
    shares = {name: {str(level): e._asdict() for level, e in each.items()} for name, each in covered.items()}
    run.summary(run.evaluate(), rows=rows, squared_error=errors, coverage=shares)
    run.save("curves", plots.curves(run.history.rows))
    run.save("coverage", _calibration(covered))
    run.save("imputations", _sheet(truth, mask, filled["VAE"], draws))


def _ink(x: Tensor, mask: Tensor) -> Tensor:
    """The mean of the missing pixels of each image, `(*, N)`."""
    return (x * ~mask).flatten(-3).sum(-1)


def _sheet(truth: Tensor, mask: Tensor, mean: Tensor, draws: Tensor, count: int = 12) -> Any:
    """A datum a column: the truth, what was seen of it, the mean of the rest, and draws."""
    mask = mask.expand_as(truth)
    shown = [truth, torch.where(mask, truth, 0.5), mean, *draws[:5]]
    names = ["truth", "observed", "mean", *(f"draw {i}" for i in range(1, 6))]
    return plots.table(torch.stack([x[:count] for x in shown]), title="what is missing, given what is seen", rows=names)


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    is_image = run.data.train["x"].dim() == 4
    for name, value in (IMAGES if is_image else TABLE).items():
        setattr(a, name, getattr(a, name) or value)
    (images if is_image else table)(a, run)


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
