"""Which values a picture shows as black and as white."""

from dataclasses import dataclass

from torch import Tensor

__all__ = ["Levels"]


@dataclass(frozen=True)
class Levels:
    """The values shown as black and as white: 0 and 1 where all values lie between them, else the extremes.

    Attributes:
        black, white: the two values.
    """

    black: float = 0.0
    white: float = 1.0

    @classmethod
    def of(cls, x: Tensor) -> "Levels":
        """The levels for values like these; infinities and NaN do not count.

        Args:
            x: values of any shape.
        """
        finite = x.detach().float()
        finite = finite[finite.isfinite()]
        if not finite.numel():
            return cls()
        low, high = (float(extreme) for extreme in finite.aminmax())
        return cls(min(low, 0.0), max(high, 1.0))

    def shown(self, x: Tensor) -> Tensor:
        """The values on a scale from black, 0, to white, 1; those beyond are black or white.

        Args:
            x: values of any shape.
        """
        return ((x.float() - self.black) / (self.white - self.black)).clamp(0, 1)
