"""The update of torch optimizers as tensor code, so that it can be part of a compiled step."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.inference.training.update_rules import RULES, FusedRule

__all__ = ["FusedUpdate", "Member", "Settings", "members_of"]


@dataclass(frozen=True)
class Settings:
    """The settings of optimizers that a graph holds fixed: all but learning rates.

    Args:
        values: one entry for each group of parameters.
    """

    values: tuple


class Member(NamedTuple):
    """A parameter and its optimizer.

    Attributes:
        parameter: the parameter.
        optimizer: the torch optimizer that holds its state.
        number: which of the optimizer's `param_groups` it is in.
    """

    parameter: Tensor
    optimizer: Optimizer
    number: int = 0

    @property
    def group(self) -> dict[str, Any]:
        """The settings; `load_state_dict` puts other dicts into the optimizer."""
        return self.optimizer.param_groups[self.number]

    @property
    def rule(self) -> FusedRule | None:
        """The rule that does what the settings ask for; None where there is none."""
        rule = RULES.get(type(self.optimizer))
        return rule if rule is not None and rule.fits(self.group) else None


def members_of(optimizer: Optimizer, parameters: Iterable[Tensor]) -> list[Member]:
    """Those of the parameters that an optimizer has, in its order.

    Args:
        optimizer: a torch optimizer.
        parameters: some parameters.
    """
    used = {id(parameter) for parameter in parameters}
    groups = enumerate(optimizer.param_groups)
    return [Member(p, optimizer, number) for number, group in groups for p in group["params"] if id(p) in used]


class FusedUpdate:
    """The update of optimizers that have a `FusedRule`, on the state of those optimizers themselves.

    The state tensors never change their identity, so a graph may hold them: after a `load_state_dict` the loaded values
    are copied into them. Parameters with the same settings share a tensor of step counts and one of learning rates.

    Args:
        members: the parameters that are known, each with its optimizer.
    """

    def __init__(self, members: Sequence[Member] = ()) -> None:
        self._groups: list[_Group] = []
        self.extend(members)

    @staticmethod
    def covers(members: Sequence[Member]) -> bool:
        """Whether there is a rule for each optimizer, and all parameters are on one device, in memory of their own.

        Args:
            members: the parameters, each with its optimizer.
        """
        devices = {member.parameter.device for member in members}
        apart = all(torch._debug_has_internal_overlap(member.parameter) == 0 for member in members)
        return len(devices) == 1 and apart and all(member.rule is not None for member in members)

    def extend(self, members: Sequence[Member]) -> None:
        """Take further parameters; graphs that hold the former ones stay valid.

        Args:
            members: the parameters, each with its optimizer.
        """
        alike: dict[Any, list[Member]] = {}
        for member in members:
            assert member.rule is not None
            key = type(member.optimizer), member.rule.settings(member.group), member.parameter.device
            alike.setdefault(key, []).append(member)
        self._groups += map(_Group, alike.values())

    def settings(self) -> Settings:
        """Write the present learning rates to the device, and return the other settings."""
        changed = [group for group in self._groups if not group.is_uniform()]
        if changed:
            self._groups = [group for group in self._groups if group not in changed]
            self.extend([member for group in changed for member in group.members])
        for group in self._groups:
            group.refresh()
        return Settings(tuple((group.settings, group.number) for group in self._groups))

    @torch.no_grad()
    def update(self, gradients: dict[int, Tensor], ok: Tensor) -> None:
        """Change parameters and state in place.

        Args:
            gradients: by the `id` of a parameter; a parameter that is not in it does not change.
            ok: a 0-dim flag; where it is false nothing changes.
        """
        for group in self._groups:
            mine = [gradients.get(id(member.parameter)) for member in group.members]
            if any(gradient is not None for gradient in mine):
                group.update(mine, ok)

    def stepped(self, parameters: set[int] | None = None) -> None:
        """Tell schedulers that a step was taken, and let learning rates decay that decay by themselves.

        Args:
            parameters: the `id` of each parameter that changed; None for all.
        """
        for group in self._groups:
            group.stepped(parameters)


_numbers = itertools.count()


class _Group:
    """Parameters whose optimizers have the same rule and settings, on one device."""

    def __init__(self, members: list[Member]) -> None:
        self.members, self.number = members, next(_numbers)
        self._one_of_each = list({(id(m.optimizer), m.number): m for m in members}.values())
        assert members[0].rule is not None
        self.rule: FusedRule = members[0].rule
        self.settings = self.rule.settings(members[0].group)
        device = members[0].parameter.device
        self._counts = torch.zeros(len(members), dtype=self.rule.count, device=device)
        self._rates = torch.zeros(len(members), dtype=torch.float64, device=device)
        self._written: list[Any] = []
        self._state = [dict(self._initial(i, member)) for i, member in enumerate(members)]
        self.refresh()

    def _initial(self, i: int, member: Member) -> Iterator[tuple[str, Tensor]]:
        """The state of a parameter: the tensors that its optimizer has, where they will do, else new ones."""
        present = member.optimizer.state.get(member.parameter, {})
        for name, tensor in self.rule.state(member.parameter, self._counts[i], member.group).items():
            there = present.get(name)
            usable = name != "step" and isinstance(there, Tensor) and there.stride() == tensor.stride()
            yield name, there if usable and there.dtype == tensor.dtype else tensor

    def is_uniform(self) -> bool:
        """Whether the settings of all members are still those that they had."""
        return all(self.rule.settings(member.group) == self.settings for member in self._one_of_each)

    def refresh(self) -> None:
        """Put our tensors into the optimizers' state, with the values that it has now, and write the rates."""
        for member, ours in zip(self.members, self._state, strict=True):
            theirs = member.optimizer.state[member.parameter]
            for name, tensor in ours.items():
                there = theirs.get(name)
                if there is not tensor:
                    tensor.zero_() if there is None else tensor.copy_(torch.as_tensor(there))
                    theirs[name] = tensor
        rates = [member.group["lr"] * _decay(member.group) for member in self.members]
        if rates != self._written:
            self._rates.copy_(torch.stack([torch.as_tensor(rate, dtype=torch.float64) for rate in rates]))
            self._written = [] if any(isinstance(rate, Tensor) for rate in rates) else rates

    def update(self, gradients: list[Tensor | None], ok: Tensor) -> None:
        group = self.members[0].group
        used = [gradient is not None for gradient in gradients]
        if "step" in self._state[0]:
            self._counts.add_(ok if all(used) else ok * torch.tensor(used, device=self._counts.device))
        factors = self.rule.factors(self._counts.double(), self._rates, group)
        converted = {dtype: [f.to(dtype) for f in factors] for dtype in {m.parameter.dtype for m in self.members}}
        for i, (member, gradient) in enumerate(zip(self.members, gradients, strict=True)):
            if gradient is None:
                continue
            now = [factor[i] for factor in converted[member.parameter.dtype]]
            for old, new in self.rule.step(member.parameter, gradient, self._state[i], group, now):
                old.copy_(torch.where(ok, new, old))

    def stepped(self, parameters: set[int] | None) -> None:
        for member in self._one_of_each:
            if parameters is None or id(member.parameter) in parameters:
                member.optimizer._opt_called = True  # type: ignore[attr-defined]
                if _decay(member.group) != 1:
                    member.group["lr"] *= _decay(member.group)


def _decay(group: dict[str, Any]) -> float:
    """By what a step multiplies the learning rate before it uses it: a setting of ClippedAdam alone."""
    return group.get("lrd", 1.0)
