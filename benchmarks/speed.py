"""Ratios of training times over a grid: pyrovae's compiled SVI over its peers, interleaved in one run.

    python benchmarks/speed.py --out speed.jsonl            # the whole grid, about a minute a cell on two cores
    python benchmarks/speed.py --out speed.jsonl --resume   # go on where that run was cut
    python benchmarks/speed.py --cells dense-128 iwae50-16 --rounds 5
    python benchmarks/speed.py --out speed.jsonl --report   # only print the tables of that file
    python benchmarks/speed.py --quick                      # only checks that everything runs
    BENCH_THREADS=1 BENCH_CLOCK=processor python benchmarks/speed.py --out busy.jsonl    # where others use the machine

Every contestant has a process of its own (peers.py, numpyro_loop.py) and waits while another is timed. One round is
one epoch of each, in a random order. A ratio is the time of our step over that of the peer, the median over the rounds.
Each round is written to `--out` as soon as it is measured, one line of JSON. All contestants start from the same
weights; before they train, their losses of one batch with the same noise are compared, and a difference is reported.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contest import BENCH_PYTHON, Runner, contestant, contestants_of, rows_of_epoch
from roofline import measure
from tables import Cell, report
from workloads import THREADS, WORKLOADS, Workload

Json = dict[str, Any]
Write = Callable[..., None]


def race(cell: Cell, work: Workload, rows: np.ndarray, args: argparse.Namespace, write: Write) -> None:
    """Measure the rounds that are missing."""
    missing = args.rounds - len(cell.rounds)
    if missing <= 0:
        return
    with ExitStack() as stack:
        runners = dict(started(stack, work, rows, args, write))
        check = {name: runner.check for name, runner in runners.items()}
        print("  at the start: " + ", ".join(f"{name} {loss:.4f}" for name, loss in check.items()), flush=True)
        write("cell", check=check, steps=work.steps, machine=machine(args.device))
        asked(runners, write)  # JAX compiles once more when the state comes back from the first epoch
        for _ in range(missing):
            write("round", replies=asked(runners, write))


def asked(runners: dict[str, Runner], write: Write) -> Json:
    """An epoch of each contestant, in a random order; one that fails is reported and left out from then on."""
    replies = {}
    for name in random.sample(list(runners), len(runners)):
        try:
            replies[name] = runners[name].ask()
        except RuntimeError as error:
            print(f"  {error}")
            write("failed", contestant=name, message=str(error))
            del runners[name]
    return replies


def started(
    stack: ExitStack, work: Workload, rows: np.ndarray, args: argparse.Namespace, write: Write
) -> Iterator[tuple[str, Runner]]:
    """Each contestant after its first epoch; one that fails is reported and left out."""
    for name in args.contestants or contestants_of(work, args.device):
        runner = stack.enter_context(contestant(name, work, rows, args.device))
        try:
            runner.first()
        except RuntimeError as error:
            print(f"  {error}")
            write("failed", contestant=name, message=str(error))
        else:
            yield name, runner


def first_steps(work: Workload, rows: np.ndarray, device: str) -> Json:
    """Seconds to the end of the first step with empty compiler caches, and again with the caches that it filled.

    `first_epoch` counts from the construction of the contestant, `process` from the start of Python, with imports.
    """
    result: Json = {}
    for name in ("ours", "raw"):
        with tempfile.TemporaryDirectory() as cache:
            env = {"TORCHINDUCTOR_CACHE_DIR": cache, "TRITON_CACHE_DIR": f"{cache}/triton", "XDG_CACHE_HOME": cache}
            for state in ("cold", "warm"):
                with contestant(name, work, rows[: work.batch_size], device, **env) as runner:
                    result[f"{name}_{state}"] = runner.first()
    return result


def machine(device: str) -> Json:
    """The machine that the numbers were measured on."""
    chip = torch.cuda.get_device_name() if device == "cuda" else _cpu()
    packages = {name: version(name) for name in ("torch", "pyro-ppl", "numpy")}
    clock, load = os.environ.get("BENCH_CLOCK", "wall"), os.getloadavg()[0]
    versions = packages | _numpyro_versions()
    return {"device": chip, "threads": THREADS, "clock": clock, "load": load, "versions": versions}


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores"


def _numpyro_versions() -> dict[str, str]:
    if not BENCH_PYTHON.is_file():
        return {}
    code = "from importlib.metadata import version as v; print(v('numpyro'), v('jax'))"
    found = subprocess.run([BENCH_PYTHON, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    return dict(zip(("numpyro", "jax"), found, strict=True))


def run_cell(work: Workload, lines: list[Json], args: argparse.Namespace) -> None:
    """All measurements of one cell that are missing in `lines`."""

    def write(kind: str, **values: Any) -> None:
        line = {"kind": kind, "cell": work.name, "device": args.device, **values}
        lines.append(line)
        if args.out:
            with args.out.open("a") as file:
                print(json.dumps(line), file=file, flush=True)

    rows, source = rows_of_epoch(work)
    print(f"{work.name} on {args.device}: {work.steps} steps of {work.batch_size}; {source}", flush=True)
    cell = Cell(work.name, (line for line in lines if (line["cell"], line["device"]) == (work.name, args.device)))
    race(cell, work, rows, args, write)
    if cell.found("roofline") is None and not args.quick:
        write("roofline", **measure(work, torch.from_numpy(rows[: work.batch_size]).to(args.device)))
    if work.name == "dense-128" and cell.found("first_step") is None and args.first_step:
        write("first_step", seconds=first_steps(work, rows, args.device))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="cells to time")
    parser.add_argument("--contestants", nargs="+", help="contestants to time; by default, those of each cell")
    parser.add_argument("--rounds", type=int, default=9, help="rounds of each cell")
    parser.add_argument("--steps", type=int, help="steps per epoch; by default, those of the cell")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train")
    parser.add_argument("--out", type=Path, help="file for the measurements, one line of JSON each")
    parser.add_argument("--resume", action="store_true", help="keep what the file holds, and measure what is missing")
    parser.add_argument("--report", action="store_true", help="print the tables of the file, and measure nothing")
    parser.add_argument("--first-step", action="store_true", help="also time the first step of dense-128")
    parser.add_argument("--quick", action="store_true", help="two rounds of a few steps, whose times mean nothing")
    args = parser.parse_args()
    if (args.resume or args.report) and not args.out:
        parser.error("--resume and --report require the file of a run. Write --out FILE.")
    if args.out and args.out.exists() and not (args.resume or args.report):
        parser.error(f"{args.out} exists. Write --resume to go on with it, or name another file.")
    return args


def main() -> None:
    args = arguments()
    torch.set_num_threads(THREADS)
    kept = args.out.read_text().splitlines() if args.out and args.out.exists() else []
    lines: list[Json] = [json.loads(line) for line in kept]
    if args.quick:
        args.rounds, args.steps = 2, args.steps or 4
    if (load := os.getloadavg()[0]) > 0.5 and not args.report:
        print(f"load {load:.1f}: other processes use this machine, and two threads wait for the slower one")
    for name in [] if args.report else args.cells:
        work = WORKLOADS[name]
        run_cell(replace(work, steps=args.steps or work.steps), lines, args)
    print(f"\n{report(lines, args.device)}\n", flush=True)


if __name__ == "__main__":
    main()
