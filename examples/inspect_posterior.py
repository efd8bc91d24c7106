"""Inspect a posterior: draw it, find out how far to trust it, save it for ArviZ, and write the report.

python examples/inspect_posterior.py                     train a small VAE on digits, offline
python examples/inspect_posterior.py --run runs/vae      load the pair of a run, of any example
python examples/inspect_posterior.py --anneal 50         bound log p(x) from both sides too, on 50 data points
python examples/inspect_posterior.py --latent 2          further flags are those of the example vae

posterior.nc opens with ArviZ and xarray, report.html with any browser.

Data: 5,000 real digits, offline. Time: 15 s of one core.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from pyrovae.data import Batch
from pyrovae.errors import DataError
from pyrovae.examples import vae
from pyrovae.examples._shared import (
    DefaultFolder,
    Trained,
    explained,
    load_data,
    main,
    score,
    scored,
    train,
    values,
    write_summary,
)
from pyrovae.inference import compare_evidence, diagnose, posterior, prior, to_arviz
from pyrovae.inference.pair.tails import FEWEST
from pyrovae.report import write_report
from pyrovae.sharing import load_run

__all__ = ["loaded", "trained_anew"]

SMALL = ["--epochs", "15", "--hidden", "200", "--latent", "10", "--evaluate", "200", "--num-samples", "300"]
"""The flags of the example vae without `--run`."""


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """The flags of this example, and those of the example vae."""
    p = explained(__doc__)
    p.add_argument("--run", type=Path, help="a run of any example, instead of training")
    p.add_argument("--draws", type=values.positive_int, default=200, help="posterior draws per data point")
    drawn = "number of test data points whose posterior is drawn"
    p.add_argument("--drawn", type=values.positive_int, default=50, help=drawn)
    anneal = "number of test data points for annealed importance sampling; 0 does none"
    p.add_argument("--anneal", type=values.whole, default=0, help=anneal)
    own, further = p.parse_known_args(argv)
    flags = [*SMALL, *further]
    if own.run:
        flags += ["--out", str(own.run), "--resume"]
    # This example writes a fuller report than --report does.
    parsed = vae.arguments(flags)
    if parsed.num_samples < FEWEST:
        p.error(f"--num-samples requires {FEWEST} or more, which k-hat is computed from, got {parsed.num_samples}.")
    if isinstance(parsed.out, DefaultFolder):
        parsed.out = DefaultFolder("runs/inspect_posterior")
    return argparse.Namespace(**vars(parsed) | vars(own) | {"report": False})


def trained_anew(flags: argparse.Namespace) -> Trained:
    """Train the pair of the example vae by the flags."""
    dataset = load_data(flags, kind="images" if flags.arch == "conv" else "numbers")
    return train(*vae.pair(flags, dataset.train), dataset, flags)


def loaded(folder: Path) -> Trained:
    """The pair of a run, with its data and history."""
    run = load_run(folder)
    if run.data is None:
        raise DataError(f"--run requires the data of the run, but {run.note}.")
    print(f"pair    from {folder}, {len(run.history.rows)} epochs\ndata    {run.data.describe()}")
    test, cpu = run.transform.prepare(run.data.test), torch.device("cpu")
    return Trained(run.model, run.guide, run.data, test, run.transform, run.history, run.history.seconds, cpu)


def first(trained: Trained, count: int) -> Batch:
    """The first test data."""
    return {name: tensor[:count] for name, tensor in trained.test.items()}


def save_draws(trained: Trained, flags: argparse.Namespace) -> None:
    """Draw the posterior of some test data and the prior, into `posterior.nc`."""
    model, few = trained.model, first(trained, flags.drawn)
    options: dict[str, Any] = {"predictive": True, "transform": trained.transform, "seed": flags.seed}
    draws = posterior(model, trained.guide, few, flags.draws, **options)
    chains = 1 if flags.draws % 2 else 2  # of one length
    to_arviz(draws, prior(model, flags.draws, seed=flags.seed), num_chains=chains).to_netcdf(flags.out / "posterior.nc")
    print(f"\n{draws}")


def script(flags: argparse.Namespace) -> None:
    """Train or load the pair, draw it, diagnose it, and write the report."""
    torch.manual_seed(flags.seed)
    trained = loaded(flags.run) if flags.run else trained_anew(flags)
    measured = score(trained, flags)
    if flags.run:
        print(f"\n{measured}")  # the summary of the run stays
    else:
        write_summary(trained, measured, flags)
    save_draws(trained, flags)

    model, guide, batch = trained.model, trained.guide, scored(trained, flags)
    shared: dict[str, Any] = {"transform": trained.transform, "seed": flags.seed}
    trust = diagnose(model, guide, batch, num_samples=flags.num_samples, **shared)
    print(f"\n{trust}")
    known: dict[str, Any] = {"measured": measured, "trust": trust}
    if flags.anneal:
        some, draws = first(trained, flags.anneal), flags.num_samples
        known["comparison"] = compare_evidence(
            model, guide, some, num_samples=draws, num_simulations=flags.anneal, **shared
        )
        print(f"\n{known['comparison']}")
        if trained.log_jacobian:
            print(f"of the standardised columns; {trained.log_jacobian:+.2f} nats in the units of the table")
    write_report(model, guide, batch, run=flags.out, classes=trained.data.classes or (), **known, **shared)
    print(f"\nposterior.nc and report.html are in {flags.out}/ too")


if __name__ == "__main__":
    sys.exit(main(script, arguments()))
