"""A prior after the fact: a trained pair gets the priors that its codes ask for, with its networks held fixed.

python examples/fit_prior.py                      train the VAE of the example vae, then fit three priors to its codes
python examples/fit_prior.py --run runs/vae       the pair of a run, of any example with a prior of one latent
python examples/fit_prior.py --priors flow        one of them

Further flags are those of the example vae.

Data: 5,000 real digits, offline. Time: 100 s of one core.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from pyrovae.data import Standardize
from pyrovae.examples import inspect_posterior, vae
from pyrovae.examples._shared import (
    DefaultFolder,
    Trained,
    explained,
    main,
    score,
    scored,
    values,
    write_comparison,
    write_pictures,
    write_summary,
)
from pyrovae.examples.flows import PRIORS
from pyrovae.inference import FittedPrior, fit_prior
from pyrovae.models import priors

FITTED = [name for name in PRIORS if name not in ("normal", "sphere")]
"""The priors of the example flows that have parameters."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example, and those of the example vae."""
    p = explained(__doc__)
    p.add_argument("--run", type=Path, help="a run of another example, instead of training")
    p.add_argument("--priors", type=values.names(FITTED), default=",".join(FITTED), help="the priors to fit")
    p.add_argument("--prior-epochs", type=values.positive_int, default=60, help="epochs of each prior")
    components = "components of the mixture, and pseudo-inputs of the VampPrior"
    p.add_argument("--components", type=values.positive_int, default=100, help=components)
    p.add_argument("--layers", type=values.positive_int, default=4, help="layers of the flow")
    p.add_argument("--width", type=values.positive_int, default=128, help="width of the flow's networks")
    own, further = p.parse_known_args(argv)
    parsed = vae.arguments(further)
    if isinstance(parsed.out, DefaultFolder):
        parsed.out = DefaultFolder("runs/fit_prior")
    return argparse.Namespace(**vars(parsed) | vars(own))


def built(trained: Trained, flags: argparse.Namespace, name: str) -> nn.Module:
    """A prior of the example flows; the VampPrior starts at training data, and standardised ones have no bounds."""
    torch.manual_seed(flags.seed)
    rows = torch.randperm(len(trained.data.train["x"]))[: flags.components]
    some = trained.transform(trained.transform.prepare({"x": trained.data.train["x"][rows]}))["x"]
    if name == "vamp":
        bounds = None if isinstance(trained.transform, Standardize) else (0.0, 1.0)
        return priors.VampPrior(trained.guide.given, some, bounds)
    (latent,) = cast(Any, trained.model.prior)().event_shape
    return PRIORS[name](argparse.Namespace(**vars(flags) | {"latent": latent}), trained.guide, some)


def fitted(trained: Trained, flags: argparse.Namespace, name: str) -> FittedPrior:
    """The pair with that prior, which is judged by the validation data while it trains."""
    return fit_prior(
        trained.model,
        trained.guide,
        trained.data,
        built(trained, flags, name),
        test=scored(trained, flags),
        transform=trained.transform,
        epochs=flags.prior_epochs,
        patience=10 if trained.data.valid else None,
        num_samples=flags.num_samples,
        seed=flags.seed,
        compile=flags.compile,
        progress=not flags.quiet,
    )


def tabulate(found: dict[str, FittedPrior], flags: argparse.Namespace) -> None:
    """Print a row for the former prior, and one for each new prior."""
    former = next(iter(found.values())).before
    print(f"\n{'prior':<10}{'gain':>18}{'ELBO':>20}{'rate':>18}{'log-evidence':>40}{'time':>9}{'epochs':>8}")
    print(f"{'former':<10}{'':>18}{former.elbo!s:>20}{former.rate!s:>18}{former.log_evidence!s:>40}")
    for name, one in found.items():
        numbers = f"{one.gain!s:>18}{one.after.elbo!s:>20}{one.after.rate!s:>18}{one.after.log_evidence!s:>40}"
        print(f"{name:<10}{numbers}{one.history.seconds:>7.0f} s{len(one.history.rows):>8}")
    print(f"nats per test data point, {flags.num_samples} draws per data point; gain of the ELBO on the same draws")


def script(flags: argparse.Namespace) -> None:
    """Train or load the pair, fit each prior, and compare them."""
    torch.manual_seed(flags.seed)
    trained = inspect_posterior.loaded(flags.run) if flags.run else inspect_posterior.trained_anew(flags)
    if not flags.run:
        write_summary(trained, score(trained, flags), flags)
    found = {}
    for name in flags.priors:
        print(f"\n--- {name}")
        found[name] = fitted(trained, flags, name)
        print(found[name])
        write_pictures(replace(trained, model=found[name].model, history=found[name].history), flags.out / name)
    tabulate(found, flags)
    entries = {name: {"gain": one.gain, "elbo": one.after.elbo, "rate": one.after.rate} for name, one in found.items()}
    write_comparison(flags.out, entries)


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
