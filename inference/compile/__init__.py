"""Capture and replay: a function of Pyro programs becomes one compiled graph."""

from pyrovae.inference.compile.compiled import Compiled
from pyrovae.inference.compile.reasons import CaptureError, EagerWarning

__all__ = ["CaptureError", "Compiled", "EagerWarning"]
