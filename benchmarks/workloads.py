"""What benchmarks/speed.py measures: the cells of the grid, and the line protocol of every contestant.

It needs NumPy alone, because the PyTorch and the JAX contestants import it from two environments.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

LEARNING_RATE = 1e-3
THREADS = int(os.environ.get("BENCH_THREADS", "2"))
BATCH_SIZES = (16, 128, 1024)
CONTEXT = 64
"""Width of what the encoder passes to the flow guide besides loc and scale."""
WIDTH = 128
"""Units of each state of the ladder, and of each network of the flows."""
RECURRENT, TRANSITION, KEYS = 128, 64, 88
"""Units of the deep Markov model's recurrent network and of its transition, and width of one step of its data."""


@dataclass(frozen=True)
class Workload:
    """One VAE, its data and its batch: a cell of the grid.

    Args:
        name: the architecture and the batch size.
        architecture: `dense`, `conv`, `ladder`, `flow` or `markov`.
        data: `digits` (bytes 0 or 255, binarised once), `chords` (bytes 0 or 255) or `table` (standardised floats).
        event: shape of one data point.
        hidden: widths of the encoder's hidden layers; the decoder mirrors them. For a convolutional network, channels.
        latent: dimension of z; of each level of a ladder, from the bottom up.
        batch_size: rows per step.
        steps: steps per epoch. Time is proportional to it, so an epoch may be shorter than the data.
        activation: `relu` or `tanh`.
        num_particles: particles of the importance-weighted bound; 1 is the ELBO.
        layers: steps of each flow.
        bars: further peers, and the largest ratio (ours / peer) that is accepted; None measures without a bar.
    """

    name: str
    architecture: str
    data: str
    event: tuple[int, ...]
    hidden: tuple[int, ...]
    latent: tuple[int, ...]
    batch_size: int
    steps: int
    activation: str = "relu"
    num_particles: int = 1
    layers: int = 0
    bars: tuple[tuple[str, float | None], ...] = ()

    @property
    def bernoulli(self) -> bool:
        """Whether a Bernoulli scores pixels or keys; otherwise a normal of unit scale scores a table."""
        return self.data != "table"

    @property
    def peers(self) -> dict[str, float | None]:
        """Peer -> the largest ratio that is accepted in this cell."""
        return {"numpyro": 1.15, "raw": None, "pyro_memory": None, **dict(self.bars)}


_EXAMPLES: tuple[tuple[str, float | None], ...] = (("pyro", 0.75), ("tutorial", 0.70))
_ARCHITECTURES = {
    "dense": Workload("dense", "dense", "digits", (784,), (400,), (20,), 128, 100),
    "conv": Workload("conv", "conv", "digits", (1, 28, 28), (8, 16, 32), (32,), 128, 50),
    "ladder": Workload("ladder", "ladder", "digits", (784,), (WIDTH,), (32, 16, 8), 128, 100),
    "flow": Workload("flow", "flow", "digits", (784,), (200,), (20,), 128, 50, layers=4),
    "iwae50": Workload(
        "iwae50", "dense", "digits", (784,), (200, 200), (50,), 128, 4, activation="tanh", num_particles=50
    ),
    "markov": Workload("markov", "markov", "chords", (32, KEYS), (64, 64), (32,), 128, 20),
}
_STEPS = {16: 4.0, 128: 1.0, 1024: 0.2}
"""Steps of an epoch at each batch size, over those at 128."""


def _grid() -> dict[str, Workload]:
    """Every architecture at every batch size, and the table."""
    cells = {}
    for name, work in _ARCHITECTURES.items():
        for size in BATCH_SIZES:
            bars = _EXAMPLES if name in ("dense", "conv") and size == 128 else ()
            steps = max(2, int(work.steps * _STEPS[size]))
            cell = replace(work, name=f"{name}-{size}", batch_size=size, steps=steps, bars=bars)
            cells[cell.name] = cell
    cells["tabular-64"] = Workload("tabular-64", "dense", "table", (30,), (32,), (8,), 64, 2000)
    return cells


WORKLOADS = _grid()


def fixed_noise(shape: tuple[int, ...], particle: int = 0) -> np.ndarray:
    """Numbers in place of a draw of standard normals, for the comparison of losses: the same for every contestant.

    Args:
        shape: of the draw, `(B, D)`.
        particle: the number of the particle.
    """
    count = int(np.prod(shape))
    return 1.3 * np.sin(1.0 + 0.7 * np.arange(count, dtype=np.float32) + particle).reshape(shape).astype(np.float32)


class Contestant(Protocol):
    """A way to train one workload. `epoch` trains for one epoch and returns its seconds, with shuffling; afterwards
    `loss` is the mean loss of the epoch in nats per data point. `check` is the loss of the first batch, in nats per
    data point, with `fixed_noise`; called before training, it is the same for all that train the same model."""

    loss: float

    def epoch(self) -> float: ...

    def check(self) -> float: ...


CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
"""Elapsed time, and the processor time of all threads, which other processes on the machine hardly change."""


def timed(epoch: Callable[[], float]) -> tuple[float, float]:
    """Seconds and loss of one epoch. The loss is a Python number, so the device has finished."""
    clock = CLOCKS[os.environ.get("BENCH_CLOCK", "wall")]
    start = clock()
    loss = epoch()
    return clock() - start, loss


def shuffled(num_rows: int, batch_size: int, rng: np.random.Generator) -> np.ndarray:
    """Row numbers of every batch of one epoch, shape (steps, batch_size)."""
    return rng.permutation(num_rows).reshape(-1, batch_size)


def serve(build: Callable[[argparse.Namespace, Workload, np.ndarray, dict[str, np.ndarray]], Contestant]) -> None:
    """Run the process of a contestant: build it, then answer each line `epoch` on stdin by one line of JSON.

    A process of its own gives each contestant its own peak memory, first step and global state. It waits on stdin
    while the others run. All start from the same weights, those of a file.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("workload", choices=WORKLOADS)
    parser.add_argument("contestant")
    parser.add_argument("rows", type=Path, help="the rows of one epoch, a .npy file")
    parser.add_argument("weights", type=Path, help="the initial weights by name, a .npz file")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    rows, weights = np.load(args.rows), dict(np.load(args.weights))
    start = time.perf_counter()
    contestant = build(args, WORKLOADS[args.workload], rows, weights)
    built = time.perf_counter() - start
    check = contestant.check()
    start = time.perf_counter()
    contestant.epoch()
    _reply(first_epoch=built + time.perf_counter() - start, check=check)
    for _ in sys.stdin:
        _reply(seconds=contestant.epoch(), loss=contestant.loss, peak_mb=_peak_mb())


def _reply(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def _peak_mb() -> float:
    """Peak resident memory, in MB. On Linux `ru_maxrss` starts at the parent's peak, so the kernel's page is read."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    peak = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024
