"""What each loop of a graph must compute, and what it gives away."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from torch import fx

from pyrovae.inference.compile.rolling.dataflow import Dataflow, is_random
from pyrovae.inference.compile.rolling.loops import Carried, Each, Indexed, Inside, Loop, Read, Same
from pyrovae.inference.compile.rolling.sums import Sum, Term, sums

__all__ = ["Plan", "plans"]


@dataclass
class Plan:
    """What a loop computes and gives away.

    Args:
        loop: the loop.
        stacked: positions whose results of all turns are given away.
        last: positions of which the last turn's result is.
        sums: what is summed after the loop.
        live: positions whose operations are needed.
    """

    loop: Loop
    stacked: set[int] = field(default_factory=set)
    last: set[int] = field(default_factory=set)
    sums: list[Sum] = field(default_factory=list)
    live: set[int] = field(default_factory=set)

    def operands(self, term: Term) -> list[Read]:
        """What a term of a sum reads."""
        return self.loop.reads[term.read.position] if isinstance(term.read, Inside) else [term.read]

    def outer_reads(self) -> Iterable[fx.Node]:
        """The results from before the loop that are read."""
        wanted = [read for j in self.live for read in self.loop.reads[j]]
        wanted += [read for total in self.sums for term in total.terms for read in self.operands(term)]
        for read in wanted:
            if isinstance(read, Carried):
                yield read.first.base
            elif isinstance(read, Each):
                yield from read.bases
            elif isinstance(read, Same | Indexed):
                yield read.source.base
        yield from (total.first.base for total in self.sums)


def plans(flow: Dataflow, found: list[Loop]) -> list[Plan]:
    """What each loop computes: what the graph, the later loops and the sums after it need.

    Args:
        flow: the operations of the graph.
        found: its loops, in their order.
    """
    rolled = {node for loop in found for turn in loop.turns for node in turn}
    used = {source.base for node in flow.nodes if node not in rolled for source in flow.reads(node)}
    used |= {source.base for source in flow.reads(flow.output)}
    found_plans: list[Plan] = []
    for loop in reversed(found):
        found_plans.append(_plan(loop, used))
        used.update(found_plans[-1].outer_reads())
    return found_plans[::-1]


def _plan(loop: Loop, used: set[fx.Node]) -> Plan:
    plan = Plan(loop)
    for j in range(loop.period):
        turns = [k for k, turn in enumerate(loop.turns) if turn[j] in used]
        if turns:
            (plan.last if turns == [loop.count - 1] else plan.stacked).add(j)
    plan.sums = sums(loop, plan.last, plan.stacked)
    plan.last -= {total.position for total in plan.sums}
    for total in plan.sums:
        reads = [read for term in total.terms for read in plan.operands(term)]
        plan.stacked |= {read.position for read in reads if isinstance(read, Inside)}
    plan.last -= plan.stacked
    waiting = [*plan.stacked, *plan.last, *(j for j, node in enumerate(loop.turns[0]) if is_random(node.target))]
    while waiting:
        j = waiting.pop()
        if j not in plan.live:
            plan.live.add(j)
            waiting += [read.position for read in loop.reads[j] if isinstance(read, Inside | Carried)]
    return plan
