"""Why a function runs eagerly: the errors of capturing, and a sentence that names the user's own line."""

import os
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyro
import torch

from pyrovae.errors import PyrovaeError
from pyrovae.imports import lacking

__all__ = [
    "CaptureError",
    "EagerWarning",
    "Explanation",
    "RebuiltError",
    "UnsteadyError",
    "explain",
    "is_library",
    "lacking_names",
]


class EagerWarning(UserWarning):
    """A function runs eagerly, because it cannot be captured; the message says where and why."""


class CaptureError(PyrovaeError, RuntimeError):
    """No graph can stand for all calls of a function; raised and caught inside `pyrovae.inference.compile`."""


class UnsteadyError(CaptureError):
    """A call changed Python state: perhaps once, to set something up, or perhaps every call changes it."""


class RebuiltError(UnsteadyError):
    """A call sets an attribute to something that is no tensor: it may be made anew at each call, or carry state.

    Args:
        group: the `__dict__` that holds the attribute.
        name: its name.
    """

    def __init__(self, group: dict[str, Any], name: str) -> None:
        super().__init__(f"the program changes its attribute {name!r} at every call")
        self.group, self.name = group, name


class Explanation(NamedTuple):
    """What an `EagerWarning` says.

    Attributes:
        message: the reason in one sentence, and the user's own line where there is one.
        filename: the file of that line.
        line: its number.
    """

    message: str
    filename: str
    line: int


def _folder(file: str) -> str:
    return f"{Path(file).parent}{os.sep}"


_STANDARD = _folder(traceback.__file__)

_INFERENCE = f"{Path(__file__).parents[1]}{os.sep}"  # pyrovae.inference, wherever it is installed

_OF_TORCH = [
    "sympy",
    "mpmath",
    "filelock",
    "typing_extensions",
    "jinja2",
    "markupsafe",
    "networkx",
    "fsspec",
    "opt_einsum",
    "tqdm",
    "optree",
    "triton",
    "setuptools",
]
"""What torch and Pyro are built on: their code runs while a program is traced."""

_LIBRARIES = (_INFERENCE, *(_folder(package.__file__) for package in (torch, pyro, np) if package.__file__), "<")
_SITE = f"{Path(torch.__file__).parents[1]}{os.sep}"
_LIBRARIES += tuple(_SITE + name + end for name in _OF_TORCH for end in (os.sep, ".py"))


def is_library(filename: str) -> bool:
    """Whether a file is of the standard library, torch, Pyro, NumPy, what these need, or `pyrovae.inference`.

    Args:
        filename: as a code object has it.
    """
    standard = filename.startswith(_STANDARD) and "site-packages" not in filename
    return standard or filename.startswith(_LIBRARIES)


def explain(error: Exception) -> Explanation:
    """Say why a function runs eagerly, and at which line of the user's own code.

    The line is the innermost one on the error's traceback that is not in the standard library, torch, Pyro, NumPy or
    `pyrovae.inference`.

    Args:
        error: what capturing or compiling the function raised.
    """
    first: BaseException = error
    while not (frames := _own_frames(first)) and first.__context__ and not isinstance(first, PyrovaeError):
        first = first.__context__  # torch 2.8 fails while it handles the error that a program's line gave
    message = f"Runs eagerly, not compiled: {_reason(first if frames else error)}."
    if not frames:
        return Explanation(message, __file__, 1)
    own = frames[-1]
    return Explanation(f"{message}\n  {own.filename}:{own.lineno}: {own.line}", own.filename, own.lineno or 1)


def _own_frames(error: BaseException) -> list[traceback.FrameSummary]:
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not is_library(frame.filename)]


def lacking_names() -> str:
    """Why nothing can be compiled with this torch, which lacks private names; empty where it has them all."""
    names = ", ".join(lacking()[:3])
    return names and f"torch {torch.__version__} has no {names}, which compiling needs; torch 2.8 to 2.15 have it"


def _reason(error: BaseException) -> str:
    causes: list[BaseException] = [error]
    while following := causes[-1].__cause__ or getattr(causes[-1], "inner_exception", None):
        if following in causes:
            break
        causes.append(following)
    names = {type(cause).__name__ for cause in causes}
    text = " ".join(str(error).partition("Trace Shapes:")[0].split())  # Pyro adds the shapes of the trace
    if "InvalidCxxCompiler" in names or "InvalidCxxCompiler" in text:
        return "no working C++ compiler was found (install g++ or clang, or set CXX)"
    if names & {"DataDependentOutputException", "GuardOnDataDependentSymNode"} or "get a value out of" in text:
        return "Python needs the value of a tensor here (`if`, `float()`, `.item()`), and it differs at every call"
    if "DynamicOutputShapeException" in names:
        return f"the shape of a result depends on values ({text})"
    return text[:300].rstrip(".") or type(error).__name__
