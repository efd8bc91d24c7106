"""Writing a graph anew, with loops."""

import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx

from pyrovae.inference.compile.rolling.batched import BATCHED
from pyrovae.inference.compile.rolling.dataflow import SELECT, Dataflow, Source, Step, aten, is_scattered, replaced
from pyrovae.inference.compile.rolling.loops import LEAST, Carried, Each, Indexed, Inside, Read, Same
from pyrovae.inference.compile.rolling.pieces import copied, free, listed, moved, reshape, zeros
from pyrovae.inference.compile.rolling.plan import Plan
from pyrovae.inference.compile.rolling.sums import TRANSPOSED, Sum, Term

__all__ = ["Writer"]


class Writer:
    """Writes the graph anew, with loops.

    Args:
        old: the module.
        flow: its operations.
        plans: of the loops, in their order.
    """

    def __init__(self, old: fx.GraphModule, flow: Dataflow, plans: list[Plan]) -> None:
        self.old, self.flow, self.plans = old, flow, plans
        self.graph, self.root = fx.Graph(), torch.nn.Module()
        self.new: dict[fx.Node, fx.Node] = {}
        self.place = {node: (plan, k, j) for plan in plans for k, turn in enumerate(plan.loop.turns)
                      for j, node in enumerate(turn)}  # fmt: skip
        self.stacks: dict[tuple[int, int], fx.Node] = {}  # by the start of the loop and the position
        self.fake = next(n.meta["val"] for n in old.graph.nodes if isinstance(n.meta.get("val"), Tensor)).fake_mode

    def module(self) -> fx.GraphModule:
        """The module with loops."""
        for node in self.old.graph.nodes:
            if node.op == "placeholder":
                self.new[node] = self.graph.node_copy(node)
        for node in self.old.graph.find_nodes(op="get_attr"):
            setattr(self.root, node.target, getattr(self.old, node.target))
            self.new[node] = self.graph.node_copy(node)
        ends = {plan.loop.turns[-1][-1]: plan for plan in self.plans}
        for node in self.flow.nodes:
            if node not in self.place:
                self.new[node] = self.operation(node)
            elif node in ends:
                _LoopWriter(self, ends[node]).write()
        self.graph.output(*self.arguments(self.flow.output)[0])
        self.graph.lint()
        return fx.GraphModule(self.root, self.graph)

    def call(self, target: Any, *args: Any) -> fx.Node:
        """A new operation, whose value's shape is known.

        Args:
            target: the operation.
            args: its arguments.
        """
        node = self.graph.call_function(target, args)
        values = fx.node.map_arg(args, lambda argument: argument.meta["val"])
        with self.fake:
            node.meta["val"] = target(*values)
        return node

    def arguments(self, node: fx.Node) -> tuple[tuple, dict[str, Any]]:
        """The arguments of an operation in the new graph.

        Args:
            node: the operation in the old one.
        """
        return replaced(node, (self.view(source) for source in self.flow.reads(node)))

    def operation(self, node: fx.Node) -> fx.Node:
        """An operation outside of loops.

        Args:
            node: the operation in the old graph.
        """
        sources, dim = self.flow.reads(node), node.args[1] if len(node.args) > 1 else 0
        if sum(source.base in self.place for source in sources) >= LEAST:
            if node.target is aten.stack.default:
                return self.placed(self.stacked(sources), dim)  # type: ignore[arg-type]
            if node.target is aten.cat.default and node.meta["val"].shape[dim] == len(sources):
                dim = dim % node.meta["val"].dim()
                return self.placed(self.call(SELECT, self.stacked(sources), dim + 1, 0), dim)
        target, (args, kwargs) = self.flow.functional.get(node, node.target), self.arguments(node)
        if is_scattered(self.flow, node):
            return self._drawn(node, target, *args, **kwargs)
        new = self.graph.call_function(target, args, kwargs)
        new.meta = dict(node.meta)
        return new

    def _drawn(self, node: fx.Node, target: Any, shaped: fx.Node, *rest: Any, **kwargs: Any) -> fx.Node:
        """Random numbers in a tensor that is not contiguous: eager code draws them in the order of its memory."""
        strides = node.meta["val"].stride()
        order = sorted(range(len(strides)), key=lambda dim: -strides[dim])
        memory = self.call(copied, self.call(aten.permute.default, shaped, order))
        drawn = self.graph.call_function(target, (memory, *rest), kwargs)
        drawn.meta = dict(memory.meta)
        return self.call(aten.permute.default, drawn, [order.index(dim) for dim in range(len(order))])

    def view(self, source: Source) -> fx.Node:
        """A result through its views.

        Args:
            source: the result and the views.
        """
        return self.through(self.result(source.base), source.chain, source.base in self.place)

    def through(self, value: fx.Node, chain: tuple[Step, ...], anew: bool = True) -> fx.Node:
        """A value through views; those that ask for strides may copy where the value lies anew.

        Args:
            value: a node of the new graph.
            chain: the views.
            anew: whether the value may have other strides than in the old graph.
        """
        for target, rest in chain:
            value = self.call(free(target) if anew else target, value, *map(listed, rest))
        return value

    def result(self, node: fx.Node) -> fx.Node:
        """The result of an operation, of a loop or not.

        Args:
            node: the operation in the old graph.
        """
        if node not in self.new:
            plan, k, j = self.place[node]
            self.new[node] = self.call(SELECT, self.stacks[plan.loop.start, j], 0, k)
        return self.new[node]

    def placed(self, stack: fx.Node, dim: int) -> fx.Node:
        """A stack whose leading dimension is moved to another place.

        Args:
            stack: a node of the new graph.
            dim: where the dimension goes.
        """
        rank = stack.meta["val"].dim()
        if dim % rank == 0:
            return stack
        return self.call(copied, self.call(aten.permute.default, stack, moved(rank, 0, dim % rank)))

    def stacked(self, sources: Sequence[Source]) -> fx.Node:
        """Results in a new leading dimension; those of consecutive turns are a slice of what the loop gives away.

        Args:
            sources: the results, and their views.
        """
        parts, i = [], 0
        while i < len(sources):
            stack, first, step, count = self._stretch(sources, i)
            parts.append(
                self.call(aten.unsqueeze.default, self.view(sources[i]), 0)
                if stack is None
                else self.batched(self.sliced(stack, first, step, count), sources[i].chain)
            )
            i += count
        return parts[0] if len(parts) == 1 else self.call(aten.cat.default, parts, 0)

    def _stretch(self, sources: Sequence[Source], i: int) -> tuple[fx.Node | None, int, int, int]:
        """The stack of which the sources from the i-th on are a slice; its first index, step, and length."""
        places = [self._in_stack(source) for source in sources[i : i + 2]]
        if len(places) < 2 or None in places or places[0][0] is not places[1][0]:  # type: ignore[index]
            return None, 0, 0, 1
        (stack, first), (_, second) = places  # type: ignore[misc]
        count, step, chain = 1, second - first, sources[i].chain
        for source in sources[i + 1 :]:
            if source.chain != chain or self._in_stack(source) != (stack, first + count * step):
                break
            count += 1
        return (stack, first, step, count) if step else (None, 0, 0, 1)

    def _in_stack(self, source: Source) -> tuple[fx.Node, int] | None:
        if source.base in self.place and all(target in BATCHED for target, _ in source.chain):
            plan, k, j = self.place[source.base]
            if (plan.loop.start, j) in self.stacks:
                return self.stacks[plan.loop.start, j], k
        return None

    def batched(self, whole: fx.Node, chain: tuple[Step, ...]) -> fx.Node:
        """A stack whose entries are seen through views.

        Args:
            whole: the stack.
            chain: the views of an entry.
        """
        for target, rest in chain:
            other, arguments = BATCHED[target](whole.meta["val"], *rest)
            whole = self.call(other, whole, *arguments)
        return whole

    def sliced(self, whole: fx.Node, first: int, step: int, count: int) -> fx.Node:
        """The entries first, first + step, ... of the leading dimension.

        Args:
            whole: a node of the new graph.
            first: the first entry.
            step: from entry to entry, not 0.
            count: the number of entries.
        """
        last = first + step * (count - 1)
        low, high = min(first, last), max(first, last) + 1
        if (low, high, abs(step)) != (0, whole.meta["val"].shape[0], 1):
            whole = self.call(aten.slice.Tensor, whole, 0, low, high, abs(step))
        return self.call(aten.flip.default, whole, [0]) if step < 0 else whole


class _LoopWriter:
    """Writes one loop.

    Args:
        outer: writes the graph around it.
        plan: what it computes.
    """

    def __init__(self, outer: Writer, plan: Plan) -> None:
        self.outer, self.plan, self.loop = outer, plan, plan.loop
        self.body = fx.Graph()
        self.carries: dict[tuple[int, Source | None], fx.Node] = {}  # to the value before the loop
        self.slices: dict[Read, fx.Node] = {}  # to the tensor of all turns
        self.extras: dict[fx.Node, fx.Node] = {}

    def write(self) -> None:
        """Add the loop to the graph, and the sums after it."""
        live = sorted(self.plan.live)
        if live:
            self._write(live)
        for total in self.plan.sums:
            self.outer.new[self.loop.turns[-1][total.position]] = self._sum(total)

    def _write(self, live: list[int]) -> None:
        for read in (read for j in live for read in self.loop.reads[j]):
            self._meet(read)
        for j in sorted(self.plan.last - {position for position, _ in self.carries}):
            self.carries[j, None] = self.zeros(j)
        if not self.carries:
            self.carries[-1, None] = self.outer.call(aten.zeros.default, [1])
        outputs, stacked = self._body(live), sorted(self.plan.stacked)
        results = self._scan(outputs, stacked)
        for (j, _), result in zip(self.carries, results, strict=False):
            if j in self.plan.last:
                self.outer.new[self.loop.turns[-1][j]] = result
        for j, result in zip(stacked, results[len(self.carries) :], strict=True):
            self.outer.stacks[self.loop.start, j] = result

    def _meet(self, read: Read) -> None:
        """Note what the loop needs for a read."""
        if isinstance(read, Carried):
            key = read.position, read.first
            if key not in self.carries:
                first = self.outer.view(read.first)
                self.carries[key] = self.outer.call(copied, first)
        elif isinstance(read, Same):
            self.extras.setdefault(read.source.base, self.outer.result(read.source.base))
        elif isinstance(read, Indexed | Each) and _bare(read) not in self.slices:
            self.slices[_bare(read)] = self._all_turns(read)

    def zeros(self, j: int) -> fx.Node:
        value = self.loop.turns[0][j].meta["val"]
        return self.outer.call(zeros, list(value.shape), value.dtype, value.device)

    def _all_turns(self, read: Indexed | Each) -> fx.Node:
        """What all turns read, in a leading dimension, without the views."""
        if isinstance(read, Each):
            return self.outer.stacked([Source(base) for base in read.bases])
        whole = self.outer.view(read.source)
        rank = whole.meta["val"].dim()
        if read.dim % rank:
            whole = self.outer.call(aten.permute.default, whole, moved(rank, read.dim % rank, 0))
        return self.outer.sliced(whole, read.first, read.step, self.loop.count)

    def _body(self, live: list[int]) -> list[fx.Node]:
        """The operations of a turn; the results are the values to carry and to give away."""
        carries = {key: self.body.placeholder(f"carry_{i}") for i, key in enumerate(self.carries)}
        slices = {key: self.body.placeholder(f"slice_{i}") for i, key in enumerate(self.slices)}
        extras = {key: self.body.placeholder(f"extra_{i}") for i, key in enumerate(self.extras)}
        made: dict[int, fx.Node] = {}

        def value(read: Read) -> fx.Node:
            if isinstance(read, Inside):
                return self._through(made[read.position], read.chain)
            if isinstance(read, Carried):
                return self._through(carries[read.position, read.first], read.chain)
            if isinstance(read, Same):
                return self._through(extras[read.source.base], read.source.chain)
            return self._through(slices[_bare(read)], read.chain)

        for j in live:
            node = self.loop.turns[0][j]
            args, kwargs = replaced(node, map(value, self.loop.reads[j]))
            made[j] = self.body.call_function(self.outer.flow.functional.get(node, node.target), args, kwargs)
        given = [made[j] if j >= 0 else carries[j, first] for j, first in self.carries]
        return [self._own(node) for node in [*given, *(made[j] for j in sorted(self.plan.stacked))]]

    def _own(self, node: fx.Node) -> fx.Node:
        """A tensor of its own, so that no two results share their memory."""
        return self.body.call_function(copied, (node,))

    def _through(self, value: fx.Node, chain: tuple[Step, ...]) -> fx.Node:
        for target, rest in chain:
            value = self.body.call_function(free(target), (value, *map(listed, rest)))
        return value

    def _scan(self, outputs: list[fx.Node], stacked: list[int]) -> list[fx.Node]:
        self.body.output(outputs)
        name = f"loop_{self.loop.start}"
        setattr(self.outer.root, name, fx.GraphModule(torch.nn.Module(), self.body))
        graph, carries = self.outer.graph, list(self.carries.values())
        slices = list(self.slices.values()) or [self.outer.call(aten.zeros.default, [self.loop.count])]
        if not self.slices:
            self._unread_slice()
        scan = graph.call_function(
            torch.ops.higher_order.scan, (graph.get_attr(name), carries, slices, list(self.extras.values()))
        )
        values = [carry.meta["val"] for carry in carries]
        with self.outer.fake:
            for value in (self.loop.turns[0][j].meta["val"] for j in stacked):
                values.append(value.new_empty(self.loop.count, *value.shape))
        scan.meta["val"] = values
        results = [graph.call_function(operator.getitem, (scan, i)) for i in range(len(values))]
        for result, value in zip(results, values, strict=True):
            result.meta["val"] = value
        return results

    def _unread_slice(self) -> None:
        """A scan takes at least one slice."""
        after = [node for node in self.body.nodes if node.op == "placeholder"][len(self.carries) - 1]
        with self.body.inserting_after(after):
            self.body.placeholder("unread")

    def _sum(self, total: Sum) -> fx.Node:
        """A sum over the turns, in one operation for each term."""
        whole = self.outer.view(total.first)
        for term in total.terms:
            whole = self.outer.call(term.sign, whole, self._added(term))
        return whole

    def _added(self, term: Term) -> fx.Node:
        """What a term adds in all turns together."""
        call, read = self.outer.call, term.read
        if not isinstance(read, Inside):
            return call(aten.sum.dim_IntList, self.outer.batched(self._turns(read), read.chain), [0])
        node, reads = self.loop.turns[0][read.position], self.loop.reads[read.position]
        if node.target is aten.mm.default:
            added = call(aten.mm.default, self._long(reads[0], 1), self._long(reads[1], 0))
        else:
            added = call(aten.sum.dim_IntList, call(aten.sum.dim_IntList, self._turns(reads[0]), [0]), *node.args[1:])
        return self.outer.through(added, read.chain)

    def _turns(self, read: Read) -> fx.Node:
        """What each turn reads, in a leading dimension."""
        if isinstance(read, Inside):
            return self.outer.stacks[self.loop.start, read.position]
        found = self.slices.get(_bare(cast(Indexed | Each, read)))
        return self._all_turns(read) if found is None else found  # type: ignore[arg-type]

    def _long(self, read: Read, axis: int) -> fx.Node:
        """The matrices of all turns as one, side by side along an axis."""
        turns, flipped = self._turns(read), read.chain == TRANSPOSED  # type: ignore[union-attr]
        along = 1 + (axis != flipped)  # the axis of the matrices as they are stacked
        call, shape = self.outer.call, turns.meta["val"].shape
        if along == 1:
            long = call(reshape, turns, [shape[0] * shape[1], shape[2]])
        else:
            long = call(reshape, call(aten.permute.default, turns, [1, 0, 2]), [shape[1], shape[0] * shape[2]])
        return call(aten.t.default, long) if flipped else long


def _bare(read: Indexed | Each) -> Read:
    """A read without the views of the slice."""
    if isinstance(read, Each):
        return Each(read.bases, ())
    return Indexed(read.source, read.dim, read.first, read.step, ())
