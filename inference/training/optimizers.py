"""Optimizers."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from pyro.optim import PyroOptim
from pyro.params.param_store import normalize_param_name
from torch import Tensor
from torch.optim import Optimizer

from pyrovae.errors import PairError

__all__ = ["FusedRule", "Optim", "Settings", "make_optimizer"]


Optim = Optimizer | type[Optimizer] | partial[Optimizer] | tuple[type[Optimizer], dict[str, Any]] | PyroOptim


def make_optimizer(optim: Optim, named: dict[Tensor, str]) -> Optimizer | PyroOptim:
    """What steps: a torch optimizer over the parameters, or the Pyro wrapper where it does more than build one.

    Settings that a Pyro wrapper has per parameter are asked for by name, as Pyro does, and become groups of one: Pyro
    itself knows the names of parameters in its store alone.
    """
    parameters = list(named)
    if isinstance(optim, Optimizer):
        return optim
    if isinstance(optim, PyroOptim):
        kind, arguments = optim.pt_optim_constructor, cast(Any, optim.pt_optim_args)
        plain = not callable(arguments) or optim.pt_optim_args_argc == 1
        waiting = optim._state_waiting_to_be_consumed or optim.optim_objs
        if not plain or optim.pt_clip_args or waiting or kind not in _RULES:
            return optim
        if callable(arguments):
            return kind([{"params": [p], **arguments(normalize_param_name(name))} for p, name in named.items()])
        return kind(parameters, **arguments)
    if isinstance(optim, tuple) and len(optim) == 2:
        return optim[0](parameters, **optim[1])
    if callable(optim):
        return cast(Callable[..., Optimizer], optim)(parameters)
    raise PairError(
        "optim is a torch optimizer class, (class, arguments), functools.partial(class, ...), an instance, or a "
        f"pyro.optim wrapper, got {type(optim).__name__}. Write optim=(torch.optim.Adam, {{'lr': 1e-3}})."
    )


@dataclass(frozen=True)
class Settings:
    """The settings of an optimizer that a graph holds fixed: all but learning rates."""

    values: tuple


class FusedRule:
    """The update of Adam, AdamW or SGD as tensor code, on the state of the torch optimizer itself.

    The state tensors never change their identity, so the graph may hold them: `load_state_dict` is followed by
    a copy into them. Step counts of a parameter group lie in one tensor, learning rates in one per group.
    """

    def __init__(self, optimizer: Optimizer, parameters: list[Tensor]) -> None:
        self.make_optimizer = optimizer
        self._rule = _RULES[type(optimizer)]
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
    def of(cls, optimizer: Optimizer | PyroOptim, parameters: list[Tensor]) -> "FusedRule | None":
        """The rule of an optimizer, or None where it has none or is told to do what no rule does."""
        rule = _RULES.get(type(optimizer))
        if rule is None or not parameters or not isinstance(optimizer, Optimizer):
            return None
        one_device = len({p.device for p in parameters}) == 1
        return cls(optimizer, parameters) if one_device and all(map(rule.fits, optimizer.param_groups)) else None

    def _adopt(self) -> None:
        """Make the optimizer's state lie in our tensors, with the values it has now."""
        for members, states in zip(self._members, self._state, strict=True):
            for parameter, ours in zip(members, states, strict=True):
                theirs = self.make_optimizer.state[parameter]
                for name, tensor in ours.items():
                    if isinstance(theirs.get(name), Tensor) and theirs[name] is not tensor:
                        tensor.copy_(theirs[name])
                    theirs[name] = tensor

    def settings(self) -> Settings:
        """Write the present learning rates to the device; return what else the groups say."""
        groups = self.make_optimizer.param_groups
        for i, group in enumerate(groups):
            rate = group["lr"]
            if isinstance(rate, Tensor) or rate != self._written[i]:
                self._rates[i].fill_(rate)
                self._written[i] = None if isinstance(rate, Tensor) else rate
        return Settings(tuple(self._rule.settings(group) for group in groups))

    @torch.no_grad()
    def update(self, gradients: list[Tensor | None], ok: Tensor) -> None:
        """Change parameters and state in place, where the 0-dim flag `ok` is true."""
        for number, members in enumerate(self._members):
            mine = [gradients[self._order[id(parameter)]] for parameter in members]
            if any(gradient is not None for gradient in mine):
                self._update_group(number, mine, ok)

    def _update_group(self, number: int, gradients: list[Tensor | None], ok: Tensor) -> None:
        group, counts = self.make_optimizer.param_groups[number], self._counts[number]
        used = [gradient is not None for gradient in gradients]
        counts.add_(ok if all(used) else ok * torch.tensor(used, device=counts.device))
        factors = self._rule.factors(counts.double(), self._rates[number], group)
        for i, (parameter, gradient) in enumerate(zip(self._members[number], gradients, strict=True)):
            if gradient is None:
                continue
            now = [factor.to(parameter.dtype)[i] for factor in factors]
            for old, new in self._rule.step(parameter, gradient, self._state[number][i], group, now):
                old.copy_(torch.where(ok, new, old))

    def stepped(self, loss: Any) -> Any:
        """Tell the learning-rate schedulers that a step was taken."""
        self.make_optimizer._opt_called = True  # type: ignore[attr-defined]
        return loss


class _Adam:
    """Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019), as torch computes them."""

    @staticmethod
    def fits(group: dict[str, Any]) -> bool:
        return group["eps"] > 0 and not (group["amsgrad"] or group["maximize"] or group["differentiable"])

    @staticmethod
    def state(parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        first, second = (torch.zeros_like(parameter, requires_grad=False) for _ in range(2))
        return {"step": count, "exp_avg": first, "exp_avg_sq": second}

    @staticmethod
    def settings(group: dict[str, Any]) -> tuple:
        return (*map(float, group["betas"]), group["eps"], group["weight_decay"])

    @staticmethod
    def factors(counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        """Step size lr r / (1 - beta1^t), eps r, and decay 1 - lr * weight_decay, with r^2 = 1 - beta2^t, in float64.

        Adam divides the square root of the second moment by r; multiplied out, one division per number is left of
        two. Each factor ends in `exp`: inductor computes such a thing once, and would do all else again for every
        element of every parameter.
        """
        beta1, beta2 = group["betas"]
        first, second = (torch.log1p(-torch.exp(counts * math.log(beta))) for beta in (beta1, beta2))
        size, floor = torch.log(rate) - first + 0.5 * second, math.log(group["eps"]) + 0.5 * second
        decay = torch.log1p(-rate * group["weight_decay"]) + 0 * counts
        return [torch.exp(size), torch.exp(floor), torch.exp(decay)]

    @staticmethod
    def step(
        parameter: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
        factors: list[Tensor],
    ) -> list[tuple[Tensor, Tensor]]:
        (beta1, beta2), (size, floor, decay) = group["betas"], factors
        first, second = state["exp_avg"], state["exp_avg_sq"]
        start: Tensor = parameter
        if group["weight_decay"] and group.get("decoupled_weight_decay", False):
            start = parameter * decay
        elif group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        new_first = torch.lerp(first, gradient, 1 - beta1)
        new_second = second * beta2 + (1 - beta2) * gradient * gradient
        new = start - size * new_first / (new_second.sqrt() + floor)
        return [(first, new_first), (second, new_second), (parameter, new)]


class _SGD:
    """Gradient descent with momentum, as torch computes it."""

    @staticmethod
    def fits(group: dict[str, Any]) -> bool:
        return not (group["dampening"] or group["maximize"] or group["differentiable"])

    @staticmethod
    def state(parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter, requires_grad=False)} if group["momentum"] else {}

    @staticmethod
    def settings(group: dict[str, Any]) -> tuple:
        return group["momentum"], group["nesterov"], group["weight_decay"]

    @staticmethod
    def factors(counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        return [rate.expand_as(counts)]

    @staticmethod
    def step(
        parameter: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
        factors: list[Tensor],
    ) -> list[tuple[Tensor, Tensor]]:
        momentum, (rate,) = group["momentum"], factors
        direction = gradient + group["weight_decay"] * parameter if group["weight_decay"] else gradient
        if not state:
            return [(parameter, parameter - rate * direction)]
        buffer = state["momentum_buffer"]
        moved = momentum * buffer + direction
        direction = direction + momentum * moved if group["nesterov"] else moved
        return [(buffer, moved), (parameter, parameter - rate * direction)]


_RULES: dict[type, Any] = {torch.optim.Adam: _Adam, torch.optim.AdamW: _Adam, torch.optim.SGD: _SGD}
