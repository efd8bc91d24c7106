"""Which parameters a run of programs uses."""

from typing import Any

from pyro.poutine.messenger import Messenger
from torch import Tensor

__all__ = ["UsedParameters"]


class UsedParameters(Messenger):
    """Collects the (unconstrained) parameters of all programs that run while it is open.

    Attributes:
        named: the parameters in the order of their use, each with its name. Two programs may use the same name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.named: dict[Tensor, str] = {}

    def _pyro_post_param(self, msg: Any) -> None:
        value = msg["value"]
        self.named.setdefault(value.unconstrained() if hasattr(value, "unconstrained") else value, msg["name"])
