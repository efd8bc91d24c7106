"""Loops are rolled only where torch's scan is right."""

import pytest
import torch
from torch import fx

from pyrovae.inference.compile.rolling import roll


@pytest.mark.parametrize(
    ("version", "right"), [("2.8.0", False), ("2.13.1+cpu", False), ("2.14.0", True), ("3.0.0a0+git1", True)]
)
def test_a_torch_whose_scan_is_wrong_rolls_nothing(version, right, monkeypatch):
    monkeypatch.setattr(torch, "__version__", version)
    asked = []
    monkeypatch.setattr(roll, "rolled", lambda module: asked.append(module))
    module = fx.GraphModule(torch.nn.Module(), fx.Graph())
    assert roll.scan_is_right() == right
    assert roll.with_loops(module, lambda graph, inputs: graph, []) is None
    assert bool(asked) == right
