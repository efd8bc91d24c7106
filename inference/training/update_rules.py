"""The update rules that a compiled step contains: Adam, AdamW, ClippedAdam and gradient descent, as tensor code."""

import math
from abc import abstractmethod
from typing import Any, Protocol

import torch
from pyro.optim.clipped_adam import ClippedAdam
from torch import Tensor

__all__ = ["RULES", "FusedRule"]


class FusedRule(Protocol):
    """The update of one kind of torch optimizer, as tensor code on that optimizer's own state.

    A group is one of the optimizer's `param_groups`: a dict of settings.

    Attributes:
        count: the dtype of step counts.
    """

    count: torch.dtype

    @abstractmethod
    def fits(self, group: dict[str, Any]) -> bool:
        """Whether the rule does all that the settings ask for.

        Args:
            group: the settings.
        """

    @abstractmethod
    def state(self, parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """The state of a parameter before the first step, under the names that torch uses.

        Args:
            parameter: the parameter.
            count: the 0-dim counter of its steps, which lives in the tensor of its group.
            group: the settings.
        """

    @abstractmethod
    def settings(self, group: dict[str, Any]) -> tuple:
        """The settings that a graph holds fixed: all but the learning rate.

        Args:
            group: the settings.
        """

    @abstractmethod
    def factors(self, counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        """The numbers that multiply tensors in `step`, each with one entry per parameter of the group, in float64.

        Args:
            counts: the steps of each parameter, this one included, `(P,)`.
            rate: the learning rate of each parameter, `(P,)`.
            group: the settings.
        """

    @abstractmethod
    def step(
        self,
        parameter: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
        factors: list[Tensor],
    ) -> list[tuple[Tensor, Tensor]]:
        """One update of a parameter and its state.

        Args:
            parameter: the parameter.
            gradient: its gradient.
            state: its state, as `state` made it.
            group: the settings.
            factors: the entries of `factors` for this parameter, 0-dim tensors of its dtype.

        Returns:
            Each tensor that changes, with its new value.
        """


class _Adam(FusedRule):
    """Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019), as torch computes them."""

    count = torch.float32

    def fits(self, group: dict[str, Any]) -> bool:
        more = group["amsgrad"] or group["maximize"] or group["differentiable"]
        return group["eps"] > 0 and all(group["betas"]) and not more

    def state(self, parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return _moments(parameter, count)

    def settings(self, group: dict[str, Any]) -> tuple:
        return (*map(float, group["betas"]), group["eps"], group["weight_decay"])

    def factors(self, counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        """Step size lr r / (1 - beta1^t), eps r, and decay 1 - lr * weight_decay, with r^2 = 1 - beta2^t.

        Adam divides the square root of the second moment by r; multiplied out, each number needs one division instead
        of two. Each factor ends in `exp`, because inductor computes an `exp` once, while it would repeat any other
        operation for every element of every parameter.
        """
        first, second = _corrections(counts, group)
        size, floor = torch.log(rate) - first + 0.5 * second, math.log(group["eps"]) + 0.5 * second
        decay = torch.log1p(-rate * group["weight_decay"]) + 0 * counts
        return [torch.exp(size), torch.exp(floor), torch.exp(decay)]

    def step(
        self,
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


class _ClippedAdam(FusedRule):
    """Pyro's ClippedAdam: gradients are clipped elementwise, and the learning rate decays at each step."""

    count = torch.float64  # Pyro counts in Python, and an eager step goes on with this count

    def fits(self, group: dict[str, Any]) -> bool:
        return all(group["betas"])

    def state(self, parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return _moments(parameter, count)

    def settings(self, group: dict[str, Any]) -> tuple:
        fixed = *group["betas"], group["eps"], group["weight_decay"], group["clip_norm"]
        return *map(float, fixed), self._centred(group)

    def factors(self, counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        first, second = _corrections(counts, group)
        return [torch.exp(torch.log(rate) - first + 0.5 * second)]

    def step(
        self,
        parameter: Tensor,
        gradient: Tensor,
        state: dict[str, Tensor],
        group: dict[str, Any],
        factors: list[Tensor],
    ) -> list[tuple[Tensor, Tensor]]:
        (beta1, beta2), (size,) = group["betas"], factors
        first, second = state["exp_avg"], state["exp_avg_sq"]
        gradient = gradient.clamp(-group["clip_norm"], group["clip_norm"])
        if group["weight_decay"]:
            gradient = gradient + group["weight_decay"] * parameter
        new_first = first * beta1 + (1 - beta1) * gradient
        centred = gradient - new_first if self._centred(group) else gradient
        new_second = second * beta2 + (1 - beta2) * centred * centred
        new = parameter - size * new_first / (new_second.sqrt() + group["eps"])
        return [(first, new_first), (second, new_second), (parameter, new)]

    def _centred(self, group: dict[str, Any]) -> bool:
        return group.get("centered_variance", False)  # Pyro 1.9.1 has no such setting


def _moments(parameter: Tensor, count: Tensor) -> dict[str, Tensor]:
    first, second = (torch.zeros_like(parameter, requires_grad=False) for _ in range(2))
    return {"step": count, "exp_avg": first, "exp_avg_sq": second}


def _corrections(counts: Tensor, group: dict[str, Any]) -> list[Tensor]:
    """log(1 - beta^t) of both moments."""
    return [torch.log1p(-torch.exp(counts * math.log(beta))) for beta in group["betas"]]


class _SGD(FusedRule):
    """Gradient descent with momentum, as torch computes it."""

    count = torch.float32

    def fits(self, group: dict[str, Any]) -> bool:
        return not (group["dampening"] or group["maximize"] or group["differentiable"])

    def state(self, parameter: Tensor, count: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"momentum_buffer": torch.zeros_like(parameter, requires_grad=False)} if group["momentum"] else {}

    def settings(self, group: dict[str, Any]) -> tuple:
        return group["momentum"], group["nesterov"], group["weight_decay"]

    def factors(self, counts: Tensor, rate: Tensor, group: dict[str, Any]) -> list[Tensor]:
        return [rate]

    def step(
        self,
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


RULES: dict[type, FusedRule] = {
    torch.optim.Adam: _Adam(),
    torch.optim.AdamW: _Adam(),
    ClippedAdam: _ClippedAdam(),
    torch.optim.SGD: _SGD(),
}
"""The rule of each kind of optimizer that has one."""
