"""A trained pair without Pyro: its encoder and its decoder as modules of tensors, as torch programs, and as ONNX.

`encoder` and `decoder` turn a (model, guide) pair into modules of tensors, `to_program` turns a module into a
`torch.export.ExportedProgram`, and `to_onnx` writes both modules to files and checks them with onnxruntime.
"""

from pyrovae.export.onnx_files import to_onnx
from pyrovae.export.parts import Part, decoder, encoder
from pyrovae.export.program import to_program

__all__ = ["Part", "decoder", "encoder", "to_onnx", "to_program"]
