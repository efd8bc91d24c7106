"""The update of a torch optimizer as tensor code, so that it can be part of a compiled step."""

from dataclasses import dataclass
from typing import Any

import torch
from pyro.optim import PyroOptim
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.inference.training.update_rules import RULES

__all__ = ["FusedUpdate", "Settings"]


@dataclass(frozen=True)
class Settings:
    """The settings of an optimizer that a graph holds fixed: all but learning rates.

    Args:
        values: one tuple per group of parameters.
    """

    values: tuple


class FusedUpdate:
    """The update of an optimizer that has a `FusedRule`, on the state of that optimizer itself.

    The state tensors never change their identity, so a graph may hold them: after a `load_state_dict` the loaded values
    are copied into them. The step counts of a parameter group are in one tensor, and its learning rate in another.

    Args:
        optimizer: a torch optimizer of a kind in `RULES`.
        parameters: the parameters that a step has gradients of, all on one device, in the order of the gradients.
    """

    def __init__(self, optimizer: Optimizer, parameters: list[Tensor]) -> None:
        self.optimizer = optimizer
        self._rule = RULES[type(optimizer)]
        device = parameters[0].device
        used = {id(parameter) for parameter in parameters}
        self._members = [[p for p in g["params"] if id(p) in used] for g in optimizer.param_groups]
        self._order = {id(parameter): i for i, parameter in enumerate(parameters)}
        self._counts = [torch.zeros(len(members), device=device) for members in self._members]
        self._rates = [torch.zeros((), dtype=torch.float64, device=device) for _ in self._members]
        self._written: list[Any] = [None] * len(self._members)
        self._state = [
            [self._rule.state(p, counts[i], group) for i, p in enumerate(members)]
            for members, counts, group in zip(self._members, self._counts, optimizer.param_groups, strict=True)
        ]
        self._adopt()
        optimizer.register_load_state_dict_post_hook(lambda _: self._adopt())

    @classmethod
    def of(cls, optimizer: Optimizer | PyroOptim, parameters: list[Tensor]) -> "FusedUpdate | None":
        """The update of an optimizer; None where it has no rule, or settings that its rule does not cover.

        Args:
            optimizer: any optimizer.
            parameters: the parameters that a step has gradients of.
        """
        rule = RULES.get(type(optimizer))
        if rule is None or not parameters or not isinstance(optimizer, Optimizer):
            return None
        one_device = len({p.device for p in parameters}) == 1
        return cls(optimizer, parameters) if one_device and all(map(rule.fits, optimizer.param_groups)) else None

    def _adopt(self) -> None:
        """Put our tensors into the optimizer's state, with the values that it has now."""
        for members, states in zip(self._members, self._state, strict=True):
            for parameter, ours in zip(members, states, strict=True):
                theirs = self.optimizer.state[parameter]
                for name, tensor in ours.items():
                    if isinstance(theirs.get(name), Tensor) and theirs[name] is not tensor:
                        tensor.copy_(theirs[name])
                    theirs[name] = tensor

    def settings(self) -> Settings:
        """Write the present learning rates to the device, and return the other settings of the groups."""
        groups = self.optimizer.param_groups
        for i, group in enumerate(groups):
            rate = group["lr"]
            if isinstance(rate, Tensor) or rate != self._written[i]:
                self._rates[i].fill_(rate)
                self._written[i] = None if isinstance(rate, Tensor) else rate
        return Settings(tuple(self._rule.settings(group) for group in groups))

    @torch.no_grad()
    def update(self, gradients: list[Tensor | None], ok: Tensor) -> None:
        """Change parameters and state in place.

        Args:
            gradients: one per parameter, None for a parameter that the step did not use.
            ok: a 0-dim flag; where it is false nothing changes.
        """
        for number, members in enumerate(self._members):
            mine = [gradients[self._order[id(parameter)]] for parameter in members]
            if any(gradient is not None for gradient in mine):
                self._update_group(number, mine, ok)

    def _update_group(self, number: int, gradients: list[Tensor | None], ok: Tensor) -> None:
        group, counts = self.optimizer.param_groups[number], self._counts[number]
        used = [gradient is not None for gradient in gradients]
        counts.add_(ok if all(used) else ok * torch.tensor(used, device=counts.device))
        factors = self._rule.factors(counts.double(), self._rates[number], group)
        for i, (parameter, gradient) in enumerate(zip(self._members[number], gradients, strict=True)):
            if gradient is None:
                continue
            now = [factor.to(parameter.dtype)[i] for factor in factors]
            for old, new in self._rule.step(parameter, gradient, self._state[number][i], group, now):
                old.copy_(torch.where(ok, new, old))

    def stepped(self) -> None:
        """Tell the learning-rate schedulers that a step was taken."""
        self.optimizer._opt_called = True  # type: ignore[attr-defined]
