"""Inference programs q(z | x), with the model's own site names."""

from pyrovae.guides.normal import NormalGuide

__all__ = ["NormalGuide"]
