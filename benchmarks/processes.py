"""Time of an epoch on two processes of one thread each, over one process of one thread and of two.

python benchmarks/processes.py                   dense, conv and ladder, batches of 128
python benchmarks/processes.py dense-1024        other cells of the grid
python benchmarks/processes.py --rounds 3        fewer rounds

Contestants wait while the others run, so they share no processor; each round measures all of them. The sum of the
gradients is part of the graph ("graph"), or stands between two graphs ("split").
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pairs import pair_of, to_floats
from torch import Tensor
from workloads import LEARNING_RATE, WORKLOADS, Workload

from pyrovae.inference import ELBO, IWAE, SVI
from pyrovae.inference.processes.launch import launched
from pyrovae.inference.processes.processes import Processes
from pyrovae.inference.training.processes import OverProcesses

CELLS = ("dense-128", "conv-128", "ladder-128")
CONTESTANTS = {
    "1 x 1": (1, 1, "graph"),
    "1 x 2": (1, 2, "graph"),
    "2 x 1": (2, 1, "graph"),
    "2 x 1 split": (2, 1, "split"),
}
"""Processes, threads of each, and where the gradients are summed."""

REDUCTIONS = 200


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=CELLS, help="cells of the grid of workloads.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--without", nargs="*", default=(), choices=CONTESTANTS, help="contestants to leave out")
    parser.add_argument("--out", type=Path, help="a file for one line of JSON for each cell")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


# The processes of a contestant ------------------------------------------------------------------------------------


def serve(cell: str, contestant: str) -> None:
    """Answer each line on stdin: an epoch by its seconds, and `reduce` by the seconds of one sum of all gradients."""
    _, threads, how = CONTESTANTS[contestant]
    torch.set_num_threads(threads)
    processes, work = launched(1, 1, "auto", torch.device("cpu")), WORKLOADS[cell]
    svi, epoch = training(work, processes, how)
    epoch()
    numbers = sum(parameter.numel() for parameter in svi.parameters)
    tasks = {"epoch": epoch, "reduce": lambda: reductions(processes, numbers)}
    print(json.dumps({"bytes": 4 * numbers, "steps": work.steps}), flush=True)
    for line in sys.stdin:
        begun = time.perf_counter()
        tasks[line.strip()]()
        print(json.dumps(time.perf_counter() - begun), flush=True)


def training(work: Workload, processes: Processes, how: str) -> tuple[SVI, Callable[[], Any]]:
    """The SVI of a contestant, and a function that trains for an epoch."""
    torch.manual_seed(0)
    model, guide = pair_of(work)
    data = {"x": (torch.rand(work.steps * work.batch_size, *work.event) > 0.8).to(torch.uint8) * 255}
    loss = IWAE(work.num_particles) if work.num_particles > 1 else ELBO()
    reduce: Any = None
    if not processes.alone:
        reduce = OverProcesses(processes) if how == "graph" else summing(processes)
        if how == "graph":
            reduce.drawn_outside = False
    svi = SVI(model, guide, (torch.optim.Adam, {"lr": LEARNING_RATE}), loss, compile=True, reduce=reduce, verify=False)

    def epoch() -> None:
        order = torch.randperm(len(data["x"])).reshape(work.steps, work.batch_size)
        if how == "split":
            order = processes.share(work.batch_size).rows(order, 1).contiguous()
        svi.steps(data, work.steps, order=order, transform=floats).sum().item()

    return svi, epoch


def floats(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    return {"x": to_floats(batch["x"])}


def summing(processes: Processes) -> Callable[[list[Tensor]], None]:
    """Puts the sums of gradients into their place, by one exchange."""

    def reduce(gradients: list[Tensor]) -> None:
        for gradient, total in zip(gradients, processes.summed_together(gradients), strict=True):
            gradient.copy_(total)

    return reduce


def reductions(processes: Processes, numbers: int) -> None:
    flat = torch.ones(numbers)
    for _ in range(REDUCTIONS):
        processes.summed(flat)


# The contest ------------------------------------------------------------------------------------------------------


class Contestant:
    """The processes of one contestant; they wait on stdin."""

    def __init__(self, cell: str, name: str) -> None:
        size, threads, _ = CONTESTANTS[name]
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        command = [sys.executable, __file__, cell, "--worker", name]
        self.processes = []
        for rank in range(size):
            ours: dict[str, Any] = {"OMP_NUM_THREADS": threads}
            if size > 1:
                ours |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size}
                ours |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_RUN_ID": "bench"}
            environment = os.environ | {key: str(value) for key, value in ours.items()}
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            self.processes.append(subprocess.Popen(command, env=environment, **pipes))
        self.about = self.answers()[0]

    def answers(self) -> list[Any]:
        return [json.loads(process.stdout.readline()) for process in self.processes if process.stdout]

    def ask(self, task: str) -> float:
        for process in self.processes:
            if process.stdin:
                process.stdin.write(f"{task}\n")
                process.stdin.flush()
        return float(max(self.answers()))

    def close(self) -> None:
        for process in self.processes:
            if process.stdin:
                process.stdin.close()
            process.wait()


def measured(cell: str, names: list[str], rounds: int) -> dict[str, Any]:
    """Seconds of an epoch of each contestant, in each round, and those of one sum of all gradients."""
    contestants = {name: Contestant(cell, name) for name in names}
    for contestant in contestants.values():
        contestant.ask("epoch")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, contestant in contestants.items():
            seconds[name].append(contestant.ask("epoch"))
    reduce = min(contestants["2 x 1"].ask("reduce") for _ in range(3)) / REDUCTIONS
    about = contestants["2 x 1"].about
    for contestant in contestants.values():
        contestant.close()
    return {"cell": cell, **about, "reduce": reduce, "seconds": seconds}


def ratios(seconds: dict[str, list[float]], name: str, over: str) -> str:
    """The median of the ratios of all rounds."""
    return f"{statistics.median(a / b for a, b in zip(seconds[name], seconds[over], strict=True)):.2f}"


def main() -> None:
    flags = parse()
    if flags.worker:
        serve(flags.cells[0], flags.worker)
        return
    names = [name for name in CONTESTANTS if name not in flags.without]
    over = [name for name in names if name.startswith("1")]
    print(f"| cell | {' | '.join(names)} | {' | '.join(f'2 x 1 over {name}' for name in over)} | gradients | one sum |")
    print("|---" * (3 + len(names) + len(over)) + "|")
    for cell in flags.cells:
        found = measured(cell, names, flags.rounds)
        if flags.out:
            with flags.out.open("a") as file:
                file.write(json.dumps(found) + "\n")
        steps = [f"{1e3 * statistics.median(found['seconds'][name]) / found['steps']:.2f} ms" for name in names]
        columns = [ratios(found["seconds"], "2 x 1", name) for name in over]
        columns += [f"{found['bytes'] / 1e6:.2f} MB", f"{1e6 * found['reduce']:.0f} µs"]
        print(f"| {cell} | {' | '.join(steps + columns)} |", flush=True)


if __name__ == "__main__":
    main()
