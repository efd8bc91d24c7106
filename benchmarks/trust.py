"""How far the guide of a trained VAE can be trusted, its gaps beside an evidence of their own, NUTS on one digit.

    python examples/vae.py                          # trains runs/vae on 5,000 digits
    python benchmarks/trust.py --run runs/vae

Gaps are split by refining the guide for each digit, with log p(x) of importance sampling from the refined guide;
annealed importance sampling, which knows nothing of it, gives log p(x) again.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from pyrovae import data, plots
from pyrovae.guides import NormalGuide
from pyrovae.inference import Annealing, annealed, diagnose, load_weights, nuts
from pyrovae.models import VAE, likelihoods, priors
from pyrovae.networks import MLP

SHAPE, LATENT, HIDDEN = (1, 28, 28), 20, [400]  # of examples/vae.py
T = TypeVar("T")


def timed(what: str, call: Callable[[], T]) -> T:
    """The result of a call, printed with its time."""
    start = time.perf_counter()
    result = call()
    print(f"\n{what}, {time.perf_counter() - start:.1f} s\n{result}", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/vae"), help="run folder of examples/vae.py")
    parser.add_argument("--digits", type=int, default=500, help="test digits to diagnose")
    parser.add_argument("--refine", type=int, default=100, help="of which so many are refined and annealed")
    parser.add_argument("--ranks", type=Path, help="where to write the picture of the ranks")
    args = parser.parse_args(argv)
    decoder = MLP(LATENT, SHAPE, HIDDEN)
    model = VAE(priors.StandardNormal(LATENT), likelihoods.Bernoulli(SHAPE), decoder)
    guide = NormalGuide(MLP(SHAPE, 2 * LATENT, HIDDEN))
    load_weights(model, guide, args.run)
    binarize = data.Binarize("static")
    test = binarize.prepare({"x": data.load("digits").test["x"][: args.digits]})
    trust = timed("diagnose", partial(diagnose, model, guide, test, refine=args.refine, transform=binarize))
    few = {name: tensor[: args.refine] for name, tensor in test.items()}
    exact = timed("annealed", partial(annealed, model, guide, few, Annealing(), transform=binarize)).log_evidence
    if trust.gaps is not None:
        split = trust.gaps
        total, error = exact.value - split.elbo.value, (exact.error**2 + split.elbo.error**2) ** 0.5
        print(f"\n{split}\napproximation + amortisation {split.inference}; annealed - ELBO {total:.2f} ± {error:.2f}")
    if trust.calibration is not None and args.ranks:
        plots.save(plots.ranks(trust.calibration.ranks["z"], trust.calibration.num_samples), args.ranks)
    one = {name: tensor[:1] for name, tensor in test.items()}
    timed("nuts, one digit", partial(nuts, model, guide, one, transform=binarize, num_samples=300, warmup=200))


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
