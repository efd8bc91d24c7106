"""The labels that networks take as inputs: which tensor of a batch they are, and how many values they may have."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, cast

import torch
from torch import Tensor, nn

from pyrovae.data import Batch
from pyrovae.errors import ShapeError, SupportError
from pyrovae.inference.pair.contract import ProgramLike, modules
from pyrovae.networks.joint import JointMLP

__all__ = ["LabelInputs", "check_labels"]


class LabelInputs:
    """While this context is open, it finds the tensors of a batch that networks take as labels.

    Args:
        programs: models and guides.
        batch: named tensors, the arguments of the programs that run inside.

    Attributes:
        classes: the number of values of each label that was found, by name.

    Raises:
        ShapeError: inside, a network takes labels of shape `(B, 1)`.
    """

    def __init__(self, *programs: ProgramLike, batch: Batch) -> None:
        self.classes: dict[str, int] = {}
        layers = [layer for module in modules(*programs) for layer in module.modules()]
        self._layers = [layer for layer in layers if isinstance(layer, JointMLP | nn.Embedding)]
        self._labels = {name: tensor for name, tensor in batch.items() if not _is_float(tensor)}
        self._hooks: list[Any] = []

    def __enter__(self) -> "LabelInputs":
        if self._labels:
            self._hooks = [layer.register_forward_pre_hook(self._see) for layer in self._layers]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def _see(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        for number, x in enumerate(inputs):
            name = _named(self._labels, x)
            if name is None:
                continue
            classes = layer.sizes[number] if isinstance(layer, JointMLP) else cast(nn.Embedding, layer).num_embeddings
            if isinstance(layer, JointMLP):
                self._require_flat(name, x)
            self.classes[name] = min(classes, self.classes.get(name, classes))

    def _require_flat(self, name: str, x: Tensor) -> None:
        if x.dim() > 1 and x.shape[-1] == 1:
            raise ShapeError(
                f"Labels require the shape (B,), one for each data point, got '{name}' of shape "
                f"{tuple(x.shape)}. Write {name}.squeeze(-1)."
            )


def check_labels(batch: Batch, classes: Mapping[str, int]) -> None:
    """Labels are whole numbers from 0 to K - 1.

    Args:
        batch: named tensors.
        classes: K of each label, by name: what `LabelInputs` found.

    Raises:
        SupportError: a label is another number. The networks would take it for no label at all.
    """
    for name, values in classes.items():
        label = batch[name]
        wrong = (label < 0) | (label >= values)
        if wrong.any():
            rows = wrong.reshape(len(label), -1).any(1)
            raise SupportError(
                f"The pair requires labels '{name}' in {{0, ..., {values - 1}}}, got {label[wrong][0].item()} "
                f"({int(rows.sum())} of {len(label)} rows). Number the labels from 0."
            )


def _named(labels: Mapping[str, Tensor], x: Any) -> str | None:
    """The name of the tensor that a network takes."""
    if not isinstance(x, Tensor) or _is_float(x):
        return None
    same = (name for name, label in labels.items() if label.shape == x.shape and torch.equal(label, x))
    return next(same, None)


def _is_float(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()
