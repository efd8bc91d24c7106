"""The tables of benchmarks/speed.py, in Markdown, from the lines that it wrote."""

import statistics
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from workloads import WORKLOADS

LABELS = {
    "pyro": "Pyro SVI, as its example",
    "pyro_memory": "Pyro SVI, in memory",
    "tutorial": "tutorial loop",
    "raw": "raw compiled PyTorch",
    "numpyro": "NumPyro fori_loop",
    "eager": "ours, eager",
}
BARS = {
    ("ours", "numpyro"): 0.90,
    ("ours", "raw"): 0.90,
    ("ours_bf16", "numpyro"): 0.65,
    ("ours_bf16", "raw"): 0.65,
    ("ours", "pyro_memory"): None,
}
"""The largest geometric mean of the ratios over the grid, (contestant, peer)."""
AGREEMENT = 1e-3
"""The largest relative difference of two losses of the same weights, noise and batch that rounding explains."""
Json = dict[str, Any]


class Cell:
    """What was measured of one cell.

    Args:
        name: the cell.
        lines: its lines.
    """

    def __init__(self, name: str, lines: Iterable[Json]) -> None:
        self.name, self.lines = name, list(lines)
        self.rounds = [line["replies"] for line in self.lines if line["kind"] == "round"]

    def found(self, kind: str) -> Json | None:
        """The last line of a kind."""
        return next((line for line in reversed(self.lines) if line["kind"] == kind), None)

    def values(self, who: str, key: str) -> list[float]:
        """What a contestant answered in each round."""
        return [replies[who][key] for replies in self.rounds if who in replies]

    def ratios(self, who: str, peer: str) -> list[float]:
        """The time of one step over that of the peer in each round."""
        both = [replies for replies in self.rounds if {who, peer} <= set(replies)]
        return [replies[who]["ms"] / replies[peer]["ms"] for replies in both]

    def doubts(self) -> dict[str, float]:
        """Contestant -> by how many nats its loss differs from ours, at the same weights, noise and batch."""
        start = self.found("cell")
        checks = start["check"] if start else {}
        ours = checks.get("ours", float("nan"))
        return {who: loss - ours for who, loss in checks.items() if not abs(loss - ours) <= AGREEMENT * abs(ours)}


def cells_of(lines: Iterable[Json], device: str) -> dict[str, Cell]:
    """The cells that were measured on a device, in the order of the grid."""
    mine = [line for line in lines if line.get("device") == device]
    cells = {name: Cell(name, (line for line in mine if line["cell"] == name)) for name in WORKLOADS}
    return {name: cell for name, cell in cells.items() if cell.rounds}


def ratio_rows(cell: Cell) -> Iterator[str]:
    """One line for each pair of contestants."""
    peers, doubts = WORKLOADS[cell.name].peers, cell.doubts()
    for who, peer in [*(("ours", peer) for peer in peers), ("ours_bf16", "numpyro"), ("ours_bf16", "raw")]:
        values = cell.ratios(who, peer)
        if not values:
            continue
        (low, high), ratio = np.quantile(values, (0.25, 0.75)), statistics.median(values)
        bar = peers[peer] if who == "ours" else None
        verdict = "–" if bar is None else f"<= {bar:.2f} {'holds' if ratio <= bar else 'MISSED'}"
        doubt = "; DOUBTFUL, see below" if {who, peer} & set(doubts) else ""
        ours, theirs = (statistics.median(cell.values(name, "ms")) for name in (who, peer))
        label = LABELS[peer] + (", ours in bf16" if who == "ours_bf16" else "")
        yield (
            f"| {cell.name} | {label} | {ours:.3f} | {theirs:.3f} | **{ratio:.3f}** ({low:.3f}–{high:.3f}) | "
            f"{verdict}{doubt} |"
        )


def mean_rows(cells: dict[str, Cell]) -> Iterator[str]:
    """The geometric mean of the ratios over the grid, without the table."""
    grid = {name: cell for name, cell in cells.items() if WORKLOADS[name].data != "table"}
    for (who, peer), bar in BARS.items():
        medians = {n: statistics.median(r) for n, cell in grid.items() if (r := cell.ratios(who, peer))}
        if medians:
            mean, worst = statistics.geometric_mean(medians.values()), max(medians, key=lambda n: medians[n])
            verdict = "–" if bar is None else f"<= {bar:.2f} {'holds' if mean <= bar else 'MISSED'}"
            yield (f"| {who} / {peer} | {len(medians)} | **{mean:.3f}** | {verdict} | {medians[worst]:.3f} ({worst}) |")


def matrix_rows(cells: dict[str, Cell], who: str, peer: str) -> Iterator[str]:
    """The ratios as a grid: one line for each architecture, one column for each batch size."""
    architectures = dict.fromkeys(name.rsplit("-", 1)[0] for name in cells if WORKLOADS[name].data != "table")
    sizes = sorted({WORKLOADS[name].batch_size for name in cells if WORKLOADS[name].data != "table"})
    yield f"| {who} / {peer} | " + " | ".join(map(str, sizes)) + " |"
    yield "|---|" + "---|" * len(sizes)
    for architecture in architectures:
        values = [cells[n].ratios(who, peer) if (n := f"{architecture}-{size}") in cells else [] for size in sizes]
        yield f"| {architecture} | " + " | ".join(f"{statistics.median(v):.3f}" if v else "–" for v in values) + " |"


def roofline_rows(cell: Cell) -> Iterator[str]:
    """Attained fractions: the time that the machine needs, over the time of the contestant."""
    roof = cell.found("roofline")
    for who in ("ours", "ours_bf16", "raw", "numpyro"):
        if roof and (ms := cell.values(who, "ms")):
            step = 1e-3 * statistics.median(ms)
            matrix = roof["matrix_seconds_bf16" if who == "ours_bf16" else "matrix_seconds"]
            yield (
                f"| {cell.name} | {who} | {roof['flops'] / 1e6:.1f} | {roof['flops'] / matrix / 1e9:.0f} "
                f"| {roof['bytes'] / 1e6:.1f} | {roof['bytes_per_second'] / 1e9:.0f} "
                f"| {matrix / step:.0%} | {roof['memory_seconds'] / step:.0%} |"
            )


def remarks(cell: Cell) -> Iterator[str]:
    """What is doubtful, what failed, and the losses at the end."""
    for who, gap in cell.doubts().items():
        yield f"{cell.name}: {who} starts {gap:+.4f} nats from ours: it may train another model."
    for line in cell.lines:
        if line["kind"] == "failed":
            yield f"{cell.name}: {line['contestant']} failed: {line['message']}"
    losses = {who: reply["loss"] for who, reply in cell.rounds[-1].items()}
    yield f"{cell.name}, {len(cell.rounds)} rounds, nats per data point: " + ", ".join(
        f"{who} {loss:.2f}" for who, loss in losses.items()
    )
    if first := cell.found("first_step"):
        for who, seconds in first["seconds"].items():
            yield (
                f"{cell.name}: first step, {who}: {seconds['first_epoch']:.1f} s "
                f"({seconds['process']:.1f} s with imports)"
            )


def report(lines: Iterable[Json], device: str) -> str:
    """All tables of one device."""
    cells = cells_of(lines, device)
    peaks = (
        f"| {name} | " + ", ".join(f"{who} {reply['peak_mb']:.0f}" for who, reply in cell.rounds[-1].items()) + " |"
        for name, cell in cells.items()
    )
    parts = [
        ["| contestants | cells | geometric mean | bar | largest |", "|---|---|---|---|---|", *mean_rows(cells)],
        *(list(matrix_rows(cells, who, peer)) for who, peer in BARS),
        [
            "| cell | against | ours, ms/step | theirs, ms/step | ratio (quartiles) | bar |",
            "|---|---|---|---|---|---|",
            *(row for cell in cells.values() for row in ratio_rows(cell)),
        ],
        [
            "| cell | contestant | MFLOP | GFLOP/s, at these shapes | MB | GB/s | matrix / step | memory / step |",
            "|---|---|---|---|---|---|---|---|",
            *(row for cell in cells.values() for row in roofline_rows(cell)),
        ],
        ["| cell | peak memory of each process, MB |", "|---|---|", *peaks],
        [remark for cell in cells.values() for remark in remarks(cell)],
    ]
    return "\n\n".join("\n".join(part) for part in parts)
