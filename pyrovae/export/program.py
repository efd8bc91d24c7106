"""From a module of tensors to a torch program: `torch.export` with a batch dimension of any size, checked."""

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from pyrovae.errors import ExportError, PyrovaeError
from pyrovae.export.parts import ROWS, Part

__all__ = ["TOLERANCE", "check_numbers", "first_line", "quietly", "to_program"]

TOLERANCE = 1e-5
"""The largest difference of a number; of numbers above 1, relative to them."""

SIZES = (1, 7, ROWS)
"""The batch sizes at which a program is compared with its module."""


def to_program(part: Part, *, tolerance: float = TOLERANCE) -> ExportedProgram:
    """An encoder or a decoder as a `torch.export.ExportedProgram` whose batch may have any size.

    `torch.export.save(program, "encoder.pt2")` writes it, and `torch.export.load("encoder.pt2").module()` runs it
    without Pyro and pyrovae. As the module does, it takes the tensors of `part.inputs` in this order and returns a
    dict. It is compared with the module at batches of 1, 7 and 13 data points before it is returned.

    Args:
        part: what `encoder` or `decoder` returned.
        tolerance: the largest difference between program and module; of numbers above 1, relative to them.

    Raises:
        ExportError: the pair looks at values of its tensors, draws random numbers, or depends on the size of the batch;
            or the numbers differ.
    """
    batch = Dim("batch")
    shapes = tuple({} if name in part.shared else {0: batch} for name in part.inputs)
    with quietly(), torch.no_grad():
        try:
            program = torch.export.export(
                part, tuple(part.example.values()), dynamic_shapes={"tensors": shapes}, strict=False
            )
        except PyrovaeError:
            raise
        except Exception as error:
            raise ExportError(
                "An export requires programs that compute with tensors alone, whatever their values and the size of "
                f"the batch, got one that torch.export cannot follow{_place(error)}: {first_line(error)}"
            ) from error
        _tidy(program)
        check_numbers("torch.export", part, lambda tensors: program.module()(*tensors.values()), tolerance)
    return program


def _tidy(program: ExportedProgram) -> None:
    """Drop operations without a use and gradients of constants, and refuse random numbers."""
    graph = program.graph_module.graph
    try:
        graph.eliminate_dead_code()
    except SystemError as error:  # torch 2.14 loses track of an operation that several unused ones share
        raise ExportError(
            f"An export requires a program whose unused operations torch can remove, got one where it fails: {error}. "
            "Export the programs inside, such as decoder(model.model, guide.guide, batch) of a NotAtRandom."
        ) from error
    program.graph_module.recompile()
    for name, constant in program.constants.items():
        if isinstance(constant, Tensor):
            program.constants[name] = constant.detach()
    drawn = [node.target for node in graph.nodes if _draws(node.target)]
    if drawn:
        raise ExportError(
            f"An export requires programs without random numbers, got {drawn[0]}. Write a mean in place of the draw, "
            "or pyro.sample, whose mean is taken."
        )


def _draws(operation: Any) -> bool:
    """Whether an operation draws random numbers; those that drop out units in training do not, in evaluation mode."""
    if torch.Tag.nondeterministic_seeded not in getattr(operation, "tags", ()):
        return False
    return not {"train", "dropout_p"} & {argument.name for argument in operation._schema.arguments}


def check_numbers(
    what: str, part: Part, run: Callable[[dict[str, Tensor]], Mapping[str, Tensor]], tolerance: float
) -> None:
    """Compare what was exported with its module, at batches of several sizes.

    Args:
        what: who runs it, for the error.
        part: the module.
        run: runs what was exported: from inputs to outputs by name.
        tolerance: as in `to_program`.

    Raises:
        ExportError: a number differs, or it fails at some size.
    """
    for size in SIZES:
        tensors = {n: t if n in part.shared else t[:size].contiguous() for n, t in part.example.items()}
        with torch.no_grad():
            wanted = part(*tensors.values())
        try:
            found = run(tensors)
        except Exception as error:
            raise ExportError(f"{what} fails at a batch of {size} data points: {first_line(error)}") from error
        for name, tensor in wanted.items():
            difference = _difference(found[name], tensor)
            if not difference <= tolerance:
                raise ExportError(
                    f"{what} requires the numbers of the pair up to {tolerance:g}, got a difference of "
                    f"{difference:.3g} at '{name}' in a batch of {size} data points."
                )


def _difference(found: Tensor, wanted: Tensor) -> float:
    """The largest difference of two tensors; of numbers above 1, relative to them. NaN equals NaN."""
    if found.shape != wanted.shape:
        return float("inf")
    found, wanted = found.double(), wanted.double()
    difference = (found - wanted).abs() / wanted.abs().clamp(min=1)
    same = (found == wanted) | (found.isnan() & wanted.isnan())
    return torch.where(same, 0.0, difference).max().item() if same.numel() else 0.0


def _place(error: BaseException) -> str:
    """The line of the program at which torch stopped, where it says so."""
    found = re.search(r'File "([^"]+)", line (\d+), in .+\n\s*(.+)', str(error).partition("The following call")[2])
    return f" at `{found[3].strip()}` ({Path(found[1]).name}, line {found[2]})" if found else ""


def first_line(error: BaseException) -> str:
    """The first line of an error's message that says something.

    Args:
        error: the error of an exporter.
    """
    lines: Sequence[str] = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300] if lines else type(error).__name__


@contextmanager
def quietly() -> Iterator[Any]:
    """Inside, the exporters' warnings and what they print are not shown: they concern torch's code, not the user's."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        silent = io.StringIO()
        with warnings.catch_warnings(), redirect_stdout(silent), redirect_stderr(silent):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
