"""A batch: what every program and every tool gets."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["Batch"]

Batch = Mapping[str, Tensor]
"""Named tensors that share their leading dimension, one row for each data point."""
