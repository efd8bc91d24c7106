"""The guide of a model without latents."""

from torch import Tensor

from pyrovae.models.program import Program

__all__ = ["EmptyGuide"]


class EmptyGuide(Program):
    """The guide of a model p(x) without latents, such as `models.LanguageModel`: it has no site.

    The ELBO of the pair is then log p(x) itself.
    """

    def forward(self, x: Tensor) -> None:
        """Draw nothing."""
