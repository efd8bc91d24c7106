"""Reasons."""

import traceback
from pathlib import Path

import numpy as np
import pyro
import torch

from pyrovae.errors import PyrovaeError

__all__ = ["CaptureError", "EagerWarning", "UnsteadyError", "explain"]


class EagerWarning(UserWarning):
    """A function runs eagerly, because it cannot be captured; the message says where and why."""


class CaptureError(PyrovaeError, RuntimeError):
    """A function that no graph can stand for; raised and caught inside this module's `Compiled`."""


class UnsteadyError(CaptureError):
    """Python state differs after a call: it was set up by it, or it changes at every call."""


_LIBRARIES = tuple(str(Path(package.__file__).parent) for package in (torch, pyro, np) if package.__file__)


_STANDARD = str(Path(traceback.__file__).parent)


_OWN = str(Path(__file__).parents[1])


def _is_library(filename: str) -> bool:
    standard = filename.startswith(_STANDARD) and "site-packages" not in filename
    return standard or filename.startswith((*_LIBRARIES, _OWN, "<"))


def explain(error: Exception) -> tuple[str, str, int]:
    """A message for the user, and the file and line of their code that it is about."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_library(frame.filename)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}: {frames[-1].line}" if frames else ""
    message = f"Runs eagerly, not compiled: {_reason(error)}." + (f"\n  {where}" if where else "")
    return message, frames[-1].filename if frames else __file__, (frames[-1].lineno or 1) if frames else 1


def _reason(error: Exception) -> str:
    causes: list[BaseException] = [error]
    while following := causes[-1].__cause__ or getattr(causes[-1], "inner_exception", None):
        causes.append(following)
    names = {type(cause).__name__ for cause in causes}
    text = " ".join(str(error).split())
    if "InvalidCxxCompiler" in names or "InvalidCxxCompiler" in text:
        return "no working C++ compiler was found (install g++ or clang, or set CXX)"
    if names & {"DataDependentOutputException", "GuardOnDataDependentSymNode"} or "get a value out of" in text:
        return "Python needs the value of a tensor here (`if`, `float()`, `.item()`), and it differs at every call"
    if "DynamicOutputShapeException" in names:
        return f"the shape of a result depends on values ({text})"
    return text[:300].rstrip(".") or type(error).__name__
