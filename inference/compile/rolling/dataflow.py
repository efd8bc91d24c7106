"""The dataflow of a graph without its views: which operation reads which result, through which chain of views."""

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx
from torch.fx.node import map_arg

__all__ = ["SELECT", "Dataflow", "Source", "Step", "aten", "is_random", "is_scattered", "replaced", "shape_of"]

aten = torch.ops.aten
SELECT = aten.select.int

Step = tuple[Any, tuple]
"""A view: its operation, and the arguments after the tensor."""

_VIEWS = {
    aten.t.default, aten.transpose.int, aten.permute.default, aten.view.default, aten._unsafe_view.default,
    aten.expand.default, aten.unsqueeze.default, aten.squeeze.dim, aten.squeeze.dims, aten.select.int,
    aten.slice.Tensor,
}  # fmt: skip
_SAME = {aten.detach.default, aten.alias.default}
_SPLITS = {aten.unbind.int, aten.split.Tensor, aten.split_with_sizes.default}
_TRANSPOSED: tuple[Step, ...] = ((aten.t.default, ()),)
_IN_PLACE_VIEWS = {aten.transpose_.default: aten.transpose.int, aten.t_.default: aten.t.default}


@dataclass(frozen=True)
class Source:
    """Where an operation reads: a result, seen through a chain of views.

    Args:
        base: the node of the result.
        chain: the views, the first one first.
    """

    base: fx.Node
    chain: tuple[Step, ...] = ()


class Dataflow:
    """The operations of a graph in their order, without views and without those whose results nothing reads.

    An operation in place on a whole new tensor is listed as its functional counterpart, in `functional`: what reads
    the tensor later reads the new result. Any other operation in place is in `fixed`, and never part of a loop.

    Args:
        graph: a graph of ATen operations.
    """

    def __init__(self, graph: fx.Graph) -> None:
        self.functional: dict[fx.Node, Any] = {}
        self.fixed: set[fx.Node] = set()
        self._sources: dict[fx.Node, Source] = {}
        self._reads: dict[fx.Node, list[Source]] = {}
        self._constants: list[tuple[fx.Node, torch.Tensor]] = []
        self._latest: dict[fx.Node, fx.Node] = {}  # from a result to what an operation in place made of it
        operations = [node for node in graph.nodes if node.op == "call_function" and not self._is_view(node)]
        self.output = next(iter(graph.find_nodes(op="output")))
        for node in [*operations, self.output]:
            self._reads[node] = [self._now(self.source(argument)) for argument in arguments(node)]
            self._sort(node)
        self.nodes = self._read(operations)
        self.index = {node: i for i, node in enumerate(self.nodes)}

    def source(self, node: fx.Node) -> Source:
        """The result that a node is a view of, and the views.

        Args:
            node: any node with the value of a tensor.
        """
        found = self._sources.get(node)
        if found is None:
            found = self._sources[node] = self._find(node)
        return found

    def reads(self, node: fx.Node) -> list[Source]:
        """The sources of the tensors among a node's arguments, in the order of the arguments.

        Args:
            node: an operation, or the output.
        """
        return self._reads[node]

    def signatures(self) -> list[int]:
        """A number for each operation; those with equal numbers do the same to tensors of the same shapes."""
        known: dict[Any, int] = {}
        return [known.setdefault(self._signature(node), len(known)) for node in self.nodes]

    def _signature(self, node: fx.Node) -> Any:
        if node in self.fixed:
            return node
        literals = map_arg((node.args, node.kwargs), lambda _: None)
        shapes = tuple(shape_of(argument) for argument in arguments(node))
        return self.functional.get(node, node.target), _hashable(literals), shapes, shape_of(node)

    def _now(self, source: Source) -> Source:
        """What is read where operations in place have changed a result meanwhile."""
        base = source.base
        while base in self._latest:
            base = self._latest[base]
        return source if base is source.base else Source(base, source.chain)

    def _sort(self, node: fx.Node) -> None:
        """Decide whether an operation in place has a functional counterpart here."""
        schema = getattr(node.target, "_schema", None)
        if schema is None or not schema.is_mutable:
            return
        counterpart, changed = _counterpart(node.target), self._reads[node][:1]
        if counterpart is not None and changed and self._is_fresh(changed[0]) and _keeps_dtype(node):
            self.functional[node] = counterpart
            self._latest[changed[0].base] = node
        else:
            self.fixed.add(node)

    def _is_fresh(self, source: Source) -> bool:
        """Whether this is a whole new tensor, not a view of another one."""
        base = source.base
        if source.chain or base.op != "call_function" or base in self.fixed:
            return False
        returns = getattr(getattr(base.target, "_schema", None), "returns", ())
        return base in self.functional or all(value.alias_info is None for value in returns)

    def _read(self, operations: list[fx.Node]) -> list[fx.Node]:
        """The operations that have an effect, or whose results something reads."""
        needed = {source.base for source in self.reads(self.output)}
        kept = []
        for node in reversed(operations):
            if node in needed or node in self.fixed or is_random(node.target):
                needed.update(source.base for source in self.reads(node))
                kept.append(node)
        return kept[::-1]

    def _is_view(self, node: fx.Node) -> bool:
        if node.target is operator.getitem:
            source: Any = node.args[0]
            return source.target in _SPLITS
        if node.target in _IN_PLACE_VIEWS:
            first: Any = node.args[0]
            return len(first.users) == 1 and first.op == "call_function"
        return node.target in _VIEWS or node.target in _SAME or node.target in _SPLITS

    def _constant(self, node: fx.Node) -> fx.Node:
        """The first constant with the same number: each turn of a Python loop leaves one of its own."""
        value = getattr(node.graph.owning_module, str(node.target), None)
        if not isinstance(value, torch.Tensor) or value.numel() != 1:
            return node
        for other, known in self._constants:
            if (value.dtype, value.shape, value.device) == (known.dtype, known.shape, known.device) and value == known:
                return other
        self._constants.append((node, value))
        return node

    def _find(self, node: fx.Node) -> Source:
        if node.op == "get_attr":
            return Source(self._constant(node))
        if node.op != "call_function" or not self._is_view(node):
            return Source(node)
        first: Any = node.args[0]
        if node.target in _SAME:
            return self.source(first)
        if node.target is operator.getitem:
            below = self.source(first.args[0])
            return Source(below.base, (*below.chain, _part(first, node.args[1])))
        if node.target in _SPLITS:
            return Source(node)
        below = self.source(first)
        called: Any = node.target
        target = _IN_PLACE_VIEWS.get(called, called)
        steps = _steps(target, _hashable(tuple(node.args[1:])), first)
        if steps == _TRANSPOSED == below.chain[-1:]:
            return Source(below.base, below.chain[:-1])
        return Source(below.base, below.chain + steps)


def _steps(target: Any, rest: tuple, whole: fx.Node) -> tuple[Step, ...]:
    """A view as steps; a slice of length 1 is a selection, which loops know."""
    if target is aten.slice.Tensor and len(rest) == 3 and rest[2] - rest[1] == 1 and rest[1] >= 0:
        dim = _axis(rest[0], whole.meta["val"])
        return (SELECT, (dim, rest[1])), (aten.unsqueeze.default, (dim,))
    return ((target, rest),)


def _part(split: fx.Node, number: Any) -> Step:
    """One of the parts into which a tensor is split, as a view of that tensor."""
    whole = split.args[0].meta["val"]  # type: ignore[union-attr]
    if split.target is aten.unbind.int:
        return SELECT, (_axis(split.args[1] if len(split.args) > 1 else 0, whole), number)
    dim = _axis(split.args[2] if len(split.args) > 2 else 0, whole)
    sizes: Any = split.args[1]
    start = sum(sizes[:number]) if isinstance(sizes, list | tuple) else sizes * number
    size = sizes[number] if isinstance(sizes, list | tuple) else sizes
    return aten.slice.Tensor, (dim, start, min(start + size, whole.shape[dim]))


def _axis(dim: Any, tensor: torch.Tensor) -> int:
    return dim % tensor.dim()


def arguments(node: fx.Node) -> list[fx.Node]:
    """The nodes among the arguments of a node, in their order.

    Args:
        node: any node.
    """
    found: list[fx.Node] = []
    map_arg((node.args, node.kwargs), found.append)
    return found


def replaced(node: fx.Node, values: Iterator[Any]) -> tuple[tuple, dict[str, Any]]:
    """The arguments of a node, with its nodes replaced.

    Args:
        node: any node.
        values: what stands for each node among the arguments, in their order.
    """
    change: Callable[[fx.Node], Any] = lambda _: next(values)  # noqa: E731
    return map_arg((node.args, node.kwargs), change)


def shape_of(node: fx.Node) -> Any:
    """Shape and dtype of the value of a node, a tuple of them for several tensors.

    Args:
        node: any node.
    """
    value = node.meta.get("val")
    if isinstance(value, tuple | list):
        return tuple((tuple(v.shape), v.dtype, v.device) for v in value if isinstance(v, torch.Tensor))
    return (tuple(value.shape), value.dtype, value.device) if isinstance(value, torch.Tensor) else None


def is_random(target: Any) -> bool:
    """Whether an operation draws random numbers.

    Args:
        target: what a node calls.
    """
    return torch.Tag.nondeterministic_seeded in getattr(target, "tags", ())


def is_scattered(flow: Dataflow, node: fx.Node) -> bool:
    """Whether an operation draws random numbers in place in a tensor that is not contiguous.

    Args:
        flow: the operations of the graph.
        node: one of them.
    """
    drawn = node in flow.functional and is_random(flow.functional[node])
    return drawn and not node.meta["val"].is_contiguous()


def _counterpart(target: Any) -> Any:
    """The functional counterpart of an operation in place."""
    if target is aten.normal_.default:
        return aten.normal_functional.default
    if target is aten.bernoulli_.float:
        return aten.bernoulli.p
    namespace, name = target._schema.name.split("::")
    packet = getattr(getattr(torch.ops, namespace), name.removesuffix("_"), None) if name.endswith("_") else None
    return None if packet is None else getattr(packet, target._overloadname, None)


def _keeps_dtype(node: fx.Node) -> bool:
    """Whether the functional counterpart of an operation in place gives the dtype of the tensor that it changes."""
    first, *others = [argument.meta["val"].dtype for argument in arguments(node)]
    return all(other == first or (first.is_floating_point and not other.is_floating_point) for other in others)


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((key, _hashable(part)) for key, part in value.items())
    return value
