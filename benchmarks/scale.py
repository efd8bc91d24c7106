"""On paper: the time of a step on 1 to 1,024 GPUs, for docs/scale.md. Nothing is timed here.

    t(P) = a + R F / f + n R_total / g + 2 (1 - 1/P) M / w + 2 (h log2 P_in + H log2 P_out)
    read(P) = R D P_in / d, beside the step, where the data are not in the memory of the GPUs

with R rows per GPU, R_total rows of the whole batch, F operations per row (counted by torch, forward and backward), n
random numbers per row, M bytes of gradients, D bytes per row, P = P_in x P_out GPUs, of which P_in = 8 share a machine.

python benchmarks/scale.py
"""

import argparse
import math
from dataclasses import dataclass

import torch
from pairs import pair_of, to_floats
from torch.utils.flop_counter import FlopCounterMode
from workloads import WORKLOADS

from pyrovae.inference import ELBO

LAUNCH = 150e-6
"""a: what a step takes however few rows it has: some hundred kernels, launched as one CUDA graph. An assumption."""
ARITHMETIC = 20e12
"""f: operations per second that products of this size reach, of 67e12 in float32 on an H100. An assumption."""
NOISE = 200e9
"""g: random numbers per second, which are written to memory: 4 bytes each, at a quarter of 3.3 TB/s."""
INSIDE, OUTSIDE = 200e9, 40e9
"""w: bytes per second of a sum inside a machine (NVLink), and between machines (400 Gb/s for each GPU)."""
HOP_INSIDE, HOP_OUTSIDE = 3e-6, 10e-6
"""h, H: seconds of one hop of a small message."""
READER = 2e9
"""d: bytes per second of random rows that one machine reads from memory or an NVMe disk."""
MACHINE = 8
GPUS = (1, 8, 64, 1024)
BATCH = 8192
"""The whole batch of strong scaling; of weak scaling, the rows of each GPU."""


@dataclass(frozen=True)
class Work:
    """What a step of a cell takes: operations, random numbers and bytes of a row, and bytes of the gradients."""

    operations: float
    noise: int
    row: int
    gradients: int

    @classmethod
    def of(cls, cell: str) -> "Work":
        """Counted on one batch.

        Args:
            cell: a cell of the grid of workloads.py.
        """
        torch.manual_seed(0)
        work = WORKLOADS[cell]
        model, guide = pair_of(work)
        x = (torch.rand(work.batch_size, *work.event) > 0.8).to(torch.uint8) * 255
        with FlopCounterMode(display=False) as counter:
            ELBO().differentiable_loss(model, guide, to_floats(x)).backward()
        parameters = {p for part in (model, guide) for p in part.parameters()}
        size = sum(parameter.numel() for parameter in parameters)
        return cls(counter.get_total_flops() / work.batch_size, sum(work.latent), math.prod(work.event), 4 * size)


def seconds(work: Work, gpus: int, rows: float, noise: int) -> dict[str, float]:
    """The parts of a step on some GPUs, and the time in which a machine reads its rows.

    Args:
        work: what a step takes.
        gpus: how many.
        rows: of each GPU.
        noise: random numbers of a row.
    """
    inside, outside = min(gpus, MACHINE), max(1, gpus // MACHINE)
    width = OUTSIDE if outside > 1 else INSIDE
    hops = HOP_INSIDE * math.log2(inside) + HOP_OUTSIDE * math.log2(outside)
    return {
        "launch": LAUNCH,
        "compute": rows * work.operations / ARITHMETIC,
        "noise": noise * rows * gpus / NOISE,
        "network": 2 * (1 - 1 / gpus) * work.gradients / width + 2 * hops,
        "reader": rows * inside * work.row / READER,
    }


def row(work: Work, gpus: int, rows: float, noise: int) -> tuple[float, str]:
    """The time of a step, and a row of the table."""
    parts = seconds(work, gpus, rows, noise)
    read = parts.pop("reader")
    whole, largest = sum(parts.values()), max(parts, key=lambda name: parts[name])
    columns = [f"{1e6 * value:,.0f}" for value in parts.values()]
    return whole, f"{' | '.join(columns)} | {1e6 * whole:,.0f} | {largest} | {1e6 * read:,.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="*", default=("dense-128", "conv-128", "ladder-128"))
    parser.add_argument(
        "--pixels", action="store_true", help="a transform that draws each pixel anew, such as Binarize()"
    )
    flags = parser.parse_args()
    for cell in flags.cells:
        work = Work.of(cell)
        noise = work.noise + (work.row if flags.pixels else 0)
        print(
            f"\n{cell}: {work.operations / 1e6:.2f} Mflop, {noise} random numbers and {work.row} bytes a row, ", end=""
        )
        print(f"{work.gradients / 1e6:.2f} MB of gradients. Times in microseconds")
        print("| scaling | GPUs | launch | compute | noise | network | step | largest | read | rows/s over 1 GPU |")
        print("|---|---|---|---|---|---|---|---|---|---|")
        for name in ("strong", "weak"):
            first = row(work, 1, BATCH, noise)[0]
            for gpus in GPUS:
                rows = BATCH / gpus if name == "strong" else BATCH
                whole, columns = row(work, gpus, rows, noise)
                faster = first / whole if name == "strong" else gpus * first / whole
                print(f"| {name} | {gpus:,} | {columns} | {faster:,.1f} |")


if __name__ == "__main__":
    main()
