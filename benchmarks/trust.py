"""How far the guide of a trained VAE can be trusted: its gaps, an independent evidence, and NUTS on one digit.

    python examples/vae.py                          # trains runs/vae on 5,000 digits
    python benchmarks/trust.py --run runs/vae
    python examples/iwae.py --particles 1 --data mnist --out runs/iwae
    python benchmarks/trust.py --run runs/iwae --example iwae --data mnist

The gaps are split by refining the guide for each digit, with log p(x) by importance sampling from the refined guide.
Annealed importance sampling, which does not use the refined guide, estimates log p(x) again.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch

from pyrovae import data, plots
from pyrovae.examples import iwae, vae
from pyrovae.inference import Annealing, Estimate, annealed, diagnose, load_weights, nuts

PAIRS = {"vae": (vae, []), "iwae": (iwae, ["--particles", "1"])}  # the example, and the flags of its pair
T = TypeVar("T")


def timed(what: str, call: Callable[[], T]) -> T:
    """The result of a call, printed with its time."""
    start = time.perf_counter()
    result = call()
    print(f"\n{what}, {time.perf_counter() - start:.1f} s\n{result}", flush=True)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, default=Path("runs/vae"), help="run folder of the example")
    parser.add_argument(
        "--example", choices=PAIRS, default="vae", help="the example that made it, with its default networks"
    )
    parser.add_argument("--data", default="digits", help="name of the data set")
    parser.add_argument("--root", help="folder of the data files")
    parser.add_argument("--draws", type=int, default=1000, help="draws per digit")
    parser.add_argument("--digits", type=int, default=500, help="number of test digits to diagnose")
    parser.add_argument("--refine", type=int, default=100, help="number of these digits to refine and to anneal")
    parser.add_argument("--ranks", type=Path, help="file for the picture of the ranks")
    args = parser.parse_args(argv)
    digits = data.load(args.data, root=args.root)
    example, flags = PAIRS[args.example]
    model, guide, _ = example.pair(example.arguments(flags), digits.train)
    load_weights(model, guide, args.run)
    binarize = data.Binarize("static")
    test = binarize.prepare({"x": digits.test["x"][: args.digits]})
    options = {"num_samples": args.draws, "refine": args.refine, "transform": binarize}
    trust = timed("diagnose", partial(diagnose, model, guide, test, **options))
    few = {name: tensor[: args.refine] for name, tensor in test.items()}
    exact = timed("annealed", partial(annealed, model, guide, few, Annealing(), transform=binarize)).log_evidence
    if trust.gaps is not None:
        split = trust.gaps
        total, error = exact.value - split.elbo.value, (exact.error**2 + split.elbo.error**2) ** 0.5
        print(f"\n{split}\napproximation + amortisation {split.inference}; annealed - ELBO {Estimate(total, error)}")
    if trust.calibration is not None and args.ranks:
        plots.save(plots.ranks(trust.calibration.ranks["z"], trust.calibration.num_samples), args.ranks)
    one = {name: tensor[:1] for name, tensor in test.items()}
    timed("nuts, one digit", partial(nuts, model, guide, one, transform=binarize, num_samples=300, num_warmup=200))


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
