"""The flow guide: a posterior along a curve."""

import pytest
from torch import nn

from pyrovae.errors import ShapeError
from pyrovae.guides import FlowGuide, FullNormalGuide, NormalGuide


@pytest.mark.slow
def test_it_bends_where_a_normal_cannot(bent, constant, trained):
    model, x, log_evidence = bent
    normal = trained(model, NormalGuide(constant(0.5, 0.0, -1.0, -1.0)), x, 300)
    full = trained(model, FullNormalGuide(constant(0.5, 0.0, -1.0, 0.0, -1.0)), x, 300)
    flow = trained(model, FlowGuide(constant(0.5, 0.0, -1.0, -1.0, 0.0), 2, 1, 4, (16,)), x)
    assert normal - 0.05 < full < flow - 0.05 < log_evidence


def test_a_flow_of_one_dimension(says):
    with says(ShapeError, "dim=1"):
        FlowGuide(nn.Identity(), 1, 2)
