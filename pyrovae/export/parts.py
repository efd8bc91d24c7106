"""The two halves of a pair as modules of tensors: data to q(z | x), and codes to p(x | z)."""

import builtins
import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import pyro
import torch
from pyro import poutine
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from pyrovae.data import Batch, Binarize, Scale
from pyrovae.errors import ExportError, ShapeError
from pyrovae.export.distributions import code, parameters
from pyrovae.inference.pair.contract import ProgramLike, Site, batch_size, call, local_params, modules, required
from pyrovae.inference.pair.entry import entered
from pyrovae.inference.pair.handlers import PutValues
from pyrovae.inference.pair.on_data import given
from pyrovae.inference.pair.running import Transform, evaluating, seeded, transformed
from pyrovae.inference.pair.scoring import is_global
from pyrovae.inference.pair.tracing import sites, trace_pair

__all__ = ["ROWS", "Part", "decoder", "encoder"]

ROWS = 13
"""Data points of the example. A prime, which hardly any network has as a width: the batch stays a dimension apart."""


class Part(nn.Module, ABC):
    """One half of a pair, as a function of tensors: call it with the tensors named in `inputs`, in this order.

    It returns a dict. The key of a site, such as `z`, holds its mean; a key such as `z.loc` holds a parameter of its
    distribution. It owns a copy of the pair on the CPU, whose weights require no gradient.

    Args:
        model, guide: the pair.

    Attributes:
        inputs: the names of the tensors that it takes.
        outputs: the names of the tensors that it returns.
        example: inputs of a few data points, for tracing and for checks.
        shared: the names of inputs without a batch dimension: latents outside the plate "data".
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: dict[str, Tensor]
    shared: frozenset[str] = frozenset()

    def __init__(self, model: ProgramLike, guide: ProgramLike) -> None:
        super().__init__()
        self.model, self.guide = model, guide

    @property
    @abstractmethod
    def program(self) -> ProgramLike:
        """The program that it runs."""

    @abstractmethod
    def run(self, tensors: Batch, size: Any) -> dict[str, Tensor]:
        """The outputs for named `tensors` of `size` data points."""

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """The outputs for `tensors`, one for each name in `inputs`, `(B, *)` each.

        Raises:
            ShapeError: another number of tensors.
        """
        if len(tensors) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise ShapeError(f"The exported module requires {names}, got {len(tensors)} tensors. Write part({names}).")
        named = dict(zip(self.inputs, tensors, strict=True))
        size = next((tensor.shape[0] for name, tensor in named.items() if name not in self.shared), 1)
        symbolic = _symbolic_lengths() if torch.compiler.is_exporting() else nullcontext()
        with symbolic, local_params(*self._programs()), pyro.validation_enabled(False):
            return self.run(named, size)

    def _programs(self) -> tuple[ProgramLike, ProgramLike]:
        return self.model, self.guide

    def settle(self, candidates: Batch) -> "Part":
        """Find the inputs among some tensors: those that the program requires, or whose values it uses.

        Args:
            candidates: tensors by name, which become the example.

        Raises:
            ExportError: a distribution has no mean in closed form.
        """
        self.inputs = tuple(candidates)
        with torch.no_grad(), _Used(candidates) as used:
            found = self(*candidates.values())
        self.inputs = tuple(n for n in candidates if n in used.names or n in required(self.program))
        self.example, self.outputs = {name: candidates[name] for name in self.inputs}, tuple(found)
        for name, tensor in found.items():
            if "." not in name and tensor.is_floating_point() and tensor.numel() and tensor.isnan().all():
                raise ExportError(
                    f"An export requires a mean at site '{name}', got NaN for each data point: its distribution has "
                    "none. Write a distribution that has a mean, such as Normal."
                )
        return self.eval()


class Encoder(Part):
    """x -> q(z | x). Built by `encoder`, which documents the arguments."""

    def __init__(self, model: ProgramLike, guide: ProgramLike, transform: Transform) -> None:
        super().__init__(model, guide)
        self.transform = transform

    @property
    def program(self) -> ProgramLike:
        return self.guide

    def run(self, tensors: Batch, size: Any) -> dict[str, Tensor]:
        with poutine.trace() as tracer, PutValues(code):
            call(self.guide, transformed(tensors, self.transform), data_size=size)
        return _outputs(tracer.trace)


class Decoder(Part):
    """z -> p(x | z). Built by `decoder`, which documents the arguments."""

    def __init__(self, model: ProgramLike, guide: ProgramLike, codes: Iterable[str], shared: Iterable[str]) -> None:
        super().__init__(model, guide)
        self.codes, self.shared = frozenset(codes), frozenset(shared)

    @property
    def program(self) -> ProgramLike:
        return self.model

    def run(self, tensors: Batch, size: Any) -> dict[str, Tensor]:
        def value_of(site: Site) -> Tensor:
            name = site["name"]
            if name not in self.codes:
                return code(site)
            return tensors[name] if is_global(site) else tensors[name].movedim(0, len(site["fn"].batch_shape) - 1)

        conditions = {name: tensor for name, tensor in tensors.items() if name not in self.codes}
        with poutine.trace() as tracer, PutValues(value_of):
            call(self.model, conditions, size=size, data_size=size)
        return _outputs(tracer.trace, without=self.codes)


def encoder(model: ProgramLike, guide: ProgramLike, batch: Batch, *, transform: Transform | None = None) -> Part:
    """The guide as a module of tensors: data -> the parameters of q(z | x) at each latent site.

    Its inputs are the tensors of the batch that the guide uses, of their types: bytes if the data are bytes, because
    the transform is inside. A label that the guide infers is an output alone. For the latent `z` the outputs are `z`,
    its mean, and parameters such as `z.loc` and `z.scale`, `(B, *plates, *)`. In a hierarchy the parameters of a level
    are those given the means of the levels before it.

    A module draws no random numbers. `Binarize("dynamic")` and `Binarize("static")` are replaced by the probabilities
    that they draw from, x / 255; a threshold stays one. What a transform's `prepare` does once per split is not inside.

    Args:
        model, guide: the pair; the module owns a copy.
        batch: named tensors of a few data points, as every tool takes them.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.

    Raises:
        ExportError: a distribution has no mean in closed form.
        DataError, PairError, ShapeError: as in `encode`.
    """
    return _encoder(_Opened("encoder", model, guide, batch, transform))


def decoder(model: ProgramLike, guide: ProgramLike, batch: Batch, *, transform: Transform | None = None) -> Part:
    """The model as a module of tensors: codes -> the mean and the parameters of p(x | z) at each observed site.

    Its inputs are the codes of all latent sites, `(B, *plates, *event)`, and the tensors that the model conditions on,
    such as a label, as the transform leaves them. The outputs are `x`, the mean, and parameters such as `x.logits`.

    Args:
        model, guide, batch, transform: as in `encoder`; the guide encodes the batch, so that the example has codes.

    Raises:
        ExportError: a distribution has no mean in closed form.
        DataError, PairError, ShapeError: as in `decode`.
    """
    opened = _Opened("decoder", model, guide, batch, transform)
    first = _encoder(opened)
    with torch.no_grad():
        found = first(*first.example.values())
    codes = {name: found[name] for name in opened.latents if name in found}
    part = Decoder(opened.model, opened.guide, codes, opened.shared)
    return part.settle({**codes, **{name: opened.batch[name] for name in opened.given}})


class _Opened:
    """A copy of a pair on the CPU with an example, and what the sites and tensors are.

    Attributes:
        model, guide: the copy.
        transform: the transform without draws.
        example: 13 data points.
        batch: the example as the transform leaves it.
        latents: the names of the latent sites.
        shared: those of the latent sites that all data points share.
        given: the names of the tensors that the model conditions on.
    """

    def __init__(
        self, what: str, model: ProgramLike, guide: ProgramLike, batch: Batch, transform: Transform | None
    ) -> None:
        self.transform: Transform = Scale() if transform is None or _draws(transform) else transform
        data = entered(what, batch, self.transform, model, guide)
        rows = torch.arange(ROWS) % batch_size(data)
        self.example = {name: tensor.cpu()[rows] for name, tensor in data.items()}
        self.model, self.guide = copy.deepcopy((model, guide))
        for module in modules(self.model, self.guide):
            module.cpu().eval().requires_grad_(False)
        self.batch = transformed(self.example, self.transform)
        with evaluating(self.model, self.guide), seeded(0, torch.device("cpu")):
            traces = trace_pair(self.model, self.guide, self.batch, data_size=ROWS)
        latent = traces.latent()
        self.latents = list(latent)
        self.shared = [name for name, (site, _) in latent.items() if is_global(site)]
        self.given = list(given(traces, self.batch))


def _encoder(opened: _Opened) -> Encoder:
    """The guide of an opened pair; labels that it infers are not among its inputs."""
    inferred = {name for name in opened.latents if name in opened.example} - {*required(opened.guide)}
    part = Encoder(opened.model, opened.guide, opened.transform)
    part.settle({name: t for name, t in opened.example.items() if name not in inferred})
    return part


def _draws(transform: Any) -> bool:
    return isinstance(transform, Binarize) and transform.mode != "threshold"


def _outputs(trace: Trace, without: Iterable[str] = ()) -> dict[str, Tensor]:
    """The value and the parameters of each site, the plate "data" first."""
    found: dict[str, Tensor] = {}
    for name, site in sites(trace).items():
        if name in without or site["infer"].get("is_auxiliary"):
            continue
        dims = 1 if is_global(site) else len(site["fn"].batch_shape)
        tensors = {name: site["value"]}
        tensors |= {f"{name}.{parameter}": t for parameter, t in parameters(site["fn"], site["value"]).items()}
        found |= {key: t.movedim(dims - 1, 0) if t.dim() >= dims > 1 else t for key, t in tensors.items()}
    return found


class _Used(TorchFunctionMode):
    """Notes the tensors that any function of torch takes, except those that only ask for a shape.

    Args:
        tensors: the tensors to watch, by name.

    Attributes:
        names: the names of those that were taken.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.names: set[str] = set()
        self._known = {id(tensor): name for name, tensor in tensors.items()}

    def __torch_function__(
        self, func: Callable, types: Any, args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func not in _SHAPES:
            leaves = torch.utils._pytree.tree_leaves((args, kwargs))
            self.names |= {self._known[id(leaf)] for leaf in leaves if id(leaf) in self._known}
        return func(*args, **(kwargs or {}))


_PROPERTIES: tuple[Any, ...] = (Tensor.shape, Tensor.ndim, Tensor.dtype, Tensor.device)
_SHAPES = {Tensor.__len__, Tensor.size, Tensor.dim, *(one.__get__ for one in _PROPERTIES)}


@contextmanager
def _symbolic_lengths() -> Iterator[None]:
    """While torch traces a program, `len(x)` of a tensor is a symbol, so that a plate of that size has any size."""
    length = builtins.len

    def symbolic(x: Any) -> Any:
        return x.shape[0] if isinstance(x, Tensor) and x.dim() else length(x)

    with mock.patch("builtins.len", symbolic):
        yield
