"""The flat prior: every code has the same density, and draws raise."""

import pytest
import torch

from pyrovae.errors import PairError
from pyrovae.models.priors import Flat


@pytest.mark.parametrize("lead", [(), (5,), (2, 5)])
def test_its_log_density_is_zero(lead):
    p = Flat(3)().expand((5,))
    z = torch.randn(*lead, 3).double()
    assert (p.batch_shape, p.event_shape) == ((5,), (3,))
    assert torch.equal(p.log_prob(z), torch.zeros(*(lead or (5,))).double())


def test_it_has_no_draws(says):
    with says(PairError, "improper", "StandardNormal(dim)"):
        Flat(3)().sample()


def test_repr():
    assert repr(Flat(3)) == "Flat(3)"
