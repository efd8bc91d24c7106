"""The errors of this package. Each message names the rule, the value that breaks it, and the line to write instead."""

__all__ = [
    "CellError",
    "CheckpointError",
    "CheckpointWarning",
    "ColumnError",
    "DataError",
    "ExportError",
    "FolderError",
    "MissingExtraError",
    "NonFiniteError",
    "OutOfMemoryError",
    "OutputError",
    "PairError",
    "ProcessError",
    "PyrovaeError",
    "SettingError",
    "ShapeError",
    "SupportError",
    "ThreadError",
    "UnknownClassError",
]


class PyrovaeError(Exception):
    """The base class of every error of this package."""


class DataError(PyrovaeError, ValueError):
    """A data set is missing, empty or broken, or is not what its name says."""


class CellError(DataError, TypeError):
    """A cell of a table is no number, text, or other plain value, but a list or a dict."""


class SupportError(PyrovaeError, ValueError):
    """A value lies outside the support of the distribution that scores it, or a parameter outside its range."""


class ShapeError(PyrovaeError, ValueError):
    """A tensor has the wrong shape; the message names the shape required and the shape given."""


class PairError(PyrovaeError, ValueError):
    """A (model, guide) pair breaks the contract: its sites, plates, gradients or arguments."""


class SettingError(PyrovaeError, ValueError):
    """A setting has no meaning: a count below 1, a negative seed, a fraction above 1, an unknown word."""


class NonFiniteError(PyrovaeError, ArithmeticError):
    """A value is NaN or infinite; the message names the site and the batch."""


class CheckpointError(PyrovaeError, RuntimeError):
    """A checkpoint is truncated, is unsafe to load, or belongs to another architecture."""


class ColumnError(PyrovaeError, KeyError):
    """A history has no column of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


class ExportError(PyrovaeError, RuntimeError):
    """A pair cannot leave Python, or what left it gives other numbers; the message names the site or the operation."""


class FolderError(PyrovaeError, ValueError):
    """A pair cannot be saved as a folder, or a folder of a pair is broken or unsafe to load."""


class UnknownClassError(FolderError):
    """A folder names classes that the reader did not list; the message has the line that lists them."""


class OutputError(PyrovaeError, OSError):
    """A run folder cannot be written."""


class MissingExtraError(PyrovaeError, ImportError):
    """An optional package is not installed; the message names the extra to install."""


class OutOfMemoryError(PyrovaeError, MemoryError):
    """An allocation failed; the message says how to take less."""


class ThreadError(PyrovaeError, RuntimeError):
    """Two threads of one process run pairs at the same time."""


class ProcessError(PyrovaeError, RuntimeError):
    """One of several processes has ended or failed, so the others cannot go on; the message names it."""


class CheckpointWarning(UserWarning):
    """The last checkpoint of a run is broken; the one before it was used."""
