"""Missing data: a VAE trained on what was observed, what it predicts of the rest, and the usual imputations.

python examples/imputation.py                              a medical table, half of it missing
python examples/imputation.py --seeds 5                    the same with five masks
python examples/imputation.py --missing mnar --rate 0.3    large values hide themselves
python examples/imputation.py --missing mnar --rate 0.3 --mechanism large
python examples/imputation.py --data digits                images, one half of each missing
python examples/imputation.py --data digits --missing mcar --rate 0.7

Data: breast cancer, 569 rows, offline. Time: 35 s of one core.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from pyrovae import data, plots
from pyrovae.display import mean_and_error
from pyrovae.errors import SettingError
from pyrovae.examples._shared import (
    Row,
    Trained,
    complete,
    derive,
    load_data,
    main,
    parser,
    save_picture,
    score,
    scored,
    train,
    values,
    write_summary,
)
from pyrovae.guides import Completed, FullNormalGuide, NormalGuide, ZeroFilled
from pyrovae.inference import IWAE, Estimate, Imputation, coverage, factor_analysis, imputations, impute
from pyrovae.inference.estimators.capacity import choose_capacity
from pyrovae.inference.estimators.linear_start import factors_of, start_decoder
from pyrovae.models import VAE, Likelihood, Masked, Mechanism, NotAtRandom, SelfMasking, likelihoods, priors
from pyrovae.networks import MLP, FactorEncoder, SkipMLP

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS: dict[str, Callable[..., Tensor]] = {"mcar": data.mcar, "mar": data.mar, "mnar": data.mnar}
LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
"""Levels of the intervals."""

ROUNDS = 10  # of the imputation by trees, as in missForest
DRAWS = 99  # imputations that the intervals are computed from

TABLE: dict[str, Any] = {"missing": "mcar", "hidden": [128, 128, 128], "latent": 10, "particles": 20, "lr": 2e-3}
TABLE |= {"epochs": 300, "batch_size": 64}
IMAGES: dict[str, Any] = {"missing": "halves", "hidden": [400, 200], "latent": 20, "particles": 5, "lr": 1e-3}
IMAGES |= {"epochs": 60, "batch_size": 128}
"""The values of flags that were not given, for tables and for images."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example."""
    p = parser(__doc__, out="runs/imputation", epochs=300)
    p.add_argument("--missing", choices=(*MASKS, "halves"), help="what hides data; mcar in tables, halves in images")
    hides = "what the model assumes of hiding, p(mask | x): nothing; that a value hides itself; that large values do; "
    hides += "that all columns decide, by a linear map or a network (tables only)"
    p.add_argument("--mechanism", choices=("ignored", "self", "large", "linear", "network"), help=hides)
    p.add_argument("--rate", type=values.share, default=0.5, help="the share that is missing")
    p.add_argument("--complete", type=values.fraction, default=0.5, help="share of the training images without a gap")
    p.add_argument("--seeds", type=values.positive_int, default=1, help="number of masks of a table, from --seed on")
    p.add_argument("--trees", type=values.positive_int, default=100, help="trees of the missForest-like imputation")
    p.add_argument("--donors", type=values.positive_int, help="training images of KNNImputer; default: the complete")
    p.add_argument("--hidden", type=values.integers, help="widths of the encoder's layers, for example 128,128,128")
    p.add_argument("--latent", type=values.positive_int, help="dimension of z")
    p.add_argument("--particles", type=values.positive_int, help="particles of the objective, IWAE")
    p.set_defaults(data="breast-cancer", mechanism="ignored", num_samples=1000, epochs=None, batch_size=None, lr=None)
    return p.parse_args(argv)


Pair = tuple[Masked | NotAtRandom, ZeroFilled | Completed]


def pair(flags: argparse.Namespace, likelihood: Likelihood, x: Tensor, mask: Tensor) -> Pair:
    """p(x_observed, z), and q(z | x_observed) that sees the mask.

    It starts at the marginals of images, and at the factor analysis of a table.

    With a mechanism, p(x_observed, x_missing, mask, z), and a guide that completes x.
    """
    first, *rest = likelihood.event_shape
    decoder = SkipMLP(flags.latent, likelihood.params_shape, flags.hidden[:1], nn.Tanh)
    filled = data.hot_deck(x, mask, seed=flags.seed)
    if rest:
        decoder.start_at(likelihood.start(filled))
        guide = ZeroFilled(NormalGuide(MLP((2 * first, *rest), 2 * flags.latent, flags.hidden, nn.Tanh)), mask=True)
    else:
        guide = linear_guide(flags, likelihood, decoder, x, mask, filled)
    model = VAE(priors.StandardNormal(flags.latent), likelihood, decoder)
    if flags.mechanism == "ignored":
        return Masked(model), guide
    whole = NotAtRandom(model, mechanism(flags, mask))
    return whole, Completed(guide, whole)


def linear_guide(
    flags: argparse.Namespace, likelihood: Likelihood, decoder: SkipMLP, x: Tensor, mask: Tensor, filled: Tensor
) -> ZeroFilled:
    """A guide of tables that starts at the exact one of factor analysis, as the decoder does."""
    found = factors_of(x, flags.latent, mask)
    start_decoder(decoder, likelihood, found, filled)
    encoder = FactorEncoder(x.shape[1], flags.latent, flags.hidden, full=True)
    encoder.start_at(found.loc, found.loadings, found.scale)
    return ZeroFilled(FullNormalGuide(encoder), mask=True)


def mechanism(flags: argparse.Namespace, mask: Tensor) -> nn.Module:
    """p(mask | x) by the flags."""
    width = mask.shape[1]
    if flags.mechanism in ("self", "large"):
        return SelfMasking(width, "large" if flags.mechanism == "large" else None).start(mask)
    return Mechanism(nn.Linear(width, width) if flags.mechanism == "linear" else MLP(width, width, flags.hidden[:1]))


def hide(flags: argparse.Namespace, x: Tensor, seed: int) -> Tensor:
    """A mask by the flags."""
    if flags.missing == "halves":
        return data.halves(x, seed=seed)
    return MASKS[flags.missing](x, flags.rate, seed=seed)


# ---------------------------------------------------------------------------------------------- imputations


def usual_imputations(x: Tensor, seen: Tensor, test: Tensor, mask: Tensor, *, trees: int) -> dict[str, Tensor]:
    """The test data as scikit-learn fills them in, trained on `x` with the mask `seen`: by name, `(N, D)`.

    With trees, the slow methods are included: IterativeImputer with BayesianRidge, and with so many trees.
    """
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

    forest = ExtraTreesRegressor(trees, random_state=0)
    methods: dict[str, Any] = {"mean": SimpleImputer(keep_empty_features=True)}
    methods["KNNImputer"] = KNNImputer(n_neighbors=10, weights="distance", keep_empty_features=True)
    if trees:
        methods["IterativeImputer"] = IterativeImputer(max_iter=20, random_state=0)
        methods["missForest-like"] = IterativeImputer(forest, max_iter=ROUNDS, random_state=0)
    result = {}
    for name, method in methods.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            method.fit(with_gaps(x, seen))
            result[name] = torch.from_numpy(method.transform(with_gaps(test, mask))).to(test.dtype)
    return result


def with_gaps(x: Tensor, mask: Tensor) -> np.ndarray:
    """The data with NaN where they are missing."""
    return torch.where(mask, x, torch.nan).flatten(1).double().numpy()


def squared_errors(x: Tensor, truth: Tensor, mask: Tensor) -> Tensor:
    """The squared error of each row, `(N,)`; their mean is that over all that was missing."""
    missing = ~mask.expand_as(truth)
    squares = (x.reshape(truth.shape) - truth).square() * missing
    return squares.flatten(1).sum(1) * len(truth) / missing.sum()


def draw_coverage(series: Mapping[str, Mapping[float, Estimate]]) -> "Figure":
    """How often intervals hold the truth, against how often they should."""
    exact = [100 * level for level in LEVELS]
    points: dict[str, Any] = {}
    for name, covered in series.items():
        values, errors = zip(*[(100 * share.value, 100 * share.error) for share in covered.values()], strict=True)
        points[name] = ([100 * level for level in covered], values, errors)
    points["exact"] = (exact, exact)
    title = "how often an interval holds what was missing"
    return plots.lines(points, x="level of the interval, %", y="truth inside, %", title=title)


def share_entries(covered: Mapping[float, Estimate]) -> dict[str, dict[str, float]]:
    """The share of each level, as the file holds it."""
    return {str(level): {"value": share.value, "error": share.error} for level, share in covered.items()}


# ---------------------------------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class FilledTable:
    """What one mask of the table gives.

    Attributes:
        trained: the pair.
        flags: the flags with the seed of the mask.
        errors: the mean squared error, by method.
        columns: the mean squared error of each column, by method.
        coverage: how often the intervals of each level hold the truth.
    """

    trained: Trained
    flags: argparse.Namespace
    errors: dict[str, float]
    columns: dict[str, list[float]]
    coverage: dict[float, Estimate]


def fill_table(flags: argparse.Namespace, dataset: data.Dataset) -> None:
    """Train on the table and fill it in, once for each seed."""
    x = standardised(dataset)
    seeds = range(flags.seed, flags.seed + flags.seeds)
    folders = {seed: flags.out / f"mask-{seed}" if len(seeds) > 1 else flags.out for seed in seeds}
    found = [fill_mask(derive(flags, seed=seed, out=folders[seed]), dataset, x) for seed in seeds]
    methods, last = list(found[0].errors), found[-1]
    errors = {name: [one.errors[name] for one in found] for name in methods}
    masks = f"mean squared error, {flags.seeds} mask{'s' * (flags.seeds > 1)}"
    rows = [Row(name, mean_and_error(values), masks) for name, values in errors.items()]
    rows.append(Row("coverage", str(last.coverage[0.9]), "90 % intervals"))
    entries = {"squared_error": errors, "coverage": share_entries(last.coverage)}
    own = derive(last.flags, out=flags.out)
    write_summary(last.trained, score(last.trained, own), own, rows=rows, entries=entries)
    save_picture(plots.curves(last.trained.history.rows), flags.out, "curves")
    save_picture(draw_coverage({"missing entries": last.coverage}), flags.out, "coverage")
    columns = {name: np.mean([one.columns[name] for one in found], 0).tolist() for name in methods if name != "mean"}
    title = "imputation by column"
    figure = plots.dots(columns, column_names(flags, x), x="mean squared error, standardised", title=title)
    save_picture(figure, flags.out, "columns")


def standardised(dataset: data.Dataset) -> Tensor:
    """All rows of the table, each column standardised."""
    x = torch.cat([split["x"].float() for split in dataset.splits.values() if len(split["x"])])
    scale = x.std(0, correction=0)
    return (x - x.mean(0)) / torch.where(scale > 0, scale, 1.0)


def fill_mask(flags: argparse.Namespace, dataset: data.Dataset, x: Tensor) -> FilledTable:
    """Train on one mask of the table, and fill it in by all methods."""
    torch.manual_seed(flags.seed)
    batch = data.incomplete(x, hide(flags, x, flags.seed))
    mask = batch["mask"]
    model, guide = pair(flags, likelihoods.Normal(x.shape[1], "each"), batch["x"], mask)
    empty = {name: tensor[:0] for name, tensor in batch.items()}
    hidden = replace(dataset, train=batch, valid=empty, test=batch)
    trained = train(model, guide, data.Scale(), hidden, flags, loss=IWAE(flags.particles))
    options: dict[str, Any] = {"num_samples": flags.num_samples, "seed": flags.seed}
    start = time.perf_counter()
    filled = {"VAE": impute(model, guide, batch, **options).x}
    draws = imputations(model, guide, batch, DRAWS, **options)
    print(f"        imputed in {time.perf_counter() - start:.0f} s")
    for factors in dict.fromkeys((flags.latent, x.shape[1] - 1)):
        filled[f"factor analysis, {factors}"] = factor_analysis(x, factors, mask).impute(x, mask)
    factors, ridge = choose_capacity(x, mask)  # by observed cells that are held out: where VAEImputer starts
    filled["factor analysis, chosen"] = factor_analysis(x, factors, mask, ridge=ridge).impute(x, mask)
    filled |= usual_imputations(x, mask, x, mask, trees=flags.trees)
    covered = {level: coverage(draws, x, level, where=~mask) for level in LEVELS}
    errors = {name: squared_errors(one, x, mask).mean().item() for name, one in filled.items()}
    print("        " + ", ".join(f"{name} {error:.3f}" for name, error in errors.items()), flush=True)
    columns = {name: ((one - x).square() * ~mask).sum(0).div((~mask).sum(0)).tolist() for name, one in filled.items()}
    return FilledTable(trained, flags, errors, columns, covered)


def column_names(flags: argparse.Namespace, x: Tensor) -> list[str]:
    """The names of the columns."""
    if flags.data == "breast-cancer":
        from sklearn.datasets import load_breast_cancer

        return list(load_breast_cancer().feature_names)
    return [f"column {i}" for i in range(x.shape[1])]


# ---------------------------------------------------------------------------------------------------- images


@dataclass(frozen=True)
class FilledImages:
    """What the test images give.

    Attributes:
        truth: the images `(N, C, H, W)`.
        mask: which pixels are observed.
        found: the imputation by the VAE.
        draws: imputations `(S, N, C, H, W)`.
        errors: the squared error of each image `(N,)`, by method.
        coverage: how often the intervals of each level hold the truth, for pixels and for sums of them.
    """

    truth: Tensor
    mask: Tensor
    found: Imputation
    draws: Tensor
    errors: dict[str, Tensor]
    coverage: dict[str, dict[float, Estimate]]


def fill_images(flags: argparse.Namespace, dataset: data.Dataset) -> None:
    """Train on images with gaps; fill in the test images."""
    hidden = with_masks(flags, dataset)
    trained = train_images(flags, hidden)
    filled = fill_test(flags, trained)
    own, means = filled.errors["VAE"], {name: one.mean().item() for name, one in filled.errors.items()}
    rows = [Row(name, f"{error:.4f}", "mean squared error, missing pixels") for name, error in means.items()]
    less = {name: mean_and_error(own - one) for name, one in filled.errors.items() if name != "VAE"}
    rows += [Row(f"less {name}", gap, "of the VAE, paired, error over images") for name, gap in less.items()]
    rows += [Row("coverage", str(shares[0.9]), f"90 % intervals, {name}") for name, shares in filled.coverage.items()]
    effective = f"{filled.found.effective_sample_size.median():.0f}"
    rows.append(Row("effective", effective, f"draws out of {flags.num_samples}, by the weights; median"))
    shares = {name: share_entries(covered) for name, covered in filled.coverage.items()}
    entries = {"squared_error": means, "less": less, "coverage": shares}
    write_summary(trained, score(trained, flags), flags, rows=rows, entries=entries)
    save_picture(plots.curves(trained.history.rows), flags.out, "curves")
    save_picture(draw_coverage(filled.coverage), flags.out, "coverage")
    save_picture(draw_imputations(filled), flags.out, "imputations")


def with_masks(flags: argparse.Namespace, dataset: data.Dataset) -> data.Dataset:
    """The images with a mask for each; some training images are complete."""
    splits: dict[str, Any] = {}
    for i, (name, split) in enumerate(dataset.splits.items()):
        mask = hide(flags, split["x"], flags.seed + i)
        if name == "train":
            mask = mask.clone()
            mask[: round(flags.complete * len(mask))] = True  # only these show how the halves go together
        splits[name] = {"x": split["x"], "mask": mask}
    return replace(dataset, **splits)


def train_images(flags: argparse.Namespace, hidden: data.Dataset) -> Trained:
    """Train on images with gaps; the transform of the result is fixed, so that the truth stays the same."""
    whole, mask = hidden.train["x"], hidden.train["mask"]
    shape = tuple(whole.shape[1:])
    grey = shape[0] == 1
    x = data.excerpt(whole, 2**23)
    likelihood = likelihoods.Bernoulli(shape) if grey else likelihoods.Normal(shape, "learned")
    model, guide = pair(flags, likelihood, x, mask[:: -(-len(whole) // len(x))])
    transform = data.Binarize("dynamic") if grey else data.Scale()
    trained = train(model, guide, transform, hidden, flags, loss=IWAE(flags.particles))
    fixed = data.Binarize("static", seed=flags.seed) if grey else data.Scale()
    return replace(trained, transform=fixed, test=fixed.prepare(hidden.test))


def fill_test(flags: argparse.Namespace, trained: Trained) -> FilledImages:
    """Fill in the scored test images by all methods."""
    test, whole = scored(trained, flags), trained.data.train
    truth, mask = trained.transform(test)["x"], test["mask"]
    options: dict[str, Any] = {"num_samples": flags.num_samples, "seed": flags.seed, "transform": trained.transform}
    found = impute(trained.model, trained.guide, test, **options)
    draws = imputations(trained.model, trained.guide, test, DRAWS, **options)
    most = flags.donors or round(flags.complete * len(whole["x"])) or None  # complete images come first
    usual = usual_imputations(data.Scale()(whole)["x"][:most], whole["mask"][:most], truth, mask, trees=0)
    errors = {name: squared_errors(one, truth, mask) for name, one in ({"VAE": found.x} | usual).items()}
    varying = data.excerpt(whole["x"]).std(0) > 0.1
    covered = {
        "pixels that vary": {level: coverage(draws, truth, level, where=~mask & varying) for level in LEVELS},
        "ink of an image": {level: coverage(ink(draws, mask), ink(truth, mask), level) for level in LEVELS},
    }
    return FilledImages(truth, mask, found, draws, errors, covered)


def ink(x: Tensor, mask: Tensor) -> Tensor:
    """The sum of the missing pixels of each image, `(*, N)`."""
    return (x * ~mask).flatten(-3).sum(-1)


def draw_imputations(filled: FilledImages, count: int = 12) -> "Figure":
    """An image per column: the truth, what was observed of it, the mean of the rest, and draws."""
    truth, mask = filled.truth, filled.mask.expand_as(filled.truth)
    shown = [truth, torch.where(mask, truth, 0.5), filled.found.x, *filled.draws[:5]]
    names = ["truth", "observed", "mean", *(f"draw {i}" for i in range(1, 6))]
    return plots.table(torch.stack([x[:count] for x in shown]), title="what is missing, given what is seen", rows=names)


def script(flags: argparse.Namespace) -> None:
    """Fill in a table, or images."""
    torch.manual_seed(flags.seed)
    dataset = load_data(flags)
    if dataset.train["x"].dim() == 4:
        if flags.mechanism != "ignored":
            raise SettingError(f"--mechanism {flags.mechanism} requires a table, got images. Leave it out.")
        fill_images(complete(flags, IMAGES), dataset)
    else:
        fill_table(complete(flags, TABLE), dataset)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
