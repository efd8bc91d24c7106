"""The time of the first compiled step: cold, with an empty cache on the disk, and warm, in a new process.

    python benchmarks/compile_time.py                          # dense, ladder and flow
    python benchmarks/compile_time.py --pairs dense --rounds 3

Each is the first `SVI.steps` on 128 images in a process of its own, whose temporary folder and cache are new; the
pairs are those of the examples with their defaults. Imports of torch, Pyro and pyrovae come before, and imports of
inductor belong to the step. "of a core" is the time that processors worked for it, compilers included: it is what
counts on a machine that others use too. `--beside` gives the first steps of a training that compiles beside instead.
"""

import argparse
import importlib
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from pyrovae.inference import ELBO, SVI

PAIRS = {"dense": "vae", "ladder": "hierarchical_vae", "flow": "flows"}
"""The example that builds each pair."""


def pair_of(name: str, data: dict[str, torch.Tensor]) -> tuple[Any, Any, Any, Any]:
    """Model, guide, transform and loss of an example."""
    example = importlib.import_module(f"pyrovae.examples.{PAIRS[name]}")
    flags = example.arguments([])
    loss = ELBO(free_bits=flags.free_bits) if name == "ladder" else ELBO()
    variant = ["flow-both"] if name == "flow" else []
    return *example.pair(flags, *variant, data), loss


def first_step(name: str, beside: bool) -> dict[str, Any]:
    """The seconds of the first step, and of the second where it is compiled beside."""
    torch.manual_seed(0)
    data = {"x": (torch.rand(1280, 1, 28, 28) < 0.2).to(torch.uint8) * 255}
    model, guide, transform, loss = pair_of(name, data)
    optim = (torch.optim.AdamW, {"lr": 1e-3})
    svi = SVI(model, guide, optim, loss, compile="beside" if beside else True, verify=False)
    rows = torch.randint(len(data["x"]), (32, 128))
    started, before = time.perf_counter(), processor()
    result = svi.steps(data, 1, order=rows[:1], transform=transform)
    seconds, used, slowest = time.perf_counter() - started, processor() - before, 0.0
    for row in rows[1:] if beside else ():
        started = time.perf_counter()
        svi.steps(data, 1, order=row[None], transform=transform)
        slowest = max(slowest, time.perf_counter() - started)
    return {"first": seconds, "processor": used, "slowest": slowest, "loss": result.item()}


def processor() -> float:
    """The seconds of processors that this process and the compilers that it started have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def measured(name: str, folder: str, beside: bool) -> dict[str, Any]:
    """`first_step` in a process of its own, whose cache is in a folder."""
    env = {**os.environ, "TMPDIR": folder, "TORCHINDUCTOR_CACHE_DIR": str(Path(folder, "inductor"))}
    command = [sys.executable, __file__, "--child", name, *(["--beside"] if beside else [])]
    return json.loads(subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout)


def main() -> None:
    """Measure, and print a table."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS), help="which pairs")
    p.add_argument("--rounds", type=int, default=1, help="processes of each kind; the table gives medians")
    p.add_argument("--beside", action="store_true", help="steps of a training that compiles beside")
    p.add_argument("--child", choices=PAIRS, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.child:
        print(json.dumps(first_step(args.child, args.beside)))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}")
    heads = ["first step, s", "slowest of 32, s"] if args.beside else ["cold, s", "of a core", "warm, s", "of a core"]
    print(f"| pair | {' | '.join(heads)} |\n|{'---|' * (1 + len(heads))}")
    for name in args.pairs:
        rounds = [round_of(name, args.beside) for _ in range(args.rounds)]
        print(f"| {name} | {' | '.join(f'{statistics.median(column):.1f}' for column in zip(*rounds, strict=True))} |")


def round_of(name: str, beside: bool) -> list[float]:
    """One line of the table."""
    with tempfile.TemporaryDirectory() as folder:
        cold = measured(name, folder, beside)
        if beside:
            return [cold["first"], cold["slowest"]]
        warm = measured(name, folder, beside)
    return [cold["first"], cold["processor"], warm["first"], warm["processor"]]


if __name__ == "__main__":
    main()
