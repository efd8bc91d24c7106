"""What benchmarks/speed.py measures: the workloads, and the line protocol of every contestant.

It needs NumPy alone, because the PyTorch and the JAX contestants import it from two environments.
"""

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

LEARNING_RATE = 1e-3
THREADS = 2


@dataclass(frozen=True)
class Workload:
    """One VAE, its data and its batch.

    Args:
        name: the key in the JSON output.
        data: `digits` (bytes 0 or 255, binarised once) or `table` (standardised floats).
        event: shape of one data point.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them. For a convolutional network, channels.
        latent: dimension of z.
        activation: `relu` or `tanh`.
        batch_size: rows per step.
        steps: steps per epoch. Time is proportional to it, so an epoch may be shorter than the data.
        bars: peer -> the largest ratio (ours / peer) that is accepted; None measures without a bar.
        num_particles: particles of the importance-weighted bound; 1 is the ELBO.
    """

    name: str
    data: str
    event: tuple[int, ...]
    hidden: tuple[int, ...]
    latent: int
    activation: str
    batch_size: int
    steps: int
    bars: dict[str, float | None]
    num_particles: int = 1

    @property
    def bernoulli(self) -> bool:
        """Whether a Bernoulli scores pixels; otherwise a normal of unit scale scores a table."""
        return self.data == "digits"

    @property
    def convolutional(self) -> bool:
        return len(self.event) == 3


_WORKLOADS = (
    Workload(
        "dense", "digits", (784,), (400,), 20, "relu", batch_size=128, steps=100,
        bars={
            "pyro": 0.40, "pyro_memory": None, "tutorial": 0.35, "raw": 1.05, "numpyro": 1.15, "numpyro_bf16": 0.85,
            "eager": None,
        },
    ),
    Workload(
        "tabular", "table", (30,), (32,), 8, "relu", batch_size=64, steps=500,
        bars={"pyro": 0.08, "raw": 0.6, "numpyro": 2.0, "eager": None},
    ),
    Workload(
        "conv", "digits", (1, 28, 28), (8, 16, 32), 32, "relu", batch_size=128, steps=50,
        bars={"pyro": 0.75, "pyro_memory": None, "tutorial": 0.70, "raw": 1.05, "eager": None},
    ),
    Workload(
        "iwae50", "digits", (784,), (200, 200), 50, "tanh", batch_size=20, steps=50, num_particles=50,
        bars={"pyro": 0.80, "pyro_memory": None, "raw": 1.05, "numpyro": 1.15, "eager": None},
    ),
)  # fmt: skip
WORKLOADS = {w.name: w for w in _WORKLOADS}


class Contestant(Protocol):
    """A way to train one workload. `epoch` trains for one epoch and returns its seconds, with shuffling; afterwards
    `loss` is the mean loss of the epoch in nats per data point."""

    loss: float

    def epoch(self) -> float: ...


def timed(epoch: Callable[[], float]) -> tuple[float, float]:
    """Seconds and loss of one epoch. The loss is a Python number, so the device has finished."""
    start = time.perf_counter()
    loss = epoch()
    return time.perf_counter() - start, loss


def shuffled(num_rows: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of every batch of one epoch, shape (steps, batch_size)."""
    return rng.permutation(num_rows).reshape(-1, batch_size)


def serve(build: Callable[[argparse.Namespace, Workload, np.ndarray], Contestant]) -> None:
    """Run the process of a contestant: build it, then answer each line `epoch` on stdin by one line of JSON.

    A process of its own gives each contestant its own peak memory, first step and global state. It waits on stdin
    while the others run.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("contestant")
    parser.add_argument("rows", type=Path, help="the rows of one epoch, a .npy file")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    rows = np.load(args.rows)
    start = time.perf_counter()
    contestant = build(args, WORKLOADS[args.workload], rows)
    contestant.epoch()
    _reply(first_epoch=time.perf_counter() - start)
    for _ in sys.stdin:
        _reply(seconds=contestant.epoch(), loss=contestant.loss, peak_mb=_peak_mb())


def _reply(**values: float) -> None:
    print(json.dumps(values), flush=True)


def _peak_mb() -> float:
    """Peak resident memory, in MB. On Linux `ru_maxrss` starts at the parent's peak, so the kernel's page is read."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
