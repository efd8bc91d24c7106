"""Typed errors. Each says the rule, what was got, and the line to write instead."""

__all__ = [
    "CheckpointError",
    "DataError",
    "MissingExtraError",
    "NonFiniteError",
    "OutputError",
    "PairError",
    "PyrovaeError",
    "ShapeError",
    "SupportError",
]


class PyrovaeError(Exception):
    """Every error of this package."""


class DataError(PyrovaeError, ValueError):
    """A data set that is missing, empty, broken, or not what its name says."""


class SupportError(PyrovaeError, ValueError):
    """A value outside the support of the distribution that scores it."""


class ShapeError(PyrovaeError, ValueError):
    """A tensor whose shape does not fit; the message names both shapes."""


class PairError(PyrovaeError, ValueError):
    """A (model, guide) pair that breaks the contract: sites, plates, gradients, arguments."""


class NonFiniteError(PyrovaeError, ArithmeticError):
    """A NaN or an infinity; the message names the site and the batch."""


class CheckpointError(PyrovaeError, RuntimeError):
    """A checkpoint that is truncated, unsafe, or of another architecture."""


class OutputError(PyrovaeError, OSError):
    """A run folder that cannot be written."""


class MissingExtraError(PyrovaeError, ImportError):
    """An optional package that is not installed; the message names the extra."""
