"""Look at a posterior: draw it, find out how far to trust it, keep it for ArviZ, and write the report.

python examples/inspect_posterior.py                     train a small VAE on digits, offline
python examples/inspect_posterior.py --run runs/vae      load a finished run of examples/vae.py
python examples/inspect_posterior.py --anneal 50         bound log p(x) from both sides too, on 50 data
python examples/inspect_posterior.py --latent 2          further flags are those of examples/vae.py

posterior.nc opens with ArviZ and xarray, report.html with any browser.
"""

import argparse
import sys
from pathlib import Path

import vae

from pyrovae import cli
from pyrovae.errors import CheckpointError
from pyrovae.inference import compare_evidence, diagnose, posterior, prior, to_arviz
from pyrovae.report import write_report
from pyrovae.report.__main__ import record

SMALL = ["--epochs", "15", "--hidden", "200", "--latent", "10", "--evaluate", "200", "--num-samples", "300"]


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--run", type=Path, help="a finished run of examples/vae.py, in place of training")
    p.add_argument("--draws", type=int, default=200, help="of the posterior, for each datum (default: 200)")
    p.add_argument("--drawn", type=int, default=50, help="test data whose posterior is drawn (default: 50)")
    p.add_argument("--anneal", type=int, default=0, help="test data for annealed importance sampling (default: none)")
    own, further = p.parse_known_args(argv)
    flags = [*SMALL, "--out", "runs/inspect_posterior", *further]
    if own.run:
        try:
            flags = [*record(own.run)["flags"], *further, "--out", str(own.run), "--resume"]
        except CheckpointError as error:
            p.error(str(error))
    return argparse.Namespace(**vars(vae.arguments(flags)) | vars(own) | {"report": False})  # it writes a fuller one


def script(a: argparse.Namespace) -> None:
    run = cli.Run(a)
    model, guide, transform = vae.pair(a, run.data.train)
    run.fit(model, guide, transform)
    measured = run.evaluate()
    run.summary(measured)

    shared = {"transform": transform, "seed": a.seed}
    few = {name: tensor[: a.drawn] for name, tensor in run.test.items()}
    draws = posterior(model, guide, few, a.draws, predictive=True, **shared)
    to_arviz(draws, prior(model, a.draws, seed=a.seed), chains=2).to_netcdf(run.out / "posterior.nc")
    print(f"\n{draws}")

    trust = diagnose(model, guide, run.scored, num_samples=a.num_samples, **shared)
    print(f"\n{trust}")
    comparison = None
    if a.anneal:
        some = {name: tensor[: a.anneal] for name, tensor in run.test.items()}
        comparison = compare_evidence(model, guide, some, num_samples=a.num_samples, simulated=a.anneal, **shared)
        print(f"\n{comparison}")

    known = {"measured": measured, "trust": trust, "comparison": comparison, "classes": run.data.classes or ()}
    write_report(model, guide, run.scored, run=run.out, **known, **shared)
    print(f"\nposterior.nc and report.html are in {run.out}/ too")


if __name__ == "__main__":
    parsed = arguments()
    sys.exit(cli.main(script, parsed))
