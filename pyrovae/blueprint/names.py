"""The classes that a blueprint may name."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from functools import cache
from importlib import import_module
from typing import Any

from torch import nn

from pyrovae.errors import FolderError, UnknownClassError
from pyrovae.recorded import Recorded

__all__ = ["TORCH", "Names", "attributes_of", "is_layer", "known_layers"]

_PACKAGES = (
    "pyrovae.networks",
    "pyrovae.models",
    "pyrovae.models.decoders",
    "pyrovae.models.distributions",
    "pyrovae.models.likelihoods",
    "pyrovae.models.priors",
    "pyrovae.guides",
    "pyrovae.data",
    "pyrovae.data.table",
    "pyrovae.inference.objectives",
    "pyrovae.inference.estimators.columns",
)
"""Where the suite exports its classes; the first one that exports a class gives it its name."""

_CONVOLUTION = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
_TRANSPOSED = (*_CONVOLUTION, "output_padding")
_RECURRENT = ("input_size", "hidden_size", "num_layers", "batch_first", "dropout", "bidirectional")
_BATCH_NORM = ("num_features", "eps", "momentum", "affine", "track_running_stats")
_POOL = ("kernel_size", "stride", "padding", "ceil_mode")

TORCH: dict[str, tuple[str, ...]] = {
    "Linear": ("in_features", "out_features"),
    "Conv1d": _CONVOLUTION,
    "Conv2d": _CONVOLUTION,
    "ConvTranspose1d": _TRANSPOSED,
    "ConvTranspose2d": _TRANSPOSED,
    "BatchNorm1d": _BATCH_NORM,
    "BatchNorm2d": _BATCH_NORM,
    "LayerNorm": ("normalized_shape", "eps", "elementwise_affine"),
    "GroupNorm": ("num_groups", "num_channels", "eps", "affine"),
    "Embedding": ("num_embeddings", "embedding_dim", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq"),
    "GRU": _RECURRENT,
    "LSTM": _RECURRENT,
    "RNN": (*_RECURRENT, "nonlinearity"),
    "MaxPool2d": _POOL,
    "AvgPool2d": _POOL,
    "AdaptiveAvgPool2d": ("output_size",),
    "Upsample": ("size", "scale_factor", "mode", "align_corners"),
    "Dropout": ("p", "inplace"),
    "Dropout2d": ("p", "inplace"),
    "Flatten": ("start_dim", "end_dim"),
    "Unflatten": ("dim", "unflattened_size"),
    "ReLU": ("inplace",),
    "LeakyReLU": ("negative_slope", "inplace"),
    "ELU": ("alpha", "inplace"),
    "SELU": ("inplace",),
    "SiLU": ("inplace",),
    "GELU": ("approximate",),
    "GLU": ("dim",),
    "Softplus": ("beta", "threshold"),
    "Softmax": ("dim",),
    "Hardtanh": ("min_val", "max_val", "inplace"),
    "Tanh": (),
    "Sigmoid": (),
    "Identity": (),
    "Sequential": (),
    "ModuleList": (),
}
"""The modules of torch that a blueprint may name, and the attributes that are the arguments of each."""

_WITH_BIAS = ("Linear", "Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d", "LayerNorm")


def is_layer(module: nn.Module) -> bool:
    """Whether a module is one of torch's that a blueprint may name.

    Args:
        module: any module.
    """
    return type(module) in known_layers()


@cache
def known_layers() -> frozenset[type]:
    """The modules of torch that a blueprint may name."""
    return frozenset(getattr(nn, name) for name in TORCH)


def attributes_of(layer: nn.Module) -> dict[str, Any]:
    """The arguments that one of torch's modules was built with, read off its attributes.

    Args:
        layer: a module for which `is_layer` holds.
    """
    name = type(layer).__name__
    arguments = {attribute: getattr(layer, attribute) for attribute in TORCH[name]}
    if name in _WITH_BIAS:
        arguments["bias"] = layer.bias is not None
    if isinstance(layer, nn.RNNBase):
        arguments["bias"] = layer.bias
    return arguments


@cache
def _listed() -> dict[str, type]:
    """The classes of the suite and of torch by name."""
    found: dict[str, type] = {f"torch.nn.{kind.__name__}": kind for kind in known_layers()}
    for package in _PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            value = getattr(module, name)
            if isinstance(value, type) and (issubclass(value, Recorded) or is_dataclass(value)):
                found.setdefault(f"{package}.{name}", value)
    return found


MOST = 10
"""How many classes a message names at most."""


def _named_in(entries: Any) -> Iterator[str]:
    """The names of classes anywhere in some entries."""
    if isinstance(entries, dict):
        if isinstance(entries.get("class"), str):
            yield entries["class"]
        entries = list(entries.values())
    for part in entries if isinstance(entries, list) else []:
        yield from _named_in(part)


class Names:
    """From classes to names and back.

    Args:
        classes: the user's own classes, by their full name, or by their name in the module where they are defined.
        opened: the call that reads the folder, without its end, for the error: `load('mine'`.

    Raises:
        FolderError: one of `classes` is no class, or two have the same name.
    """

    def __init__(self, classes: Sequence[type] = (), opened: str = "load(folder") -> None:
        self._opened = opened
        self._own: dict[str, type] = {}
        if not isinstance(classes, list | tuple) or not all(isinstance(kind, type) for kind in classes):
            raise FolderError(f"classes requires a list of classes, got {str(classes)[:80]}. Write classes=[Mine].")
        for kind in classes:
            if self._own.setdefault(kind.__qualname__, kind) is not kind:
                raise FolderError(f"classes requires different names, got two {kind.__qualname__!r}. Rename one.")

    def of(self, kind: type) -> str:
        """The name of a class: that under which the suite or torch exports it, or its full name.

        Args:
            kind: the class.
        """
        names = {value: name for name, value in reversed(_listed().items())}
        return names.get(kind, f"{kind.__module__}.{kind.__qualname__}")

    def find(self, name: object) -> type:
        """The class behind a name.

        Args:
            name: the name, as a file has it.

        Raises:
            UnknownClassError: no class that is listed has this name.
        """
        if isinstance(name, str):
            if name in _listed():
                return _listed()[name]
            for own, kind in self._own.items():
                if f".{name}".endswith(f".{own}"):
                    return kind
        raise UnknownClassError(self._unknown([name]))

    def require(self, entries: Any) -> None:
        """Refuse entries that name classes that are not listed; the message names all of them.

        Args:
            entries: what describes a pair.

        Raises:
            UnknownClassError: some classes are not listed.
        """
        missing: list[object] = []
        for name in dict.fromkeys(_named_in(entries)):
            try:
                self.find(name)
            except UnknownClassError:
                missing.append(name)
        if missing:
            raise UnknownClassError(self._unknown(missing))

    def _unknown(self, missing: Sequence[object]) -> str:
        """Which classes are not listed, and the line that lists them."""
        names = [name for name in missing if isinstance(name, str) and re.fullmatch(r"[\w.<>]+", name)]
        own = [*(kind.__name__ for kind in self._own.values()), *(name.rpartition(".")[2] for name in names)]
        shown = ", ".join(ascii(name)[:100] for name in missing[:MOST])
        several = "classes" if len(missing) > 1 else "class"
        return (
            f"The folder names the {several} {shown}, neither pyrovae's nor a listed one of torch.nn. Where it is "
            f"your own, import it and write {self._opened}, classes=[{', '.join(own[:MOST]) or 'Mine'}])."
        )

    def listed(self, kind: type) -> bool:
        """Whether a class is the suite's, or one of the user's.

        Args:
            kind: the class.
        """
        return kind in _listed().values() or kind in self._own.values()
