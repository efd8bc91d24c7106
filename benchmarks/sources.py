"""Data larger than memory: training speed over that of rows in memory, and resident memory.

    python benchmarks/sources.py --folder /big/disk           # a 20 GB map (a sparse file), 2 GB of Parquet, a data set
    python benchmarks/sources.py --gigabytes 0.5 --parquet 0.1 --rounds 3    # a try

Every contestant is a process that trains the dense workload by `fit`, compiled, and waits while another is timed. A
round is one epoch of each, in a random order: `--steps` batches of 128 rows, drawn at random from all rows. A speed is
the time in memory over the time of the source, the median over the rounds; "processor" is the same of the processor
time of all threads, which other programs on the machine disturb less. Resident memory is that after each epoch.

The contestant in memory draws the same numbers of rows from as many as fit into 300 MB.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

WIDTH, BATCH = 784, 128
ROW = 4 * WIDTH
IN_MEMORY = 100_000
"""Rows of the contestant in memory."""

DATASET = 2**28
"""Bytes of the `datasets.Dataset`."""

KINDS = ("map", "parquet", "dataset")


def write_map(path: Path, size: int) -> None:
    """A `.npy` of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (size, WIDTH)}
        np.lib.format.write_array_header_2_0(file, header)
        file.truncate(file.tell() + size * ROW)


def write_parquet(folder: Path, size: int) -> None:
    """Parquet files of 50,000 rows each, of random numbers, which do not compress."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir()
    draw = np.random.default_rng(0)
    for part, start in enumerate(range(0, size, 50_000)):
        cells = draw.random((min(50_000, size - start), WIDTH), dtype=np.float32)
        column = pa.FixedSizeListArray.from_arrays(pa.array(cells.ravel()), WIDTH)
        pq.write_table(pa.table({"x": column}), folder / f"part-{part:03}.parquet", row_group_size=10_000)


def data_of(kind: str, folder: Path) -> tuple[Any, int]:
    """The data of a contestant, and the number of their rows."""
    import torch

    from pyrovae import data

    if kind == "memory":
        return {"x": torch.rand(IN_MEMORY, WIDTH)}, IN_MEMORY
    if kind == "dataset":
        import datasets

        found = datasets.load_from_disk(folder / "dataset")
        return found, len(found)
    data.STREAM_LIMIT = 0
    found = data.load(folder / ("map.npy" if kind == "map" else "rows.parquet"), root=folder, valid=0, test=1)
    return found, len(found.train["x"])


def child(kind: str, folder: Path, steps: int) -> None:
    """A contestant: answers each line with the seconds of the last epoch and the memory, and trains one more."""
    import torch

    from pyrovae.guides import NormalGuide
    from pyrovae.inference import fit
    from pyrovae.models import VAE, likelihoods, priors
    from pyrovae.networks.dense import MLP

    torch.manual_seed(0)
    found, size = data_of(kind, folder)
    likelihood = likelihoods.Normal(WIDTH)
    model = VAE(priors.StandardNormal(20), likelihood, MLP(20, likelihood.params_shape, (400,)))
    guide, begun, calls = NormalGuide(MLP(WIDTH, 40, (400,))), (0.0, 0.0), 0

    def batches(generator: torch.Generator) -> list[torch.Tensor]:
        nonlocal begun, calls
        calls += 1
        if calls > 1:  # the first call tells fit how many steps an epoch has
            wall, busy = time.perf_counter() - begun[0], time.process_time() - begun[1]
            print(json.dumps({"seconds": wall, "processor": busy, "resident": resident()}), flush=True)
            if not sys.stdin.readline().strip():
                raise SystemExit
        begun = time.perf_counter(), time.process_time()
        return list(torch.randint(size, (steps, BATCH), generator=generator))

    fit(model, guide, found, epochs=10**6, batches=batches, progress=False, compile=True, device="cpu")


def resident() -> int:
    """The bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def contestant(kind: str, args: argparse.Namespace) -> Iterator[Callable[[], dict[str, float]]]:
    """A process of its own; a call is one epoch."""
    command = [sys.executable, __file__, "--child", kind, "--folder", str(args.folder), "--steps", str(args.steps)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout

        def epoch() -> dict[str, float]:
            process.stdin.write("go\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        process.stdout.readline()
        yield epoch
        process.stdin.write("\n")
        process.stdin.close()


def prepare(args: argparse.Namespace) -> None:
    """Write the data of the contestants."""
    if "map" in args.kinds:
        write_map(args.folder / "map.npy", int(args.gigabytes * 1e9) // ROW)
    if "parquet" in args.kinds:
        write_parquet(args.folder / "rows.parquet", int(args.parquet * 1e9) // ROW)
    if "dataset" in args.kinds:
        import datasets

        cells = np.random.default_rng(0).random((int(min(DATASET, args.parquet * 1e9)) // ROW, WIDTH), np.float32)
        features = datasets.Features({"x": datasets.Sequence(datasets.Value("float32"), length=WIDTH)})
        datasets.Dataset.from_dict({"x": cells}, features).save_to_disk(args.folder / "dataset")


def measure(args: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """The epochs of each contestant."""
    found: dict[str, list[dict[str, float]]] = {kind: [] for kind in ("memory", *args.kinds)}
    with ExitStack() as stack:
        run = {kind: stack.enter_context(contestant(kind, args)) for kind in found}
        for kind in run:
            run[kind]()  # compiles
        for _ in range(args.rounds):
            for kind in random.sample(list(run), len(run)):
                found[kind].append(run[kind]())
    return found


def report(found: dict[str, list[dict[str, float]]], steps: int) -> None:
    """Speeds, times of a step, and memory."""
    print(f"{'data':<10}{'speed':>8}{'processor':>12}{'ms a step':>12}{'MB resident, first':>22}{'last':>8}{'most':>8}")
    for kind, epochs in found.items():
        speed, busy = (
            median(ours[clock] / theirs[clock] for ours, theirs in zip(found["memory"], epochs, strict=True))
            for clock in ("seconds", "processor")
        )
        step = median(epoch["seconds"] for epoch in epochs) / steps * 1e3
        memory = [epoch["resident"] / 1e6 for epoch in epochs]
        print(
            f"{kind:<10}{speed:>8.3f}{busy:>12.3f}{step:>12.3f}{memory[0]:>22.0f}{memory[-1]:>8.0f}{max(memory):>8.0f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the data are written; a temporary folder by default")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--gigabytes", type=float, default=20.0, help="size of the memory map")
    parser.add_argument("--parquet", type=float, default=2.0, help="gigabytes of Parquet")
    parser.add_argument("--steps", type=int, default=300, help="steps of an epoch")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child, args.folder, args.steps)
        return
    if args.folder:
        args.folder.mkdir(parents=True, exist_ok=True)
    args.folder = Path(tempfile.mkdtemp(dir=args.folder, prefix="pyrovae-sources-"))
    try:
        prepare(args)
        report(measure(args), args.steps)
    finally:
        shutil.rmtree(args.folder)


if __name__ == "__main__":
    main()
