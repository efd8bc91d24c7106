"""ONNX files of a pair, checked with onnxruntime before they are written."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from pyrovae.data import Batch
from pyrovae.errors import ExportError
from pyrovae.export.parts import Part, decoder, encoder
from pyrovae.export.program import TOLERANCE, check_numbers, first_line, quietly, to_program
from pyrovae.imports import imported
from pyrovae.inference.pair.contract import ProgramLike
from pyrovae.inference.pair.running import Transform
from pyrovae.output import write_atomically

__all__ = ["to_onnx"]


def to_onnx(
    folder: str | os.PathLike[str],
    model: ProgramLike,
    guide: ProgramLike,
    batch: Batch,
    *,
    transform: Transform | None = None,
    tolerance: float = TOLERANCE,
) -> dict[str, Path]:
    """Write `encoder.onnx` and `decoder.onnx`, which any ONNX runtime runs without Python, torch or Pyro.

    The inputs and outputs of the files have the names that `encoder` and `decoder` give them, and a first dimension
    `batch` of any size. Before a file is written, onnxruntime runs it at batches of 1, 7 and 13 data points, and its
    numbers are compared with those of the pair.

    Args:
        folder: where the two files go; it is made where it is missing.
        model, guide: the pair.
        batch: named tensors of a few data points; bytes if the encoder is to take bytes.
        transform: what training applied to a batch; `pyrovae.data.Scale()` if None.
        tolerance: the largest difference between file and pair; of numbers above 1, relative to them.

    Returns:
        The paths of the two files, by `"encoder"` and `"decoder"`.

    Raises:
        ExportError: the pair has no ONNX form, for the reason that the message names; or the numbers differ.
        MissingExtraError: onnx, onnxscript or onnxruntime is not installed.
        OutputError: the folder cannot be written.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        imported(package, "to_onnx requires", "pyrovae[export]")
    parts = {
        "encoder": encoder(model, guide, batch, transform=transform),
        "decoder": decoder(model, guide, batch, transform=transform),
    }
    files = {name: _file(part, to_program(part, tolerance=tolerance), tolerance) for name, part in parts.items()}
    return {name: _written(Path(folder) / f"{name}.onnx", content) for name, content in files.items()}


def _written(path: Path, content: bytes) -> Path:
    write_atomically(path, lambda file: file.write(content))
    return path


def _file(part: Part, program: ExportedProgram, tolerance: float) -> bytes:
    """The content of an ONNX file, after its check."""
    with quietly():
        try:
            made: Any = torch.onnx.export(
                program,
                dynamo=True,
                verbose=False,
                input_names=list(part.inputs),
                output_names=list(part.outputs),
            )
            _name_batch(made.model.graph)
            content = made.model_proto.SerializeToString()
        except Exception as error:
            raise ExportError(f"ONNX has no form of this program: {_reason(error)}") from error
        check_numbers("onnxruntime", part, _session(content, part), tolerance)
    return content


def _name_batch(graph: Any) -> None:
    """Call each symbolic first dimension `batch`."""
    onnx_ir = imported("onnx_ir", "to_onnx requires", "pyrovae[export]")
    for value in (*graph.inputs, *graph.outputs):
        dims = list(value.shape)
        if dims and not isinstance(dims[0], int):
            value.shape = onnx_ir.Shape(["batch", *dims[1:]])


def _session(content: bytes, part: Part) -> Any:
    """A function that runs an ONNX file with onnxruntime."""
    runtime = imported("onnxruntime", "to_onnx requires", "pyrovae[export]")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def run(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        return dict(zip(part.outputs, map(torch.from_numpy, session.run(None, arrays)), strict=True))

    return run


def _reason(error: BaseException) -> str:
    """The innermost error that torch's exporter met."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
