"""Counts of genes in cells, drawn from a known program."""

import numpy as np
import torch

from pyrovae.data.dataset import Batch, Dataset, first

__all__ = ["load_cells"]

SPLITS = {"train": 1_600, "valid": 200, "test": 200}
GENES, TYPES, BATCHES, PROGRAMMES = 500, 6, 2, 4
"""Genes; types of cells; batches; programmes, each of which raises some genes and lowers others in all types."""

TOTAL, SPREAD = (1_200.0, 2_000.0), 0.35
"""The median of a cell's expected total in each batch, and the scale of its logarithm."""


def load_cells(valid: int | None) -> Dataset:
    """Counts of 500 genes in cells of six types, from two batches; 1,600 / 200 / 200.

    y ~ Categorical; u ~ Normal(0, I), four programmes; l ~ LogNormal by batch s;
    x_g ~ NegativeBinomial(mean = l softmax(base + type_y + u W + shift_s)_g, r_g).

    Args:
        valid: the number of validation cells, the first ones; all 200 by default.

    Raises:
        DataError: there are not so many.
    """
    rng = np.random.default_rng(0)
    weights = _weights(rng)
    train, held, test = (_draw_cells(rng, size, *weights) for size in SPLITS.values())
    source = "drawn from a program of six types of cells, four programmes of genes and two batches"
    names = tuple(f"type {number}" for number in range(TYPES))
    return Dataset(train, first(held, valid), test, "cells", source, names)


def _weights(rng: "np.random.Generator") -> tuple[np.ndarray, ...]:
    """base `(G,)`, one row for each type, programme and batch, and r `(G,)`: most genes are rare, few mark a type."""
    base, r = 1.3 * rng.standard_normal(GENES), np.exp(0.7 + 0.7 * rng.standard_normal(GENES))
    types = 1.5 * rng.standard_normal((TYPES, GENES)) * (rng.random((TYPES, GENES)) < 0.1)
    programmes = 0.5 * rng.standard_normal((PROGRAMMES, GENES)) * (rng.random((PROGRAMMES, GENES)) < 0.3)
    return base, types, programmes, 0.3 * rng.standard_normal((BATCHES, GENES)), r


def _draw_cells(
    rng: "np.random.Generator",
    size: int,
    base: np.ndarray,
    types: np.ndarray,
    programmes: np.ndarray,
    shifts: np.ndarray,
    r: np.ndarray,
) -> Batch:
    """`size` cells: their counts, totals, batches and types."""
    y, batch = rng.integers(TYPES, size=size), rng.integers(BATCHES, size=size)
    logits = base + types[y] + rng.standard_normal((size, PROGRAMMES)) @ programmes + shifts[batch]
    share = np.exp(logits - logits.max(-1, keepdims=True))
    total = np.array(TOTAL)[batch] * np.exp(SPREAD * rng.standard_normal(size))
    mean = total[:, None] * share / share.sum(-1, keepdims=True)
    x = torch.from_numpy(rng.poisson(rng.gamma(r, mean / r)).astype(np.float32))
    return {"x": x, "total": x.sum(-1), "batch": torch.from_numpy(batch), "y": torch.from_numpy(y)}
