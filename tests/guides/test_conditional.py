"""The guide of a conditional model: q(z | x, y)."""

import torch
from pyro import poutine

from pyrovae.guides import ConditionalGuide, NormalGuide
from pyrovae.networks.joint import JointMLP


def test_its_density_is_that_of_its_guide_given_both_inputs():
    guide = ConditionalGuide(NormalGuide(JointMLP([(2, 3), 4], 6, (5,))))
    x, y = torch.randn(7, 2, 3), torch.randint(4, (7,))
    trace = poutine.trace(guide).get_trace(x=x, y=y)
    trace.compute_log_prob()
    assert trace.stochastic_nodes == ["data", "z"]
    expected = guide.guide.posterior(guide.guide.encoder(x, y)).log_prob(trace.nodes["z"]["value"])
    torch.testing.assert_close(trace.nodes["z"]["log_prob"], expected)
    other = guide.guide.posterior(guide.guide.encoder(x, (y + 1) % 4)).log_prob(trace.nodes["z"]["value"])
    assert not torch.allclose(expected, other)
